--- Target models: named layers, and a forward pass that applies them by name.
--
-- A model is a table with `layers` and `forward`. Every linear or embedding layer that the forward pass applies
-- by name can be replaced by subcomponents; everything else is whatever operators the function calls:
--
--     local model = require "spd.model"
--     local mlp = model.new{
--       layers = {model.linear("fc1", w1, b1), model.linear("fc2", w2)},
--       forward = function(self, x, layer) return layer("fc2", spd.relu(layer("fc1", x))) end,
--     }
--     local y = mlp:run(x)
local core = require "spd.core"
local errors = require "spd.errors"

local model = {}

local Model = {}
Model.__index = Model

--- model.linear(name, weight [, bias]) -> layer
-- A linear layer y = x weight^T + bias, with weight [d_out, d_in] and bias [d_out].
function model.linear(name, weight, bias)
  return {name = name, kind = "linear", weight = weight, bias = bias}
end

--- model.embedding(name, weight) -> layer
-- Rows of weight [vocabulary, d] by token id.
function model.embedding(name, weight)
  return {name = name, kind = "embedding", weight = weight}
end

--- model.apply(layer, x) -> y
-- What a layer computes when nothing replaces it.
function model.apply(layer, x)
  if layer.kind == "embedding" then return core.embedding(x, layer.weight) end
  return core.linear(x, layer.weight, layer.bias)
end

--- model.new{layers =, forward = [, tied =, constants =]} -> model
-- layers: a list of layers with unique names. forward(self, x, layer): computes the output; layer(name, input)
-- applies a layer. tied: pairs {first, second} of layer names, where second's weight is the transpose of
-- first's. constants: name -> tensor, saved with the model. Other fields are kept as they are.
function model.new(definition)
  local self = setmetatable({}, Model)
  for key, value in pairs(definition) do self[key] = value end
  self.tied = self.tied or {}
  self.constants = self.constants or {}
  self.by_name = {}
  for _, layer in ipairs(self.layers) do
    if self.by_name[layer.name] then errors.raise(2, "model", "two layers are named '" .. layer.name .. "'") end
    self.by_name[layer.name] = layer
  end
  return self
end

--- m:run(x [, layer [, inputs]]) -> y
-- The forward pass. layer(layer_table, input) replaces how a layer is applied (default: model.apply). inputs, a
-- table, receives the input of every layer by name.
function Model:run(x, layer, inputs)
  local by_name, apply = self.by_name, layer or model.apply
  return self:forward(x, function(name, input)
    local found = by_name[name]
    if not found then
      errors.raise(2, "model", ("the forward pass applies a layer '%s' that is not listed"):format(tostring(name)))
    end
    if inputs then inputs[name] = input end
    return apply(found, input)
  end)
end

--- m:tensors() -> name -> tensor
-- All weights (NAME.weight), biases (NAME.bias) and constants; of tied weights only the first.
function Model:tensors()
  local tensors, is_copy = {}, {}
  for _, pair in ipairs(self.tied) do is_copy[pair[2]] = true end
  for _, layer in ipairs(self.layers) do
    if not is_copy[layer.name] then tensors[layer.name .. ".weight"] = layer.weight end
    if layer.bias then tensors[layer.name .. ".bias"] = layer.bias end
  end
  for name, tensor in pairs(self.constants) do tensors[name] = tensor end
  return tensors
end

--- m:tie()
-- Make the second weight of every tied pair the transpose of the first.
function Model:tie()
  for _, pair in ipairs(self.tied) do
    self.by_name[pair[2]].weight:copy_from(core.transpose(self.by_name[pair[1]].weight))
  end
end

local function expect_shape(path, name, tensor, shape)
  local found, expected = table.concat(tensor.shape, ", "), table.concat(shape, ", ")
  if found ~= expected or tensor.dtype ~= "real" then
    errors.raise(2, path,
      ("tensor '%s': expected real [%s], found %s [%s]"):format(name, expected, tensor.dtype, found))
  end
end

--- m:save(path [, metadata])
-- Write all tensors as a safetensors file; metadata "tied:NAME" = "SOURCE:T" records tied weights.
function Model:save(path, metadata)
  local pairs_of_strings = {}
  for key, value in pairs(metadata or {}) do pairs_of_strings[key] = value end
  for _, pair in ipairs(self.tied) do
    pairs_of_strings["tied:" .. pair[2] .. ".weight"] = pair[1] .. ".weight:T"
  end
  core.safetensors_save(path, self:tensors(), pairs_of_strings)
end

--- m:load(path)
-- Overwrite all tensors from a safetensors file; a tensor that is missing, unknown, differently shaped or not finite is
-- an error. A second tied weight may be in the file, and is then ignored.
function Model:load(path)
  local tensors = core.safetensors_load(path)
  local known = self:tensors()
  for name, tensor in pairs(known) do
    if not tensors[name] then errors.raise(2, path, "tensor '" .. name .. "' is missing") end
    expect_shape(path, name, tensors[name], tensor.shape)
    if not tensors[name]:is_finite() then
      errors.raise(2, path, "tensor '" .. name .. "' has entries that are NaN or infinite")
    end
  end
  for _, pair in ipairs(self.tied) do known[pair[2] .. ".weight"] = true end
  for name in pairs(tensors) do
    if not known[name] then errors.raise(2, path, "tensor '" .. name .. "' does not belong to this model") end
  end
  for name, tensor in pairs(known) do
    if tensor ~= true then tensor:copy_from(tensors[name]) end
  end
  self:tie()
end

return model
