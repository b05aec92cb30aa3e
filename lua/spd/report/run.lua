--- One run for a report: what its folder says about it, and what its checkpoint says about its subcomponents.
local analysis = require "spd.analysis"
local config_module = require "spd.config"
local curves = require "spd.report.curves"
local errors = require "spd.errors"
local experiment = require "spd.experiment"
local importances = require "spd.report.importances"
local json = require "spd.json"
local metrics = require "spd.metrics"
local run_module = require "spd.run"
local scores = require "spd.report.scores"
local target = require "spd.target"
local yaml = require "spd.yaml"
local posix = require("spd.core").posix

local report_run = {}

-- ---- what the folder says -----------------------------------------------------------------------

-- The config of a decomposition, or of a script with a model of its own, which has no task.
local function load_config(path)
  local tree = yaml.read(path)
  for _, entry in ipairs(tree and tree.kind == "mapping" and tree or {}) do
    if entry.key == "task_config" then return (config_module.load(path)) end
  end
  return (config_module.load_own_model(path))
end

local function kind_of(config) return config.task_config and config.task_config.task_name or "own_model" end

-- The known solution of a toy model, nil where there is none.
local function solution_of(directory, config)
  local kind, path = kind_of(config), directory .. "/target/target_config.yaml"
  local module = kind ~= "own_model" and target.kind(kind)
  if not module or not module.solution or not posix.is_file(path) then return nil end
  return module.solution((config_module.load_target(path, kind)))
end

-- Why a run's checkpoint cannot be opened, nil where it can. Without a copy of its target, which experiment.open would
-- make, the run's folder would change.
local function why_not_open(run, config)
  if kind_of(config) == "own_model" then return "only the script that made this run knows its model" end
  local copy = kind_of(config) == "lm" and "/target/model.json" or "/target/target.safetensors"
  if not posix.is_file(run.directory .. copy) then return "the folder has no" .. copy:gsub("/", " ", 1) end
  if #run:checkpoints() == 0 then return "there is no checkpoint yet" end
  return nil
end

-- Call f; what a user can have caused is returned as a text in place of its result.
local function try(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if not errors.is(result) then error(result, 0) end
  return nil, result.message
end

local function scores_of_checkpoint(run)
  local subject, _, step = experiment.open(run.directory)
  local found = analysis.score(subject)
  found.steps = step
  return found
end

-- The last numbers that were logged up to a step.
local function add_logged(found, rows, step)
  for _, row in ipairs(rows) do
    for key, value in pairs(math.type(row.step) == "integer" and row.step <= step and row or {}) do
      if key ~= "step" and not key:find("/n_alive$") then found[key] = value end
    end
  end
end

-- The scores of a run: its summary, or those of its latest checkpoint with what was logged last; the step they are of;
-- and why some are missing.
local function scores_of(run, config, rows)
  local summary = run:summary()
  if summary then return summary, config.steps end
  local problem = why_not_open(run, config)
  local found
  if not problem then found, problem = try(scores_of_checkpoint, run) end
  local last = rows[#rows] and math.tointeger(rows[#rows].step) or 0
  local step = found and found.steps or last
  found = found or {}
  add_logged(found, rows, step)
  return found, step, problem
end

local function numbers(value)
  local list = {}
  for name, number in pairs(type(value) == "table" and value or {}) do
    if type(number) == "number" and type(name) == "string" then list[name] = number end
  end
  return list
end

-- By matrix how many subcomponents live and how many should, and the target CI errors.
local function matrices_of(found, solution)
  local alive, wrong, wrong_0p2 = numbers(found.n_alive), numbers(found.target_ci_error),
    numbers(found.target_ci_error_0p2)
  local list = {}
  for name, count in pairs(alive) do
    local wanted = solution and solution[name]
    list[#list + 1] = {
      name = name, alive = count, kind = wanted and wanted.kind, wanted = wanted and (wanted.n or wanted.k),
      error = wrong[name], error_0p2 = wrong_0p2[name],
    }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return #list > 0 and list or json.empty_list
end

-- What misses the solution, as texts; nil where that cannot be said.
local function misses_of(found, solution)
  local cleaned = {n_alive = numbers(found.n_alive), target_ci_error = numbers(found.target_ci_error)}
  if not solution or next(cleaned.n_alive) == nil then return nil end
  for name, wanted in pairs(solution) do
    if wanted.kind == "identity" and cleaned.n_alive[name] and not cleaned.target_ci_error[name] then return nil end
  end
  return metrics.misses(solution, cleaned)
end

local FACTS = {"seed", "threads", "wall_s", "ms_per_step", "peak_mb", "version"}

-- How the run was made, of those that the summary has.
local function facts_of(found)
  local facts = {}
  for _, key in ipairs(FACTS) do
    if type(found[key]) == "number" or type(found[key]) == "string" then facts[key] = found[key] end
  end
  return facts
end

--- report_run.overview(directory, most_numbers) -> {data =, config =, scores =, run =}
-- What the folder of a run says, at most about so many numbers of its curves. data: what a page shows of it (see
-- pages/report/report.js); scores: flat (see scores.flat). A folder that cannot be read is an error.
function report_run.overview(directory, most_numbers)
  local run = run_module.open(directory)
  local config = load_config(run:config_path())
  local rows, finished = run:metrics_rows(), run:is_finished()
  local found, step, problem = scores_of(run, config, rows)
  local solution = solution_of(directory, config)
  local misses, flat = misses_of(found, solution), scores.flat(found)
  if misses then flat.solved = #misses == 0 and 1 or 0 end
  local data = {
    folder = directory, kind = kind_of(config), finished = finished, step = step, steps = config.steps,
    facts = facts_of(found), matrices = matrices_of(found, solution), scores_problem = problem,
    misses = misses and (#misses > 0 and misses or json.empty_list), curves = curves.data(rows, most_numbers),
  }
  return {data = data, config = config, scores = flat, run = run}
end

-- ---- what the checkpoint says -------------------------------------------------------------------

local function open_and_look(directory, most)
  local subject, _, step = experiment.open(directory)
  local found = importances.data(subject, most)
  found.step = step
  return found
end

--- report_run.importances(overview, most) -> table, or nil and the reason
-- The subcomponents of the run's latest checkpoint, with at most `most` importances: see importances.data.
function report_run.importances(overview, most)
  local problem = why_not_open(overview.run, overview.config)
  if problem then return nil, problem end
  return try(open_and_look, overview.run.directory, most)
end

return report_run
