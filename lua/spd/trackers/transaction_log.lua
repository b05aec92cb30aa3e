--- The file of an offline run of Weights & Biases, run-ID.wandb: records in blocks, as LevelDB's log has them.
local crc = require "spd.trackers.crc"
local errors = require "spd.errors"
local files = require "spd.files"

local transaction_log = {}

local HEADER = ":W&B\xe1\xbe\0"
local BLOCK, CHUNK_HEADER = 32768, 7
local FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4 -- which part of its record a chunk is

local function chunk(kind, bytes)
  kind = string.char(kind)
  return string.pack("<I4I2", crc.crc32(kind .. bytes), #bytes) .. kind .. bytes
end

--- transaction_log.frame(position, record) -> bytes
-- A record as it stands in the file from this position on, counted from 0: a chunk never crosses the end of a block.
function transaction_log.frame(position, record)
  local left = BLOCK - position % BLOCK
  local padding = ""
  if left < CHUNK_HEADER then padding, left = ("\0"):rep(left), BLOCK end
  if #record + CHUNK_HEADER <= left then return padding .. chunk(FULL, record) end
  local parts, from, to = {padding}, 1, left - CHUNK_HEADER
  parts[2] = chunk(FIRST, record:sub(from, to))
  while #record - to > BLOCK - CHUNK_HEADER do
    from, to = to + 1, to + BLOCK - CHUNK_HEADER
    parts[#parts + 1] = chunk(MIDDLE, record:sub(from, to))
  end
  parts[#parts + 1] = chunk(LAST, record:sub(to + 1))
  return table.concat(parts)
end

-- ---- reading ------------------------------------------------------------------------------------

-- The chunk at a position, counted from 0: its kind, its bytes, and where the next one begins. Nothing at the end, or
-- where the file is damaged.
local function read_chunk(text, position)
  local left = BLOCK - position % BLOCK
  if left < CHUNK_HEADER then position = position + left end
  if position + CHUNK_HEADER > #text then return nil end
  local sum, size, kind = ("<I4I2B"):unpack(text, position + 1)
  local ending = position + CHUNK_HEADER + size
  if ending > #text or crc.crc32(text:sub(position + CHUNK_HEADER, ending)) ~= sum then return nil end
  return kind, text:sub(position + CHUNK_HEADER + 1, ending), ending
end

--- transaction_log.read(path) -> list of records
-- Those before the first damage: a process that was killed may have left half a record.
function transaction_log.read(path)
  local text, records, parts = files.read(path), {}, {}
  if text:sub(1, #HEADER) ~= HEADER then return records end
  local kind, bytes, position = read_chunk(text, #HEADER)
  while kind do
    if kind == FULL or kind == FIRST then parts = {} end
    parts[#parts + 1] = bytes
    if kind == FULL or kind == LAST then records[#records + 1] = table.concat(parts) end
    kind, bytes, position = read_chunk(text, position)
  end
  return records
end

-- ---- writing ------------------------------------------------------------------------------------

local Log = {}
Log.__index = Log

--- transaction_log.create(path, records) -> log
-- Make the file, or replace it at once, with these records in it.
function transaction_log.create(path, records)
  local parts, position = {HEADER}, #HEADER
  for _, record in ipairs(records) do
    parts[#parts + 1] = transaction_log.frame(position, record)
    position = position + #parts[#parts]
  end
  files.write(path, table.concat(parts))
  local file, message = io.open(path, "ab")
  if not file then errors.raise(1, path, (message:gsub("^.*: ", ""))) end
  return setmetatable({path = path, file = file, position = position}, Log)
end

--- log:append(record)
-- Add a record, which is in the file when this returns.
function Log:append(record)
  local bytes = transaction_log.frame(self.position, record)
  local ok, message = self.file:write(bytes)
  if ok then ok, message = self.file:flush() end
  if not ok then errors.raise(1, self.path, message) end
  self.position = self.position + #bytes
end

--- log:close()
function Log:close() self.file:close() end

return transaction_log
