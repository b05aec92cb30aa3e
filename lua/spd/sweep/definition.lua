--- Sweep files: the YAML of Weights & Biases, read and checked.
local core = require "spd.core"
local distributions = require "spd.sweep.distributions"
local errors = require "spd.errors"
local fields = require "spd.fields"
local hyperband = require "spd.sweep.hyperband"
local macros = require "spd.sweep.macros"
local parameters = require "spd.sweep.parameters"
local yaml = require "spd.yaml"

local definition = {}

local METHODS = {"grid", "random", "bayes"}

local function text(key) return {key = key, type = "string", optional = true} end
local function count(key, least) return {key = key, type = "integer", min = least, max = math.maxinteger} end

-- All keys of W&B's schema. Those of the type "node" are read here, or have no effect.
local FIELDS = {
  text "program", text "name", text "description", text "project", text "entity",
  {key = "method", type = "node", required = true},
  {key = "metric", type = "group", fields = {
    {key = "name", type = "string", required = true},
    {key = "goal", type = "choice", choices = {"minimize", "maximize"}, default = "minimize"},
    {key = "target", type = "number", optional = true},
    {key = "impute", type = "choice", choices = {"latest", "best", "worst"}, default = "worst"},
    {key = "impute_while_running", type = "node"},
  }},
  {key = "parameters", type = "node", required = true},
  {key = "early_terminate", type = "group", fields = {
    {key = "type", type = "choice", choices = {"hyperband"}, required = true},
    count("max_iter", 1), count("min_iter", 1), count("s", 1),
    {key = "eta", type = "number", above = 1, default = 3.0},
    {key = "strict", type = "boolean", default = true},
  }},
  {key = "command", type = "node"},
  count("run_cap", 1),
  {key = "controller", type = "node"}, {key = "apiVersion", type = "node"}, {key = "kind", type = "node"},
  {key = "job", type = "node"}, {key = "image_uri", type = "node"}, {key = "scheduler", type = "node"},
  {key = "metrics", type = "node"},
}

-- Keys without effect that ask for something else than a local program.
local ELSEWHERE = {
  job = "no job is launched, program is run here", image_uri = "no image is used, program is run here",
  scheduler = "has no effect: method chooses the values", metrics = "has no effect: metric is the only one",
}

local function check_method(node, where)
  local name = node.kind == "scalar" and node.value
  for _, method in ipairs(METHODS) do
    if name == method then return name end
  end
  if name == "custom" then
    errors.raise(2, where, "method: custom is a program of your own that chooses the values, which is not supported",
      "there is " .. table.concat(METHODS, ", "))
  end
  errors.raise(2, where, ("method: expected one of %s, found %s"):format(table.concat(METHODS, ", "),
    fields.found(node)), name and ("the nearest one is '%s'"):format(fields.nearest(name, METHODS)) or nil)
end

-- ---- command ------------------------------------------------------------------------------------

local function read_command(node, source, where)
  local words = {}
  if node.kind ~= "sequence" or #node == 0 then
    errors.raise(2, where, "command: expected a list of words, found " .. fields.found(node))
  end
  for i, item in ipairs(node) do
    local place = fields.place(item, source)
    if item.kind ~= "scalar" then
      errors.raise(2, place, "command: expected a word, found " .. fields.found(item), "in quotes where it looks " ..
        "like a list or a group")
    end
    words[i] = item.value
    local unknown, nearest = macros.unknown(item.value)
    if unknown then
      errors.raise(2, place, ("command: unknown macro '%s'"):format(unknown:gsub("%c", "?")),
        ("the nearest one is '%s'"):format(nearest))
    end
  end
  return words
end

local function needs_program(words)
  for _, word in ipairs(words) do
    if word:find("${program}", 1, true) then return true end
  end
  return false
end

-- ---- what single keys cannot tell ---------------------------------------------------------------

local function check_method_needs(sweep)
  local searched = 0
  for _, parameter in ipairs(sweep.parameters) do
    if parameter.distribution ~= "constant" then searched = searched + 1 end
    if sweep.method == "grid" and not distributions.count(parameter) then
      errors.raise(2, parameter.where, ("parameters.%s: a grid cannot have the distribution %s"):format(parameter.key,
        parameter.distribution), "it has values, int_uniform, q_uniform; or method: random")
    end
  end
  if sweep.method == "bayes" and not sweep.metric then
    errors.raise(2, sweep.path, "missing key: metric, which method: bayes needs")
  elseif sweep.method == "bayes" and searched == 0 then
    errors.raise(2, sweep.path, "parameters: expected one with several values for method: bayes, found constants only")
  end
