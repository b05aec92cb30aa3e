--- Documents of a .txt file.
--
-- Lines that are only <|endoftext|>, as TinyStories has them, separate documents; a file without any is one document.
-- Line breaks at both ends of a document are left out.
local pieces = require "spd.text_data.pieces"
local reader = require "spd.text_data.reader"

local txt = {}

local Source = {}
Source.__index = Source

local SEPARATOR = "<|endoftext|>"
-- Enough bytes to see whether a separator begins within a piece.
local WINDOW = pieces.SIZE + #SEPARATOR + #"\r\n" + 1

--- txt.open(path, position) -> source
-- position: where a source was, by source:position().
function txt.open(path, position)
  local before = math.max(position.offset - 1, 0)
  local self = setmetatable({inside = position.inside > 0, reader = reader.open(path, before)}, Source)
  self.at_line_start = before == position.offset or self.reader:need(1) > 0 and self.reader.text:byte(1) == 10
  self.reader.at = 1 + position.offset - before
  return self
end

-- Where the next separator line within a piece begins, and where the text after it does; nil if there is none.
local function find_separator(text, at, at_line_start)
  local from, to = text:find(SEPARATOR, at, true)
  while from and from - at <= pieces.SIZE do
    local begins_line = from == at and at_line_start or from > at and text:byte(from - 1) == 10
    local after = text:match("^\r?\n()", to + 1) or to == #text and to + 1
    if begins_line and after then return from, after end
    from, to = text:find(SEPARATOR, to + 1, true)
  end
end

-- The next piece of the document in progress, or of the next one, which may be empty.
local function read_piece(self)
  local file = self.reader
  local left = file:need(WINDOW)
  local text, at = file.text, file.at
  local stop, after = find_separator(text, at, self.at_line_start)
  local ends = stop ~= nil or left <= pieces.SIZE
  stop = stop or ends and #text + 1 or pieces.next(text, at)
  local piece, first = text:sub(at, stop - 1), not self.inside
  if first then piece = piece:gsub("^[\r\n]+", "") end
  if ends then piece = piece:match("^.*[^\r\n]") or "" end
  file.at = after or stop
  self.at_line_start = text:byte(file.at - 1) == 10
  self.inside = not ends
  return piece, first, ends
end

--- source:next() -> text, first, last; nil at the end of the file
-- The next piece of a document; first, last: whether the document begins, ends with it.
function Source:next()
  while self.inside or self.reader:need(1) > 0 do
    local piece, first, last = read_piece(self)
    if piece ~= "" or not first then return piece, first, last end
  end
end

--- source:position() -> {offset =, inside =, line = 0}
-- offset: of the next byte; inside: 1 in the middle of a document.
function Source:position()
  return {offset = self.reader:position(), inside = self.inside and 1 or 0, line = 0}
end

--- source:close()
function Source:close() self.reader:close() end

return txt
