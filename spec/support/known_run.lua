--- Run folders without a training, for specs that open them: of a toy model whose subcomponents are known, and of any
-- config with the initial values.
local component_model = require "spd.component_model"
local config_module = require "spd.config"
local experiment = require "spd.experiment"
local optimize = require "spd.optimize"
local run_module = require "spd.run"
local target = require "spd.target"
local tms = require "spd.models.tms"

local M = {}

M.C, M.features, M.steps = 8, 5, 20

--- The length of feature f (from 0) in the target.
function M.scale(f) return 1 + f / 2 end

--- The subcomponent of feature f, which reads this feature alone, in both matrices.
function M.component_of(f) return M.C - 1 - f end

local function target_config()
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write([[
tms_model_config: {n_features: 5, n_hidden: 5, n_hidden_layers: 0, tied_weights: true, init_bias_to_zero: true}
feature_probability: 0.05
data_generation_type: at_least_zero_active
batch_size: 8
steps: 1
lr: 1e-3
]])
  file:close()
  local settings = config_module.load_target(path, "tms")
  os.remove(path)
  return settings
end

-- linear1 is diagonal, with the lengths of the features.
local function known_target(settings)
  local model = tms.from_config(settings)
  local weight = model.by_name.linear1.weight:fill(0)
  for f = 0, M.features - 1 do weight:set(M.scale(f), f + 1, f + 1) end
  model:tie()
  return model
end

-- Importances are twice the feature, in linear2 as in linear1.
local function set_known(components)
  local first, second = components.by_name.linear1, components.by_name.linear2
  first.V:fill(0)
  first.U:fill(0)
  for _, gate in ipairs{first.gate, second.gate} do gate.w:fill(0) gate.b:fill(0) end
  for f = 0, M.features - 1 do
    local c, scale = M.component_of(f) + 1, M.scale(f)
    first.V:set(1, f + 1, c)
    first.U:set(scale, c, f + 1)
    first.gate.w:set(2, c)
    second.gate.w:set(2 / scale ^ 2, c)
  end
end

--- Write a run's folder with the values of components as its checkpoint, without a target; returns the run.
function M.write(folder, config, components, finished)
  local run <close> = run_module.create{
    directory = folder, case = "known", seed = 0,
    config_writer = function(path) config_module.write(path, config) end,
  }
  local step = finished and config.steps or 0
  for logged = 0, step, 10 do
    run:log(logged, {["loss/total"] = 1 / (1 + logged), ["linear1/n_alive"] = 5})
  end
  run:log(step, {["linear1/ci_l0"] = 0.25})
  if finished then run:save_checkpoint(10, optimize.state(components, components:optimizer())) end
  run:save_checkpoint(step, optimize.state(components, components:optimizer()))
  return run
end

--- Write a run of a toy model with five features of lengths 1, 1.5, ..., each of which has one of eight subcomponents,
-- with importance 2 x for a feature of x. finished: of its last step, 20, with a summary.
function M.write_tms(folder, finished)
  local settings = target_config()
  local model = known_target(settings)
  local config = config_module.resolve{
    pretrained_model_class = "spd.experiments.tms.models.TMSModel",
    pretrained_model_path = "nowhere/target.safetensors",
    task_config = {task_name = "tms", feature_probability = 0.1, data_generation_type = "at_least_zero_active"},
    target_module_patterns = {"linear*"}, C = M.C,
    n_mask_samples = 1, n_ci_mlp_neurons = 0, output_loss_type = "mse", importance_minimality_coeff = 1e-3, pnorm = 1,
    stochastic_recon_coeff = 1, steps = M.steps, batch_size = 64, lr = 1e-3, n_eval_steps = 3, print_freq = 10,
  }
  local components = component_model.new{target = model, patterns = {"linear*"}, C = M.C, n_ci_mlp_neurons = 0}
  set_known(components)
  local run = M.write(folder, config, components, finished)
  target.save(model, settings, folder .. "/target")
  if finished then
    run:write_summary{
      steps = M.steps, mmcs = 1.0, ml2r = 1.0, n_alive = {linear1 = 5, linear2 = 5},
      target_ci_error = {linear1 = 0, linear2 = 0}, target_ci_error_total = 0,
    }
  end
end

--- Write an unfinished run of a config's text, whose target exists, with the checkpoint of step 0.
function M.write_initial(folder, text)
  local path = folder .. ".yaml"
  do
    local file <close> = assert(io.open(path, "w"))
    file:write(text)
  end
  local config = config_module.load(path)
  os.remove(path)
  local model, settings = target.describe(config)
  M.write(folder, config, experiment.subject(config, model, settings).components)
  target.of_run(folder, config)
end

--- All elements of tensors as one list, for exact comparisons.
function M.elements(tensors)
  local list = {}
  local function add(item)
    if type(item) == "table" then
      for _, inner in ipairs(item) do add(inner) end
    else
      list[#list + 1] = item
    end
  end
  for _, tensor in ipairs(tensors) do add(tensor:totable()) end
  return list
end

return M
