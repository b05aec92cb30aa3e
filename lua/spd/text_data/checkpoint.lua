--- A position in text as tensors of a checkpoint: int32 words, as offsets are beyond 2^31 and beyond a real's digits.
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"

local checkpoint = {}

-- The numbers of data.position and data.settings, in this order.
local POSITION = {"step", "draining", "epoch", "epoch_tokens", "file", "offset", "inside", "line"}
local SETTINGS = {"batch_size", "max_seq_len", "buffer_size", "end_id"}

-- A number from 0 to 2^62 - 1 as two of 31 bits, the low ones first.
local function words(number) return {number & 0x7fffffff, number >> 31} end

local function number_of(pair)
  if pair[1] < 0 or pair[2] < 0 then return nil end
  return pair[1] | pair[2] << 31
end

local function pack(fields, values)
  local rows = {}
  for i, field in ipairs(fields) do rows[i] = words(values[field]) end
  return core.tensor(rows, "int32")
end

local function name_of(path) return path:match("[^/]*$") end

-- A hash of 32 bits of a text (FNV-1a).
local function hash(text)
  local h = 2166136261
  for i = 1, #text do h = (h ~ text:byte(i)) * 16777619 & 0xffffffff end
  return h
end

-- [n, 4]: hash of its name, size, of each file.
local function fingerprint(paths)
  local rows = {}
  for i, path in ipairs(paths) do
    local name, size = words(hash(name_of(path))), words(files.size(path))
    rows[i] = {name[1], name[2], size[1], size[2]}
  end
  return core.tensor(rows, "int32")
end

--- checkpoint.save(settings, position, ids, buffer, last) -> name -> tensor
-- settings: those of text_data.open, end_id nil or an id, and paths. position: numbers by the names in POSITION. ids: a
-- list. buffer: a list of samples. last: the batch that was read last, or nil.
--
--     data.position [8, 2]     step, draining, epoch, epoch_tokens, file, offset, inside, line
--     data.ids [n]             tokenized, not yet in a sample
--     data.buffer [n, max_seq_len]
--     data.last [batch_size or 0, max_seq_len]
--     data.settings [4, 2]     batch_size, max_seq_len, buffer_size, end_id + 1 or 0
--     data.files [files, 4]    name (a hash) and size of each file
--
-- Numbers are pairs of 31 bits, the low ones first.
function checkpoint.save(settings, position, ids, buffer, last)
  local rows = {}
  for i, sample in ipairs(buffer) do rows[i] = sample:totable() end
  return {
    ["data.position"] = pack(POSITION, position),
    ["data.ids"] = core.tensor(ids, "int32"),
    ["data.buffer"] = #rows > 0 and core.tensor(rows, "int32") or core.zeros({0, settings.max_seq_len}, "int32"),
    ["data.last"] = last and last:clone() or core.zeros({0, settings.max_seq_len}, "int32"),
    ["data.settings"] = pack(SETTINGS, checkpoint.numbers(settings)),
    ["data.files"] = fingerprint(settings.paths),
  }
end

--- checkpoint.numbers(settings) -> the settings that a position depends on, as numbers
function checkpoint.numbers(settings)
  return {
    batch_size = settings.batch_size, max_seq_len = settings.max_seq_len, buffer_size = settings.buffer_size,
    end_id = settings.end_id and settings.end_id + 1 or 0,
  }
end

-- The rows of a tensor of the checkpoint; sizes: its shape, with nil for what may be any.
local function take(tensors, name, where, sizes)
  local tensor = tensors[name]
  if not tensor then errors.raise(2, where, "tensor '" .. name .. "' is missing", "the position in the text") end
  local shape, same = tensor.shape, tensor.dtype == "int32" and #tensor.shape == sizes.dimensions
  for i = 1, sizes.dimensions do same = same and (not sizes[i] or sizes[i] == shape[i]) end
  if not same then errors.raise(2, where, ("tensor '%s' has a wrong shape or type"):format(name)) end
  return tensor:totable()
end

local function unpack_fields(fields, rows, name, where)
  local values = {}
  for i, field in ipairs(fields) do
    values[field] = number_of(rows[i])
    if not values[field] then errors.raise(2, where, ("tensor '%s' holds no valid %s"):format(name, field)) end
  end
  return values
end

local function check_settings(settings, tensors, where)
  local rows = take(tensors, "data.settings", where, {dimensions = 2, #SETTINGS, 2})
  local before, now = unpack_fields(SETTINGS, rows, "data.settings", where), checkpoint.numbers(settings)
  for _, field in ipairs(SETTINGS) do
    if before[field] ~= now[field] then
      local shift = field == "end_id" and 1 or 0
      errors.raise(2, where, ("%s was %d and is %d now"):format(field, before[field] - shift, now[field] - shift),
        "a resumed run reads the same batches")
    end
  end
end

local function check_files(settings, tensors, where)
  local before = take(tensors, "data.files", where, {dimensions = 2, nil, 4})
  local now = fingerprint(settings.paths):totable()
  for i, path in ipairs(settings.paths) do
    local old, new = before[i], now[i]
    if not old or old[1] ~= new[1] or old[2] ~= new[2] then
      errors.raise(2, path, "is not the file that the run read", "the checkpoint is " .. where)
    elseif old[3] ~= new[3] or old[4] ~= new[4] then
      errors.raise(2, path, ("has changed since the checkpoint was written: %d bytes then, %d now"):format(
        number_of{old[3], old[4]} or 0, number_of{new[3], new[4]}), "the checkpoint is " .. where)
    end
  end
  if #before > #now then
    errors.raise(2, where, ("the run read %d files of text, and %d are there now"):format(#before, #now))
  end
  return now
end

local function check_position(position, known, where)
  local file = known[position.file]
  if not file or position.offset > number_of{file[3], file[4]} then
    errors.raise(2, where, "tensor 'data.position' is no position in the text")
  end
end

local function check_ids(ids, where)
  for i = 1, #ids do
    if ids[i] < 0 then errors.raise(2, where, ("tensor 'data.ids': %d is not a token id"):format(ids[i])) end
  end
end

-- The batch that was read last, if there was one.
local function take_last(settings, tensors, where)
  local rows = take(tensors, "data.last", where, {dimensions = 2, nil, settings.max_seq_len})
  if #rows == 0 then return nil end
  if #rows ~= settings.batch_size then errors.raise(2, where, "tensor 'data.last' has a wrong shape or type") end
  for _, row in ipairs(rows) do check_ids(row, where) end
  return core.tensor(rows, "int32")
end

--- checkpoint.load(settings, tensors, where) -> position, ids, buffer, last
-- The opposite of save, checked: same settings, files of the same names and sizes. where names the checkpoint.
function checkpoint.load(settings, tensors, where)
  local rows = take(tensors, "data.position", where, {dimensions = 2, #POSITION, 2})
  local position = unpack_fields(POSITION, rows, "data.position", where)
  check_settings(settings, tensors, where)
  check_position(position, check_files(settings, tensors, where), where)
  local ids = take(tensors, "data.ids", where, {dimensions = 1})
  check_ids(ids, where)
  local buffer = take(tensors, "data.buffer", where, {dimensions = 2, nil, settings.max_seq_len})
  for i, sample in ipairs(buffer) do
    check_ids(sample, where)
    buffer[i] = core.tensor(sample, "int32")
  end
  return position, ids, buffer, take_last(settings, tensors, where)
end

return checkpoint
