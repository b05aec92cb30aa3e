--- A decomposition from the command line to the last figure: what the scripts in experiments/ have in common.
local analysis = require "spd.analysis"
local cli = require "spd.cli"
local component_model = require "spd.component_model"
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local interrupts = require "spd.interrupts"
local losses = require "spd.losses"
local memory = require "spd.memory"
local metrics = require "spd.metrics"
local observers = require "spd.observers"
local optimize = require "spd.optimize"
local progress = require "spd.progress"
local run_module = require "spd.run"
local target = require "spd.target"
local trial = require "spd.trial"
local posix = core.posix

local experiment = {}


local function warn_all(warnings, quiet)
  for _, warning in ipairs(quiet and {} or warnings) do errors.warn(warning) end
end

--- experiment.case_name(path) -> the name of a config's file, without its ending
function experiment.case_name(path) return path:match("([^/]*)%.[^./]*$") or path:match("([^/]*)$") end

-- ---- config and target --------------------------------------------------------------------------

local function load_config(kind, path, overrides)
  local config, warnings = config_module.load(path, overrides)
  if config.task_config.task_name ~= kind then
    errors.raise(2, path .. ": task_config.task_name", ("expected %s for this experiment, found %s"):format(kind,
      config.task_config.task_name))
  end
  return config, warnings
end

-- The data that a run trains on ("data"), or that it is scored on ("evaluation").
local function dataset(config, target_config, purpose)
  return target.kind(config.task_config.task_name).dataset{
    target_config = target_config, task = config.task_config, batch_size = config.batch_size, seed = config.seed,
    purpose = purpose, config = config,
  }
end

-- Read the first batches, so that text of which there is too little, or that cannot be read, is found before a run is
-- made. They are not shuffled: to fill the buffer would take long.
local function try_data(config, target_config)
  local task = setmetatable({buffer_size = 0}, {__index = config.task_config})
  local unshuffled = setmetatable({task_config = task}, {__index = config})
  for _, purpose in ipairs{"data", "evaluation"} do dataset(unshuffled, target_config, purpose):batch(0) end
end

-- Everything that can be refused before a run is made: the target's file, patterns, losses, memory, data.
local function check(config, quiet)
  local model, target_config, warnings = target.describe(config)
  warn_all(warnings, quiet)
  losses.check(model, component_model.find(model, config.target_module_patterns), config)
  memory.check(model, config, config.batch_size * (config.task_config.max_seq_len or 1))
  if not target_config.untrained then try_data(config, target_config) end -- else its tokenizer comes with it
end

--- experiment.subject(config, model, target_config) -> subject
-- What is trained and analysed: {kind =, config =, target_config =, components = (with initial values), data =,
-- evaluation_data =}; of a toy model n_features and solution, too, of a language model its tokenizer.
function experiment.subject(config, model, target_config)
  local kind = target.kind(config.task_config.task_name)
  return {
    kind = config.task_config.task_name, config = config, target_config = target_config,
    data = dataset(config, target_config, "data"), evaluation_data = dataset(config, target_config, "evaluation"),
    n_features = kind.n_features and kind.n_features(target_config),
    solution = kind.solution and kind.solution(target_config),
    tokenizer = kind.tokenizer and kind.tokenizer(target_config, config),
    components = component_model.new{
      target = model, patterns = config.target_module_patterns, C = config.C, seed = config.seed,
      n_ci_mlp_neurons = config.n_ci_mlp_neurons, tied_update = config.tied_update,
    },
  }
end

-- What is trained and analysed where the user brings the model, and data or none.
local function own_subject(settings, config)
  local function data(purpose) return settings.dataset and settings.dataset(config, purpose) end
  return {
    kind = "own_model", config = config, data = data "data", evaluation_data = data "evaluation",
    components = component_model.new{
      target = settings.model, patterns = config.target_module_patterns, C = config.C, seed = config.seed,
      n_ci_mlp_neurons = config.n_ci_mlp_neurons, tied_update = config.tied_update,
    },
  }
