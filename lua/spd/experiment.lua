--- A decomposition from the command line to the last figure: what the scripts in experiments/ have in common.
local analysis = require "spd.analysis"
local component_model = require "spd.component_model"
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local losses = require "spd.losses"
local memory = require "spd.memory"
local optimize = require "spd.optimize"
local progress = require "spd.progress"
local run_module = require "spd.run"
local target = require "spd.target"
local posix = core.posix

local experiment = {}

local function warn(text) io.stderr:write("spdlua: warning: ", text, "\n") end

local function case_name(path) return (path:match("([^/]*)%.[^./]*$") or path:match("([^/]*)$")) end

-- ---- config and target --------------------------------------------------------------------------

local function load_config(kind, path, overrides)
  local config, warnings = config_module.load(path, overrides)
  if config.task_config.task_name ~= kind then
    errors.raise(2, path .. ": task_config.task_name", ("expected %s for this experiment, found %s"):format(kind,
      config.task_config.task_name))
  end
  for _, warning in ipairs(warnings) do warn(warning) end
  return config
end

-- Everything that can be refused before anything is created: the target's file, patterns, losses, memory.
local function check(config)
  local model = target.describe(config)
  losses.check(model, component_model.find(model, config.target_module_patterns), config)
  memory.check(model, config, config.batch_size)
end

-- The target of a run: its own copy, made at the first start.
local function target_of_run(run, config, display)
  local folder = run.directory .. "/target"
  local kind = config.task_config.task_name
  if not posix.is_file(folder .. "/target.safetensors") then
    local model, settings = target.get(config, display)
    target.save(model, settings, folder)
  end
  return target.load(kind, folder .. "/target.safetensors")
end

--- experiment.subject(config, model, target_config) -> subject
-- What is trained and analysed: {kind =, config =, components = (with initial values), data =, evaluation_data
-- =, n_features =, solution =}.
function experiment.subject(config, model, target_config)
  local kind = target.kind(config.task_config.task_name)
  local function dataset(purpose)
    return kind.dataset{
      target_config = target_config, task = config.task_config, batch_size = config.batch_size, seed = config.seed,
      purpose = purpose,
    }
  end
  return {
    kind = config.task_config.task_name, config = config,
    data = dataset("data"), evaluation_data = dataset("evaluation"),
    n_features = kind.n_features(target_config), solution = kind.solution(target_config),
    components = component_model.new{
      target = model, patterns = config.target_module_patterns, C = config.C, seed = config.seed,
      n_ci_mlp_neurons = config.n_ci_mlp_neurons, tied_update = config.tied_update,
    },
  }
end

--- experiment.open(directory [, step]) -> subject, run, step
-- A run's folder as a subject, with the values of its latest checkpoint or of that of a step.
function experiment.open(directory, step)
  local run = run_module.open(directory)
  local config = config_module.load(run:config_path())
  local subject = experiment.subject(config, target.load(config.task_config.task_name,
    directory .. "/target/target.safetensors"))
  step = step or run:latest_checkpoint()
  if not step then errors.raise(2, directory, "has no checkpoint yet") end
  local tensors, _, path = run:load_checkpoint(step)
  optimize.restore(tensors, subject.components, nil, path)
  return subject, run, step
end

-- ---- the run ------------------------------------------------------------------------------------

local function summarize(subject, numbers, seconds, steps)
  local summary = analysis.score(subject)
  for key, value in pairs(numbers) do summary[key] = value end
  for name, count in pairs(summary.n_alive) do summary[name .. "/n_alive"] = count end
  summary.wall_s, summary.ms_per_step = seconds, steps > 0 and 1000 * seconds / steps or 0
  summary.peak_mb, summary.threads, summary.version = posix.peak_memory_mb(), core.threads(), core.version
  summary.seed, summary.steps = subject.config.seed, subject.config.steps
  return summary
end

--- experiment.draw(subject, run [, step [, quiet]])
-- Draw all figures into the run's folder; their names end in _step_N for a step that is not the last one.
function experiment.draw(subject, run, step, quiet)
  local suffix = step and ("_step_%d"):format(step) or ""
  local problem = analysis.draw(subject, function(name) return run:figure_path(name .. suffix) end)
  if problem and not quiet then warn("figures: " .. problem) end
end

local function train(subject, run, options)
  local config = subject.config
  local numbers, seconds, steps = optimize.run{
    components = subject.components, data = subject.data, evaluation_data = subject.evaluation_data, config = config,
    run = run, progress = progress.new{title = "step", steps = config.steps, quiet = options.quiet},
    draw = function(step) experiment.draw(subject, run, step, options.quiet) end,
  }
  return summarize(subject, numbers, seconds, steps)
end

--- experiment.print_scores(scores)
-- Print a row per matrix, and the similarity to the target's features.
function experiment.print_scores(summary)
  local names = {}
  for name in pairs(summary.n_alive) do names[#names + 1] = name end
  table.sort(names)
  print(("%-20s %8s %16s"):format("matrix", "n_alive", "target_ci_error"))
  for _, name in ipairs(names) do
    print(("%-20s %8d %16s"):format(name, summary.n_alive[name], summary.target_ci_error[name] or "-"))
  end
  if summary.mmcs then
    print(("mmcs %.4f +- %.4f, ml2r %.4f +- %.4f"):format(summary.mmcs, summary.mmcs_std, summary.ml2r,
      summary.ml2r_std))
  end
end

local function open_run(kind, options)
  if options.resume then
    local run = run_module.open(options.resume)
    run:lock()
    return run, load_config(kind, run:config_path(), {})
  end
  local config = load_config(kind, options.config, options.overrides)
  check(config)
  local run = run_module.create{
    directory = options.out, case = case_name(options.config), seed = config.seed,
    config_writer = function(path) config_module.write(path, config) end,
  }
  return run, config
end

--- experiment.decompose(kind, options)
-- Run or resume a decomposition as a command line asks for it (see cli.experiment), and print where its results
-- are.
function experiment.decompose(kind, options)
  if options.threads then core.threads(options.threads) end
  local run <close>, config = open_run(kind, options)
  if not run:is_finished() then
    local function display()
      return progress.new{title = "target", steps = target.steps(config), quiet = options.quiet}
    end
    local model, target_config = target_of_run(run, config, display)
    local subject = experiment.subject(config, model, target_config)
    local summary = train(subject, run, options)
    experiment.draw(subject, run, nil, options.quiet)
    run:write_summary(summary)
    if not options.quiet then experiment.print_scores(summary) end
  end
  print("run: " .. run.directory)
end

return experiment
