--- The bytes of a file in order, with little of it in memory.
local errors = require "spd.errors"

local reader = {}

local Reader = {}
Reader.__index = Reader

local BLOCK = 1 << 18

--- reader.open(path [, offset]) -> reader
-- Reads on from an offset in bytes, 0 by default. reader.text from reader.at on is what is in memory of what is not
-- consumed; who consumes bytes moves reader.at.
function reader.open(path, offset)
  local file, message = io.open(path, "rb")
  if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
  file:seek("set", offset or 0)
  return setmetatable({path = path, file = file, text = "", at = 1, start = offset or 0}, Reader)
end

--- reader:position() -> the offset of the next byte that is not consumed
function Reader:position() return self.start + self.at - 1 end

--- reader:more() -> false at the end of the file
-- Read a block more, and forget what is consumed.
function Reader:more()
  local block, message = self.file:read(BLOCK)
  if message then errors.raise(1, self.path, message) end
  if not block then return false end
  self.start = self:position()
  self.text = self.text:sub(self.at) .. block
  self.at = 1
  return true
end

--- reader:need(size) -> how many bytes are in memory and not consumed: size or more, unless the file ends
function Reader:need(size)
  while #self.text - self.at + 1 < size and self:more() do end
  return #self.text - self.at + 1
end

--- reader:line(limit) -> the next line without its newline; nil at the end of the file; false if it is longer
function Reader:line(limit)
  if self:need(1) == 0 then return nil end
  local parts, size = {}, 0
  repeat
    local newline = self.text:find("\n", self.at, true)
    local part = self.text:sub(self.at, (newline or 0) - 1)
    parts[#parts + 1], size = part, size + #part
    if size > limit then return false end
    self.at = newline and newline + 1 or #self.text + 1
  until newline or not self:more()
  return table.concat(parts)
end

--- reader:close()
function Reader:close() self.file:close() end

return reader
