--- Language models in Hugging Face's own layout: a folder with config.json and model.safetensors.
--
-- The architecture is chosen by config.json; each is a file in spd/models/language/. Layers, tensors and settings
-- have the names of the Python library `transformers`:
--
--     local model = require("spd.models.language").load "path/of/folder"
--     local logits = model:run(ids)                     -- ids: int32 [B, T]; logits [B, T, vocabulary]
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local gpt2 = require "spd.models.language.gpt2"
local gpt_neo = require "spd.models.language.gpt_neo"
local json = require "spd.json"
local language_data = require "spd.language_data"
local llama = require "spd.models.language.llama"
local memory = require "spd.memory"
local model = require "spd.model"
local settings_module = require "spd.models.language.settings"
local transformer = require "spd.models.language.transformer"
local weights_module = require "spd.models.language.weights"
local posix = core.posix

local language = {}

--- language.architectures: those that there are.
language.architectures = {llama, gpt2, gpt_neo}

-- ---- architecture and settings --------------------------------------------------------------------

local function unsupported(where, key, found)
  local names = {}
  for i, architecture in ipairs(language.architectures) do names[i] = architecture[key] end
  settings_module.refuse(where, key == "name" and "architectures" or "model_type", names, found)
end

-- The architecture that a config names: by architectures[1], else by model_type.
local function architecture_of(config, where)
  local names = config.architectures
  local key, wanted = "model_type", config.model_type
  if names ~= nil and not (type(names) == "table" and #names == 0) then
    key, wanted = "name", type(names) == "table" and names[1] or names
  end
  for _, architecture in ipairs(language.architectures) do
    if architecture[key] == wanted then return architecture end
  end
  unsupported(where, key, wanted)
end

-- Checked settings, with `architectures` and `model_type` in them.
local function settings_of(config, where)
  local architecture = architecture_of(config, where)
  settings_module.check_common(config, where)
  local settings = settings_module.read(config, architecture.fields, where)
  architecture.check(settings, where)
  settings.architectures, settings.model_type = {architecture.name}, architecture.model_type
  return architecture, settings
end

local function open_folder(folder)
  if not posix.is_directory(folder) then errors.raise(2, folder, "is not a folder") end
  local path = folder .. "/config.json"
  return settings_of(weights_module.read_json(path), path)
end

-- ---- tensors -----------------------------------------------------------------------------------------

-- Call f(name, shape, part) for every tensor that the parts of a model have: NAME.weight, NAME.bias.
local function each_tensor(parts, f)
  for _, part in ipairs(parts) do
    if not part.shares then f(part.name .. ".weight", part.shape, part) end
    if part.bias then
      f(part.name .. ".bias", {part.shape[part.kind == "conv1d" and 2 or 1]}, part)
    end
  end
end

local function bytes_of(parts)
  local numbers = 0.0
  each_tensor(parts, function(_, shape)
    local count = 1.0
    for _, size in ipairs(shape) do count = count * size end
    numbers = numbers + count
  end)
  return 4 * numbers
end

-- Refuse what is not a batch of texts, or has more positions than the model.
local function check_ids(ids, settings, key)
  local shape = type(ids) == "userdata" and ids.shape
  if not shape or #shape ~= 2 then
    errors.raise(2, "model", "expected token ids [B, T], found " ..
      (shape and ("[%s]"):format(table.concat(shape, ", ")) or type(ids)))
  end
  if shape[2] > settings[key] then
    errors.raise(2, "model", ("%d positions are more than its %s %d"):format(shape[2], key, settings[key]))
  end
end

-- A model from its parts. tensor(name, shape, part) gives the tensors.
local function build(architecture, settings, parts, tensor)
  local tensors, layers, constants = {}, {}, {}
  each_tensor(parts, function(name, shape, part) tensors[name] = tensor(name, shape, part) end)
  for _, part in ipairs(parts) do
    local name = part.name
    local weight, bias = tensors[(part.shares or name) .. ".weight"], tensors[name .. ".bias"]
    if model[part.kind] then
      layers[#layers + 1] = model[part.kind](name, weight, bias)
    else
      constants[name .. ".weight"], constants[name .. ".bias"] = weight, bias
    end
  end
  return model.new{
    kind = "lm", settings = settings, layers = layers, constants = constants, unembed = transformer.unembed,
    forward = function(self, ids, layer)
      check_ids(ids, settings, architecture.positions_key)
      return architecture.forward(self, ids, layer)
    end,
  }
end

-- ---- loading -----------------------------------------------------------------------------------------

-- The name that a tensor has in the files: names may lack the architecture's prefix.
local function stored_name(architecture, weights, name)
  local prefix = architecture.prefix
  if weights.tensors[name] or name:sub(1, #prefix) ~= prefix then return name end
  local short = name:sub(#prefix + 1)
  return weights.tensors[short] and short or name
end

local function is_ignored(architecture, name)
  for _, pattern in ipairs(architecture.ignored) do
    if ("." .. name):find(pattern) then return true end
  end
  return false
end

-- Check that the files have all tensors of the parts, and no others. Returns name -> name in the files, also of the
-- weights that part.shares names, where the files have them.
local function match_tensors(architecture, parts, weights)
  local names, known = {}, {}
  local function match(name, shape)
    local stored = stored_name(architecture, weights, name)
    weights:require(stored, shape)
    names[name], known[stored] = stored, true
  end
  each_tensor(parts, match)
  for _, part in ipairs(parts) do
    local name = part.name .. ".weight"
    if part.shares and weights.tensors[name] then match(name, part.shape) end
  end
  for name, entry in pairs(weights.tensors) do
    if not known[name] and not is_ignored(architecture, name) then
      errors.raise(2, entry.path, ("tensor %s does not belong to a %s with these settings"):format(
        settings_module.quote(name), architecture.name))
    end
  end
  return names
end

-- A tied weight that is stored all the same must be the one it is tied to.
local function check_tied(found, parts, names, weights)
  for _, part in ipairs(parts) do
    local name = part.name .. ".weight"
    if part.shares and names[name] then
      local copy = weights:read(names[name])
      if core.squared_error(copy, found.by_name[part.shares].weight):item() ~= 0 then
        errors.raise(2, weights.path,
          ("tensor '%s' is not '%s.weight', though they are tied"):format(name, part.shares),
          "set tie_word_embeddings to false in config.json to keep both")
      end
      copy:close()
    end
  end
end

--- language.load(folder) -> model
-- A model from its folder. settings: what config.json says, with all defaults; kind: "lm". Weights in half precision
-- become floats. Everything that config.json or the files have wrong is an error which names it.
function language.load(folder)
  local architecture, settings = open_folder(folder)
  local parts = architecture.parts(settings)
  local weights <close> = weights_module.open(folder)
  local names = match_tensors(architecture, parts, weights)
  memory.require(bytes_of(parts), "the model in " .. folder, "a smaller model")
  local found = build(architecture, settings, parts, function(name) return weights:read(names[name]) end)
  check_tied(found, parts, names, weights)
  return found
end

--- language.bytes(folder) -> bytes
-- The memory that the model in a folder takes, by its config; its files are checked, but no weights are read.
function language.bytes(folder)
  local architecture, settings = open_folder(folder)
  local parts = architecture.parts(settings)
  local weights <close> = weights_module.open(folder)
  match_tensors(architecture, parts, weights)
  return bytes_of(parts)
end

--- language.positions(model) -> the longest text that it takes, in tokens
function language.positions(self)
  local architecture = architecture_of(self.settings, "model")
  return self.settings[architecture.positions_key]
end

-- ---- as a target of a decomposition -------------------------------------------------------------------

--- language.dataset{target_config = {folder =, vocab_size =}, config =, purpose =} -> dataset
-- The text of a decomposition's config, see spd.language_data.
function language.dataset(settings)
  return language_data.open{
    folder = settings.target_config.folder, vocabulary = settings.target_config.vocab_size, config = settings.config,
    purpose = settings.purpose,
  }
end

--- language.tokenizer(target_config, config) -> tokenizer, or nil where there is none and none is needed
function language.tokenizer(target_config, config)
  return language_data.find_tokenizer(config, target_config.folder)
end

-- ---- new models --------------------------------------------------------------------------------------

-- Initial weights as the library has them: N(0, initializer_range^2), biases 0, norms 1.
local function initial_tensor(settings, seed)
  local drawn = 0
  return function(name, shape, part)
    if name:match("%.bias$") then return core.zeros(shape) end
    if not model[part.kind] then return core.zeros(shape) + 1 end
    drawn = drawn + 1
    local draw = {seed = seed, purpose = "target initialisation", matrix = drawn - 1}
    return core.normal(shape, draw) * (settings.initializer_range * (part.scale or 1))
  end
end

--- language.new(settings [, seed]) -> model
-- A model with random initial weights. settings: a table with the keys of a config.json; architectures or model_type
-- is required, all others have the library's defaults.
function language.new(settings, seed)
  local architecture, checked = settings_of(settings, "model")
  local parts = architecture.parts(checked)
  memory.require(bytes_of(parts), "the model", "smaller settings")
  return build(architecture, checked, parts, initial_tensor(checked, seed or 0))
end

-- config.json as text. The library wants "1.0" where a number need not be whole, not "1".
local function config_text(settings)
  local config = {}
  for key, value in pairs(settings) do config[key] = value end
  config.torch_dtype, config.dtype = "float32", nil
  local text = json.encode_pretty(config)
  for _, field in ipairs(architecture_of(settings, "model").fields) do
    if field.type == "number" then text = text:gsub(('(\n  "%s": %%-?%%d+)([,\n])'):format(field.key), "%1.0%2") end
  end
  return text
end

--- language.save(model, folder)
-- Write config.json and model.safetensors, each at once, so that this project and `transformers` can load them. A
-- weight that two layers share is written once.
function language.save(self, folder)
  files.make_directory(folder, true)
  files.write(folder .. "/config.json", config_text(self.settings))
  core.safetensors_save(folder .. "/model.safetensors", self:tensors(), {format = "pt"})
end

return language
