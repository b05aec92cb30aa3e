--- The toy model of superposition: ReLU(linear2(hidden ... (linear1 x)) + b), linear2 the transpose of linear1.
local core = require "spd.core"
local model = require "spd.model"

local tms = {}

local function uniform_weight(rows, columns, bound, seed, matrix)
  local draw = {seed = seed, purpose = "target initialisation", matrix = matrix}
  local unit = core.uniform({rows, columns}, draw)
  return unit * (2 * bound) - bound
end

--- tms.new(settings [, seed]) -> model
-- settings: n_features, n_hidden, n_hidden_layers (fixed matrices between the two linear layers), fixed_identity_hidden_layers
-- or fixed_random_hidden_layers, tied_weights, init_bias_to_zero. Layers are named linear1, linear2,
-- hidden_layers.0, ... Weights start as uniform in +-1/sqrt(d_in), as PyTorch's linear layers do.
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

return tms
