--- The bytes of a TensorBoard event file: records, each of which holds an Event.
local crc = require "spd.trackers.crc"
local protobuf = require "spd.trackers.protobuf"

local event_file = {}

-- A checksum that is itself part of checksummed bytes is disguised, as TensorFlow does it.
local function masked_crc(bytes)
  local sum = crc.crc32c(bytes)
  return string.pack("<I4", ((sum >> 15 | sum << 17) + 0xa282ead8) & 0xffffffff)
end

--- event_file.record(bytes) -> bytes
-- An event with its length and checksums around it.
function event_file.record(bytes)
  local length = string.pack("<I8", #bytes)
  return length .. masked_crc(length) .. bytes .. masked_crc(bytes)
end

-- ---- events -------------------------------------------------------------------------------------

local WALL_TIME, STEP, FILE_VERSION, SUMMARY, SESSION_LOG = 1, 2, 3, 5, 7
local START = 1 -- status of a SessionLog

--- event_file.version(seconds) -> event that every file begins with; seconds since 1970
function event_file.version(seconds)
  return protobuf.double(WALL_TIME, seconds) .. protobuf.bytes(FILE_VERSION, "brain.Event:2")
end

local function event(seconds, step, field)
  return protobuf.double(WALL_TIME, seconds) .. protobuf.integer(STEP, step) .. field
end

--- event_file.restart(seconds, step) -> event: what earlier files have of this step and later ones does not count
function event_file.restart(seconds, step)
  return event(seconds, step, protobuf.bytes(SESSION_LOG, protobuf.integer(1, START)))
end

--- event_file.summary(seconds, step, values) -> event
-- values: list of what scalar(), image() or hyperparameters() return.
function event_file.summary(seconds, step, values)
  return event(seconds, step, protobuf.bytes(SUMMARY, table.concat(values)))
end

-- ---- values -------------------------------------------------------------------------------------

local VALUE, TAG = 1, 1

local function value(tag, rest) return protobuf.bytes(VALUE, protobuf.bytes(TAG, tag) .. rest) end

--- event_file.scalar(tag, number) -> value
function event_file.scalar(tag, number) return value(tag, protobuf.float(2, number)) end

--- event_file.image(tag, figure) -> value; see spd.trackers.figure
function event_file.image(tag, figure)
  return value(tag, protobuf.bytes(4, protobuf.integer(1, figure.height) .. protobuf.integer(2, figure.width) ..
    protobuf.integer(3, figure.channels) .. protobuf.bytes(4, figure.bytes)))
end

-- What the plugin for hyperparameters reads: all is in its metadata, the value itself is a tensor without numbers.
local function plugin_value(tag, content)
  local no_numbers = protobuf.integer(1, 1) .. protobuf.bytes(2, protobuf.bytes(2, ""))
  local plugin = protobuf.bytes(1, "hparams") .. protobuf.bytes(2, content)
  return value(tag, protobuf.bytes(8, no_numbers) .. protobuf.bytes(9, protobuf.bytes(1, plugin)))
end

local function hyperparameter(x)
  if type(x) == "number" then return protobuf.double(2, x) end
  if type(x) == "boolean" then return protobuf.integer(4, x and 1 or 0) end
  return protobuf.bytes(3, x)
end

--- event_file.session_start(seconds, hyperparameters) -> value
-- hyperparameters: name -> number, boolean or text. TensorBoard itself finds out which there are, in all runs that it
-- shows, and that the scalars are what they lead to: a list of both in one run's file would hide those of others.
function event_file.session_start(seconds, hyperparameters)
  local names, fields = {}, {}
  for name in pairs(hyperparameters) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    fields[i] = protobuf.bytes(1, protobuf.bytes(1, name) .. protobuf.bytes(2, hyperparameter(hyperparameters[name])))
  end
  fields[#fields + 1] = protobuf.double(5, seconds)
  return plugin_value("_hparams_/session_start_info", protobuf.bytes(3, table.concat(fields)))
end

--- event_file.session_end(seconds) -> value: the run is finished
function event_file.session_end(seconds)
  local SUCCESS = 1
  return plugin_value("_hparams_/session_end_info",
    protobuf.bytes(4, protobuf.integer(1, SUCCESS) .. protobuf.double(2, seconds)))
end

return event_file
