--- A run on disk: a folder that survives a kill at any moment and can be read with any tool.
--
--     final_config.yaml                 all settings, written first
--     metrics.jsonl                     a JSON object per logged step
--     checkpoints/step_N.safetensors    the state before step N; the last two are kept
--     summary.json                      written when the run is finished
--     target/, figures/                 the target model, and pictures
--     run.lock                          locked while a process works on the run
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local json = require "spd.json"
local posix = core.posix

local run = {}

local Run = {}
Run.__index = Run

local CHECKPOINTS_KEPT = 2
local LONGEST_ROW = 1 << 18 -- bytes of metrics.jsonl that are read for its last row

-- ---- making and opening -------------------------------------------------------------------------

local function new(directory)
  return setmetatable({directory = directory, unreadable = {}, observers = {}}, Run)
end

-- A folder of its own under out/, also when another process makes one in the same second.
local function make_fresh_directory(case, seed)
  files.make_directory("out", true)
  local name = ("out/%s_seed%d_%s"):format(case:gsub("[^%w._-]", "_"), seed, os.date("%Y%m%d-%H%M%S"))
  for k = 1, 10000 do
    local path = k == 1 and name or name .. "-" .. k
    local ok, message = posix.make_directory(path)
    if ok then return path end
    if not posix.is_directory(path) then errors.raise(2, path, message) end
  end
  errors.raise(2, name, "too many folders of this name")
end

-- What a process left that was killed before the run had its config does not count.
local function check_empty(directory)
  for _, name in ipairs(files.list(directory)) do
    if name ~= "run.lock" and not name:match("^final_config%.yaml%..*%.tmp$") then
      errors.raise(2, directory, "is not empty", "--resume goes on with the run in it")
    end
  end
end

--- run.create{case =, seed =, config_writer = [, directory =]} -> run
-- A new run's folder, locked, with final_config.yaml written by config_writer(path). Without a directory, a
-- fresh one out/CASE_seedSEED_YYYYMMDD-HHMMSS. An existing directory must be empty. Call this last, when
-- nothing that the user gave can be refused any more. If config_writer raises an error, nothing is left.
function run.create(settings)
  local directory = settings.directory and settings.directory:gsub("(.)/+$", "%1")
  local missing = files.missing_folders(directory or "out")
  if directory then
    files.make_directory(directory, true)
  else
    directory = make_fresh_directory(settings.case, settings.seed)
    table.insert(missing, 1, directory)
  end
  check_empty(directory)
  local self = new(directory)
  self:lock()
  local ok, message = pcall(function()
    check_empty(directory) -- another process may have been faster
    settings.config_writer(self:config_path())
  end)
  if not ok then
    if #missing > 0 then os.remove(directory .. "/run.lock") end
    self:close()
    files.remove_folders(missing)
    error(message, 0)
  end
  return self
end

--- run.open(directory) -> run
-- The run in an existing folder, not locked.
function run.open(directory)
  directory = directory:gsub("(.)/+$", "%1")
  if not posix.is_directory(directory) then errors.raise(2, directory, "no such folder") end
  if not posix.is_file(directory .. "/final_config.yaml") then
    errors.raise(2, directory, "is not a run's folder", "it has no final_config.yaml")
  end
  return new(directory)
end

--- run:config_path() -> path of final_config.yaml
function Run:config_path() return self.directory .. "/final_config.yaml" end

--- run:in_work() -> true if a process works on the run
function Run:in_work() return posix.is_locked(self.directory .. "/run.lock") end

--- run:lock()
-- Keep other processes from working on the run until run:close() or the end of this one.
function Run:lock()
  if self.held then return end
  local lock, message = posix.try_lock(self.directory .. "/run.lock")
  if not lock then
    errors.raise(2, self.directory, message or "another process is working on this run",
      not message and "wait for it, or end it" or nil)
  end
  self.held = lock
end

