--- Trained targets on disk: found, or trained once and kept.
--
-- A toy target is a folder with target.safetensors (its weights) and, beside it, target_config.yaml (the config it
-- was trained with, which says what model the weights belong to). A language model is a folder in Hugging Face's layout
-- (see spd.models.language), which stays where it is; one that was trained here has that config in it, too.
local core = require "spd.core"
local config_module = require "spd.config"
local errors = require "spd.errors"
local files = require "spd.files"
local hugging_face = require "spd.hugging_face"
local json = require "spd.json"
local memory = require "spd.memory"
local posix = core.posix
local text_data = require "spd.text_data"

local target = {}

local kinds = {tms = "spd.models.tms", residual_mlp = "spd.models.residual_mlp", lm = "spd.models.language"}

--- target.kind(name) -> the module of a kind of target
-- "tms" and "residual_mlp" have from_config, train, solution and dataset, "lm" load and dataset.
function target.kind(name)
  if not kinds[name] then errors.raise(2, "task_config.task_name", "no target model for '" .. tostring(name) .. "'") end
  return require(kinds[name])
end

-- Targets that are trained are made by the module of their kind, but for language models.
local trainers = {tms = kinds.tms, residual_mlp = kinds.residual_mlp, lm = "spd.models.language_target"}

-- The module that trains a kind: from_config, training_bytes and train; where its folders hold other files than
-- target.safetensors their names (weights_file, files), prepare(config, folder), which writes what there is before the
-- training, and save(model, folder).
local function trainer(kind) return require(trainers[kind]) end

--- target.config_path(weights_path) -> the path of the config beside a weights file.
function target.config_path(weights_path)
  return (weights_path:match("^(.*/)") or "") .. "target_config.yaml"
end

-- The config beside a weights file, which says what model it is.
local function config_beside(weights_path, kind)
  local path = target.config_path(weights_path)
  if not posix.is_file(path) then
    errors.raise(2, weights_path, "no " .. path .. " beside it, which says what model it is")
  end
  return (config_module.load_target(path, kind))
end

--- target.load(kind, weights_path) -> model, target config
-- The model of a weights file and of the target_config.yaml beside it.
function target.load(kind, weights_path)
  local settings = config_beside(weights_path, kind)
  local model = target.kind(kind).from_config(settings)
  model:load(weights_path)
  return model, settings
end

local WEIGHTS, CONFIG, LOCK = "target.safetensors", "target_config.yaml", "training.lock"

-- A folder that is about to receive a target may hold its config already, if a process was killed before it wrote the
-- weights, but not another one.
local function refuse_other_config(settings, folder)
  local path = folder .. "/" .. CONFIG
  if posix.is_file(path) and files.read(path) ~= config_module.format(settings) then
    errors.raise(2, path, "is in the way: the target's own config would replace it", "name another folder")
  end
end

--- target.weights_file(kind) -> the name of the weights' file in the folder of such a target
function target.weights_file(kind) return trainer(kind).weights_file or WEIGHTS end