end

local function check_hyperband(sweep, where, warn)
  local terminate = sweep.early_terminate
  if not sweep.metric then
    errors.raise(2, where, "early_terminate: hyperband compares trials by metric, which is missing")
  elseif not terminate.min_iter and not (terminate.max_iter and terminate.s) then
    errors.raise(2, where, "early_terminate: expected min_iter, or max_iter and s")
  elseif #hyperband.bands(terminate) == 0 then
    errors.raise(2, where, ("early_terminate: expected max_iter of eta or more, found %d"):format(terminate.max_iter))
  elseif terminate.min_iter and terminate.max_iter and terminate.s then
    warn(where .. ": early_terminate: min_iter has no effect beside max_iter and s")
  end
end

local function warn_of_elsewhere(given, places, warn)
  for key, what in pairs(ELSEWHERE) do
    if given[key] then warn(("%s: %s: %s"):format(places[key], key, what)) end
  end
end

-- ---- all ----------------------------------------------------------------------------------------

--- definition.read(path) -> sweep, warnings
-- Read a sweep file: a checked table, and a list of warnings, a line each. The table has
--
--     path, name, description, project, entity, program   texts; all but path may be nil
--     method            "grid", "random" or "bayes"
--     metric            {name =, goal = "minimize" | "maximize", target = number or nil}, or nil
--     parameters        list of {key = "task_config.pnorm", where = "FILE:LINE", distribution =, ...} in the order of
--                       W&B; see spd.sweep.parameters
--     early_terminate   {type = "hyperband", max_iter =, s =, min_iter =, eta =, strict =}, or nil; see
--                       spd.sweep.hyperband
--     command           list of words, with macros; command_where: where the file has it
--     run_cap           the most trials, or nil
--
-- What is wrong is an error of status 2 with file and line.
function definition.read(path)
  local warnings = {}
  local function warn(message) warnings[#warnings + 1] = message end
  local sweep, places = fields.read(yaml.read(path), FIELDS, path)
  warn_of_elsewhere(sweep, places, warn)
  sweep.path = path
  sweep.method = check_method(sweep.method, places.method)
  sweep.parameters = parameters.read(sweep.parameters, path, places.parameters, warn)
  sweep.command_where = places.command or path
  sweep.command = sweep.command and read_command(sweep.command, path, places.command) or macros.default_command()
  if not sweep.program and needs_program(sweep.command) then
    errors.raise(2, path, "missing key: program", "the script that a trial runs, such as " ..
      "experiments/tms_decomposition.lua")
  end
  check_method_needs(sweep)
  if sweep.early_terminate then check_hyperband(sweep, places.early_terminate, warn) end
  if sweep.metric and sweep.metric.impute ~= "worst" then
    warn(("%s: metric.impute: has no effect: a trial without a metric counts as the worst"):format(
      places["metric.impute"]))
  end
  return sweep, warnings
end

-- A node of YAML as one text, without layout, comments and places.
local function text_of(node)
  local parts = {}
  for i, child in ipairs(node) do
    parts[i] = node.kind == "mapping" and ("%q:%s"):format(child.key, text_of(child.value)) or text_of(child)
  end
  if node.kind == "mapping" then table.sort(parts) end
  return ("%s(%q%s)"):format(node.kind, tostring(node.value), table.concat(parts, ","))
end

-- Keys that change no trial.
local WITHOUT_EFFECT = {run_cap = true, description = true}

--- definition.same_trials(one, other) -> whether two sweep files mean the same trials
-- Layout, comments, the order of keys, run_cap and description may differ.
function definition.same_trials(one, other)
  local function meaning(yaml_text)
    local ok, tree = pcall(core.yaml_parse, yaml_text, "sweep.yaml")
    if not ok or not tree or tree.kind ~= "mapping" then return yaml_text end
    local kept = {kind = "mapping"}
    for _, entry in ipairs(tree) do
      if not WITHOUT_EFFECT[entry.key] then kept[#kept + 1] = entry end
    end
    return text_of(kept)
  end
  return meaning(one) == meaning(other)
end

return definition
