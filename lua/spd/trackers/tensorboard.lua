--- Runs in TensorBoard: an event file in the run's folder, with every logged number, the figures, and the config.
local core = require "spd.core"
local errors = require "spd.errors"
local event_file = require "spd.trackers.event_file"
local figure = require "spd.trackers.figure"
local files = require "spd.files"
local flat = require "spd.trackers.flat"
local posix = core.posix

local tensorboard = {}

local Observer = {name = "TensorBoard"}
Observer.__index = Observer

--- tensorboard.observe(run, config) -> observer
function tensorboard.observe(run, config)
  return setmetatable({folder = run.directory .. "/tensorboard", config = config}, Observer)
end

local function check(path, ok, message)
  if not ok then errors.raise(1, path, (message:gsub("^.*: ", ""))) end
end

-- Each event is in the file before the run goes on: a reader can follow, and a kill loses none.
function Observer:write(event)
  local ok, message = self.file:write(event_file.record(event))
  check(self.path, ok, message)
  check(self.path, self.file:flush())
end

-- When the newest event file was begun, in seconds since 1970; nil if there is none.
local function newest(folder)
  local latest
  for _, name in ipairs(files.list(folder)) do
    local seconds = math.tointeger(tonumber(name:match("%.tfevents%.(%d+)%.")))
    if seconds and seconds > (latest or -1) then latest = seconds end
  end
  return latest
end

-- Readers take a folder's files in the order of their names, so a later file has a later time in its name.
function Observer:open(before)
  local seconds = math.max(os.time(), (before or 0) + 1)
  self.path = ("%s/events.out.tfevents.%010d.%s.%d.0"):format(self.folder, seconds, posix.host_name(), posix.pid())
  local file, message = io.open(self.path, "wb")
  check(self.path, file, message)
  self.file = file
end

function Observer:started(step)
  files.make_directory(self.folder)
  local before = newest(self.folder)
  self:open(before)
  local now = posix.wall_time()
  self:write(event_file.version(now))
  if before then self:write(event_file.restart(now, step)) end
  self:write(event_file.summary(now, step, {event_file.session_start(now, flat.config(self.config))}))
end

-- All of these numbers that were not logged with this step before.
function Observer:scalars(step, numbers)
  local known = self.step == step and self.logged_numbers or {}
  local tags, values = {}, {}
  for tag in pairs(numbers) do
    if known[tag] == nil then tags[#tags + 1] = tag end
  end
  table.sort(tags)
  for i, tag in ipairs(tags) do values[i] = event_file.scalar(tag, numbers[tag]) end
  return values
end

function Observer:logged(step, numbers)
  self:write(event_file.summary(posix.wall_time(), step, self:scalars(step, numbers)))
  self.step, self.logged_numbers = step, numbers
end

function Observer:drawn(step, path)
  local drawn = figure.read(path)
  self:write(event_file.summary(posix.wall_time(), step, {event_file.image("figures/" .. drawn.name, drawn)}))
end

function Observer:finished(summary)
  local now = posix.wall_time()
  local values = self:scalars(summary.steps, flat.summary(summary))
  values[#values + 1] = event_file.session_end(now)
  self:write(event_file.summary(now, summary.steps, values))
end

function Observer:ended()
  if self.file then self.file:close() end
end

return tensorboard