-- The names that files in a target's folder may have. Those of its kind are only the target's own beside its config.
local function own_names(folder, kind)
  local names = {target.weights_file(kind), CONFIG, LOCK, "target.png"}
  local others = posix.is_file(folder .. "/" .. CONFIG) and trainer(kind).files or {}
  return table.move(others, 1, #others, #names + 1, names)
end

-- Whether a file is one of these, or was left half-written by a killed process.
local function is_own(name, own)
  for _, ours in ipairs(own) do
    if name == ours or name:match("%.tmp$") and name:sub(1, #ours + 1) == ours .. "." then return true end
  end
  return false
end

--- target.require_own_folder(folder, kind)
-- Raise an error if a folder holds anything but a target of this kind, or what is left of one.
function target.require_own_folder(folder, kind)
  local own = own_names(folder, kind)
  for _, name in ipairs(posix.is_directory(folder) and files.list(folder) or {}) do
    if not is_own(name, own) then errors.raise(2, folder, "is not empty: it holds " .. name) end
  end
end

-- Write the config, then the weights: a weights file is never without its config.
local function write(model, settings, folder)
  config_module.write(folder .. "/" .. CONFIG, settings)
  local save = trainer(model.kind).save
  if save then save(model, folder) else model:save(folder .. "/" .. WEIGHTS) end
end

--- target.save(model, settings, folder)
-- Keep a target and the config it was trained with in a folder.
function target.save(model, settings, folder)
  files.make_directory(folder, true)
  write(model, settings, folder)
end

-- Make the folder, and wait until no other process trains in it.
local function lock_folder(folder, kind)
  files.make_directory(folder, true)
  local lock, reason = posix.lock(folder .. "/" .. LOCK)
  if not lock then errors.raise(2, folder, reason) end
  for _, name in ipairs(own_names(folder, kind)) do files.tidy(folder, name .. ".") end
  return lock
end

-- Write what there is before a training. It goes away again if the training fails or is interrupted.
local function prepare_folder(module, settings, folder)
  local prepared = setmetatable({}, {__close = function(self)
    if self.is_used or not module.prepare then return end
    for _, name in ipairs(module.files) do os.remove(folder .. "/" .. name) end
    os.remove(folder .. "/" .. CONFIG)
  end})
  if module.prepare then
    config_module.write(folder .. "/" .. CONFIG, settings)
    module.prepare(settings, folder)
  end
  return prepared
end

--- target.train(kind, settings, folder, progress) -> model, loss; nil if there is one by now
-- Train a target and keep it in a folder. Nothing overwrites a trained target: of two processes that train in one
-- folder, the later one waits and then returns nil. progress() makes the display.
function target.train(kind, settings, folder, progress)
  local module = trainer(kind)
  memory.require(module.training_bytes(settings), "the target's training", "a smaller model or batch_size")
  local lock <close> = lock_folder(folder, kind)
  if posix.is_file(folder .. "/" .. target.weights_file(kind)) then return nil end
  refuse_other_config(settings, folder)
  local prepared <close> = prepare_folder(module, settings, folder)
  local model, loss = module.train(settings, progress(), folder)
  write(model, settings, folder)
  prepared.is_used = true
  return model, loss
end

-- ---- language models ------------------------------------------------------------------------------

-- The sizes of a model's files, by which a run notices that it is no longer the one it was made with.
local function sizes_of(folder)
  local sizes = {}
  for _, name in ipairs(files.list(folder)) do
    if name == "config.json" or name:match("%.safetensors$") then sizes[name] = files.size(folder .. "/" .. name) end
  end
  return sizes
end

-- Refuse a model that is not of the class, which names an architecture or leaves it to the model, or that has too few
-- positions. place: where the model is described.
local function check_language_model(config, model, place)
  local class, found = config.pretrained_model_class:match("[^.]*$"), model.settings.architectures[1]
  if class ~= found and not class:match("^Auto") then
    errors.raise(2, "pretrained_model_class", ("expected a %s, found a %s in %s"):format(class, found, place))
  end
  local positions, length = target.kind("lm").positions(model), config.task_config.max_seq_len
  if length > positions then
    errors.raise(2, "task_config.max_seq_len", ("%d is more than the %d positions of the model in %s"):format(length,
      positions, place))
  end
end

-- The model of a config that names one in Hugging Face's way, and {folder =, vocab_size =}.
local function load_language_model(config, folder)
  local model = target.kind("lm").load(folder)
  check_language_model(config, model, folder)
  return model, {folder = folder, vocab_size = model.settings.vocab_size}
end

local function language_folder(config)
  local name = config.pretrained_model_name_hf
  return posix.is_directory(name) and name or hugging_face.snapshot("model", name)
end

-- The config of the training of a language model that does not exist yet, and warnings; nil if it exists.
local function untrained_language_model(config)
  local name = config.pretrained_model_name_hf
  if not config.target_config or posix.is_file(name .. "/" .. target.weights_file "lm") then return nil end
  return config_module.load_target(config.target_config, "lm")
end

-- Text that does not come with a model that is yet to be trained must be there already.
local function check_text(config)
  local task, folder = config.task_config, config.pretrained_model_name_hf:gsub("/+$", "")
  if (task.dataset_name .. "/"):sub(1, #folder + 1) == folder .. "/" then return end
  text_data.find(task.dataset_name, task.train_data_split)
  text_data.find(task.dataset_name, task.eval_data_split)
end

local function describe_language_model(config)
  local settings, warnings = untrained_language_model(config)
  if not settings then
    local model, where = load_language_model(config, language_folder(config))
    return model, where, {}
  end
  local module = trainer "lm"
  memory.require(module.training_bytes(settings), "the target", "a smaller model or batch_size")
  local model = module.from_config(settings)
  check_language_model(config, model, config.target_config)
  check_text(config)
  return model, {untrained = true}, warnings
end

-- The model that a run was made with, or one for a new run, of which it is noted where it is.
local function language_model_of_run(directory, config, progress)
  local path = directory .. "/target/model.json"
  if not posix.is_file(path) then
    local settings = untrained_language_model(config)
    if settings then target.train("lm", settings, config.pretrained_model_name_hf, progress) end
    local folder = language_folder(config)
    local model, where = load_language_model(config, folder)
    files.make_directory(directory .. "/target", true)
    files.write(path, json.encode_pretty{folder = folder, bytes = sizes_of(folder)})
    return model, where
  end
  local noted = json.decode(files.read(path)) or {}
  if type(noted.folder) ~= "string" or type(noted.bytes) ~= "table" then errors.raise(2, path, "is damaged") end
  local sizes = posix.is_directory(noted.folder) and sizes_of(noted.folder) or {}
  for name, size in pairs(noted.bytes) do
    if sizes[name] ~= size then
      errors.raise(2, noted.folder .. "/" .. tostring(name), "is not the file that this run was made with",
        ("%s bytes then, %s now"):format(size, sizes[name] or "none"))
    end
  end
  return load_language_model(config, noted.folder)
end

-- ---- the target of a decomposition ------------------------------------------------------------------

local function folder_of(path) return path:match("^(.*)/") or "." end

-- A target that is trained on demand has a folder of its own.
local function check_new_path(path)
  if path:match("[^/]*$") ~= WEIGHTS then
    errors.raise(2, "pretrained_model_path", path .. " does not exist",
      "a target that is trained on demand must be named " .. WEIGHTS)
  end
end

-- The config that describes the target of a decomposition, whether it is trained, and warnings: the config beside its
-- weights, or the one to train it with.
local function described_by(config)
  local kind, path = config.task_config.task_name, config.pretrained_model_path
  if posix.is_file(path) then return config_beside(path, kind), true, {} end
  if posix.is_directory(path) then errors.raise(2, "pretrained_model_path", path .. " is a folder, not a file") end
  if not config.target_config then
    errors.raise(2, "pretrained_model_path", path .. " does not exist", "name a target_config to train it")
  end
  check_new_path(path)
  local settings, warnings = config_module.load_target(config.target_config, kind)
  return settings, false, warnings
end

--- target.describe(config) -> model, target config, warnings
-- The target of a decomposition config: loaded, or with initial weights where it is yet to be trained. Of a language
-- model the second is {folder =, vocab_size =}, or {untrained = true}. warnings: a list of lines about the target's
-- config.
function target.describe(config)
  local kind = config.task_config.task_name
  if kind == "lm" then return describe_language_model(config) end
  local settings, exists, warnings = described_by(config)
  local module = target.kind(kind)
  memory.require(exists and module.model_bytes(settings) or module.training_bytes(settings), "the target",
    "a smaller model or batch_size")
  if exists then return (target.load(kind, config.pretrained_model_path)), settings, {} end
  return module.from_config(settings), settings, warnings
end

--- target.prepare(config)
-- Make the folder in which a target that does not exist yet will be trained; an error if it cannot be used.
function target.prepare(config)
  local kind, path = config.task_config.task_name, config.pretrained_model_path
  if kind == "lm" then
    if untrained_language_model(config) then lock_folder(config.pretrained_model_name_hf, kind):close() end
  elseif not posix.is_file(path) then
    lock_folder(folder_of(path), kind):close()
  end
end

--- target.steps(config) -> how many steps the training of a decomposition config's target takes.
function target.steps(config)
  return ((config.task_config.task_name == "lm" and untrained_language_model or described_by)(config)).steps
end

--- target.get(config, progress) -> model, target config
-- The target of a decomposition config: loaded from pretrained_model_path, or, where that file does not exist,
-- trained first with the config that target_config names. Two processes that need it at the same time: one
-- trains, the other waits. progress() makes the display of a training.
function target.get(config, progress)
  local kind, path = config.task_config.task_name, config.pretrained_model_path
  local settings, exists = described_by(config)
  if not exists then target.train(kind, settings, folder_of(path), progress) end
  return target.load(kind, path)
end

--- target.require_copy(directory, config)
-- Raise an error if the target that belongs to a run is not in its folder.
function target.require_copy(directory, config)
  local path = ("%s/target/%s"):format(directory, config.task_config.task_name == "lm" and "model.json" or WEIGHTS)
  if not posix.is_file(path) then errors.raise(2, path, "is missing", "it is the target that the run decomposes") end
end

--- target.of_run(directory, config, progress) -> model, target config
-- The target of a run. A new run gets its own copy of a toy target, which is trained first where there is none; of a
-- language model it notes where it is, and it is an error if that is another one later. progress() makes the display of
-- a training.
function target.of_run(directory, config, progress)
  local kind, folder = config.task_config.task_name, directory .. "/target"
  if kind == "lm" then return language_model_of_run(directory, config, progress) end
  if not posix.is_file(folder .. "/" .. WEIGHTS) then
    local model, settings = target.get(config, progress)
    target.save(model, settings, folder)
  end
  return target.load(kind, folder .. "/" .. WEIGHTS)
end

return target
