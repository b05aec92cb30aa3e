--- A study on disk: the trials of a sweep, which any number of processes share.
--
--     sweep.yaml        the sweep file, as it was when the study began
--     study.db          SQLite: a row per trial
--     records/N.json    the row of trial N once more, from which the database can be made again
--     trials/N/         what trial N leaves, mostly a run
--     logs/N.log        what trial N printed, if it failed
--     workers/NAME      locked by a process that works on the study, as long as it lives
--     ranking.md, figures/
--     study.lock        locked while a process opens the study, or writes its results
--
-- A trial belongs to the process that has claimed it. When that has ended, as its lock tells, the claim is void and the
-- trial goes on with whoever claims it next. States of a trial: running; interrupted, to go on; finished, failed, and
-- stopped (by early_terminate), for good.
local core = require "spd.core"
local database = require "spd.database"
local definition = require "spd.sweep.definition"
local errors = require "spd.errors"
local files = require "spd.files"
local interrupts = require "spd.interrupts"
local json = require "spd.json"
local values_module = require "spd.sweep.values"
local posix = core.posix

local study = {}

local Study = {}
Study.__index = Study

local VERSION = 1
local SCHEMA = [[
CREATE TABLE trials (
  number INTEGER PRIMARY KEY,
  state TEXT NOT NULL,
  parameters TEXT NOT NULL,           -- JSON: a list of {"key":, "value":}
  worker TEXT,                        -- the file in workers/ of the process that has claimed it
  kills INTEGER NOT NULL DEFAULT 0,   -- how often its process was killed by others
  seconds REAL NOT NULL DEFAULT 0,    -- that its processes took
  ended REAL,                         -- seconds since 1970
  metric REAL,
  problem TEXT                        -- why it failed
);
CREATE INDEX trials_by_state ON trials (state);
]]
local REBUILD = "the same command with --rebuild makes it again from records/"
local WORKER = "^%d+%-%x+$" -- names of files in workers/: a process, and a random number
local RECORD = "^(%d+)%.json$"
local HALF_RECORD = "^%d+%.json%..*%.tmp$"
local LOG = "^%d+%.log$"
local STATES = {running = true, interrupted = true, finished = true, failed = true, stopped = true}
local ENDED = {finished = true, failed = true, stopped = true}

-- ---- rows ---------------------------------------------------------------------------------------

