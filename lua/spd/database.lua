--- SQLite databases of one kind: their version, their tables, what is said when one is damaged, and transactions.
local core = require "spd.core"
local errors = require "spd.errors"

local database = {}

local TABLES = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"

-- The tables of a database as one text.
local function tables_of(db)
  local list = {}
  for row in db:each(TABLES) do list[#list + 1] = row.name .. ": " .. row.sql end
  return table.concat(list, "\n")
end

-- The same, as this version makes them.
local function wanted_tables(schema)
  local db <close> = core.sqlite.open ":memory:"
  db:run(schema)
  return tables_of(db)
end

local function version_of(db) return db:rows("PRAGMA user_version")[1].user_version end

-- A database without content gets its tables. Several processes may come here at once: the first one makes them.
local function make_tables(db, settings)
  database.transaction(db, function()
    if version_of(db) ~= 0 or tables_of(db) ~= "" then return end
    db:run(settings.schema)
    db:run(("PRAGMA user_version = %d"):format(settings.version))
  end)
end

local function check(db, settings)
  local version = version_of(db)
  if version > settings.version then
    errors.raise(2, settings.path, ("%s is of version %d, from a newer spdlua; this one knows version %d"):format(
      settings.what, version, settings.version), "use that one, or another folder")
  elseif version < settings.version or tables_of(db) ~= wanted_tables(settings.schema) then
    errors.raise(2, settings.path, "is not the database of " .. settings.what, settings.rebuild)
  end
end

--- database.open{path =, version =, schema =, what =, rebuild = [, mode =] [, journal =] [, patience =]} -> db
-- Open a database of one kind (see core.sqlite.open). schema: the SQL that makes its tables, run where the file is new
-- or empty and mode is "create" (the default). version: that of the schema, 1 or more, kept in the file. what: "the
-- study", and rebuild: what to do when it is damaged, are for errors, of status 2: damaged, newer, something else.
-- journal: "wal" for many readers and writers on one machine, or "delete" (the default), for network folders too. It is
-- kept in the file: one that is there stays as it is. patience: milliseconds to wait for other processes (10000).
function database.open(settings)
  local mode = settings.mode or "create"
  local db = core.sqlite.open(settings.path, mode, settings.rebuild)
  local ok, problem = pcall(function()
    if settings.patience then db:run(("PRAGMA busy_timeout = %d"):format(settings.patience)) end
    if mode ~= "read" then db:run "PRAGMA synchronous = NORMAL" end
    if mode == "create" and version_of(db) == 0 then
      db:run("PRAGMA journal_mode = " .. (settings.journal or "delete"))
      make_tables(db, settings)
    end
    check(db, settings)
  end)
  if ok then return db end
  db:close()
  error(problem, 0)
end

--- database.transaction(db, work) -> what work returns
-- Run work() so that all that it writes is kept, or nothing where it raises an error; other processes that write wait.
function database.transaction(db, work)
  db:run "BEGIN IMMEDIATE"
  local results = table.pack(pcall(function()
    local returned = table.pack(work())
    db:run "COMMIT"
    return table.unpack(returned, 1, returned.n)
  end))
  if results[1] then return table.unpack(results, 2, results.n) end
  pcall(db.run, db, "ROLLBACK") -- which SQLite may have done itself
  error(results[2], 0)
end

return database
