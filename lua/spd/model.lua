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
local fields = require "spd.fields"

local model = {}

local Model = {}
Model.__index = Model

-- ---- mistakes ------------------------------------------------------------------------------------

local function wrong(name, what, ...)
  errors.raise(2, ("layer '%s'"):format(tostring(name)), what:format(...))
end

-- For messages: the shape of a tensor or value, the type of anything else.
local function describe(value)
  local shape = type(value) == "userdata" and value.shape
  return shape and ("[%s]"):format(table.concat(shape, ", ")) or type(value)
end

-- form: what the weight is called in messages; out: the dimension of the weight that is the layer's output.
local function check_layer(name, weight, bias, form, out)
  if type(name) ~= "string" then errors.raise(2, "layer", "expected a name, found " .. describe(name)) end
  local shape = type(weight) == "userdata" and weight.shape
  if not shape or #shape ~= 2 then wrong(name, "expected a weight %s, found %s", form, describe(weight)) end
  if bias and describe(bias) ~= ("[%d]"):format(shape[out]) then
    wrong(name, "expected a bias [%d], found %s", shape[out], describe(bias))
  end
end

local function check_input(layer, input)
  local shape = type(input) == "userdata" and input.shape
  local d_in = layer.kind ~= "embedding" and layer.weight:size(layer.kind == "linear" and 2 or 1)
  if not shape or (d_in and shape[#shape] ~= d_in) then
    wrong(layer.name, "expected input [...%s], found %s", d_in and ", " .. d_in or "", describe(input))
  end
end

local KEYS = {"layers", "forward", "tied", "constants", "unembed", "kind", "settings"}
local IS_KEY = {}
for _, key in ipairs(KEYS) do IS_KEY[key] = true end

local function check_definition(definition)
  for key in pairs(definition) do
    if not IS_KEY[key] then
      errors.raise(2, "model", ("unknown key '%s'"):format(tostring(key)),
        ("the nearest one is '%s'; settings may hold anything"):format(fields.nearest(tostring(key), KEYS)))
    end
  end
  for key, expected in pairs{layers = "table", forward = "function"} do
    local found = type(definition[key])
    if found ~= expected then errors.raise(2, "model", ("%s: expected a %s, found %s"):format(key, expected, found)) end
  end
end

-- ---- layers --------------------------------------------------------------------------------------

--- model.linear(name, weight [, bias]) -> layer
-- A linear layer y = x weight^T + bias, with weight [d_out, d_in] and bias [d_out].
function model.linear(name, weight, bias)
  check_layer(name, weight, bias, "[d_out, d_in]", 1)
  return {name = name, kind = "linear", weight = weight, bias = bias}
end

--- model.conv1d(name, weight [, bias]) -> layer
-- A linear layer whose weight is stored the other way round, [d_in, d_out], as GPT-2 does: y = x weight + bias.
function model.conv1d(name, weight, bias)
  check_layer(name, weight, bias, "[d_in, d_out]", 2)
  return {name = name, kind = "conv1d", weight = weight, bias = bias}
end

--- model.embedding(name, weight) -> layer
-- Rows of weight [vocabulary, d] by token id.
function model.embedding(name, weight)
  check_layer(name, weight, nil, "[vocabulary, d]")
  return {name = name, kind = "embedding", weight = weight}
end

--- model.apply(layer, x) -> y
-- What a layer computes when nothing replaces it.
function model.apply(layer, x)
  if layer.kind == "embedding" then return core.embedding(x, layer.weight) end
  if layer.kind == "linear" then return core.linear(x, layer.weight, layer.bias) end
  local y = core.matmul(x, layer.weight)
  return layer.bias and core.add_bias(y, layer.bias) or y
end

-- ---- models --------------------------------------------------------------------------------------

local function index_layers(layers)
  local by_name = {}
  for i, layer in ipairs(layers) do
    if type(layer) ~= "table" or not layer.name then
      errors.raise(2, "model", ("layers[%d]: expected a layer, found %s"):format(i, describe(layer)),
        "made by model.linear, model.conv1d or model.embedding")
    end
    if by_name[layer.name] then errors.raise(2, "model", "two layers are named '" .. layer.name .. "'") end
    by_name[layer.name] = layer
  end
  return by_name
end

local function check_tied(tied, by_name)
  for _, pair in ipairs(tied) do
    for i = 1, 2 do
      if not by_name[pair[i]] then errors.raise(2, "model", ("tied: no layer '%s'"):format(tostring(pair[i]))) end
    end
  end
end

--- model.new{layers =, forward = [, tied =, constants =, unembed =, kind =, settings =]} -> model
-- layers: a list of layers with unique names. forward(self, x, layer): computes the output; layer(name, input)
-- applies a layer. tied: pairs {first, second} of layer names, where second's weight is the transpose of
-- first's. constants: name -> tensor, saved with the model. unembed(self, h): logits of a decomposed embedding's
-- output, for losses.embedding_recon. kind and settings are kept as they are, for forward and whoever knows the model.
function model.new(definition)
  check_definition(definition)
  local self = setmetatable({}, Model)
  for key, value in pairs(definition) do self[key] = value end
  self.tied = self.tied or {}
  self.constants = self.constants or {}
  self.by_name = index_layers(self.layers)
  check_tied(self.tied, self.by_name)
  return self
end

--- m:run(x [, layer [, inputs]]) -> y
-- The forward pass. layer(layer_table, input) replaces how a layer is applied (default: model.apply). inputs, a
-- table, receives the input of every layer by name.
function Model:run(x, layer, inputs)
  local by_name, apply = self.by_name, layer or model.apply
  local y = self:forward(x, function(name, input)
    local found = by_name[name]
    if not found then
      errors.raise(2, "model", ("the forward pass applies a layer '%s' that is not listed"):format(tostring(name)))
    end
    check_input(found, input)
    if inputs then inputs[name] = input end
    return apply(found, input)
  end)
  if y == nil then errors.raise(2, "model", "forward returned nil", "it should return the output") end
  return y
end

--- m:tensors() -> name -> tensor
-- All weights (NAME.weight), biases (NAME.bias) and constants; of tied weights, and of a tensor that two layers share,
-- only the first.
function Model:tensors()
  local tensors, is_copy, is_listed = {}, {}, {}
  for _, pair in ipairs(self.tied) do is_copy[pair[2]] = true end
  for _, layer in ipairs(self.layers) do
    if not is_copy[layer.name] and not is_listed[layer.weight] then
      tensors[layer.name .. ".weight"], is_listed[layer.weight] = layer.weight, true
    end
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
