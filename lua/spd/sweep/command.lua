--- The command of a trial: the words of a sweep's command with its macros replaced by what they stand for.
local cli = require "spd.cli"
local config = require "spd.config"
local core = require "spd.core"
local distributions = require "spd.sweep.distributions"
local errors = require "spd.errors"
local json = require "spd.json"
local macros = require "spd.sweep.macros"
local schema = require "spd.schema"
local yaml = require "spd.yaml"
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

-- How the command line of a sweep's program is read, if it is a script of ours that stands as a word of its own.
local function usage_of(sweep)
  local program, alone = sweep.program, false
  for _, word in ipairs(sweep.command) do alone = alone or word == "${program}" end
  local name = program and alone and program:match("[^/]*$")
  for _, script in pairs(schema.decomposition_scripts) do
    if name == script then return cli.experiment(program, "") end
  end
  for _, script in pairs(schema.training_scripts) do
    if name == script then return cli.target_training(program, "") end
  end
end

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

-- flag: what stands for a value that is true.
local function without_false(leaves, flag)
  local words = {}
  for _, leaf in ipairs(leaves) do
    local form = leaf.value == true and flag or "--%s=%s"
    if leaf.value ~= false then words[#words + 1] = form:format(leaf.key, leaf.word) end
  end
  return words
end

-- Scripts of ours know --key=value only, and are given that whatever form is asked for.
local function lists_of(sweep, values, settings)
  local leaves, ours = leaves_of(values), usage_of(sweep) ~= nil
  local args = each(leaves, "--%s=%s")
  return {
    env = {ENV}, interpreter = {core.posix.executable()}, program = {sweep.program},
    args = args, args_no_hyphens = each(leaves, "%s=%s"), args_no_equals = ours and args or without_equals(leaves),
    args_append_hydra = ours and args or each(leaves, "+%s=%s"),
    args_override_hydra = ours and args or each(leaves, "++%s=%s"),
    args_no_boolean_flags = without_false(leaves, ours and "--%s=%s" or "--%s"),
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
-- spd.sweep.values); a parameter in a group is --group.key=value, as they take it, and so is every form but
-- args_no_hyphens and JSON where the program is a script of ours. JSON has the group as an object.
function command.words(sweep, values, settings)
  local lists, used, words, files = lists_of(sweep, values, settings), macros.used(sweep.command), {}, {}
  for _, word in ipairs(sweep.command) do
    local expanded = macros.expand(word, lists)
    table.move(expanded, 1, #expanded, #words + 1, words)
  end
  if used.args_json_file then files[1] = {path = lists.args_json_file[1], text = lists.args_json[1] .. "\n"} end
  return words, overrides_of(values, used), files
end

-- ---- checking it against a config ---------------------------------------------------------------

local CHECKED = 10 -- trials of which all values are tried together

-- What loads a file that is a config of ours, or nil.
local function loader_of(path)
  local ok, tree = pcall(yaml.read, path)
  for _, entry in ipairs(ok and tree and tree.kind == "mapping" and tree or {}) do
    if entry.key == "pretrained_model_class" then return config.load end
    for kind, key in pairs(schema.target_keys) do
      if entry.key == key then return function(file, overrides) return config.load_target(file, kind, overrides) end end
    end
  end
end

-- The first word that names a config of ours, and what loads it.
local function find_config(words)
  for _, word in ipairs(words) do
    local load = word:find "%.ya?ml$" and loader_of(word)
    if load then return word, load end
  end
end

local function words_after(words, program)
  for i, word in ipairs(words) do
    if word == program then return table.move(words, i + 1, #words, 1, {}) end
  end
end

-- The values that the words hand to a script of ours, which must take these words.
local function overrides_in(sweep, words, usage)
  local ok, options = pcall(cli.parse, words_after(words, sweep.program), usage)
  if ok and options then return options.overrides end
  errors.raise(2, sweep.command_where, ("command: %s does not take it: %s"):format(sweep.program, tostring(options)))
end

-- A config refuses a trial: say at which parameter of the sweep, if it is one.
local function refuse(sweep, path, problem)
  for _, parameter in ipairs(sweep.parameters) do
    local key, what = problem.message:match "^override '([^=]*)=.-': (.*)$"
    if key == parameter.key or key and key:sub(1, #parameter.key + 1) == parameter.key .. "." then
      errors.raise(2, parameter.where, (what:gsub("^unknown key", function() return path .. " has no key" end)))
    end
  end
  if problem.message:find "^override" then errors.raise(2, sweep.command_where, "command: " .. problem.message) end
  error(problem, 0)
end

local function check_trial(sweep, values, usage)
  local words, overrides = command.words(sweep, values, {folder = "."})
  local path, load = find_config(words)
  if usage then
    local handed = overrides_in(sweep, words, usage)
    table.move(handed, 1, #handed, #overrides + 1, overrides)
  else
    overrides = overrides_of(values, {})
  end
  if not path then return end
  local ok, problem = pcall(load, path, overrides)
  if not ok then
    if not errors.is(problem) then error(problem, 0) end
    refuse(sweep, path, problem)
  end
end

local function check_program(sweep)
  local program = sweep.program
  if program and program:find "/" and not core.posix.is_file(program) then
    errors.raise(2, sweep.path, ("program: there is no file '%s'"):format(program:gsub("%c", "?")),
      "paths are from the working directory")
  end
end

-- The values of a trial with another one for parameter i.
local function replaced(values, i, value)
  local list = table.move(values, 1, #values, 1, {})
  list[i] = {key = values[i].key, value = value}
  return list
end

-- A script of ours reads the configs that the command names.
local function check_configs(sweep)
  for _, word in ipairs(sweep.command) do
    if word:find "^[^-$][^$]*%.ya?ml$" and not core.posix.is_file(word) then
      errors.raise(2, sweep.command_where, ("command: there is no file '%s'"):format(word),
        "paths are from the working directory")
    end
  end
end

--- command.check(sweep, sampler)
-- Raise an error for what would make trials fail before their first step, as far as it can be known: a program that is
-- not there, or a config for a script of ours; and, where a word of the command is a config of ours, a parameter that
-- the config does not have or a value that it refuses. The config is loaded with every value of a list and the limits
-- of every range, one at a time in the first trial, and with the values of the first trials.
function command.check(sweep, sampler)
  check_program(sweep)
  local usage = usage_of(sweep)
  if usage then check_configs(sweep) end
  local first = sampler:values(1, {})
  for i, parameter in ipairs(sweep.parameters) do
    for _, one in ipairs(distributions.extremes(parameter)) do
      check_trial(sweep, replaced(first, i, one.value), usage)
    end
  end
  for n = 1, math.min(CHECKED, sampler:count() or CHECKED) do check_trial(sweep, sampler:values(n, {}), usage) end
end

return command
