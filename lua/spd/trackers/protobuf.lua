--- Protocol Buffers, as far as trackers need them. A message is the bytes of its fields, one after the other.
local protobuf = {}

-- How the value of a field is stored.
local VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5

-- Seven bits in a byte, the lowest first; negative numbers as 64 bits.
local function varint(n)
  local bytes = {}
  while n < 0 or n > 127 do
    bytes[#bytes + 1] = string.char(n & 127 | 128)
    n = n >> 7
  end
  bytes[#bytes + 1] = string.char(n)
  return table.concat(bytes)
end

local function key(number, kind) return varint(number << 3 | kind) end

--- protobuf.integer(number, n) -> bytes of field `number`, an integer, an enumeration, or a boolean as 0 or 1
function protobuf.integer(number, n) return key(number, VARINT) .. varint(n) end

--- protobuf.bytes(number, bytes) -> bytes of field `number`: text, bytes, or another message
function protobuf.bytes(number, bytes) return key(number, BYTES) .. varint(#bytes) .. bytes end

--- protobuf.double(number, x) -> bytes of field `number`
function protobuf.double(number, x) return key(number, EIGHT_BYTES) .. string.pack("<d", x) end

--- protobuf.float(number, x) -> bytes of field `number`
function protobuf.float(number, x) return key(number, FOUR_BYTES) .. string.pack("<f", x) end

--- protobuf.timestamp(number, seconds) -> bytes of field `number`, a google.protobuf.Timestamp
function protobuf.timestamp(number, seconds)
  local whole = math.floor(seconds)
  local nanoseconds = math.floor((seconds - whole) * 1e9)
  return protobuf.bytes(number, protobuf.integer(1, whole) .. protobuf.integer(2, nanoseconds))
end

local function read_varint(bytes, position)
  local n, shift = 0, 0
  while shift < 64 do
    local byte = bytes:byte(position)
    if not byte then return nil end
    n, shift, position = n | (byte & 127) << shift, shift + 7, position + 1
    if byte < 128 then return n, position end
  end
  return nil
end

-- The value at a position and the position after it; nil where the bytes end too early, or are something else.
local function read_value(bytes, kind, position)
  if kind == VARINT then return read_varint(bytes, position) end
  local size = kind == EIGHT_BYTES and 8 or kind == FOUR_BYTES and 4 or nil
  if kind == BYTES then size, position = read_varint(bytes, position) end
  if not size or size < 0 or size > #bytes - position + 1 then return nil end
  return bytes:sub(position, position + size - 1), position + size
end

--- protobuf.fields(message) -> function that returns the number and the value of the next field
-- Integers as such, all others as their bytes. Ends early where the bytes are no message.
function protobuf.fields(message)
  local position = 1
  return function()
    local head, value
    head, position = read_varint(message, position or #message + 1)
    if not head then return nil end
    value, position = read_value(message, head & 7, position)
    if value == nil then return nil end
    return head >> 3, value
  end
end

--- protobuf.field(message, number) -> value of the first such field, or nil
function protobuf.field(message, number)
  for found, value in protobuf.fields(message) do
    if found == number then return value end
  end
  return nil
end

return protobuf
