--- The command of a trial: the words of a sweep's command with its macros replaced by what they stand for.
local core = require "spd.core"
local json = require "spd.json"
local macros = require "spd.sweep.macros"
local values_module = require "spd.sweep.values"

local command = {}

local ENV = "/usr/bin/env"

-- Macros that hand over all values, and one that leaves out those that are false.
local CARRIERS = {
  "args", "args_no_equals", "args_no_hyphens", "args_json", "args_json_file", "args_append_hydra",
  "args_override_hydra",
}
local FLAGS = "args_no_boolean_flags"

-- ---- what macros stand for ----------------------------------------------------------------------

-- All values as one object, for args_json: groups of parameters are objects in it.
local function object_of(sweep, values)
  local paths, object = {}, {}
  for _, parameter in ipairs(sweep.parameters) do paths[parameter.key] = parameter.path end
  for _, item in ipairs(values) do
    local path, inner = paths[item.key] or {item.key}, object
    for i = 1, #path - 1 do
      inner[path[i]] = inner[path[i]] or {}
      inner = inner[path[i]]
    end
    inner[path[#path]] = values_module.json(item.value)
  end
  return json.encode(object)
end

-- The values with groups as single entries: {key =, value =, word =}.
local function leaves_of(values)
  local leaves = {}
  for _, item in ipairs(values) do values_module.leaves(item.key, item.value, leaves) end
  for _, leaf in ipairs(leaves) do leaf.word = values_module.word(leaf.value) end
  return leaves
end

local function each(leaves, format)
  local words = {}
  for i, leaf in ipairs(leaves) do words[i] = format:format(leaf.key, leaf.word) end
  return words
end

local function without_equals(leaves)
  local words = {}
  for _, leaf in ipairs(leaves) do table.move({"--" .. leaf.key, leaf.word}, 1, 2, #words + 1, words) end
  return words
end

local function without_flags(leaves)
  local words = {}
  for _, leaf in ipairs(leaves) do
    if leaf.value == true then
      words[#words + 1] = "--" .. leaf.key
    elseif leaf.value ~= false then
      words[#words + 1] = "--" .. leaf.key .. "=" .. leaf.word
    end
  end
  return words
end

local function lists_of(sweep, values, settings)
  local leaves = leaves_of(values)
  return {
    env = {ENV}, interpreter = {core.posix.executable()}, program = {sweep.program},
    args = each(leaves, "--%s=%s"), args_no_hyphens = each(leaves, "%s=%s"),
    args_append_hydra = each(leaves, "+%s=%s"), args_override_hydra = each(leaves, "++%s=%s"),
    args_no_equals = without_equals(leaves), args_no_boolean_flags = without_flags(leaves),
    args_json = {object_of(sweep, values)}, args_json_file = {settings.folder .. "/args.json"},
  }
end

-- ---- a command ----------------------------------------------------------------------------------

-- "key=value" of the values that the words do not hand over, in YAML.
local function overrides_of(values, used)
  local overrides = {}
  for _, name in ipairs(CARRIERS) do
    if used[name] then return overrides end
  end
  for _, item in ipairs(values) do
    for _, leaf in ipairs(values_module.leaves(item.key, item.value)) do
      if not used[FLAGS] or leaf.value == false then
        overrides[#overrides + 1] = leaf.key .. "=" .. values_module.yaml(leaf.value)
      end
    end
  end
  return overrides
end

--- command.words(sweep, values, settings) -> words, overrides, files
-- The program of a trial with its arguments; the values that these do not hand over, as a list of "key=value" in YAML,
-- to be laid over the config; and the files that must be there before it starts, as a list of {path =, text =} (for
-- ${args_json_file}). values: of the trial, from a sampler. settings: {folder = the trial's folder}.
--
-- ${interpreter} is this program. Values are printed as W&B prints them as far as our scripts read them (see
-- spd.sweep.values); a parameter in a group is --group.key=value, as they take it; JSON has the group as an object.
function command.words(sweep, values, settings)
  local lists, used, words, files = lists_of(sweep, values, settings), macros.used(sweep.command), {}, {}
  for _, word in ipairs(sweep.command) do
    local expanded = macros.expand(word, lists)
    table.move(expanded, 1, #expanded, #words + 1, words)
  end
  if used.args_json_file then files[1] = {path = lists.args_json_file[1], text = lists.args_json[1] .. "\n"} end
  return words, overrides_of(values, used), files
end

return command