end

-- The subject of an existing run, with initial values; own: the user's model.
local function subject_of(run, own)
  local path = run:config_path()
  local is_own = config_module.is_own_model(path)
  if is_own and not own then
    errors.raise(2, run.directory, "decomposes a model of your own, which is not in the folder",
      "spd.open(DIR, {model = ..., dataset = ...}) takes what the script gave to decompose_own")
  end
  if own and not is_own then errors.raise(2, run.directory, "has a target of its own", "open it without a model") end
  if own then return own_subject(own, (config_module.load_own_model(path))) end
  local config = config_module.load(path)
  target.require_copy(run.directory, config)
  return experiment.subject(config, target.of_run(run.directory, config))
end

--- experiment.open(directory [, step [, own]]) -> subject, run, step
-- A run's folder as a subject, with the values of its latest checkpoint or of that of a step. Nothing is written. own,
-- for a run of decompose_own: {model = [, dataset =]}, as they were given to it.
function experiment.open(directory, step, own)
  local run = run_module.open(directory)
  if #run:checkpoints() == 0 then errors.raise(2, directory, "has no checkpoint yet") end
  local subject = subject_of(run, own)
  step = step or run:latest_checkpoint()
  if not step then errors.raise(2, directory, "has no checkpoint that can be read") end
  local tensors, _, path = run:load_checkpoint(step)
  optimize.restore(tensors, subject.components, nil, path)
  return subject, run, step
end

-- ---- the run ------------------------------------------------------------------------------------

-- wall_s and ms_per_step are those of the process that finished the run: NaN if it had no step left to do.
local function summarize(subject, numbers, seconds, steps)
  local summary = analysis.score(subject)
  for key, value in pairs(numbers) do summary[key] = value end
  for name, count in pairs(summary.n_alive) do summary[name .. "/n_alive"] = count end
  summary.wall_s, summary.ms_per_step = seconds, steps > 0 and 1000 * seconds / steps or 0 / 0
  summary.peak_mb, summary.threads, summary.version = posix.peak_memory_mb(), core.threads(), core.version
  summary.seed, summary.steps = subject.config.seed, subject.config.steps
  return summary
end