--- run:close([problem])
-- Close metrics.jsonl and unlock. Can be called again; a to-be-closed run calls it when it goes out of scope, with the
-- error that ended the work, if any.
function Run:close(problem)
  self:tell("ended", problem)
  self.observers = {}
  if self.metrics then self.metrics:close() end
  if self.held then self.held:close() end
  self.metrics, self.held = nil, nil
end

Run.__close = Run.close

-- ---- observers ----------------------------------------------------------------------------------

--- run:observe(observer)
-- Tell an object from now on what happens to the run. It has a name, for warnings, and those of these methods that it
-- cares about: started(step), where the run begins or goes on, and forgets what was logged from that step on;
-- logged(step, numbers); drawn(step, path) for each figure, the last ones with the number of all steps;
-- finished(summary); ended(problem), last of all, with the error that ended the work or nil. One that fails is a
-- warning, and is told nothing any more: it never stops a run.
function Run:observe(observer) table.insert(self.observers, observer) end

--- run:tell(event, ...)
-- Call this method of all observers.
function Run:tell(event, ...)
  local kept = {}
  for _, observer in ipairs(self.observers) do
    local ok, message = true, nil
    if observer[event] then ok, message = pcall(observer[event], observer, ...) end
    if ok then
      kept[#kept + 1] = observer
    else
      errors.warn(observer.name .. ": " .. tostring(message))
    end
  end
  self.observers = kept
end

-- ---- metrics ------------------------------------------------------------------------------------

local function metrics_path(self) return self.directory .. "/metrics.jsonl" end

--- run:log(step, numbers)
-- Append a line to metrics.jsonl: {"step": STEP, ...}, keys sorted, NaN and infinities as null.
function Run:log(step, numbers)
  local path = metrics_path(self)
  local ok, message = true, nil
  if not self.metrics then
    self.metrics, message = io.open(path, "ab")
    ok = self.metrics
  end
  if ok then
    local rest = json.encode(numbers):sub(2)
    local line = ('{"step":%d%s%s\n'):format(step, rest == "}" and "" or ",", rest)
    ok, message = self.metrics:write(line)
    if ok then ok, message = self.metrics:flush() end
  end
  if not ok then errors.raise(1, path, (message:gsub("^.*: ", ""))) end
  self:tell("logged", step, numbers)
end

-- Drop the lines of metrics.jsonl from a step on, and whatever is no whole line. The file is replaced at once.
local function drop_lines(self, step)
  local path = metrics_path(self)
  if not posix.is_file(path) then
    if posix.modified(path) then errors.raise(2, path, "is not a regular file") end
    return
  end
  if self.metrics then
    self.metrics:close()
    self.metrics = nil
  end
  local size, kept = files.size(path), {}
  for line, row in files.json_lines(path) do
    if row and math.type(row.step) == "integer" and row.step < step then kept[#kept + 1] = line .. "\n" end
  end
  local remaining = table.concat(kept)
  if #remaining ~= size then files.write(path, remaining) end
end

--- run:cut_metrics(step)
-- Before the work begins or goes on at step `step`: drop the lines of metrics.jsonl from that step on, which are about
-- to be written again, and half-written files; then tell the observers.
function Run:cut_metrics(step)
  for _, folder in ipairs{"", "/checkpoints", "/figures", "/target"} do
    if posix.is_directory(self.directory .. folder) then files.tidy(self.directory .. folder) end
  end
  drop_lines(self, step)
  self:tell("started", step)
end

-- ---- checkpoints --------------------------------------------------------------------------------

local function checkpoint_path(self, step)
  return ("%s/checkpoints/step_%d.safetensors"):format(self.directory, step)
end

--- run:checkpoints() -> list of steps, ascending.
function Run:checkpoints()
  local steps, folder = {}, self.directory .. "/checkpoints"
  if not posix.is_directory(folder) then return steps end
  for _, name in ipairs(files.list(folder)) do
    steps[#steps + 1] = math.tointeger(tonumber(name:match("^step_(%d+)%.safetensors$")))
  end
  table.sort(steps)
  return steps
end

-- Keep only the last ones, and none that could not be read or that is of a later step (it was passed over).
local function prune(self, newest)
  local kept = {}
  for _, step in ipairs(self:checkpoints()) do
    if step > newest or self.unreadable[step] then
      os.remove(checkpoint_path(self, step))
    else
      kept[#kept + 1] = step
    end
  end
  for i = 1, #kept - CHECKPOINTS_KEPT do os.remove(checkpoint_path(self, kept[i])) end
end

--- run:save_checkpoint(step, tensors)
-- Write the state before step `step`, name -> tensor, with the step as metadata, and drop all checkpoints but the last
-- two.
function Run:save_checkpoint(step, tensors)
  local folder = self.directory .. "/checkpoints"
  files.make_directory(folder)
  files.tidy(folder)
  core.safetensors_save(checkpoint_path(self, step), tensors, {step = tostring(step)})
  prune(self, step)
end

--- run:load_checkpoint(step) -> tensors, metadata, path
function Run:load_checkpoint(step)
  local path = checkpoint_path(self, step)
  if not posix.is_file(path) then
    local steps = self:checkpoints()
    errors.raise(2, self.directory, ("no checkpoint of step %d"):format(step),
      #steps > 0 and "there is " .. table.concat(steps, ", ") or "there is none")
  end
  local tensors, metadata = core.safetensors_load(path)
  if metadata.step ~= tostring(step) then
    errors.raise(2, path, ("holds the state of step %s"):format(tostring(metadata.step)))
  end
  return tensors, metadata, path
end

--- run:latest_checkpoint() -> step, tensors, path, metadata; or nil
-- The newest checkpoint that can be read. Newer ones that cannot are passed over with a warning.
function Run:latest_checkpoint()
  local steps = self:checkpoints()
  for i = #steps, 1, -1 do
    local ok, tensors, metadata, path = pcall(self.load_checkpoint, self, steps[i])
    if ok then return steps[i], tensors, path, metadata end
    local err = tensors
    if not (errors.is(err) and err.status == 2) then error(err, 0) end
    self.unreadable[steps[i]] = true
    errors.warn(err.message .. ": passed over")
  end
  return nil
end

-- ---- results ------------------------------------------------------------------------------------

local function summary_path(self) return self.directory .. "/summary.json" end

--- run:write_summary(summary)
-- Write summary.json: keys sorted, NaN and infinities as null.
function Run:write_summary(summary)
  files.write(summary_path(self), json.encode_pretty(summary))
  self:tell("finished", summary)
end

--- run:summary() -> table, or nil where there is no summary.json
function Run:summary()
  local path = summary_path(self)
  if not posix.is_file(path) then return nil end
  local summary, message = json.decode(files.read(path))
  if type(summary) ~= "table" then errors.raise(2, path, message or "expected a JSON object") end
  return summary
end

--- run:is_finished() -> true if there is a summary and the checkpoint of its last step
function Run:is_finished()
  local summary = self:summary()
  local steps = summary and math.tointeger(summary.steps)
  return steps ~= nil and posix.is_file(checkpoint_path(self, steps))
end

--- run:make_figures_folder() -> true, or nil and the reason
function Run:make_figures_folder()
  local folder = self.directory .. "/figures"
  if posix.is_directory(folder) then return true end
  local ok, message = posix.make_directory(folder)
  return ok, message and folder .. ": " .. message
end

--- run:figure_path(name) -> figures/NAME.png in the run's folder
function Run:figure_path(name) return ("%s/figures/%s.png"):format(self.directory, name) end

--- run:last_metrics() -> the last row of metrics.jsonl as a table, or nil
function Run:last_metrics()
  local path, last = metrics_path(self), nil
  if not posix.is_file(path) then return nil end
  for _, row in files.json_lines(path, math.max(0, files.size(path) - LONGEST_ROW)) do last = row or last end
  return last
end

--- run:metrics_rows() -> list of the rows of metrics.jsonl, as tables
function Run:metrics_rows()
  local rows = {}
  for _, row in files.json_lines(metrics_path(self)) do rows[#rows + 1] = row end
  return rows
end

return run
