--- What a trial has measured so far, read from its folder: metrics.jsonl while it runs, summary.json at its end.
local files = require "spd.files"
local json = require "spd.json"
local posix = require("spd.core").posix

local measured = {}

local Reader = {}
Reader.__index = Reader

-- ---- while it runs ------------------------------------------------------------------------------

--- measured.reader(folder, metric) -> reader
-- Follows a trial's metrics.jsonl. reader:update() reads what is new; then reader.step is that of the last line,
-- reader.value the last value of the metric (nil for none), reader.values all of them, reader.rate steps per second,
-- and reader.steps how many there will be, where final_config.yaml tells.
function measured.reader(folder, metric)
  return setmetatable({folder = folder, metric = metric, offset = 0, values = {}, steps_of = {}, rate = 0}, Reader)
end

-- A run that went on from a checkpoint writes steps again.
local function take_row(self, row)
  local step = math.tointeger(row.step)
  if step then
    while self.steps_of[1] and self.steps_of[#self.steps_of] >= step do
      table.remove(self.steps_of)
      table.remove(self.values)
    end
    self.step = step
  end
  local value = self.metric and row[self.metric]
  if type(value) ~= "number" then return end
  table.insert(self.values, value)
  table.insert(self.steps_of, step or #self.values)
  self.value = value
end

local function take_new_rows(self)
  local path = self.folder .. "/metrics.jsonl"
  if not posix.is_file(path) then return end
  if files.size(path) < self.offset then self.offset, self.values, self.steps_of = 0, {}, {} end
  for _, row, offset in files.json_lines(path, self.offset) do
    self.offset = offset
    if row then take_row(self, row) end
  end
end

local function measure_rate(self)
  local now = posix.monotonic_time()
  if self.measured and self.step and self.step > self.measured then
    self.rate = (self.step - self.measured) / (now - self.measured_at)
  end
  if self.step ~= self.measured then self.measured, self.measured_at = self.step, now end
end

--- reader:update()
-- Read what is new.
function Reader:update()
  if not self.steps and posix.is_file(self.folder .. "/final_config.yaml") then
    self.steps = math.tointeger(tonumber(files.read(self.folder .. "/final_config.yaml"):match("\nsteps: (%d+)")))
  end
  take_new_rows(self)
  measure_rate(self)
end

local Readings = {}
Readings.__index = Readings

--- measured.readings(study) -> readings
-- The readers of a study's trials: readings:of(trial) is that of one, up to date.
function measured.readings(study) return setmetatable({study = study, readers = {}}, Readings) end

--- readings:of(trial) -> reader
function Readings:of(trial)
  local reader = self.readers[trial.number]
  if not reader then
    local metric = self.study.sweep.metric
    reader = measured.reader(self.study:folder(trial.number), metric and metric.name)
    self.readers[trial.number] = reader
  end
  if not reader.complete then reader:update() end
  reader.complete = trial.ended ~= nil
  return reader
end

-- ---- at its end ---------------------------------------------------------------------------------

-- The numbers of an object by name; those of an object in it as NAME/KEY.
local function add_numbers(numbers, object, prefix)
  for key, value in pairs(object) do
    if type(value) == "number" then
      numbers[prefix .. key] = value
    elseif type(value) == "table" and prefix == "" then
      add_numbers(numbers, value, key .. "/")
    end
  end
end

--- measured.numbers(folder) -> table by name
-- The last numbers of a trial: those of its metrics, and over them those of its summary. An object such as
-- target_ci_error is target_ci_error/linear1 and so on.
function measured.numbers(folder)
  local numbers = {}
  local summary = folder .. "/summary.json"
  for _, row in files.json_lines(folder .. "/metrics.jsonl") do add_numbers(numbers, row or {}, "") end
  local last = posix.is_file(summary) and json.decode(files.read(summary))
  if type(last) == "table" then add_numbers(numbers, last, "") end
  return numbers
end

return measured