--- experiment.draw(subject, run [, step [, quiet]])
-- Draw all figures into the run's folder; their names end in _step_N for a step that is not the last one. What cannot
-- be drawn is a warning, once per run.
function experiment.draw(subject, run, step, quiet)
  local suffix = step and ("_step_%d"):format(step) or ""
  local made, problem = run:make_figures_folder()
  if made then
    local drawn = setmetatable({rows = not step and run:metrics_rows() or nil}, {__index = subject})
    local paths = {}
    problem = analysis.draw(drawn, function(name)
      paths[#paths + 1] = run:figure_path(name .. suffix)
      return paths[#paths]
    end)
    for _, path in ipairs(paths) do
      if posix.is_file(path) then run:tell("drawn", step or subject.config.steps, path) end
    end
  end
  if problem and not quiet and not run.warned then errors.warn("figures: " .. problem) end
  run.warned = run.warned or problem ~= nil
end

local function how_to_resume(run) return "continue with --resume " .. run.directory end

local function train(subject, run, options)
  local config = subject.config
  local numbers, seconds, steps = optimize.run{
    components = subject.components, data = subject.data, evaluation_data = subject.evaluation_data, config = config,
    run = run, progress = progress.new{title = "step", steps = config.steps, quiet = options.quiet},
    draw = function(step) experiment.draw(subject, run, step, options.quiet) end,
    how_to_resume = how_to_resume(run),
  }
  return summarize(subject, numbers, seconds, steps)
end

-- A score, where there is one.
local function shown(number) return number == number and ("%.4f"):format(number) or "-" end

--- experiment.print_scores(subject, scores)
-- Print a row per matrix, the similarity to the target's features or neurons, and whether the known solution was found;
-- the last two only where there is one.
function experiment.print_scores(subject, scores)
  local names, known, l0, width = {}, subject.solution, scores.l0, 20
  for name in pairs(scores.n_alive) do
    names[#names + 1], width = name, math.max(width, #name)
  end
  table.sort(names)
  print(("%-" .. width .. "s %8s"):format("matrix", "n_alive") .. (known and ("%17s"):format "target_ci_error" or "") ..
    (l0 and ("%18s"):format "active per token" or ""))
  for _, name in ipairs(names) do
    print(("%-" .. width .. "s %8d"):format(name, scores.n_alive[name]) ..
      (known and ("%17s"):format(scores.target_ci_error[name] or "-") or "") ..
      (l0 and ("%18.2f"):format(l0[name]) or ""))
  end
  if scores.ce_target then
    print(("cross-entropy: %.4f of the target, %.4f with the subcomponents that matter, %.4f with all, %.4f with none")
      :format(scores.ce_target, scores.ce_masked, scores.ce_unmasked, scores.ce_zero_masked))
  end
  if scores.mmcs then
    print(("mmcs %.4f +- %.4f, ml2r %.4f +- %.4f"):format(scores.mmcs, scores.mmcs_std, scores.ml2r,
      scores.ml2r_std))
  end
  if scores.contribution_slope then
    print(("neuron contributions: correlation %s, slope %s"):format(shown(scores.contribution_correlation),
      shown(scores.contribution_slope)))
  end
  if not known then return end
  local misses = metrics.misses(known, scores)
  print(#misses == 0 and "solved: this is the known solution" or "missed the known solution: " ..
    table.concat(misses, "; "))
end

-- The run to resume, or a new one in which prepare() has done what can still be refused; and its config.
local function open_run(options, case, load, prepare)
  if options.resume then
    local run = run_module.open(options.resume)
    local config, warnings = load(run:config_path())
    warn_all(warnings, options.quiet)
    run:lock()
    return run, config
  end
  local config, warnings = load()
  warn_all(warnings, options.quiet)
  local run = run_module.create{
    directory = options.out, case = case, seed = config.seed,
    config_writer = function(path)
      prepare(config)
      config_module.write(path, config)
    end,
  }
  return run, config
end

-- Call work(run, config) unless the run is finished, and say where it is. An interrupt since the start ends here.
local function with_run(run, config, options, work)
  if interrupts.pending() then interrupts.stop("before the first step", how_to_resume(run)) end
  if not run:is_finished() then
    observers.attach(run, config, options.quiet)
    work(run, config)
  elseif not options.quiet then
    print(("finished at step %d"):format(config.steps))
  end
  print("run: " .. run.directory)
end

local function finish(subject, run, options)
  local summary = train(subject, run, options)
  experiment.draw(subject, run, nil, options.quiet)
  if interrupts.pending() then interrupts.stop("the last figures may be missing", how_to_resume(run)) end
  run:write_summary(summary)
  if not options.quiet then experiment.print_scores(subject, summary) end
end

--- experiment.decompose(kind, options)
-- Run or resume a decomposition as a command line asks for it (see cli.experiment), or a sweep whose trial this is
-- (see spd.trial), and print where its results are.
function experiment.decompose(kind, options)
  options = trial.apply(options)
  if options.threads then core.threads(options.threads) end
  local function load(path)
    if path then return load_config(kind, path, {}) end
    local config, warnings = load_config(kind, options.config, options.overrides)
    check(config, options.quiet)
    collectgarbage() -- the model that was checked, which is loaded again
    return config, warnings
  end
  local case = options.config and experiment.case_name(options.config)
  local guard <close> = interrupts.catch()
  local run <close>, run_config = open_run(options, case, load, target.prepare)
  with_run(run, run_config, options, function(_, config)
    local function display()
      return progress.new{title = "target", steps = target.steps(config), quiet = options.quiet}
    end
    local model, target_config = target.of_run(run.directory, config, display)
    finish(experiment.subject(config, model, target_config), run, options)
  end)
end

-- ---- a target -----------------------------------------------------------------------------------

--- experiment.train_target{kind =, script =, summary = [, draw =] [, report =]}
-- The whole of a script that trains a target as a command line asks for it: it is kept in a folder of its own, in which
-- draw(path, model, config) leaves a figure; draw returns true, or nil and the reason why there is none.
-- report(model, config, folder) prints how good the target is.
function experiment.train_target(settings)
  local options = cli.parse(arg, cli.target_training(settings.script, settings.summary))
  if not options then return end
  options = trial.apply(options)
  if options.threads then core.threads(options.threads) end
  local config, warnings = config_module.load_target(options.config, settings.kind, options.overrides)
  warn_all(warnings, options.quiet)
  local folder = options.out or "out/targets/" .. experiment.case_name(options.config)
  target.require_own_folder(folder, settings.kind)
  local model, loss = target.train(settings.kind, config, folder, function()
    return progress.new{title = "target", steps = config.steps, quiet = options.quiet}
  end)
  if not model then
    errors.raise(2, folder, "holds a trained target", "remove it, or name another folder with --out")
  end
  if settings.draw then
    local drawn, problem = settings.draw(folder .. "/target.png", model, config)
    if not drawn then errors.warn(problem) end
  end
  if not options.quiet then
    print(("final loss: %.6g"):format(loss))
    if settings.report then settings.report(model, config, folder) end
  end
  print("target: " .. folder .. "/" .. target.weights_file(settings.kind))
end

-- ---- a model of the user's own ------------------------------------------------------------------

local OWN_SETTINGS = {script = "string", summary = "string", model = "table", dataset = "function", config = "table"}

local function check_own_settings(settings)
  if type(settings) ~= "table" then errors.raise(2, "decompose_own", "expected a table, found " .. type(settings)) end
  for key in pairs(settings) do
    if not OWN_SETTINGS[key] then errors.raise(2, "decompose_own", ("unknown key '%s'"):format(tostring(key))) end
  end
  for key, wanted in pairs(OWN_SETTINGS) do
    local found = type(settings[key])
    if found ~= wanted then
      errors.raise(2, "decompose_own", ("%s: expected a %s, found %s"):format(key, wanted, found))
    end
  end
end

-- A first batch goes through the model, so that what does not fit together is known before there is a run.
local function try_batch(settings, config)
  for _, purpose in ipairs{"data", "evaluation"} do
    local data = settings.dataset(config, purpose)
    local x = type(data) == "table" and data.batch and data:batch(0)
    if not x then
      errors.raise(2, "decompose_own", ("dataset(config, '%s'): its batch(0) gives nothing"):format(purpose))
    end
    settings.model:run(x)
  end
end

--- experiment.decompose_own{script =, summary =, model =, dataset =, config =}
-- The whole of a script that decomposes a model of its own (spd.model.new): reads the command line (key=value, --out,
-- --resume, --threads, --quiet), trains, and leaves a run. dataset(config, purpose) returns the data, anything with a
-- method batch(step), for the purposes "data" and "evaluation". config: settings as in a config file, without those
-- about target and task; see spd.schema.
function experiment.decompose_own(settings)
  check_own_settings(settings)
  local options = cli.parse(arg, cli.own_experiment(settings.script, settings.summary))
  if not options then return end
  options = trial.apply(options)
  if options.threads then core.threads(options.threads) end
  local case = experiment.case_name(settings.script)
  local function load(path)
    if path then return config_module.load_own_model(path) end
    local config, warnings = config_module.resolve(settings.config, case, "own_model", options.overrides)
    losses.check(settings.model, component_model.find(settings.model, config.target_module_patterns), config)
    memory.check(settings.model, config, config.batch_size)
    try_batch(settings, config)
    return config, warnings
  end
  local guard <close> = interrupts.catch()
  local run <close>, run_config = open_run(options, case, load, function() end)
  with_run(run, run_config, options, function(_, config) finish(own_subject(settings, config), run, options) end)
end

return experiment
