--- Documents of a .jsonl file: an object on each line, with the text in one of its columns.
local errors = require "spd.errors"
local json = require "spd.json"
local pieces = require "spd.text_data.pieces"
local reader = require "spd.text_data.reader"

local jsonl = {}

local Source = {}
Source.__index = Source

local LONGEST_LINE = 64 << 20

local function columns(object)
  local names = {}
  for name in pairs(object) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return #names > 0 and "it has " .. table.concat(names, ", ") or "it is empty"
end

-- The text of the line that was read last.
local function text_of(self, line)
  local where = ("%s:%d"):format(self.reader.path, self.line)
  local object, reason = json.decode(line)
  if type(object) ~= "table" or not line:find("^%s*{") then
    errors.raise(2, where, "is not a JSON object", reason)
  end
  local text = object[self.column]
  if type(text) == "string" then return text end
  if text ~= nil then
    errors.raise(2, where, ("column '%s' is a %s, not text"):format(self.column, type(text)), columns(object))
  end
  errors.raise(2, where, ("has no column '%s'"):format(self.column), columns(object))
end

-- Read the next line that is not empty; false at the end of the file.
local function read_document(self)
  repeat
    self.start = self.reader:position()
    local line = self.reader:line(LONGEST_LINE)
    if line == nil then return false end
    self.line = self.line + 1
    if not line then
      errors.raise(2, ("%s:%d"):format(self.reader.path, self.line), "is longer than 64 MB", "one object per line")
    end
    self.text, self.at = line:find("%S") and text_of(self, line), 1
  until self.text
  return true
end

--- jsonl.open(path, position, settings) -> source
-- position: where a source was, by source:position(). settings.column: which column is the text.
function jsonl.open(path, position, settings)
  local self = setmetatable({column = settings.column, line = position.line}, Source)
  self.reader = reader.open(path, position.offset)
  if position.inside > 0 then
    if not read_document(self) or position.inside >= #self.text then
      errors.raise(2, path, "has changed since the checkpoint was written")
    end
    self.at = position.inside + 1
  end
  return self
end

--- source:next() -> text, first, last; nil at the end of the file
-- The next piece of a document; first, last: whether the document begins, ends with it.
function Source:next()
  if not self.text and not read_document(self) then return nil end
  local first, stop = self.at == 1, pieces.next(self.text, self.at)
  local piece, last = self.text:sub(self.at, stop - 1), stop > #self.text
  self.at = stop
  if last then self.text = nil end
  return piece, first, last
end

--- source:position() -> {offset =, inside =, line =}
-- offset: of the next line, or of the line whose text is not used up; inside: how many bytes of that text are; line:
-- how many lines come before.
function Source:position()
  if self.text then return {offset = self.start, inside = self.at - 1, line = self.line - 1} end
  return {offset = self.reader:position(), inside = 0, line = self.line}
end

--- source:close()
function Source:close() self.reader:close() end

return jsonl
