--- Works on a study: claims its trials and runs each in a process of its own, several side by side.
local command = require "spd.sweep.command"
local errors = require "spd.errors"
local files = require "spd.files"
local hyperband = require "spd.sweep.hyperband"
local interrupts = require "spd.interrupts"
local measured = require "spd.sweep.measured"
local processes = require "spd.processes"
local trial_module = require "spd.trial"
local posix = require("spd.core").posix

local worker = {}

local LOOK_SECONDS = 0.5       -- between two looks at trials that run, and at the study
local MOST_KILLS = 3           -- of a trial's process, by others, before it counts as failed
local MOST_FIRST_FAILURES = 3  -- of trials, before one has worked, that end the sweep
local LARGEST_TAIL = 1 << 16   -- bytes of a log in which the reason of a failure is looked for

-- Hangup, Ctrl-C, kill -9, kill, and the status of an spdlua that was interrupted: a signal from outside.
local KILLED = {[128 + 1] = true, [128 + 2] = true, [128 + 9] = true, [128 + 15] = true}
-- Bad usage, config or input file; a program that cannot be run, or is not there.
local REFUSED = {[2] = true, [126] = true, [127] = true}

-- ---- one trial's process ------------------------------------------------------------------------

local function start(self, trial)
  local study = self.study
  local folder = study:folder(trial.number)
  local words, overrides, extra = command.words(study.sweep, trial.values, {folder = folder})
  files.make_directory(folder)
  for _, file in ipairs(extra) do files.write(file.path, file.text) end
  local program = processes.start_bound{
    words = words, log = study:log(trial.number),
    environment = trial_module.environment(folder, overrides, self.threads),
  }
  table.insert(self.jobs, {trial = trial, program = program, started = posix.monotonic_time()})
end

-- The line of a log that says why a program failed: the last one of spdlua that is no warning, or the last of all.
local function reason_of(path, status)
  local file <close> = io.open(path, "rb")
  local size, last, ours = file and file:seek "end" or 0, nil, nil
  if file then file:seek("set", math.max(0, size - LARGEST_TAIL)) end
  for line in (file and file:read "a" or ""):gmatch("[^\n]+") do
    local text = line:match("^spdlua: (.*)")
    if text and not text:find("^warning: ") then ours = text end
    last = line:find "%S" and line or last
  end
  return ours or last or status > 128 and ("ended by signal %d"):format(status - 128)
    or ("ended with status %d"):format(status)
end

-- What has become of a trial whose process ended.
local function state_of(self, job, status)
  local trial = job.trial
  if status == 0 then return "finished" end
  trial.problem = reason_of(self.study:log(trial.number), status)
  if not KILLED[status] then return "failed" end
  if job.stopped then return "stopped" end
  if self.ending or interrupts.pending() then return "interrupted" end
  trial.kills = trial.kills + 1
  if trial.kills < MOST_KILLS then return "interrupted" end
  trial.problem = ("its process was killed %d times, by signal %d at last"):format(MOST_KILLS, status - 128)
  return "failed"
end

-- A trial that refuses its config before any has worked: the others would, too.
local function refuse(self, trial)
  local problem = trial.problem
  trial.problem = nil
  self.study:release(trial, "interrupted")
  self.refused = {("trial %d"):format(trial.number), problem}
end

local function count_failure(self, trial)
  self.failures = self.failures + 1
  if self.ending or self.failures < MOST_FIRST_FAILURES or self.study:counts().finished > 0 then return end
  errors.raise(1, ("the first %d trials failed"):format(self.failures), trial.problem, "all of it in " ..
    self.study:log(trial.number))
end

-- The metric that a trial has reached, nil for none: infinities and NaN are none, which could not be ranked.
local function metric_of(study, trial)
  local metric = study.sweep.metric
  local value = metric and measured.numbers(study:folder(trial.number))[metric.name]
  return value and value - value == 0 and value or nil
end

local function finish(self, job, status)
  local study, trial = self.study, job.trial
  trial.seconds = trial.seconds + posix.monotonic_time() - job.started
  local state = state_of(self, job, status)
  if REFUSED[status] and study:counts().finished == 0 then return refuse(self, trial) end
  trial.metric = metric_of(study, trial)
  if state ~= "failed" then
    trial.problem = nil
    os.remove(study:log(trial.number))
  end
  study:release(trial, state)
  self.display:ended(trial)
  if state == "failed" then count_failure(self, trial) end
end

-- Take note of all that have ended.
local function collect(self)
  for i = #self.jobs, 1, -1 do
    local job = self.jobs[i]
    local status, message = job.program:poll()
    if status or message then
      table.remove(self.jobs, i)
      finish(self, job, status or 1)
    end
  end
end

-- Until one of our processes ends, or it is time to look again.
local function wait(self)
  local programs = {}
  for i, job in ipairs(self.jobs) do programs[i] = job.program end
  posix.wait(programs, LOOK_SECONDS)
  collect(self)
end

-- Tell all to end, and wait: each leaves a checkpoint first.
local function end_all(self)
  self.ending = true
  for _, job in ipairs(self.jobs) do job.program:terminate() end
  while #self.jobs > 0 do wait(self) end
end

-- ---- the study ----------------------------------------------------------------------------------

-- Stop those of our trials that early_terminate ends. All trials of the study are compared.
local function stop_early(self)
  local study = self.study
  local goal, histories, running, jobs = study.sweep.metric.goal, {}, {}, {}
  for _, job in ipairs(self.jobs) do
    if not job.stopped then
      table.insert(running, job.trial.number)
      jobs[job.trial.number] = job
    end
  end
  for _, trial in ipairs(#running > 0 and study:trials() or {}) do
    histories[trial.number] = hyperband.history(self.readings:of(trial).values, goal)
  end
  for _, number in ipairs(hyperband.stops(self.bands, histories, running)) do
    jobs[number].stopped = true
    jobs[number].program:terminate()
  end
end

-- Start trials as far as there is room. Returns whether there was room for more.
local function fill(self)
  while #self.jobs < self.most do
    local trial = self.study:claim()
    if not trial then return true end
    start(self, trial)
  end
  return false
end

local function look(self)
  local now = posix.monotonic_time()
  if now - self.looked < LOOK_SECONDS then return end
  self.looked = now
  if self.bands then stop_early(self) end
  self.display:update()
end

--- worker.run{study =, jobs =, threads =, display =, readings = [, leave = true]}
-- Run trials of a study, `jobs` at a time with `threads` each, until all have ended, also those that other processes
-- run, unless leave is true. readings: see spd.sweep.measured. display:ended(trial) is called for each of ours,
-- display:update() from time to time. After an interrupt, or an error, the trials are ended, each with a checkpoint,
-- and go on another time.
function worker.run(settings)
  local early = settings.study.sweep.early_terminate
  local self = {
    study = settings.study, most = settings.jobs, threads = settings.threads, display = settings.display,
    readings = settings.readings, bands = early and hyperband.bands(early), jobs = {}, failures = 0,
    looked = -math.huge,
  }
  local guard <close> = setmetatable({}, {__close = function() end_all(self) end})
  while not interrupts.pending() do
    local had_room = fill(self)
    if had_room and #self.jobs == 0 and (settings.leave or self.study:is_complete()) then break end
    look(self)
    wait(self)
    if self.refused then errors.raise(2, table.unpack(self.refused)) end
  end
end

return worker
