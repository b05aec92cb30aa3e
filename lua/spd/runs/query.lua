--- Questions to an index of runs.
local condition = require "spd.runs.condition"
local database = require "spd.database"
local facts = require "spd.runs.facts"
local errors = require "spd.errors"
local files = require "spd.files"
local index = require "spd.runs.index"
local posix = require("spd.core").posix

local query = {}

local MOST_COLUMNS = 500 -- SQLite has a limit for them

-- The keys that are columns of the table runs. Where the folder says something else than the table, that is in `now`.
local COLUMNS = {
  name = "runs.name", problem = "runs.problem", started = "runs.started", ended = "runs.ended",
  status = "coalesce((SELECT status FROM now WHERE now.run = runs.id), runs.status)",
}

-- The same for keys that no run needs to have.
local USUAL_COLUMNS = setmetatable({}, {__index = COLUMNS})
for _, key in ipairs(index.usual) do USUAL_COLUMNS[key] = ('runs."%s"'):format(key) end

-- What is shown of runs where nothing else is asked for.
local USUAL = {"name", "status", "seed", "step", "loss/total", "mmcs", "ml2r", "solved", "started"}

-- Names of the keys: the columns, and those of the index.
local function names_of(keys)
  local list = {}
  for name in pairs(COLUMNS) do list[#list + 1] = name end
  for name in pairs(keys) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- What a key is in SQL.
local function expression(key, keys, values)
  if USUAL_COLUMNS[key] then return USUAL_COLUMNS[key] end
  values[#values + 1] = keys[key]
  return "(SELECT value FROM entries WHERE key = ? AND run = runs.id)"
end

-- ---- the folders --------------------------------------------------------------------------------

-- The names that are in a folder, as those of runs begin in the index.
local function names_in(folder, prefix)
  local set = {}
  for _, name in ipairs(files.list(folder)) do set[prefix .. name] = true end
  return set
end

-- Note in the table `now` which runs in a folder are gone, and which of those that did not end are in work or not. What
-- is gone is told by the list of the folder for the runs just in it, of which there may be many.
local function look_at_folders(db, root, prefix, there)
  db:run "PRAGMA temp_store = MEMORY; CREATE TEMP TABLE now (run INTEGER PRIMARY KEY, status TEXT)"
  local gone = 0
  local sql = "SELECT id, name, status FROM runs WHERE instr(name, ?) = 1 OR ? = ''"
  for row in db:each_list(sql, prefix, prefix) do
    local id, name, status = table.unpack(row)
    local is_there = there[name]
    if not is_there and name:find("/", #prefix + 1, true) then is_there = posix.is_directory(root .. name) end
    if not is_there then
      db:run("INSERT INTO now VALUES (?, 'gone')", id)
      gone = gone + 1
    elseif status == "running" or status == "stopped" then
      local is = posix.is_locked(root .. name .. "/run.lock") and "running" or "stopped"
      if is ~= status then db:run("INSERT INTO now VALUES (?, ?)", id, is) end
    end
    there[name] = nil
  end
  return gone
end

-- Let the index say of runs that had not ended what their folders say now. Where it cannot be written they stay as they
-- are in it.
local function refresh(db, root, prefix, keys)
  local names = {}
  local sql = "SELECT name FROM runs WHERE status = 'running' AND (instr(name, ?) = 1 OR ? = '')"
  for row in db:each_list(sql, prefix, prefix) do names[#names + 1] = row[1] end
  if #names == 0 then return end
  pcall(database.transaction, db, function()
    for _, name in ipairs(names) do
      local ok, found = pcall(facts.read, root .. name)
      if ok then index.put(db, name, found, keys) end
    end
  end)
end

-- How many of the names are those of runs' folders.
local function count_runs(root, names)
  local count = 0
  for name in pairs(names) do
    local is_run = posix.is_file(root .. name .. "/final_config.yaml") and not posix.is_link(root .. name)
    if is_run then count = count + 1 end
  end
  return count
end

-- ---- asking -------------------------------------------------------------------------------------

local function select_text(columns, keys, values)
  local parts = {}
  for i, key in ipairs(columns) do parts[i] = expression(key, keys, values) end
  return "SELECT " .. table.concat(parts, ", ") .. " FROM runs"
end

-- Names begin with the prefix, runs are there, and the condition is true.
local function where_text(prefix, tree, keys, values)
  local text = " WHERE (instr(runs.name, ?) = 1 OR ? = '') AND " .. COLUMNS.status .. " != 'gone'"
  table.move({prefix, prefix}, 1, 2, #values + 1, values)
  return tree and text .. " AND (" .. condition.sql(tree, keys, COLUMNS, values) .. ")" or text
end

-- By the key, runs without it last, equal ones by name.
local function order_text(sort, keys, values)
  local key, descending = sort:match "^%-?(.*)$", sort:find "^%-" ~= nil
  local order = expression(key, keys, values)
  return (" ORDER BY %s%s NULLS LAST, runs.name"):format(order, descending and " DESC" or "")
end

-- The columns that are asked for, or of the usual ones those that there are.
local function choose_columns(settings, known)
  local columns, is_known = {}, {}
  if settings.columns and #settings.columns > MOST_COLUMNS then
    errors.raise(2, "--columns", ("expected at most %d keys, found %d"):format(MOST_COLUMNS, #settings.columns))
  end
  for _, key in ipairs(known) do is_known[key] = true end
  for _, key in ipairs(settings.columns or USUAL) do
    if settings.columns then condition.check_key(key, known) end
    if is_known[key] then columns[#columns + 1] = key end
  end
  return columns
end

local function read_rows(db, sql, values)
  local rows = {}
  for row in db:each_list(sql, table.unpack(values)) do rows[#rows + 1] = row end
  return rows
end

--- query.list{folder = [, columns =] [, where =] [, sort =] [, limit =]} -> rows, columns, notes
-- The runs in a folder, at any depth. A row is the list of values of the columns, which are keys; nil where the run has
-- no such key. where: see spd.runs.condition. sort: a key, with a minus before it for the largest first (default:
-- "-started"). notes: unknown = how many runs just in the folder are not in the index, gone = how many of the index
-- have no folder any more, and are left out.
function query.list(settings)
  local path, prefix = index.of_folder(settings.folder)
  local tree, sort = settings.where and condition.parse(settings.where), settings.sort or "-started"
  local db <close> = index.open_existing(path)
  local keys, root, values = index.keys(db), path:match "^.*/", {}
  refresh(db, root, prefix, keys)
  local known = names_of(keys)
  for _, key in ipairs(tree and condition.keys(tree, {}) or {}) do condition.check_key(key, known) end
  condition.check_key(sort:match "^%-?(.*)$", known)
  local columns = choose_columns(settings, known)
  local there = names_in(settings.folder, prefix)
  local gone = look_at_folders(db, root, prefix, there)
  local sql = select_text(columns, keys, values) .. where_text(prefix, tree, keys, values) ..
    order_text(sort, keys, values) .. " LIMIT ?"
  values[#values + 1] = settings.limit or -1
  return read_rows(db, sql, values), columns, {gone = gone, unknown = count_runs(root, there)}
end

--- query.names(folder) -> list
-- The names of all runs in the index that a folder has; nothing where there is none.
function query.names(folder)
  local list = {}
  local path = index.of_folder(folder)
  if not posix.is_file(path) then return list end
  local db <close> = index.open_existing(path)
  for row in db:each "SELECT name FROM runs ORDER BY name" do list[#list + 1] = row.name end
  return list
end

return query
