--- Component models: the matrices of a target as sums of rank-one subcomponents, with their causal importances.
--
-- Every decomposed matrix W [d_out, d_in] has subcomponents V [d_in, C] and U [C, d_out] with W ~ (V U)^T (an
-- embedding W [vocabulary, d] or a conv1d W [d_in, d_out] ~ V U) and one gate per subcomponent, which computes its
-- causal importance from its inner activation h = a V.
local core = require "spd.core"
local errors = require "spd.errors"
local model = require "spd.model"

local component_model = {}

local ComponentModel = {}
ComponentModel.__index = ComponentModel

-- ---- finding matrices ---------------------------------------------------------------------------

-- fnmatch as in Python: * any run of characters (dots too), ? one, [set] or [!set] one of them.
local function lua_pattern(pattern)
  local out, i = {"^"}, 1
  while i <= #pattern do
    local c = pattern:sub(i, i)
    local set = c == "[" and pattern:match("^%[!?%]?[^%]]*%]", i)
    if c == "*" then
      out[#out + 1] = ".*"
    elseif c == "?" then
      out[#out + 1] = "."
    elseif set then
      local negated, members = set:match("^%[(!?)(.*)%]$")
      out[#out + 1] = "[" .. (negated == "!" and "^" or "") .. members:gsub("[%%%]%^]", "%%%0") .. "]"
      i = i + #set - 1
    else
      out[#out + 1] = c:gsub("%W", "%%%0")
    end
    i = i + 1
  end
  return table.concat(out) .. "$"
end

-- The names of the first layers.
local function names_of(layers)
  local MOST, names = 30, {}
  for i = 1, math.min(#layers, MOST) do names[i] = layers[i].name end
  return table.concat(names, ", ") .. (#layers > MOST and (", ... (%d in all)"):format(#layers) or "")
end

--- component_model.find(target, patterns) -> list of layers
-- The layers whose name matches one of the patterns (shell style, `*` matches dots), in the target's order. A
-- pattern that matches none is an error which lists the layers, thirty at most.
function component_model.find(target, patterns)
  local matched, found = {}, {}
  for _, pattern in ipairs(patterns) do
    local used, expression = false, lua_pattern(pattern)
    for _, layer in ipairs(target.layers) do
      if layer.name:match(expression) then
        used, matched[layer.name] = true, true
      end
    end
    if not used then
      errors.raise(2, "target_module_patterns", ("'%s' matches no matrix"):format(pattern),
        "the target has " .. names_of(target.layers))
    end
  end
  for _, layer in ipairs(target.layers) do
    if matched[layer.name] then found[#found + 1] = layer end
  end
  return found
end

-- ---- initial values -----------------------------------------------------------------------------

local function normal(shape, seed, purpose, matrix, scale)
  return core.normal(shape, {seed = seed, purpose = purpose, matrix = matrix}) * (scale or 1)
end

-- x [m, n] with column j multiplied by factor[j].
local function scale_columns(x, factor)
  local rows = x:totable()
  for _, row in ipairs(rows) do
    for j = 1, #row do row[j] = row[j] * factor[j] end
  end
  return core.tensor(rows)
end

local function unit_columns(x)
  local norms = core.sum_rows(x * x):totable()
  for j = 1, #norms do norms[j] = norms[j] > 0 and 1 / math.sqrt(norms[j]) or 0 end
  return scale_columns(x, norms)
end

-- Columns of V and rows of U of norm 1, then row c of U times V_c^T W^T U_c: how much the subcomponent overlaps W.
local function initial_components(matrix, C, seed)
  local W = matrix.kind == "linear" and matrix.weight or core.transpose(matrix.weight)
  local d_out, d_in = W:size(1), W:size(2)
  local V = unit_columns(normal({d_in, C}, seed, "V", matrix.index))
  local U_transposed = unit_columns(core.transpose(normal({C, d_out}, seed, "U", matrix.index)))
  local overlap = core.sum_rows(core.matmul(W, V) * U_transposed):totable()
  return V, core.transpose(scale_columns(U_transposed, overlap))
end

-- Gate MLP: w1 ~ N(0, 2), w2 ~ N(0, 1/n), biases 0; linear gate: w ~ N(0, 1), b = 0.
local function initial_gate(matrix, C, neurons, seed)
  if neurons == 0 then return {w = normal({C}, seed, "gate w", matrix.index), b = core.zeros(C)} end
  return {
    w1 = normal({C, neurons}, seed, "gate w1", matrix.index, math.sqrt(2)),
    b1 = core.zeros(C, neurons),
    w2 = normal({C, neurons}, seed, "gate w2", matrix.index, math.sqrt(1 / neurons)),
    b2 = core.zeros(C),
  }
end

-- ---- construction -------------------------------------------------------------------------------

-- The second matrix of a tied pair has V2 = U1^T, U2 = V1^T.
local function tie(self, target)
  for _, pair in ipairs(target.tied) do
    local first, second = self.by_name[pair[1]], self.by_name[pair[2]]
    if first and second then
      second.transposed_of = first
      if self.tied_update == "separate" then
        second.V, second.U = core.transpose(first.U), core.transpose(first.V)
      else
        second.V, second.U = nil, nil
      end
    end
  end
end

local function add_parameter(self, name, tensor, transposed_of)
  tensor:parameter()
  self.parameters[#self.parameters + 1] = {name = name, tensor = tensor, transposed_of = transposed_of}
end

local function list_parameters(self)
  self.parameters = {}
  for _, matrix in ipairs(self.matrices) do
    local source = matrix.transposed_of
    if matrix.V then
      add_parameter(self, "components." .. matrix.name .. ".V", matrix.V, source and source.U)
      add_parameter(self, "components." .. matrix.name .. ".U", matrix.U, source and source.V)
    end
    for _, key in ipairs{"w1", "b1", "w2", "b2", "w", "b"} do
      if matrix.gate[key] then add_parameter(self, "gates." .. matrix.name .. "." .. key, matrix.gate[key]) end
    end
  end
end

--- component_model.new{target =, patterns =, C =, n_ci_mlp_neurons =, seed =, tied_update =} -> component model
-- Subcomponents with their initial values for every matrix of the target that a pattern matches.
-- n_ci_mlp_neurons = 0 gives linear gates. tied_update, for matrices that the target ties: "summed" shares one
-- set of subcomponents with the summed gradient; "separate" keeps a gradient and an Adam state for each and
-- applies both updates.
function component_model.new(settings)
  local target = settings.target
  local self = setmetatable({
    target = target,
    C = settings.C,
    tied_update = settings.tied_update or "summed",
    matrices = {},
    by_name = {},
  }, ComponentModel)
  for i, layer in ipairs(component_model.find(target, settings.patterns)) do
    local matrix = {name = layer.name, kind = layer.kind, weight = layer.weight, bias = layer.bias, index = i - 1}
    matrix.V, matrix.U = initial_components(matrix, settings.C, settings.seed or 0)
    matrix.gate = initial_gate(matrix, settings.C, settings.n_ci_mlp_neurons, settings.seed or 0)
    self.matrices[i], self.by_name[layer.name] = matrix, matrix
  end
  tie(self, target)
  list_parameters(self)
  return self
end

-- ---- computation --------------------------------------------------------------------------------

--- components:V(name), components:U(name) -> tensor or value
-- The subcomponents of a matrix: V [d_in, C], U [C, d_out]. Of shared tied ones, the transposes.
function ComponentModel:V(name)
  local matrix = self.by_name[name]
  return matrix.V or core.transpose(matrix.transposed_of.U)
end

--- components:U(name) -> see components:V
function ComponentModel:U(name)
  local matrix = self.by_name[name]
  return matrix.U or core.transpose(matrix.transposed_of.V)
end

--- components:weight(name) -> tensor or value
-- The sum of a matrix's subcomponents, in the shape of the target's weight.
function ComponentModel:weight(name)
  local V, U = self:V(name), self:U(name)
  if self.by_name[name].kind == "linear" then return core.matmul(core.transpose(U), core.transpose(V)) end
  return core.matmul(V, U)
end

--- components:inner_activations(name, a) -> h [..., C]
-- a V for the input a of the matrix; for an embedding, the rows of V by token id.
function ComponentModel:inner_activations(name, a)
  if self.by_name[name].kind == "embedding" then return core.embedding(a, self:V(name)) end
  return core.matmul(a, self:V(name))
end

--- components:pre_sigmoid(name, h) -> x [..., C]
-- What the gates say to inner activations h, before a sigmoid.
function ComponentModel:pre_sigmoid(name, h)
  local gate = self.by_name[name].gate
  if gate.w then return core.gate_linear(h, gate.w, gate.b) end
  return core.gate_mlp(h, gate.w1, gate.b1, gate.w2, gate.b2)
end

--- components:importances(inputs) -> lower, upper
-- Causal importances by matrix name [..., C], from the inputs of the matrices by name: lower-leaky, for masks,
-- and upper-leaky, for minimality.
function ComponentModel:importances(inputs)
  local lower, upper = {}, {}
  for _, matrix in ipairs(self.matrices) do
    local name = matrix.name
    local x = self:pre_sigmoid(name, self:inner_activations(name, inputs[name]))
    lower[name], upper[name] = core.lower_leaky(x), core.upper_leaky(x)
  end
  return lower, upper
end

--- components:run_target(x) -> y, inputs
-- The target's output and the inputs of its matrices by name. A matrix that the target never applies is an error.
function ComponentModel:run_target(x)
  local inputs = {}
  local y = self.target:run(x, nil, inputs)
  for _, matrix in ipairs(self.matrices) do
    if inputs[matrix.name] == nil then
      errors.raise(2, "target_module_patterns", ("layer '%s' was never applied"):format(matrix.name),
        "forward must apply every layer that a pattern matches")
    end
  end
  return y, inputs
end

--- components:run(x [, mask [, only]]) -> y
-- The target's forward pass with every decomposed matrix (or only those with only[name]) replaced by its
-- subcomponents. mask(matrix, h) returns the masked inner activations; without it they are used as they are.
function ComponentModel:run(x, mask, only)
  return self.target:run(x, function(layer, a)
    local matrix = self.by_name[layer.name]
    if not matrix or (only and not only[layer.name]) then return model.apply(layer, a) end
    local h = self:inner_activations(layer.name, a)
    local y = core.matmul(mask and mask(matrix, h) or h, self:U(layer.name))
    if matrix.bias then y = core.add_bias(y, matrix.bias) end
    return y
  end)
end

--- components:optimizer() -> AdamW over all parameters, without weight decay
function ComponentModel:optimizer()
  local optimizer = core.adamw{weight_decay = 0}
  for _, parameter in ipairs(self.parameters) do optimizer:add(parameter.tensor, parameter.transposed_of) end
  return optimizer
end

return component_model