local function encode_values(values)
  local list = {}
  for i, item in ipairs(values) do list[i] = {key = item.key, value = values_module.json(item.value)} end
  return json.encode(#list > 0 and list or json.empty_list)
end

-- The values that the text of a row's parameters lists, or nil where it is no list of {key, value}.
local function values_of(text)
  local list = type(text) == "string" and json.decode(text)
  if type(list) ~= "table" then return nil end
  local count = 0
  for _, item in pairs(list) do
    if type(item) ~= "table" or type(item.key) ~= "string" then return nil end
    count = count + 1
  end
  return count == #list and list or nil
end

local function is_optional(value, kind) return value == nil or type(value) == kind end

-- Whether a row, of the database or a record, is that of a trial; its worker apart.
local function is_row(row)
  return STATES[row.state] and math.type(row.number) == "integer" and row.number >= 0
    and math.type(row.kills) == "integer" and type(row.seconds) == "number" and is_optional(row.ended, "number")
    and is_optional(row.metric, "number") and is_optional(row.problem, "string")
end

local function raise_damaged(self) errors.raise(2, self:path "study.db", "is damaged", REBUILD) end

local function trial_of(self, row)
  row.values = values_of(row.parameters)
  if not row.values or not is_row(row) then raise_damaged(self) end
  return row
end

function Study:path(name) return self.directory .. "/" .. name end

--- study:folder(number) -> path of a trial's folder
function Study:folder(number) return ("%s/trials/%d"):format(self.directory, number) end

--- study:log(number) -> path of what a trial prints
function Study:log(number) return ("%s/logs/%d.log"):format(self.directory, number) end

local function record_path(self, number) return ("%s/records/%d.json"):format(self.directory, number) end

-- Write a trial's row beside the database, before that has it.
local function record(self, trial)
  files.write(record_path(self, trial.number), json.encode{
    number = trial.number, state = trial.state, parameters = trial.parameters, kills = trial.kills,
    seconds = trial.seconds, ended = trial.ended, metric = trial.metric, problem = trial.problem,
  } .. "\n")
end

-- ---- patience -----------------------------------------------------------------------------------

-- What work() returns. Where the database was locked for long, as on a slow network folder, it is done again; give_up()
-- tells when not any more: then nil is returned.
local function patiently(work, give_up)
  while true do
    local results = table.pack(pcall(work))
    if results[1] then return table.unpack(results, 2, results.n) end
    if type(results[2]) ~= "table" or results[2].kind ~= "busy" then error(results[2], 0) end
    if give_up and give_up() then return nil end
  end
end

-- The rows of a question about the study.
local function ask(self, sql, ...)
  local values = table.pack(...)
  return patiently(function() return self.db:rows(sql, table.unpack(values, 1, values.n)) end)
end

-- ---- processes ----------------------------------------------------------------------------------

local function worker_path(self, name) return self:path "workers/" .. name end

-- Whether the process of that name lives. What one that has ended leaves is removed, and nothing that has another kind
-- of name. Only within a transaction, so that no process is just about to lock its file.
local function lives(self, name)
  local path = worker_path(self, name)
  if name == self.worker then return true end
  if not name:find(WORKER) or not posix.is_file(path) then return false end
  local lock <close>, message = posix.try_lock(path)
  if not lock and message then errors.raise(1, path, message) end
  if not lock then return true end
  os.remove(path)
  return false
end

-- The names of other processes that work on the study.
local function others(self)
  local names = {}
  for _, name in ipairs(files.list(self:path "workers")) do
    if name ~= self.worker and lives(self, name) then names[#names + 1] = name end
  end
  return names
end

-- Remove records that killed processes have left half-written. Only within a transaction, as records are written.
local function tidy_records(self)
  for _, name in ipairs(files.list(self:path "records")) do
    if name:find(HALF_RECORD) then os.remove(self:path "records/" .. name) end
  end
end

-- The names of all records.
local function records(self)
  local names = {}
  for _, name in ipairs(files.list(self:path "records")) do
    if name:find(RECORD) then names[#names + 1] = name end
  end
  return names
end

-- From now on this process has a name and lives. Only within a transaction.
local function register(self)
  others(self)
  tidy_records(self)
  local name
  repeat
    name = ("%d-%08x"):format(posix.pid(), math.random(0, 0xffffffff))
  until not posix.is_file(worker_path(self, name))
  local lock, message = posix.try_lock(worker_path(self, name))
  if not lock then errors.raise(1, worker_path(self, name), message or "is locked") end
  self.worker, self.held = name, lock
end

-- ---- opening ------------------------------------------------------------------------------------

local FOLDERS = {"records", "trials", "logs", "workers"}
local DATABASE = {"study.db", "study.db-journal", "study.db-wal", "study.db-shm"}

-- What a study without a database may still hold; one that has only begun holds study.lock alone.
local OURS = {
  ["study.lock"] = true, ["sweep.yaml"] = true, ["slurm.sh"] = true, ["ranking.md"] = true, figures = true,
  records = true, trials = true, logs = true, workers = true,
}

-- The folder is empty, or has been made for the same sweep file. Nothing is written into any other: an equal sweep.yaml
-- may also lie where somebody keeps other things.
local function check_folder(self, text)
  local copy = self:path "sweep.yaml"
  local has_copy = posix.is_file(copy)
  if has_copy and not definition.same_trials(files.read(copy), text) then
    errors.raise(2, self.directory, ("is the study of another sweep: its sweep.yaml has other trials than %s"):format(
      self.sweep.path), "--out names another folder")
  end
  if has_copy and (posix.is_file(self:path "study.db") or posix.is_file(self:path "study.lock")) then return end
  for _, name in ipairs(files.list(self.directory)) do
    local ours = has_copy and OURS[name] or name == "study.lock"
    if not ours and not name:match("^sweep%.yaml%..*%.tmp$") then
      errors.raise(2, self.directory, "is not empty, and no study: it holds " .. name, "--out names another folder")
    end
  end
end

local function take_folder(self, text)
  check_folder(self, text) -- another process may have been faster
  local copy = self:path "sweep.yaml"
  self.made = not posix.is_file(copy)
  if self.made or files.read(copy) ~= text then files.write(copy, text) end -- run_cap may be another one
  for _, name in ipairs(FOLDERS) do files.make_directory(self:path(name)) end
end

-- Write-ahead logs are shared memory: they work between processes of one machine only.
local function leave_wal(self)
  if self.db:rows "PRAGMA journal_mode"[1].journal_mode ~= "wal" then return end
  if #others(self) > 0 then
    errors.raise(2, self.directory, "other processes work on the study", "end them first")
  end
  self.db:run "PRAGMA journal_mode = delete"
end

local function open_file(path, journal)
  return database.open{
    path = path, version = VERSION, schema = SCHEMA, what = "the study", rebuild = REBUILD, journal = journal,
  }
end

local function open_database(self)
  if not posix.is_file(self:path "study.db") and #records(self) > 0 then
    errors.raise(2, self:path "study.db", "is missing", REBUILD)
  end
  self.db = open_file(self:path "study.db", self.journal)
  if self.journal == "delete" then leave_wal(self) end
end

local function read_record(self, name)
  local path = self:path "records/" .. name
  local row = json.decode(files.read(path))
  local ok = type(row) == "table" and is_row(row) and values_of(row.parameters)
    and row.number == math.tointeger(tonumber(name:match(RECORD)))
  if not ok then errors.raise(2, path, "is damaged") end
  if not ENDED[row.state] then row.state = "interrupted" end
  return row
end

-- A database that is new, or was emptied, would begin trials again that have been. One record of a trial that has not
-- ended may be there before its row: its process was killed in between. Only within a transaction, as processes that
-- live write both in one.
local function check_is_filled(self)
  local names = records(self)
  if #names == 0 or #self.db:rows "SELECT 1 FROM trials LIMIT 1" > 0 then return end
  if #names == 1 and not ENDED[read_record(self, names[1]).state] then return end
  errors.raise(2, self:path "study.db", "has no trials, but records/ has", REBUILD)
end

local function insert(db, row)
  db:run("INSERT INTO trials (number, state, parameters, kills, seconds, ended, metric, problem) VALUES " ..
    "(?, ?, ?, ?, ?, ?, ?, ?)", row.number, row.state, row.parameters, row.kills, row.seconds, row.ended, row.metric,
    row.problem)
end

-- Make a database from the records.
local function fill(self, path)
  local db <close> = open_file(path, "delete")
  database.transaction(db, function()
    for _, name in ipairs(records(self)) do insert(db, read_record(self, name)) end
  end)
end

-- Make the database again from what is written beside it, and put it in the place of the old one at once. A journal of
-- that would be taken for the new one's.
local function rebuild(self)
  local living = others(self)
  if #living > 0 then
    errors.raise(2, self.directory, ("%d other processes work on the study"):format(#living), "end them first")
  end
  tidy_records(self)
  local path = self:path "study.db"
  local new = path .. ".tmp"
  local function remove_new()
    os.remove(new)
    os.remove(new .. "-journal")
  end
  remove_new() -- of one that was killed
  local guard <close> = setmetatable({}, {__close = remove_new})
  fill(self, new)
  for _, suffix in ipairs{"-journal", "-wal", "-shm"} do os.remove(path .. suffix) end
  local renamed, reason = posix.rename(new, path)
  if not renamed then errors.raise(1, path, reason) end
  self.db = open_file(path)
end

--- study.open{directory =, sweep =, text =, sampler = [, rebuild = true] [, network = true]} -> study
-- The study of a sweep (from spd.sweep.definition) in its folder, made if it is not there, for this process to work on.
-- text: the content of the sweep file; a study of another one is an error. rebuild: make the database again first, from
-- records/. network: processes of several machines are to work on it. To be closed.
function study.open(settings)
  local directory = settings.directory:gsub("(.)/+$", "%1")
  local self = setmetatable({
    directory = directory, sweep = settings.sweep, sampler = settings.sampler,
    journal = settings.network and "delete" or "wal",
    missing = files.missing_folders(directory),
  }, Study)
  files.make_directory(directory, true)
  check_folder(self, settings.text)
  local lock <close> = self:lock()
  take_folder(self, settings.text)
  if settings.rebuild then rebuild(self) else open_database(self) end
  database.transaction(self.db, function()
    check_is_filled(self)
    register(self)
  end)
  return self
end

--- study:lock() -> lock
-- Wait until no other process opens the study or writes its results, and keep others from it until the lock is closed.
-- An interrupt ends the wait.
function Study:lock()
  local path = self:path "study.lock"
  local lock, message = posix.lock(path)
  if not lock and interrupts.pending() then interrupts.stop("waited for " .. path, "the same command goes on") end
  if not lock then errors.raise(1, path, message) end
  return lock
end

-- ---- claims -------------------------------------------------------------------------------------

-- Take the trials of processes that have ended away from them.
local function void_claims(self)
  for _, row in ipairs(self.db:rows "SELECT DISTINCT worker FROM trials WHERE state = 'running'") do
    if type(row.worker) ~= "string" then raise_damaged(self) end
    if not lives(self, row.worker) then
      self.db:run("UPDATE trials SET state = 'interrupted', worker = NULL WHERE worker = ?", row.worker)
    end
  end
end

-- Whether a process still works in the folder, as one does that has been told to end and writes its checkpoint.
local function is_busy(folder)
  local path = folder .. "/run.lock"
  if not posix.is_file(path) then return false end
  local lock <close> = posix.try_lock(path)
  return lock == nil
end

local function interrupted_trial(self)
  for row in self.db:each "SELECT * FROM trials WHERE state = 'interrupted' ORDER BY number" do
    if not is_busy(self:folder(row.number)) then return trial_of(self, row) end
  end
end

local function is_better(self, metric, than)
  if self.sweep.metric.goal == "maximize" then return metric >= than end
  return metric <= than
end

-- Whether a trial has reached the metric's target: then no more are begun.
local function target_is_reached(self)
  local target = self.sweep.metric and self.sweep.metric.target
  local best = target and self:best()
  return best ~= nil and is_better(self, best.metric, target)
end

local function new_trial(self)
  local number = self.db:rows("SELECT COALESCE(MAX(number) + 1, 0) AS next FROM trials")[1].next
  local total = self.sampler:count()
  if total and number >= total or target_is_reached(self) then return nil end
  local history = self.sweep.method == "bayes" and self:trials() or {}
  local parameters = encode_values(self.sampler:values(number + 1, history))
  self.db:run("INSERT INTO trials (number, state, parameters) VALUES (?, 'interrupted', ?)", number, parameters)
  return trial_of(self, {number = number, state = "interrupted", parameters = parameters, kills = 0, seconds = 0})
end

local function claim(self)
  void_claims(self)
  local trial = interrupted_trial(self) or new_trial(self)
  if not trial then return nil end
  trial.state, trial.worker = "running", self.worker
  record(self, trial)
  self.db:run("UPDATE trials SET state = 'running', worker = ? WHERE number = ?", self.worker, trial.number)
  return trial
end

--- study:claim() -> trial, or nil
-- A trial for this process to run, {number =, values =, ...}: one that was interrupted, or a new one. Nil: there is
-- none now; study:is_complete() tells whether there may be one later. An interrupt ends waiting for the database.
function Study:claim()
  return patiently(function()
    return database.transaction(self.db, function() return claim(self) end)
  end, interrupts.pending)
end

--- study:release(trial, state)
-- A trial that this process has claimed is in this state now; its kills, seconds, metric and problem are kept with it.
-- Waits as long as the database is locked: what has ended must not be lost.
function Study:release(trial, state)
  trial.state, trial.worker = state, nil
  trial.ended = ENDED[state] and os.time() or nil
  patiently(function()
    database.transaction(self.db, function()
      record(self, trial)
      self.db:run("UPDATE trials SET state = ?, worker = NULL, kills = ?, seconds = ?, ended = ?, metric = ?, " ..
        "problem = ? WHERE number = ?", state, trial.kills, trial.seconds, trial.ended, trial.metric, trial.problem,
        trial.number)
    end)
  end)
end

-- ---- looking ------------------------------------------------------------------------------------

local function trials_of(self, rows)
  for _, row in ipairs(rows) do trial_of(self, row) end
  return rows
end

--- study:trials([state]) -> list of all trials, or of those in a state, by number
function Study:trials(state)
  if not state then return trials_of(self, ask(self, "SELECT * FROM trials ORDER BY number")) end
  return trials_of(self, ask(self, "SELECT * FROM trials WHERE state = ? ORDER BY number", state))
end

--- study:recent(count) -> list of the trials that ended last, the latest first
function Study:recent(count)
  return trials_of(self, ask(self, "SELECT * FROM trials WHERE ended IS NOT NULL " ..
    "ORDER BY ended DESC, number DESC LIMIT ?", count))
end

--- study:best() -> the trial with the best metric, or nil
function Study:best()
  if not self.sweep.metric then return nil end
  local order = self.sweep.metric.goal == "maximize" and "DESC" or "ASC"
  return trials_of(self, ask(self, "SELECT * FROM trials WHERE state <> 'failed' AND metric IS NOT NULL " ..
    "ORDER BY metric " .. order .. ", number LIMIT 1"))[1]
end

--- study:counts() -> {finished =, failed =, stopped =, running =, interrupted =, total = or nil, seconds =}
-- Trials by state, how many there will be, nil where there is no end, and the mean seconds of the finished ones.
function Study:counts()
  local counts = {finished = 0, failed = 0, stopped = 0, running = 0, interrupted = 0, total = self.sampler:count()}
  for _, row in ipairs(ask(self, "SELECT state, COUNT(*) AS n, AVG(seconds) AS s FROM trials GROUP BY state")) do
    if not STATES[row.state] then raise_damaged(self) end
    counts[row.state] = row.n
    if row.state == "finished" then counts.seconds = row.s end
  end
  return counts
end

--- study:is_complete() -> whether all trials that were begun have ended
function Study:is_complete()
  return #ask(self, "SELECT 1 FROM trials WHERE state IN ('running', 'interrupted') LIMIT 1") == 0
end

-- ---- the end ------------------------------------------------------------------------------------

--- study:discard()
-- Remove the study if this process made it, no other works on it, and no trial has left anything.
function Study:discard()
  local lock <close> = self:lock()
  if not self.made or #others(self) > 0 or #self.db:rows "SELECT 1 FROM trials WHERE ended IS NOT NULL LIMIT 1" > 0 then
    return
  end
  for _, trial in ipairs(self:trials()) do posix.remove_directory(self:folder(trial.number)) end
  if not posix.remove_directory(self:path "trials") then
    files.make_directory(self:path "trials")
    return
  end
  self:close()
  for folder, pattern in pairs{records = RECORD, logs = LOG, workers = WORKER} do
    for _, name in ipairs(files.list(self:path(folder))) do
      if name:find(pattern) then os.remove(self:path(folder) .. "/" .. name) end
    end
    posix.remove_directory(self:path(folder))
  end
  for _, name in ipairs(DATABASE) do os.remove(self:path(name)) end
  for _, name in ipairs{"sweep.yaml", "study.lock"} do os.remove(self:path(name)) end
  files.remove_folders(self.missing)
end

--- study:close()
-- Leave the study: what this process has claimed goes back. Can be called again.
function Study:close()
  if not self.held then return end
  -- Where the database is locked for long the claims end with the lock of this process.
  local ok, problem = pcall(self.db.run, self.db,
    "UPDATE trials SET state = 'interrupted', worker = NULL WHERE worker = ?", self.worker)
  os.remove(worker_path(self, self.worker))
  self.held:close()
  self.db:close()
  self.held = nil
  if not ok and problem.kind ~= "busy" then error(problem, 0) end
end

-- What ends a sweep is told, not what it leads to here.
function Study:__close(problem)
  if problem then pcall(self.close, self) else self:close() end
end

return study
