--- The index of runs: an SQLite file runs.db beside the folders of runs, which says of each what its folder says.
--
-- It is there for questions about many runs (see spd.runs). What counts is in the folders: the index can be made again
-- from them at any time, and what is wrong with it never stops a run.
local core = require "spd.core"
local database = require "spd.database"
local errors = require "spd.errors"
local facts = require "spd.runs.facts"
local files = require "spd.files"
local folders = require "spd.runs.folders"
local index = require "spd.runs.index"
local posix = core.posix

local runs_index = {}

local PATIENCE = 1000 -- milliseconds that a run waits for the index, twice at most

-- ---- while a run is in work ---------------------------------------------------------------------

-- Write what the folder of a run says now, and what the process knows better.
local function register(folder, status, problem_text)
  local found = facts.read(folder, status)
  found.problem = problem_text
  local path, name = index.of_run(folder)
  local function write()
    local db <close> = index.open(path, "create", PATIENCE)
    database.transaction(db, function() index.put(db, name, found, index.keys(db)) end)
  end
  local ok, problem = pcall(write)
  if ok then return end
  if problem.kind ~= "busy" then error(problem, 0) end
  write() -- it was locked for long, or replaced by a new one
end

-- The status of a run whose work has ended, and the error that ended it.
local function ending_of(run, problem)
  if run:is_finished() then return "finished" end
  if problem == nil then return "stopped" end
  if errors.is(problem) and problem.status == 130 then return "interrupted" end
  return "failed", tostring(problem)
end

--- runs_index.observe(run) -> observer, for run:observe
function runs_index.observe(run)
  return {
    name = "index of runs",
    started = function() register(run.directory, "running") end,
    ended = function(_, problem) register(run.directory, ending_of(run, problem)) end,
  }
end

-- ---- from the folders ---------------------------------------------------------------------------

-- How unfinished runs ended is in the index only: {name = {status =, problem =}}.
local function endings(path)
  local list = {}
  pcall(function()
    local db <close> = index.open(path, "write")
    for row in db:each "SELECT name, status, problem FROM runs WHERE status IN ('failed', 'interrupted')" do
      list[row.name] = {status = row.status, problem = row.problem}
    end
  end)
  return list
end

local function fill(db, folder, old, trouble)
  local keys, count = {}, 0
  folders.each(folder, function(path, name)
    local ok, problem = pcall(function()
      local found = facts.read(path)
      if found.status == "stopped" and old[name] then
        found.status, found.problem = old[name].status, old[name].problem
      end
      index.put(db, name, found, keys)
      count = count + 1
    end)
    if not ok then trouble(path, problem) end
  end, trouble)
  return count
end

local function remove_journals(path)
  for _, suffix in ipairs{"-journal", "-wal", "-shm"} do os.remove(path .. suffix) end
end

-- Remove what processes left half-written that are no more, with its journals. One with the number of this process is
-- of an earlier one.
local function tidy(folder)
  for _, name in ipairs(files.list(folder)) do
    local process = name:match "^runs%.db%.(%d+)%.tmp"
    if process and (tonumber(process) == posix.pid() or not posix.is_directory("/proc/" .. process)) then
      os.remove(folder .. "/" .. name)
    end
  end
end

-- Put the new file in the place of the old one while no process writes to that; a journal of a damaged one would be
-- taken for the new one's.
local function replace(new, path)
  local ok, old = pcall(core.sqlite.open, path, "write")
  if ok then
    local locked, problem = pcall(old.run, old, "BEGIN EXCLUSIVE")
    if not locked and problem.kind == "busy" then
      old:close()
      error(problem, 0)
    end
  end
  remove_journals(path)
  local renamed, reason = posix.rename(new, path)
  if ok then old:close() end
  if not renamed then errors.raise(1, path, reason) end
end

--- runs_index.rebuild(folder, trouble) -> path of the index, number of runs
-- Make the index of a folder again from the runs at any depth below it, and put it in the place of the old one at once.
-- trouble(path, problem) is called for what cannot be read.
function runs_index.rebuild(folder, trouble)
  local path = index.of_folder(folder)
  local new = ("%s.%d.tmp"):format(path, posix.pid())
  local old, count = endings(path), nil
  tidy(path:match "^(.*)/")
  local guard <close> = setmetatable({}, {__close = function()
    os.remove(new)
    remove_journals(new)
  end})
  do
    local db <close> = index.open(new)
    database.transaction(db, function() count = fill(db, path:match("^(.*)/"), old, trouble) end)
  end
  replace(new, path)
  return path, count
end

return runs_index
