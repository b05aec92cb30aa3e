--- Decompose a model of your own, a two-layer MLP: `spdlua experiments/own_model.lua [key=value ...]`.
local spd = require "spd"

-- The network: any function of named layers. Here six hidden neurons read an input each; an output adds two of them.
local W1, W2 = spd.eye(6) * 2, spd.tensor{{1, 1, 0, 0, 0, 0}, {0, 0, 1, 1, 0, 0}, {0, 0, 0, 0, 1, 1}}
local mlp = spd.model.new{
  layers = {spd.model.linear("fc1", W1, spd.zeros(6)), spd.model.linear("fc2", W2)},
  forward = function(_, x, layer) return layer("fc2", spd.relu(layer("fc1", x))) end,
}

-- The data: anything with a method batch(step). Random numbers are named by seed, purpose and step.
local function dataset(config, purpose)
  return {batch = function(_, step)
    local draw = {seed = config.seed, purpose = purpose, step = step}
    return spd.fill_sparse_features(spd.zeros(config.batch_size, 6), {probability = 0.1, low = -1, high = 1}, draw)
  end}
end

spd.experiment.decompose_own{
  script = "experiments/own_model.lua", summary = "Decompose a two-layer MLP.", model = mlp, dataset = dataset,
  config = {
    target_module_patterns = {"fc*"}, C = 10, n_mask_samples = 1, n_ci_mlp_neurons = 8, output_loss_type = "mse",
    importance_minimality_coeff = 3e-3, pnorm = 1, stochastic_recon_coeff = 1, stochastic_recon_layerwise_coeff = 1,
    lr = 5e-3, lr_schedule = "cosine", steps = 8000, batch_size = 1024, n_eval_steps = 20, print_freq = 2000,
  },
}
