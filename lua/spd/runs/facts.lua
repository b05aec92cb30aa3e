--- What is known of a run, from its folder: settings and numbers under one set of keys, how far it came, and when.
local config_module = require "spd.config"
local metrics = require "spd.metrics"
local run_module = require "spd.run"
local target = require "spd.target"
local yaml = require "spd.yaml"
local posix = require("spd.core").posix

local facts = {}

-- ---- keys ---------------------------------------------------------------------------------------

-- Booleans are the words true and false.
local function plain(value)
  if type(value) == "boolean" then return tostring(value) end
  return value
end

-- A list as one text: [linear1, linear2]
local function list_text(node)
  local items = {}
  for i, item in ipairs(node) do
    items[i] = item.kind == "sequence" and list_text(item) or item.kind == "mapping" and "{...}" or
      tostring(yaml.scalar(item))
  end
  return "[" .. table.concat(items, ", ") .. "]"
end

-- The settings of a mapping; those of a group have its name and a point before them, which another may have in its own.
local function add_settings(found, node, prefix, seen)
  for _, entry in ipairs(node) do
    local key, value = prefix .. entry.key, entry.value
    if value.kind == "mapping" then
      add_settings(found, value, key .. ".", seen)
    else
      if not seen[key] then found.keys[#found.keys + 1], seen[key] = key, true end
      found.values[key] = value.kind == "sequence" and list_text(value) or plain(yaml.scalar(value))
    end
  end
end

-- Iterate over a table in the order of its keys.
local function fields_of(object)
  local names, by_name, i = {}, {}, 0
  for key, value in pairs(object) do
    names[#names + 1], by_name[tostring(key)] = tostring(key), value
  end
  table.sort(names)
  return function()
    i = i + 1
    return names[i], by_name[names[i]]
  end
end

-- The numbers of a row of metrics.jsonl or of summary.json. An object is a number per matrix: MATRIX/KEY. A setting
-- keeps its key: lr is that of the config, not that of the last step.
local function add_numbers(found, numbers)
  local known = {}
  for _, key in ipairs(found.keys) do known[key] = true end
  local function add(key, value)
    if known[key] or type(value) == "table" then return end
    known[key] = true
    found.keys[#found.keys + 1] = key
    found.values[key] = plain(value)
  end
  for key, value in fields_of(numbers) do
    if type(value) ~= "table" then
      add(key, value)
    else
      for name, one in fields_of(value) do add(name .. "/" .. key, one) end
    end
  end
end

-- ---- how it went --------------------------------------------------------------------------------

-- Whether a summary is the known solution of the run's target; nil where none is known.
local function solved(run, summary, kind)
  local ok, misses = pcall(function()
    local target_config = config_module.load_target(run.directory .. "/target/target_config.yaml", kind)
    return metrics.misses(target.kind(kind).solution(target_config), summary)
  end)
  if not ok then return nil end
  return #misses == 0
end

-- Text that sorts by time: 2026-11-26 13:29:16, in local time.
local function time_text(path)
  local seconds = posix.modified(path)
  return seconds and os.date("%Y-%m-%d %H:%M:%S", seconds) or nil
end

--- facts.read(folder [, status]) -> {keys =, values =, settings =, status =, started =, ended =}
-- What a run's folder says. values: key -> number or text, of the config (task_config.feature_probability), and of
-- summary.json, or of the last row of metrics.jsonl before there is one (loss/total, linear1/n_alive); step: how far
-- the run came; solved: whether it found the known solution, where there is one. keys: these, and those of settings
-- that are null; the first `settings` of them are the config's. status: "finished", "running" (a process works on it)
-- or "stopped" (none does), unless one is given.
function facts.read(folder, status)
  local run = run_module.open(folder)
  local found = {keys = {}, values = {}}
  local tree = yaml.read(run:config_path())
  add_settings(found, tree and tree.kind == "mapping" and tree or {}, "", {})
  found.settings = #found.keys
  local finished = run:is_finished()
  local numbers = finished and run:summary() or run:last_metrics() or {}
  if finished then
    numbers.step, numbers.solved = numbers.steps, solved(run, numbers, found.values["task_config.task_name"])
  end
  add_numbers(found, numbers)
  found.status = status or finished and "finished" or run:in_work() and "running" or "stopped"
  found.started = time_text(run:config_path())
  if found.status ~= "running" then
    local last = posix.is_file(folder .. "/summary.json") and "/summary.json" or "/metrics.jsonl"
    found.ended = time_text(folder .. last)
  end
  return found
end

return facts
