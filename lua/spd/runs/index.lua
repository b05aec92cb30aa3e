--- The file runs.db, an index of runs: where it is, its tables, and what is written to them.
local database = require "spd.database"
local errors = require "spd.errors"
local posix = require("spd.core").posix

local index = {}

local VERSION = 1

local function rebuild_hint(path)
  return ("spdlua experiments/runs.lua rebuild %s makes it from the folders"):format(path:match "^(.*)/")
end

--- index.usual: keys whose values are in the table runs too, where a list of all runs finds them at once.
index.usual = {"seed", "step", "loss/total", "mmcs", "ml2r", "solved"}

local USUAL = '"' .. table.concat(index.usual, '", "') .. '"'

-- An entry per run and key, those of one key side by side: most questions are about few keys of all runs.
local SCHEMA = ([[
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL,
  problem TEXT,
  started TEXT,
  ended TEXT,
  USUAL
);
CREATE TABLE keys (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE entries (key INTEGER NOT NULL, run INTEGER NOT NULL, value, PRIMARY KEY (key, run)) WITHOUT ROWID;
]]):gsub("USUAL", USUAL)

-- ---- where it is --------------------------------------------------------------------------------

local function parent_of(path) return path:match("^(.*)/[^/]*$") end

local function is_beneath(path, folder) return path:sub(1, #folder + 1) == folder .. "/" end

-- The whole path of a folder.
local function real_path(folder)
  local path, reason = posix.real_path(folder)
  if not path then errors.raise(2, folder, reason == "No such file or directory" and "no such folder" or reason) end
  return path
end

--- index.of_run(folder) -> path of the index that the run belongs to, name of the run in it
-- A run beneath out/ of the working folder is in out/runs.db, any other in runs.db beside its folder. Its name is its
-- path from there.
function index.of_run(folder)
  local path, out = real_path(folder), posix.real_path "out"
  if out and is_beneath(path, out) then return "out/runs.db", path:sub(#out + 2) end
  return parent_of(path) .. "/runs.db", path:match("[^/]*$")
end

--- index.of_folder(folder) -> path of the index for the runs in a folder, the beginning of their names in it
function index.of_folder(folder)
  local path, out = real_path(folder), posix.real_path "out"
  if path == out then return "out/runs.db", "" end
  if out and is_beneath(path, out) then return "out/runs.db", path:sub(#out + 2) .. "/" end
  return folder:gsub("/+$", "") .. "/runs.db", ""
end

-- ---- reading and writing ------------------------------------------------------------------------

--- index.open(path [, mode [, patience]]) -> db
-- See spd.database. A power failure may damage the file: it is not synchronized, which takes longer than all else.
function index.open(path, mode, patience)
  local db = database.open{
    path = path, mode = mode, patience = patience, version = VERSION, schema = SCHEMA, what = "the index of runs",
    rebuild = rebuild_hint(path),
  }
  db:run "PRAGMA synchronous = OFF"
  return db
end

--- index.open_existing(path) -> db
-- The same for reading, where it is a mistake if there is none. (The file is opened for writing where that is allowed:
-- what a killed process left half-written is undone first.)
function index.open_existing(path)
  if not posix.is_file(path) then errors.raise(2, path, "there is no index of runs", rebuild_hint(path)) end
  return index.open(path, "write")
end

--- index.keys(db) -> {name = number}
function index.keys(db)
  local keys = {}
  for row in db:each "SELECT id, name FROM keys" do keys[row.name] = row.id end
  return keys
end

local DELETE_ENTRIES = "DELETE FROM entries WHERE key IN (SELECT id FROM keys) AND run = ?"
local COLUMNS = "name, status, problem, started, ended, " .. USUAL
local UPDATE = ("INSERT INTO runs (%s) VALUES (%s) ON CONFLICT (name) DO UPDATE SET (%s) = (%s) RETURNING id"):format(
  COLUMNS, ("?, "):rep(5 + #index.usual - 1) .. "?", COLUMNS, COLUMNS:gsub("[^, ]+", "excluded.%0"))

--- index.put(db, name, found, keys)
-- Write what is known of a run (see spd.runs.facts), in a transaction of the caller: all of it, or nothing where that
-- fails. keys: from index.keys; new ones are added.
function index.put(db, name, found, keys)
  local row, new_keys = {name, found.status, found.problem, found.started, found.ended}, {}
  for i, key in ipairs(index.usual) do row[5 + i] = found.values[key] end
  db:run "SAVEPOINT put"
  local ok, problem = pcall(function()
    local id = db:rows(UPDATE, table.unpack(row, 1, 5 + #index.usual))[1].id
    db:run(DELETE_ENTRIES, id)
    for _, key in ipairs(found.keys) do
      if not keys[key] then
        keys[key], new_keys[key] = db:rows("INSERT INTO keys (name) VALUES (?) RETURNING id", key)[1].id, true
      end
      local value = found.values[key]
      if value ~= nil then db:run("INSERT INTO entries VALUES (?, ?, ?)", keys[key], id, value) end
    end
    db:run "RELEASE put"
  end)
  if ok then return end
  for key in pairs(new_keys) do keys[key] = nil end
  pcall(db.run, db, "ROLLBACK TO put; RELEASE put") -- SQLite may have undone the whole transaction itself
  error(problem, 0)
end

--- index.forget(path, name)
-- Remove a run from the index, if there is one.
function index.forget(path, name)
  if not posix.is_file(path) then return end
  local db <close> = index.open(path, "write")
  database.transaction(db, function()
    local run = db:rows("DELETE FROM runs WHERE name = ? RETURNING id", name)[1]
    if run then db:run(DELETE_ENTRIES, run.id) end
  end)
end

return index
