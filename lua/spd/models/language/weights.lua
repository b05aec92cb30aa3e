--- The weights in a model's folder: one model.safetensors, or shards that model.safetensors.index.json lists.
--
-- Files are mapped, and each tensor is read on its own when it is asked for.
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local json = require "spd.json"
local settings_module = require "spd.models.language.settings"
local posix = core.posix

local weights = {}

local Weights = {}
Weights.__index = Weights

local ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
local LARGEST_JSON = 1 << 28

--- weights.read_json(path) -> table
-- The object in a JSON file.
function weights.read_json(path)
  if not posix.is_file(path) then errors.raise(2, path, "no such file") end
  do
    local file <close>, message = io.open(path, "rb")
    if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
    if file:seek("end") > LARGEST_JSON then errors.raise(2, path, "is too large to be a JSON file of a model") end
  end
  local value, problem = json.decode(files.read(path))
  if problem then errors.raise(2, path, "is not valid JSON: " .. problem:gsub("%c", "?")) end
  if type(value) ~= "table" or value[1] ~= nil then
    errors.raise(2, path, "expected an object, found " .. settings_module.quote(value))
  end
  return value
end

-- ---- finding files --------------------------------------------------------------------------------

local CONVERT = "convert it: python3 -c \"from transformers import AutoModelForCausalLM as M; " ..
  "M.from_pretrained('%s').save_pretrained('%s')\""

local function no_weights(folder)
  if posix.is_file(folder .. "/pytorch_model.bin") or posix.is_file(folder .. "/pytorch_model.bin.index.json") then
    errors.raise(2, folder, "its weights are in pytorch_model.bin, which is not read", CONVERT:format(folder, folder))
  end
  errors.raise(2, folder, ("expected weights in %s or %s, found neither"):format(ONE, INDEX))
end

-- Of an index: name of a tensor -> name of its shard, and the shards in the order of their names.
local function read_index(path)
  local map = weights.read_json(path).weight_map
  if type(map) ~= "table" or next(map) == nil then
    errors.raise(2, path, "weight_map: expected tensors with their files, found " .. settings_module.quote(map))
  end
  local names, seen = {}, {}
  for tensor, name in pairs(map) do
    if type(tensor) ~= "string" or type(name) ~= "string" or name:find("[/%z]") or name:match("^%.*$") then
      errors.raise(2, path, ("weight_map: expected the name of a file beside it for %s, found %s"):format(
        settings_module.quote(tostring(tensor)), settings_module.quote(name)))
    end
    if not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  table.sort(names)
  return map, names
end

-- ---- what is in them -------------------------------------------------------------------------------

local function add_file(self, path)
  local file = core.safetensors_open(path)
  self.files[#self.files + 1] = file
  for name, entry in pairs(file:list()) do
    if self.tensors[name] then
      errors.raise(2, path, ("tensor %s is in another file too"):format(settings_module.quote(name)))
    end
    self.tensors[name] = {dtype = entry.dtype, shape = entry.shape, file = file, path = path}
  end
end

local function add_shards(self, folder)
  local map, names = read_index(self.path)
  for _, name in ipairs(names) do
    local path = folder .. "/" .. name
    if not posix.is_file(path) then errors.raise(2, path, "no such file, but " .. INDEX .. " lists it") end
    add_file(self, path)
  end
  for tensor, name in pairs(map) do
    local entry, path = self.tensors[tensor], folder .. "/" .. name
    if not entry or entry.path ~= path then
      errors.raise(2, path, ("tensor %s is missing, but %s lists it there"):format(settings_module.quote(tensor),
        INDEX))
    end
  end
end

--- weights.open(folder) -> weights
-- Open the files with a model's weights and check them, without reading a tensor. `local w <close> = ...`. w.tensors:
-- name -> {dtype =, shape =, path =}; w.path: the file, or the index of several.
function weights.open(folder)
  local self = setmetatable({files = {}, tensors = {}}, Weights)
  if posix.is_file(folder .. "/" .. ONE) then
    self.path = folder .. "/" .. ONE
    add_file(self, self.path)
  elseif posix.is_file(folder .. "/" .. INDEX) then
    self.path = folder .. "/" .. INDEX
    add_shards(self, folder)
  else
    no_weights(folder)
  end
  return self
end

local IS_REAL = {F64 = true, F32 = true, F16 = true, BF16 = true}

--- w:require(name, shape)
-- Raise an error unless there is a tensor of reals with that name and shape.
function Weights:require(name, shape)
  local entry = self.tensors[name]
  if not entry then errors.raise(2, self.path, ("tensor '%s' is missing"):format(name)) end
  local found, expected = table.concat(entry.shape, ", "), table.concat(shape, ", ")
  if found ~= expected then
    errors.raise(2, entry.path, ("tensor '%s': expected [%s], found [%s]"):format(name, expected, found))
  end
  if not IS_REAL[entry.dtype] then
    errors.raise(2, entry.path, ("tensor '%s': expected F32, F16 or BF16, found %s"):format(name, entry.dtype))
  end
end

--- w:read(name) -> tensor
-- Its entries must be finite.
function Weights:read(name)
  local entry = self.tensors[name]
  local tensor = entry.file:read(name)
  if not tensor:is_finite() then
    errors.raise(2, entry.path, ("tensor '%s' has entries that are NaN or infinite"):format(name))
  end
  return tensor
end

--- w:close()
function Weights:close()
  for _, file in ipairs(self.files) do file:close() end
end
Weights.__close = Weights.close

return weights
