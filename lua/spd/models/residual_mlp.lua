--- The residual MLP: x W_E, then r + mlp_out(act(mlp_in r)) for every layer, then r W_U.
--
-- With fewer neurons than features it is the toy model of compressed computation; with several layers, that of
-- cross-layer distributed representations.
local core = require "spd.core"
local data = require "spd.data"
local model = require "spd.model"
local shape = require "spd.shape"
local target_training = require "spd.target_training"

local residual_mlp = {}

local activations = {relu = core.relu, gelu = core.gelu}

-- ---- the model ----------------------------------------------------------------------------------

local W_E, W_U, FIRST_LAYER = 0, 1, 2 -- numbers of the random matrices; layer l has four from FIRST_LAYER + 4 l on

local function draw(seed, matrix) return {seed = seed, purpose = "target initialisation", matrix = matrix} end

-- Weight and bias as PyTorch's linear layers start: uniform in +-1/sqrt(d_in).
local function linear(name, d_out, d_in, has_bias, seed, matrix)
  local bound = 1 / math.sqrt(d_in)
  local function uniform(sizes, number) return core.uniform(sizes, draw(seed, number)) * (2 * bound) - bound end
  return model.linear(name, uniform({d_out, d_in}, matrix), has_bias and uniform({d_out}, matrix + 1) or nil)
end

local function unit_rows(x)
  local rows = x:totable()
  for _, row in ipairs(rows) do
    local squares = 0
    for _, value in ipairs(row) do squares = squares + value * value end
    for j, value in ipairs(row) do row[j] = value / math.sqrt(squares) end
  end
  return core.tensor(rows)
end

-- W_E [n_features, d_embed] and W_U [d_embed, n_features]: fixed unit vectors or the identity, with W_U = W_E^T, or
-- trained from N(0, 1/n_features) and N(0, 1/d_embed). (Beside a fixed identity the public code leaves W_U random.)
local function embeddings(settings, seed)
  local n, d = settings.n_features, settings.d_embed
  if settings.fixed_identity_embedding then return core.eye(n), core.eye(n) end
  local embedding = core.normal({n, d}, draw(seed, W_E))
  if settings.fixed_random_embedding then
    embedding = unit_rows(embedding)
    return embedding, core.transpose(embedding)
  end
  return embedding / math.sqrt(n), core.normal({d, n}, draw(seed, W_U)) / math.sqrt(d)
end

-- Label coefficients [n_features]: 1, or uniform in [1, 2).
local function label_coefficients(settings)
  local ones = core.zeros(settings.n_features) + 1
  if settings.use_trivial_label_coeffs then return ones end
  local drawn = {seed = settings.label_fn_seed or 0, purpose = "label coefficients"}
  return ones + core.uniform({settings.n_features}, drawn)
end

--- residual_mlp.residual(self, x, layer) -> the residual stream [..., d_embed] after the last layer
-- layer(name, input) applies a layer, as in a forward pass.
function residual_mlp.residual(self, x, layer)
  local act = activations[self.settings.act_fn_name]
  local residual = core.matmul(x, self.constants.W_E)
  for i = 0, self.settings.n_layers - 1 do
    local hidden = act(layer(("layers.%d.mlp_in"):format(i), residual))
    residual = residual + layer(("layers.%d.mlp_out"):format(i), hidden)
  end
  return residual
end

--- residual_mlp.forward(self, x, layer) -> output [..., n_features]
-- The residual stream, read off by W_U.
function residual_mlp.forward(self, x, layer)
  return core.matmul(residual_mlp.residual(self, x, layer), self.constants.W_U)
end

--- residual_mlp.new(settings [, seed]) -> model
-- settings: n_features, d_embed, d_mlp, n_layers, act_fn_name ("relu" or "gelu"), in_bias, out_bias,
-- fixed_random_embedding or fixed_identity_embedding, use_trivial_label_coeffs or label_fn_seed. Layers are named
-- layers.0.mlp_in, layers.0.mlp_out, ...; W_E, W_U and label_coeffs are saved with the model.
function residual_mlp.new(settings, seed)
  seed = seed or 0
  local layers = {}
  for i = 0, settings.n_layers - 1 do
    local first = FIRST_LAYER + 4 * i
    layers[#layers + 1] = linear(("layers.%d.mlp_in"):format(i), settings.d_mlp, settings.d_embed, settings.in_bias,
      seed, first)
    layers[#layers + 1] = linear(("layers.%d.mlp_out"):format(i), settings.d_embed, settings.d_mlp, settings.out_bias,
      seed, first + 2)
  end
  local embedding, unembedding = embeddings(settings, seed)
  return model.new{
    kind = "residual_mlp", settings = settings, layers = layers,
    forward = residual_mlp.forward,
    constants = {W_E = embedding, W_U = unembedding, label_coeffs = label_coefficients(settings)},
  }
end

local SETTINGS = {"fixed_random_embedding", "fixed_identity_embedding", "use_trivial_label_coeffs", "label_fn_seed"}

--- residual_mlp.from_config(config) -> model
-- The untrained model that a target-training config describes.
function residual_mlp.from_config(config)
  local settings = {}
  for key, value in pairs(config.resid_mlp_config) do settings[key] = value end
  for _, key in ipairs(SETTINGS) do settings[key] = config[key] end
  return residual_mlp.new(settings, config.seed)
