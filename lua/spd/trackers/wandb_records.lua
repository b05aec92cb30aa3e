--- The records of an offline run of Weights & Biases, as bytes.
local json = require "spd.json"
local protobuf = require "spd.trackers.protobuf"

local wandb_records = {}

-- Numbers of the fields of a Record, which holds one of these beside its own number.
local NUMBER, HISTORY, SUMMARY, FILES, RUN, EXIT, HEADER, ENVIRONMENT = 1, 2, 3, 6, 17, 18, 21, 26

local MEDIA = 2 -- type of a file

local bytes, integer = protobuf.bytes, protobuf.integer

local function record(number, field, message) return integer(NUMBER, number) .. bytes(field, message) end

-- A value as JSON of the kind that Python reads and writes.
local function json_text(value)
  if value ~= value then return "NaN" end
  if value == math.huge then return "Infinity" end
  if value == -math.huge then return "-Infinity" end
  return json.encode(value)
end

-- Fields of a message in the order of a list {number, text}; texts that are nil are left out.
local function texts(list)
  local parts = {}
  for _, field in ipairs(list) do
    if field[2] then parts[#parts + 1] = bytes(field[1], field[2]) end
  end
  return table.concat(parts)
end

-- An item of config, history or summary for each entry of a table, by name.
local function items(field, values)
  local keys, parts = {}, {}
  for name in pairs(values) do keys[#keys + 1] = name end
  table.sort(keys)
  for i, name in ipairs(keys) do parts[i] = bytes(field, bytes(1, name) .. bytes(16, json_text(values[name]))) end
  return table.concat(parts)
end

--- wandb_records.header(number, producer) -> record that every file begins with
function wandb_records.header(number, producer)
  return record(number, HEADER, bytes(1, bytes(1, producer)))
end

--- wandb_records.run(number, run) -> record
-- run: {id =, project =, config =, name =, host =, start = seconds since 1970 [, entity =, group =, job_type =,
-- notes =, tags = list]}.
function wandb_records.run(number, run)
  local message = {
    texts{{1, run.id}, {2, run.entity}, {3, run.project}}, bytes(4, items(1, run.config)),
    texts{{6, run.group}, {7, run.job_type}, {8, run.name}, {9, run.notes}},
  }
  for _, tag in ipairs(run.tags or {}) do message[#message + 1] = bytes(10, tag) end
  message[#message + 1] = bytes(13, run.host) .. protobuf.timestamp(17, run.start)
  return record(number, RUN, table.concat(message))
end

--- wandb_records.environment(number, environment) -> record
-- environment: {os =, host =, start = seconds since 1970 [, program =, root =, executable =]}.
function wandb_records.environment(number, environment)
  return record(number, ENVIRONMENT, bytes(1, environment.os) .. protobuf.timestamp(3, environment.start) ..
    texts{{6, environment.program}, {11, environment.root}, {12, environment.host}, {14, environment.executable}})
end

--- wandb_records.history(number, step, values) -> record: what was logged at a step, name -> value
function wandb_records.history(number, step, values)
  return record(number, HISTORY, items(1, values) .. bytes(2, integer(1, step)))
end

--- wandb_records.summary(number, values) -> record: the latest of all values, name -> value
function wandb_records.summary(number, values) return record(number, SUMMARY, items(1, values)) end

--- wandb_records.media(number, path) -> record: a figure to be sent; its path in files/
function wandb_records.media(number, path)
  return record(number, FILES, bytes(1, bytes(1, path) .. integer(3, MEDIA)))
end

--- wandb_records.exit(number, status, seconds) -> record: how the run ended, and how long it took
function wandb_records.exit(number, status, seconds)
  return record(number, EXIT, integer(1, status) .. integer(2, math.floor(seconds)))
end

-- ---- reading ------------------------------------------------------------------------------------

--- wandb_records.history_of(record) -> step, values as JSON texts by name; nil if it is no record of history
function wandb_records.history_of(bytes_of_record)
  local history = protobuf.field(bytes_of_record, HISTORY)
  local step = type(history) == "string" and protobuf.field(history, 2)
  if type(step) ~= "string" then return nil end
  local values = {}
  for field, item in protobuf.fields(history) do
    local name = field == 1 and protobuf.field(item, 1)
    if name then values[name] = protobuf.field(item, 16) end
  end
  return protobuf.field(step, 1) or 0, values
end

return wandb_records
