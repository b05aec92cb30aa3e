--- Token ids of a .npy file, NumPy's format for one array.
local errors = require "spd.errors"

local npy = {}

local Source = {}
Source.__index = Source

local FORMATS = {["<u2"] = "I2", ["<i4"] = "i4", ["<u4"] = "I4", ["<i8"] = "i8"}
local READ = "read are uint16, int32, uint32 and int64, little-endian"
local LONGEST_HEADER = 1 << 20
local BLOCK = 1024

local function damaged(path, what) errors.raise(2, path, "is not a readable .npy file: " .. what) end

-- The text of the header, and where the data begins.
local function read_header(file, path)
  local magic = file:read(8) or ""
  local major = magic:match("^\x93NUMPY([\1-\3])[\0-\3]$")
  if not major then damaged(path, "it does not begin as one") end
  local format = major == "\1" and "<I2" or "<I4"
  local size_bytes = file:read(string.packsize(format)) or ""
  if #size_bytes < string.packsize(format) then damaged(path, "it ends within its header") end
  local size = string.unpack(format, size_bytes)
  if size > LONGEST_HEADER then damaged(path, ("a header of %d bytes"):format(size)) end
  local header = file:read(size) or ""
  if #header < size then damaged(path, "it ends within its header") end
  return header, file:seek()
end

-- The sizes in "(3, 4)" or "(12,)".
local function parse_shape(text, path)
  local rows, columns = text:match("^%(%s*(%d+)%s*,%s*(%d+)%s*,?%s*%)$")
  rows = rows or text:match("^%(%s*(%d+)%s*,%s*%)$")
  if not rows then damaged(path, "shape " .. text .. ", expected one or two sizes") end
  if #rows > 15 or columns and #columns > 15 then damaged(path, "shape " .. text .. " is too large") end
  return math.tointeger(tonumber(rows)), columns and math.tointeger(tonumber(columns))
end

-- The entries of a dictionary in Python's spelling.
local function parse_header(header, path)
  local entries, at, text = {}, 1, header:match("^%s*{(.*)}%s*$")
  if not text then damaged(path, "its header is no dictionary") end
  while text:find("%S", at) do
    local name, value, stop = text:match("^%s*['\"]([%w_]+)['\"]%s*:%s*(%b())%s*,?()", at)
    if not name then name, value, stop = text:match("^%s*['\"]([%w_]+)['\"]%s*:%s*([^,%s]+)%s*,?()", at) end
    if not name or entries[name] then damaged(path, "its header is no dictionary") end
    entries[name], at = value, stop
  end
  if not (entries.descr and entries.fortran_order and entries.shape) then
    damaged(path, "its header lacks descr, fortran_order or shape")
  end
  return entries
end

--- npy.describe(path) -> {format =, item_bytes =, rows =, columns =, start =, stop =}
-- What the header says, checked: format of an id for string.unpack, sizes (columns only of two dimensions), and where
-- the ids begin and end in the file.
function npy.describe(path)
  local file <close>, message = io.open(path, "rb")
  if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
  local header, start = read_header(file, path)
  local entries = parse_header(header, path)
  local format = FORMATS[entries.descr:match("^['\"](.*)['\"]$")]
  if not format then errors.raise(2, path, "holds values of type " .. entries.descr, READ) end
  local rows, columns = parse_shape(entries.shape, path)
  if columns and entries.fortran_order ~= "False" then
    errors.raise(2, path, "is stored column by column", "save it with numpy.ascontiguousarray")
  end
  local item_bytes = string.packsize(format)
  local bytes, found = 1.0 * rows * (columns or 1) * item_bytes, file:seek("end") - start
  if bytes ~= found then
    damaged(path, ("its header announces %.0f bytes of ids, and %d follow"):format(bytes, found))
  end
  return {
    format = format, item_bytes = item_bytes, rows = rows, columns = columns, start = start, stop = start + found,
  }
end

-- Rows are sequences, and must reach the length that is asked for.
local function check_columns(array, path, max_seq_len)
  if array.columns and array.columns < max_seq_len then
    errors.raise(2, path, ("text shorter than one sequence: its rows have %d ids"):format(array.columns),
      ("max_seq_len = %d"):format(max_seq_len))
  end
end

--- npy.check(path, settings)
-- Raise an error if the file cannot be read with settings.max_seq_len.
function npy.check(path, settings) check_columns(npy.describe(path), path, settings.max_seq_len) end

--- npy.open(path, position, settings) -> source
-- position: where a source was, by source:position(). Of two-dimensional arrays each row is a sequence, of which the
-- first settings.max_seq_len ids are used.
function npy.open(path, position, settings)
  local array = npy.describe(path)
  check_columns(array, path, settings.max_seq_len)
  local self = setmetatable({path = path, array = array, max_seq_len = settings.max_seq_len}, Source)
  self.offset = position.offset == 0 and array.start or position.offset
  if self.offset < array.start or (self.offset - array.start) % array.item_bytes ~= 0 then
    errors.raise(2, path, "has changed since the checkpoint was written")
  end
  self.file = assert(io.open(path, "rb"))
  return self
end

local function check_ids(self, ids)
  for i = 1, #ids do
    if ids[i] < 0 or ids[i] > 0x7fffffff then
      errors.raise(2, self.path, ("%d is not a token id"):format(ids[i]))
    end
  end
end

-- The next `count` ids, appended to a list.
local function read_ids(self, count, ids)
  local array = self.array
  while count > 0 do
    local n = math.min(count, BLOCK)
    local bytes = self.file:read(n * array.item_bytes) or ""
    if #bytes < n * array.item_bytes then damaged(self.path, "it ended while it was read") end
    local block = {("<" .. array.format:rep(n)):unpack(bytes)}
    block[n + 1] = nil
    if array.format ~= "I2" then check_ids(self, block) end
    table.move(block, 1, n, #ids + 1, ids)
    count = count - n
  end
  return ids
end

--- source:next() -> list of ids, or nil at the end of the file
function Source:next()
  local array = self.array
  if self.offset >= array.stop then return nil end
  self.file:seek("set", self.offset)
  local left = (array.stop - self.offset) // array.item_bytes
  local ids = read_ids(self, math.min(left, array.columns and self.max_seq_len or BLOCK), {})
  self.offset = self.offset + array.item_bytes * (array.columns or #ids)
  return ids, false, false
end

--- source:position() -> {offset =, inside = 0, line = 0}
-- offset: of the next id, or row, in bytes.
function Source:position() return {offset = self.offset, inside = 0, line = 0} end

--- source:close()
function Source:close() self.file:close() end

return npy
