--- Trained targets on disk: found, or trained once and kept.
--
-- A target is a folder with target.safetensors (its weights) and, beside it, target_config.yaml (the config it
-- was trained with, which says what model the weights belong to).
local core = require "spd.core"
local config_module = require "spd.config"
local errors = require "spd.errors"
local posix = core.posix

local target = {}

local kinds = {tms = "spd.models.tms"}

--- target.kind(name) -> the module of a kind of target ("tms"): from_config, train, solution, dataset.
function target.kind(name)
  if not kinds[name] then errors.raise(2, "task_config.task_name", "no target model for '" .. tostring(name) .. "'") end
  return require(kinds[name])
end

--- target.config_path(weights_path) -> the path of the config beside a weights file.
function target.config_path(weights_path)
  return (weights_path:match("^(.*/)") or "") .. "target_config.yaml"
end

--- target.load(kind, weights_path) -> model, target config
-- The model of a weights file and of the target_config.yaml beside it.
function target.load(kind, weights_path)
  local path = target.config_path(weights_path)
  if not posix.is_file(path) then
    errors.raise(2, weights_path, "no " .. path .. " beside it, which says what model it is")
  end
  local settings = config_module.load_target(path, kind)
  local model = target.kind(kind).from_config(settings)
  model:load(weights_path)
  return model, settings
end

--- target.refuse_existing(folder)
-- Raise an error if a target is there: nothing overwrites a trained one.
function target.refuse_existing(folder)
  if posix.is_file(folder .. "/target.safetensors") then
    errors.raise(2, folder, "holds a trained target", "remove it, or name another folder with --out")
  end
end

--- target.save(model, settings, folder)
-- Write target_config.yaml, then target.safetensors: a weights file is never without its config.
function target.save(model, settings, folder)
  local ok, message = posix.make_directory(folder, true)
  if not ok then errors.raise(2, folder, message) end
  config_module.write(folder .. "/target_config.yaml", settings, model.kind .. "_target")
  model:save(folder .. "/target.safetensors")
end

local function folder_of(path) return path:match("^(.*)/") or "." end

-- Refuse a path where a target is to be trained but could not be kept.
local function check_new_path(path)
  if path:match("[^/]*$") ~= "target.safetensors" then
    errors.raise(2, "pretrained_model_path", path .. " does not exist",
      "a target that is trained on demand must be named target.safetensors")
  end
  local folder = folder_of(path)
  while folder ~= "" and not posix.is_directory(folder) do
    if posix.is_file(folder) then errors.raise(2, "pretrained_model_path", folder .. " is not a folder") end
    folder = folder:match("^(.*)/") or ""
  end
end

-- The config that describes the target of a decomposition: beside its weights, or the one to train it with.
local function described_by(config)
  local kind, path = config.task_config.task_name, config.pretrained_model_path
  if posix.is_file(path) then return config_module.load_target(target.config_path(path), kind), true end
  if posix.is_directory(path) then errors.raise(2, "pretrained_model_path", path .. " is a folder, not a file") end
  if not config.target_config then
    errors.raise(2, "pretrained_model_path", path .. " does not exist", "name a target_config to train it")
  end
  check_new_path(path)
  return config_module.load_target(config.target_config, kind), false
end

--- target.describe(config) -> model
-- The target of a decomposition config: loaded, or with initial weights where it is yet to be trained.
function target.describe(config)
  local kind = config.task_config.task_name
  local settings, exists = described_by(config)
  if exists then return (target.load(kind, config.pretrained_model_path)) end
  return target.kind(kind).from_config(settings)
end

--- target.steps(config) -> how many steps the training of a decomposition config's target takes.
function target.steps(config) return (described_by(config)).steps end

-- Train under a lock, unless another process has done so by the time we hold it.
local function train_once(kind, weights_path, settings, progress)
  local folder = folder_of(weights_path)
  local ok, message = posix.make_directory(folder, true)
  if not ok then errors.raise(2, folder, message) end
  local lock <close>, reason = posix.lock(folder .. "/training.lock")
  if not lock then errors.raise(2, folder, reason) end
  if not posix.is_file(weights_path) then
    local model = target.kind(kind).train(settings, progress())
    target.save(model, settings, folder)
  end
end

--- target.get(config, progress) -> model, target config
-- The target of a decomposition config: loaded from pretrained_model_path, or, where that file does not exist,
-- trained first with the config that target_config names. Two processes that need it at the same time: one
-- trains, the other waits. progress() makes the display of a training.
function target.get(config, progress)
  local kind, path = config.task_config.task_name, config.pretrained_model_path
  local settings, exists = described_by(config)
  if not exists then train_once(kind, path, settings, progress) end
  return target.load(kind, path)
end

return target
