--- Reads what trackers write, without their code: events of TensorBoard, records of Weights & Biases.
local json = require "spd.json"

local M = {}

local function varint(bytes, position)
  local n, shift = 0, 0
  repeat
    local byte = bytes:byte(position)
    n, shift, position = n | (byte & 127) << shift, shift + 7, position + 1
  until byte < 128
  return n, position
end

-- Readers of a value, by how it is stored: the value, and the position after it.
local readers = {
  [0] = varint,
  [1] = function(bytes, position) return ("<d"):unpack(bytes, position) end,
  [2] = function(bytes, position)
    local size, from = varint(bytes, position)
    return bytes:sub(from, from + size - 1), from + size
  end,
  [5] = function(bytes, position) return ("<f"):unpack(bytes, position) end,
}

--- The fields of a Protocol Buffers message: number -> list of integers, floats, or bytes.
function M.fields(bytes)
  local fields, position = {}, 1
  while position <= #bytes do
    local key, value
    key, position = varint(bytes, position)
    value, position = readers[key & 7](bytes, position)
    local list = fields[key >> 3] or {}
    fields[key >> 3] = list
    list[#list + 1] = value
  end
  return fields
end

--- The events of a TensorBoard file: a list of {version =} or {restart = step} or {step =, scalars =, images =,
-- plugins = tag -> content}.
function M.events(bytes)
  local events, position = {}, 1
  while position <= #bytes do
    local size = ("<I8"):unpack(bytes, position)
    local event = M.fields(bytes:sub(position + 12, position + 11 + size))
    position = position + 16 + size
    local step = event[2] and event[2][1]
    local read = {version = event[3] and event[3][1], restart = event[7] and step, step = step, scalars = {},
                  images = {}, plugins = {}}
    for _, value in ipairs(event[5] and M.fields(event[5][1])[1] or {}) do
      value = M.fields(value)
      local tag = value[1][1]
      read.scalars[tag] = value[2] and value[2][1]
      read.images[tag] = value[4] and M.fields(value[4][1])[4][1]
      read.plugins[tag] = value[9] and M.fields(M.fields(value[9][1])[1][1])[2][1]
    end
    events[#events + 1] = read
  end
  return events
end

-- name -> value of the items of a config, a row, or a summary.
local function items(list)
  local values = {}
  for _, item in ipairs(list or {}) do
    item = M.fields(item)
    local text = item[16][1]
    values[item[1][1]] = text == "NaN" and "NaN" or json.decode("[" .. text .. "]")[1]
  end
  return values
end

--- The payloads of the chunks of a .wandb file: a list of {kind =, bytes =, at = position of the chunk}.
function M.chunks(bytes)
  local chunks, position = {}, 7
  while position < #bytes do
    if 32768 - position % 32768 < 7 then position = position + 32768 - position % 32768 end
    local _, size, kind = ("<I4I2B"):unpack(bytes, position + 1)
    chunks[#chunks + 1] = {kind = kind, bytes = bytes:sub(position + 8, position + 7 + size), at = position}
    position = position + 7 + size
  end
  return chunks
end

--- What a .wandb file says: {run = fields, config =, rows = list, summary = the last one, media = list of paths,
-- exit = status, numbers = list of the numbers of the records, kinds = list of their kinds}.
function M.offline_run(bytes)
  local found, parts = {rows = {}, media = {}, numbers = {}, kinds = {}}, {}
  for _, chunk in ipairs(M.chunks(bytes)) do
    parts[#parts + 1] = chunk.bytes
    if chunk.kind == 1 or chunk.kind == 4 then
      local record = M.fields(table.concat(parts))
      parts = {}
      found.numbers[#found.numbers + 1] = record[1][1]
      for number, list in pairs(record) do
        local message = number ~= 1 and M.fields(list[1])
        if message then found.kinds[#found.kinds + 1] = number end
        if number == 2 then
          local row = items(message[1])
          assert(row._step == M.fields(message[2][1])[1][1])
          found.rows[#found.rows + 1] = row
        elseif number == 3 then
          found.summary = items(message[1])
        elseif number == 6 then
          found.media[#found.media + 1] = M.fields(message[1][1])[1][1]
        elseif number == 17 then
          found.run, found.config = message, items(M.fields(message[4][1])[1])
        elseif number == 18 then
          found.exit = message[1][1]
        end
      end
    end
  end
  return found
end

return M
