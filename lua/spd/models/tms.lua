--- The toy model of superposition: ReLU(linear2(hidden ... (linear1 x)) + b), linear2 the transpose of linear1.
local core = require "spd.core"
local data = require "spd.data"
local model = require "spd.model"
local shape = require "spd.shape"
local target_training = require "spd.target_training"

local tms = {}

local function uniform_weight(rows, columns, bound, seed, matrix)
  local draw = {seed = seed, purpose = "target initialisation", matrix = matrix}
  local unit = core.uniform({rows, columns}, draw)
  return unit * (2 * bound) - bound
end

--- tms.new(settings [, seed]) -> model
-- settings: n_features, n_hidden, n_hidden_layers (fixed matrices between the two linear layers),
-- fixed_identity_hidden_layers or fixed_random_hidden_layers, tied_weights, init_bias_to_zero. Layers are named
-- linear1, linear2, hidden_layers.0, ... Weights start as uniform in +-1/sqrt(d_in), as PyTorch's linear layers
-- do.
function tms.new(settings, seed)
  local n, d = settings.n_features, settings.n_hidden
  seed = seed or 0
  local w1 = uniform_weight(d, n, 1 / math.sqrt(n), seed, 0)
  local w2 = settings.tied_weights and core.transpose(w1) or uniform_weight(n, d, 1 / math.sqrt(d), seed, 1)
  local bias = core.zeros(n)
  if not settings.init_bias_to_zero then
    bias = core.reshape(uniform_weight(1, n, 1 / math.sqrt(d), seed, 2), n)
  end
  local layers = {model.linear("linear1", w1), model.linear("linear2", w2, bias)}
  for i = 0, (settings.n_hidden_layers or 0) - 1 do
    local weight
    if settings.fixed_identity_hidden_layers then
      weight = core.eye(d)
    elseif settings.fixed_random_hidden_layers then
      weight = core.normal({d, d}, {seed = seed, purpose = "target initialisation", matrix = 3 + i})
    else
      weight = uniform_weight(d, d, 1 / math.sqrt(d), seed, 3 + i)
    end
    local layer = model.linear("hidden_layers." .. i, weight)
    layer.fixed = settings.fixed_identity_hidden_layers or settings.fixed_random_hidden_layers
    layers[#layers + 1] = layer
  end
  return model.new{
    kind = "tms",
    settings = settings,
    layers = layers,
    tied = settings.tied_weights and {{"linear1", "linear2"}} or {},
    forward = function(_, x, layer)
      local h = layer("linear1", x)
      for i = 0, (settings.n_hidden_layers or 0) - 1 do h = layer("hidden_layers." .. i, h) end
      return core.relu(layer("linear2", h))
    end,
  }
end

--- tms.from_config(config) -> model
-- The untrained model that a target-training config describes.
function tms.from_config(config)
  local settings = {
    fixed_identity_hidden_layers = config.fixed_identity_hidden_layers,
    fixed_random_hidden_layers = config.fixed_random_hidden_layers,
  }
  for key, value in pairs(config.tms_model_config) do settings[key] = value end
  return tms.new(settings, config.seed)
end

--- tms.dataset{target_config =, task =, batch_size =, seed =, purpose =} -> dataset
-- Batches of sparse features in [0, 1). task has feature_probability and data_generation_type: a task_config,
-- or the target's config itself; synced_inputs are the target's.
function tms.dataset(settings)
  return data.of_task(settings, settings.target_config.tms_model_config.n_features, {0, 1})
end

--- tms.model_bytes(config) -> bytes
-- Memory that the model of a target-training config takes.
function tms.model_bytes(config)
  local c, LAYER_BYTES = config.tms_model_config, 1024
  local n, d, hidden = c.n_features + 0.0, c.n_hidden + 0.0, c.n_hidden_layers + 0.0
  return 4 * (2 * n * d + n + hidden * d * d) + (2 + hidden) * LAYER_BYTES
end

--- tms.training_bytes(config) -> bytes
-- What its training takes: gradients and two moments of all weights, and about six buffers for every layer's output of
-- a batch.
function tms.training_bytes(config)
  local c = config.tms_model_config
  local outputs = 2.0 * c.n_features + c.n_hidden * (1.0 + c.n_hidden_layers)
  return 4 * tms.model_bytes(config) + 4 * 6 * config.batch_size * outputs
end

-- As in PyTorch with tied storage: each tied weight has a gradient and an Adam state of its own, and both
-- updates apply.
local function trained_parameters(target)
  local partner, list = {}, {}
  for _, pair in ipairs(target.tied) do partner[pair[2]] = target.by_name[pair[1]].weight end
  for _, layer in ipairs(target.layers) do
    if not layer.fixed then list[#list + 1] = {tensor = layer.weight, transposed_of = partner[layer.name]} end
    if layer.bias then list[#list + 1] = {tensor = layer.bias} end
  end
  return list
end

--- tms.train(config, progress) -> model, loss
-- Train the target on the mean of (|x| - output)^2; see spd.target_training.
function tms.train(config, progress)
  local target = tms.from_config(config)
  return target, target_training.run{
    model = target, parameters = trained_parameters(target), config = config, progress = progress,
    batches = tms.dataset{
      target_config = config, task = config, batch_size = config.batch_size, seed = config.seed,
      purpose = "target data",
    },
    loss = function(self, x) return core.squared_error(self:run(x), core.absolute(x)) / shape.count(x) end,
  }
end

--- tms.n_features(config) -> number of inputs, from a target-training config.
function tms.n_features(config) return config.tms_model_config.n_features end

--- tms.solution(config) -> name -> {kind =, n = or k =}
-- What a decomposition should find: one subcomponent per feature in linear1 and linear2, as many as hidden
-- dimensions in each hidden layer.
function tms.solution(config)
  local settings = config.tms_model_config
  local solution = {
    linear1 = {kind = "identity", n = settings.n_features},
    linear2 = {kind = "identity", n = settings.n_features},
  }
  for i = 0, (settings.n_hidden_layers or 0) - 1 do
    solution["hidden_layers." .. i] = {kind = "dense", k = settings.n_hidden}
  end
  return solution
end

return tms