end

-- ---- what a run needs to know ---------------------------------------------------------------------

--- residual_mlp.dataset{target_config =, task =, batch_size =, seed =, purpose =} -> dataset
-- Batches of sparse features in [-1, 1). task has feature_probability and data_generation_type: a task_config, or the
-- target's config itself; synced_inputs are the target's.
function residual_mlp.dataset(settings)
  return data.of_task(settings, settings.target_config.resid_mlp_config.n_features, {-1, 1})
end

--- residual_mlp.model_bytes(config) -> bytes
-- Memory that the model of a target-training config takes.
function residual_mlp.model_bytes(config)
  local c, LAYER_BYTES = config.resid_mlp_config, 1024
  local n, d, m, layers = c.n_features + 0.0, c.d_embed + 0.0, c.d_mlp + 0.0, c.n_layers + 0.0
  return 4 * (2 * n * d + n + layers * (2 * d * m + d + m)) + 2 * layers * LAYER_BYTES
end

--- residual_mlp.training_bytes(config) -> bytes
-- What its training takes: gradients and two moments of all weights, about six buffers for every layer's output of a
-- batch, and diagonal matrices of label coefficients and importances while they are made.
function residual_mlp.training_bytes(config)
  local c = config.resid_mlp_config
  local outputs = 3.0 * c.n_features + c.n_layers * (0.0 + c.d_embed + c.d_mlp)
  return 4 * residual_mlp.model_bytes(config) + 4 * 6 * config.batch_size * outputs + 4 * 4.0 * c.n_features ^ 2
end

--- residual_mlp.n_features(config) -> number of inputs, from a target-training config.
function residual_mlp.n_features(config) return config.resid_mlp_config.n_features end

--- residual_mlp.solution(config) -> name -> {kind =, n = or k =}
-- What a decomposition should find: one subcomponent per feature in each mlp_in, as many as there are neurons in each
-- mlp_out.
function residual_mlp.solution(config)
  local settings, solution = config.resid_mlp_config, {}
  for i = 0, settings.n_layers - 1 do
    solution[("layers.%d.mlp_in"):format(i)] = {kind = "identity", n = settings.n_features}
    solution[("layers.%d.mlp_out"):format(i)] = {kind = "dense", k = settings.d_mlp}
  end
  return solution
end

-- ---- training -----------------------------------------------------------------------------------

-- A diagonal matrix of the entries of a tensor [n].
local function diagonal(values)
  local n = values:size(1)
  return core.eye(n) * core.matmul(core.zeros(n, 1) + 1, core.reshape(values, 1, n))
end

--- residual_mlp.label_function(model, label_type) -> function(x) -> labels [..., n_features]
-- What the target learns of inputs x with its label coefficients c: act(c x) + x ("act_plus_resid"), or |c x| ("abs").
function residual_mlp.label_function(self, label_type)
  local scale, act = diagonal(self.constants.label_coeffs), activations[self.settings.act_fn_name]
  return function(x)
    local scaled = core.matmul(x, scale)
    return label_type == "abs" and core.absolute(scaled) or act(scaled) + x
  end
end

-- Square roots of the features' weights in the loss, importance_val^i, as a diagonal matrix; nil if all weigh 1.
local function root_importances(config)
  if not config.importance_val or config.importance_val == 1 then return nil end
  local roots = {}
  for i = 1, config.resid_mlp_config.n_features do roots[i] = math.sqrt(config.importance_val ^ (i - 1)) end
  return diagonal(core.tensor(roots))
end

local function loss_function(config, target)
  local importances, label = root_importances(config), residual_mlp.label_function(target, config.label_type)
  local function apply(name, input) return model.apply(target.by_name[name], input) end
  local function difference_of(self, x)
    if config.loss_type == "readoff" then return self:run(x) - label(x) end
    return residual_mlp.residual(self, x, apply) - core.matmul(label(x), self.constants.W_E)
  end
  return function(self, x)
    local difference = difference_of(self, x)
    if importances then difference = core.matmul(difference, importances) end
    return core.sum(difference * difference) / shape.count(difference)
  end
end

local function trained_parameters(target)
  local list = {}
  for _, layer in ipairs(target.layers) do
    list[#list + 1] = {tensor = layer.weight}
    if layer.bias then list[#list + 1] = {tensor = layer.bias} end
  end
  if not (target.settings.fixed_random_embedding or target.settings.fixed_identity_embedding) then
    list[#list + 1] = {tensor = target.constants.W_E}
    list[#list + 1] = {tensor = target.constants.W_U}
  end
  return list
end

--- residual_mlp.train(config, progress) -> model, loss
-- Train the target on the mean of (output - labels)^2, in the output ("readoff") or in the residual stream ("resid");
-- see spd.target_training.
function residual_mlp.train(config, progress)
  local target = residual_mlp.from_config(config)
  return target, target_training.run{
    model = target, parameters = trained_parameters(target), config = config, progress = progress,
    loss = loss_function(config, target),
    batches = residual_mlp.dataset{
      target_config = config, task = config, batch_size = config.batch_size, seed = config.seed,
      purpose = "target data",
    },
  }
end

return residual_mlp
