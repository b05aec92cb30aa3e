--- The token ids of a list of files, one document after another, cut to samples of one length.
local core = require "spd.core"
local errors = require "spd.errors"

local stream = {}

local Stream = {}
Stream.__index = Stream

local kinds = {
  jsonl = require "spd.text_data.jsonl", txt = require "spd.text_data.txt", npy = require "spd.text_data.npy",
}

local function kind_of(path) return path:match("%.([^./]+)$") end

-- What can be known of a file before it is read.
local function check_file(path, settings)
  local kind = kind_of(path)
  if kind == "npy" then
    kinds.npy.check(path, settings)
  elseif not settings.tokenizer then
    errors.raise(2, path, "is text, and there is no tokenizer")
  elseif kind == "jsonl" and not settings.column then
    errors.raise(2, path, "has columns, and column_name does not say which one is the text")
  end
end

--- stream.open(settings) -> stream
-- settings: paths, max_seq_len, tokenizer, end_id, column, as in text_data.open. Files are checked as far as this takes
-- no reading of their text.
function stream.open(settings)
  for _, path in ipairs(settings.paths) do check_file(path, settings) end
  return setmetatable({
    settings = settings, epoch = 0, epoch_tokens = 0, file = 1, source = nil,
    sample = {}, filled = 0, -- the sample in progress, overwritten by the next one, and how many ids of it are there
    ids = {}, at = 1,        -- ids from `at` on come next
  }, Stream)
end

-- Open the file whose turn it is, at a position of its source.
local function open_source(self, position)
  local path = self.settings.paths[self.file]
  return kinds[kind_of(path)].open(path, position or {offset = 0, inside = 0, line = 0}, self.settings)
end

-- The next file's turn; false if there is none in this epoch.
local function next_file(self)
  self.source:close()
  self.source, self.file = nil, self.file + 1
  return self.file <= #self.settings.paths
end

local function end_epoch(self)
  if self.epoch_tokens < self.settings.max_seq_len then
    errors.raise(2, self.settings.paths[1], self.epoch_tokens == 0 and "there is no text" or
      ("text shorter than one sequence: %d tokens in all"):format(self.epoch_tokens),
      ("max_seq_len = %d"):format(self.settings.max_seq_len))
  end
  self.epoch, self.epoch_tokens, self.file = self.epoch + 1, 0, 1
end

-- The ids of a piece; those of a document's last piece are followed by the end token, unless the document has no token.
local function tokenize(self, piece, first, last)
  if type(piece) == "table" then return piece end
  local ids = self.settings.tokenizer:encode(piece, false)
  if last and (#ids > 0 or not first) then ids[#ids + 1] = self.settings.end_id end
  return ids
end

-- Tokenize the next piece of a document; false, once, at the end of an epoch.
local function read_ids(self)
  self.source = self.source or open_source(self)
  local piece, first, last = self.source:next()
  while not piece do
    if not next_file(self) then
      end_epoch(self)
      return false
    end
    self.source = open_source(self)
    piece, first, last = self.source:next()
  end
  self.ids, self.at = tokenize(self, piece, first, last), 1
  self.epoch_tokens = self.epoch_tokens + #self.ids
  return true
end

--- stream:next() -> int32 tensor [max_seq_len]; nil, once, at the end of an epoch
-- The next sample. What an epoch leaves over begins the first sample of the next one.
function Stream:next()
  local length = self.settings.max_seq_len
  while self.filled < length do
    local count = math.min(length - self.filled, #self.ids - self.at + 1)
    table.move(self.ids, self.at, self.at + count - 1, self.filled + 1, self.sample)
    self.filled, self.at = self.filled + count, self.at + count
    if self.filled < length and not read_ids(self) then return nil end
  end
  self.filled = 0
  return core.tensor(self.sample, "int32")
end

--- stream:position() -> {epoch =, epoch_tokens =, file =, offset =, inside =, line =}, ids
-- Where the stream is: the file counted from 1 and the position in it, which count what is read, and the ids that are
-- read but not in a sample yet.
function Stream:position()
  local position = self.source and self.source:position() or {offset = 0, inside = 0, line = 0}
  position.epoch, position.epoch_tokens, position.file = self.epoch, self.epoch_tokens, self.file
  local ids = table.move(self.sample, 1, self.filled, 1, {})
  return position, table.move(self.ids, self.at, #self.ids, #ids + 1, ids)
end

--- stream:restore(position, ids)
-- Go to where a stream was.
function Stream:restore(position, ids)
  self:close()
  self.epoch, self.epoch_tokens, self.file = position.epoch, position.epoch_tokens, position.file
  self.sample, self.filled, self.ids, self.at = {}, 0, ids, 1
  self.source = open_source(self, position)
end

--- stream:close()
-- Close the file that is open.
function Stream:close()
  if self.source then self.source:close() end
  self.source = nil
end

return stream
