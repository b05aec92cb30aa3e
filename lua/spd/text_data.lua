--- Batches of token ids for language models, from text on disk.
--
-- Documents are tokenized one by one, without the special tokens that a tokenizer adds by itself, and joined by the end
-- token; this stream is cut to samples of max_seq_len. (The public SPD code joins 1000 rows by the end token, cuts the
-- string into 20 parts of equal length in characters, in the middle of words, and tokenizes each part with special
-- tokens, so that there are end tokens where no document ends. Here there are none.)
--
-- Files are read as they are needed: memory does not grow with their size.
local checkpoint = require "spd.text_data.checkpoint"
local core = require "spd.core"
local errors = require "spd.errors"
local find = require "spd.text_data.find"
local stream = require "spd.text_data.stream"

local text_data = {}

local TextData = {}
TextData.__index = TextData

--- text_data.find(name [, split]) -> list of paths
-- The files of a data set, sorted by name. name is
--
--     a file         .jsonl, .txt or .npy: it serves every split
--     a folder       of a split are SPLIT.jsonl (.txt, .npy), SPLIT-*.jsonl or the files of SPLIT/, one of these forms,
--                    in the folder or in data/ in it. A folder without such names (train, validation, test, ...) serves
--                    every split with all its files and those of its folders; so does every folder without split
--     org/dataset    a folder in the Hugging Face cache (HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface)
--
-- What cannot be found or read is an error that says what to do.
function text_data.find(name, split) return find.files(name, split) end

local function all_files(path)
  if type(path) ~= "table" then return find.files(path) end
  local paths = {}
  for _, name in ipairs(path) do
    for _, found in ipairs(find.files(name)) do paths[#paths + 1] = found end
  end
  return paths
end

--- text_data.open(settings) -> dataset
-- settings:
--
--     path            a list of paths as text_data.find gives it, or a name as it takes it: all files of it are used
--     column          which column of .jsonl is the text
--     tokenizer       anything with a method encode(text, add_special_tokens) -> new list of ids; not needed for .npy
--     end_id          the id after each document; nil: documents are joined directly
--     max_seq_len, batch_size
--     vocabulary      ids must be below it; nil: they are not checked
--     buffer_size     samples are shuffled in a buffer of so many; nil or 0: they come in order
--     keep            batches 0 to keep - 1 stay in memory once they were read, for a small set that is used again and
--                     again; 0 by default
--     seed, purpose   name of the random numbers that shuffle; purpose "data" by default
--
-- A document is the text in one line of .jsonl (empty lines are skipped), or what stands between lines that are
-- <|endoftext|> in .txt: a whole file, if it has none. A document without tokens adds nothing, not even an end token. A
-- long one is tokenized in pieces, cut between words. .npy holds ids that are used as they are: a stream, if it has one
-- dimension; of two dimensions each row is a sequence, of which the first max_seq_len ids are used.
--
-- At the end of the last file a new epoch begins with the first one. Ids that are left over by then begin the next
-- epoch's first sample. The buffer is emptied first: shuffling keeps each sample in its epoch.
--
-- Damaged files, and text that is shorter than one sequence, are errors with exit status 2, some of which only batch()
-- can find.
function text_data.open(settings)
  local own = {}
  for name, value in pairs(settings) do own[name] = value end
  own.paths = all_files(settings.path)
  own.buffer_size, own.purpose = settings.buffer_size or 0, settings.purpose or "data"
  local self = setmetatable({
    settings = own, stream = stream.open(own), next_step = 0, buffer = {}, draining = false, kept = {},
  }, TextData)
  return self
end

local function rewind(self)
  self.stream:close()
  self.stream, self.next_step, self.buffer, self.draining = stream.open(self.settings), 0, {}, false
end

-- Fill the buffer with samples of one epoch: once the epoch ends, with nothing until the buffer is empty.
local function fill(self)
  local buffer, size = self.buffer, math.max(self.settings.buffer_size, 1)
  if #buffer == 0 then self.draining = false end
  while #buffer < size and not self.draining do
    local sample = self.stream:next()
    buffer[#buffer + 1] = sample
    self.draining = sample == nil and #buffer > 0
  end
end

-- The samples of the next step.
local function read_batch(self)
  local settings, samples = self.settings, {}
  local draw = {seed = settings.seed, purpose = settings.purpose, step = self.next_step}
  local random = core.uniform({settings.batch_size}, draw):totable()
  for i = 1, settings.batch_size do
    fill(self)
    local buffer = self.buffer
    local chosen = math.min(math.floor(random[i] * #buffer) + 1, #buffer)
    samples[i] = buffer[chosen]
    buffer[chosen] = buffer[#buffer]
    buffer[#buffer] = nil
  end
  self.next_step = self.next_step + 1
  return samples
end

-- Ids of a file that was tokenized for another model would be found nowhere.
local function check_vocabulary(self, row)
  local vocabulary = self.settings.vocabulary or math.maxinteger
  for _, id in ipairs(row) do
    if id >= vocabulary then
      errors.raise(2, self.settings.paths[1], ("holds the token id %d, the model has a vocabulary of %d"):format(id,
        vocabulary), "it was made by another tokenizer")
    end
  end
end

-- The batch of a step, read from the stream.
local function batch_at(self, step)
  if step < self.next_step then rewind(self) end
  local samples
  repeat samples = read_batch(self) until self.next_step > step
  local rows = {}
  for i, sample in ipairs(samples) do
    rows[i] = sample:totable()
    check_vocabulary(self, rows[i])
  end
  return core.tensor(rows, "int32")
end

--- dataset:batch(step [, tensor]) -> int32 tensor [batch_size, max_seq_len]
-- The batch of a step, counted from 0: always the same one. A tensor that is given is overwritten and returned. Steps
-- are cheap in ascending order. For an earlier one all text before it is read again, but not for the last one and those
-- that are kept.
function TextData:batch(step, tensor)
  assert(math.type(step) == "integer" and step >= 0, "text_data: a step is an integer, 0 or more")
  local kept = self.kept[step] or self.last_step == step and self.last
  if not kept then
    kept = batch_at(self, step)
    self.last, self.last_step = kept, step
    if step < (self.settings.keep or 0) then self.kept[step] = kept end
  end
  return tensor and tensor:copy_from(kept) or kept:clone()
end

--- dataset:state() -> name -> tensor
-- Where the dataset is after the last batch that it read, with that batch and all that a later process needs to go on
-- without reading the text before: names and shapes are in text_data/checkpoint.lua.
function TextData:state()
  local position, ids = self.stream:position()
  position.step, position.draining = self.next_step, self.draining and 1 or 0
  return checkpoint.save(self.settings, position, ids, self.buffer, self.last)
end

--- dataset:restore(tensors, where)
-- Go to where the dataset was that gave this state: its batches go on from there, the last one included. It is an error
-- if the files have other names or sizes than then, or if settings differ; where names the checkpoint.
function TextData:restore(tensors, where)
  local position, ids, buffer, last = checkpoint.load(self.settings, tensors, where)
  self.stream:restore(position, ids)
  self.next_step, self.draining, self.buffer = position.step, position.draining > 0, buffer
  self.last, self.last_step, self.kept = last, last and position.step - 1, {}
end

return text_data
