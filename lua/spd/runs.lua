--- What people ask of their runs: a table of them, all about one, how several differ, their curves.
local aligned = require "spd.aligned"
local errors = require "spd.errors"
local fields = require "spd.fields"
local json = require "spd.json"
local query = require "spd.runs.query"
local posix = require("spd.core").posix

local runs = {}

local MOST_NAMED = 4 -- runs, in an error

-- Text that does nothing to a terminal, whose controls are bytes, and two-byte ones in UTF-8.
local function clean(text)
  return text:find "[%c\xc2]" and text:gsub("%c", "?"):gsub("\xc2[\x80-\x9f]", "?") or text
end

-- ---- which run ----------------------------------------------------------------------------------

local function is_run(path) return posix.is_file(path .. "/final_config.yaml") end

-- What a word can mean in a folder: names of runs that begin with it.
local function candidates(word, folder)
  local list, seen = {}, {}
  local function add(name)
    if name:sub(1, #word) == word and not seen[name] and is_run(folder .. "/" .. name) then
      list[#list + 1], seen[name] = name, true
    end
  end
  for _, name in ipairs(query.names(folder)) do add(name) end
  for _, name in ipairs(posix.list_directory(folder) or {}) do add(name) end
  table.sort(list)
  return list
end

local function ends_in_points(word) return ("/" .. word):find "/%.%.?$" ~= nil end

-- The run whose name in a folder begins with a word.
local function find_beginning(word, folder, whole)
  local list = posix.is_directory(folder) and candidates(word, folder) or {}
  if #list == 0 then errors.raise(2, word, "is neither a run's folder nor the name of a run in " .. folder) end
  if whole then
    errors.raise(2, word, "is only the beginning of a name", "the whole one is needed: " .. clean(list[1]))
  end
  if #list == 1 then return folder .. "/" .. list[1] end
  local some = table.concat(list, ", ", 1, math.min(MOST_NAMED, #list)) .. (#list > MOST_NAMED and ", ..." or "")
  errors.raise(2, word, ("is the beginning of %d runs"):format(#list), clean(some))
end

--- runs.find(word, folder [, whole]) -> path
-- The folder of a run: a path, or the name of a run in a folder, or the beginning of one name only, unless it must be
-- whole. A path that ends in . or .. is taken as the whole path of what it means.
function runs.find(word, folder, whole)
  if word == "" then errors.raise(2, "command line", "a run is named by an empty word", "an unset variable?") end
  word = word:gsub("(.)/+$", "%1")
  if ends_in_points(word) then
    if not is_run(word) then errors.raise(2, word, "is not a run's folder") end
    return posix.real_path(word)
  end
  if is_run(word) then return word end
  if is_run(folder .. "/" .. word) then return folder .. "/" .. word end
  return find_beginning(word, folder, whole)
end

--- runs.name(path, folder) -> the path from the folder, where it is in it
function runs.name(path, folder)
  return path:sub(1, #folder + 1) == folder .. "/" and path:sub(#folder + 2) or path
end

-- ---- text ---------------------------------------------------------------------------------------

-- A value as people read it: numbers with the digits that matter in a table, or with all that a float32 has.
local function shown(value, precise)
  if value == nil then return "-" end
  if type(value) == "string" then return clean(value) end
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return (precise and "%.7g" or "%.4g"):format(value)
end

--- runs.table(rows, names [, precise]) -> text
-- A line per row (a list of values, nil where there is none) below the names of the columns. precise: seven digits.
function runs.table(rows, names, precise)
  local lines, right = {{}}, {}
  for i, name in ipairs(names) do lines[1][i] = clean(name) end
  for k, row in ipairs(rows) do
    local cells = {table.unpack(row, 1, #names)}
    for i = 1, #names do
      local value = row[i]
      cells[i] = shown(value, precise)
      if math.type(value) then right[i] = true end
    end
    lines[k + 1] = cells
  end
  return table.concat(aligned.lines(lines, right), "\n")
end

--- runs.json(rows, columns) -> text
-- A JSON list with an object per line: key -> value.
function runs.json(rows, columns)
  local lines = {}
  for k, row in ipairs(rows) do
    local object = {}
    for i, key in ipairs(columns) do object[key] = row[i] end
    lines[k] = json.encode(object)
  end
  return "[" .. table.concat(lines, ",\n") .. "]"
end

-- ---- one run, several runs ----------------------------------------------------------------------

-- What the folder says, with the status among the values.
local function read(path)
  local found = require("spd.runs.facts").read(path)
  for i, key in ipairs{"status", "started", "ended"} do
    table.insert(found.keys, i, key)
    found.values[key] = found[key]
  end
  return found
end

--- runs.show(path) -> text
-- All settings of a run, and below them its last numbers.
function runs.show(path)
  local found = read(path)
  local rows = {{"folder", clean(path)}}
  for _, key in ipairs(found.keys) do rows[#rows + 1] = {clean(key), shown(found.values[key], true)} end
  return table.concat(aligned.lines(rows, {}), "\n")
end

-- The keys of several runs: those of the first in its order, then what only others have.
local function all_keys(list)
  local keys, seen = {}, {}
  for _, found in ipairs(list) do
    for _, key in ipairs(found.keys) do
      if not seen[key] then keys[#keys + 1], seen[key] = key, true end
    end
  end
  return keys
end

--- runs.diff(paths, folder) -> text
-- Settings and numbers in which runs differ, a column per run.
function runs.diff(paths, folder)
  local list, columns, rows = {}, {"key"}, {}
  for i, path in ipairs(paths) do
    list[i], columns[i + 1] = read(path), runs.name(path, folder)
  end
  for _, key in ipairs(all_keys(list)) do
    local row, differs = {key}, false
    for i, found in ipairs(list) do
      row[i + 1] = found.values[key]
      differs = differs or row[i + 1] ~= row[2]
    end
    if differs then rows[#rows + 1] = row end
  end
  return #rows > 0 and runs.table(rows, columns, true) or "no difference"
end

-- The values of a key over the steps of a run; and the keys that its rows have, appended to a list.
local function series_of(path, key, name, keys, seen)
  local series = {name = name, x = {}, y = {}}
  for _, row in ipairs(require("spd.run").open(path):metrics_rows()) do
    if type(row[key]) == "number" and type(row.step) == "number" then
      series.x[#series.x + 1], series.y[#series.y + 1] = row.step, row[key]
    end
    for one, value in pairs(row) do
      if type(value) == "number" and not seen[one] then keys[#keys + 1], seen[one] = one, true end
    end
  end
  return series
end

local function all_positive(list)
  for _, series in ipairs(list) do
    for _, y in ipairs(series.y) do
      if y <= 0 then return false end
    end
  end
  return true
end

--- runs.curves(key, paths, folder) -> panel for spd.figures.curves, names of runs without the key
function runs.curves(key, paths, folder)
  local list, without, keys, seen = {}, {}, {}, {}
  for _, path in ipairs(paths) do
    local name = runs.name(path, folder)
    local series = series_of(path, key, name, keys, seen)
    table.insert(#series.x > 0 and list or without, #series.x > 0 and series or name)
  end
  if #list == 0 then
    table.sort(keys)
    errors.raise(2, "key '" .. clean(key) .. "'", "metrics.jsonl of no run has it",
      #keys > 0 and ("the nearest one is '%s'"):format(clean(fields.nearest(key, keys))) or nil)
  end
  return {y_label = key, series = list, linear = not all_positive(list)}, without
end

return runs
