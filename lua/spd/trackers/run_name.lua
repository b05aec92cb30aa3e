--- What a run is called at Weights & Biases: as the public SPD code does, so that runs of both are found side by side.
local config_module = require "spd.config"

local run_name = {}

-- Settings that every name has, in this order, and those it has only where they are set.
local COEFFICIENTS = {
  {"stochastic_recon_coeff", "stochrecon"}, {"stochastic_recon_layerwise_coeff", "stochreconlayer"},
  {"schatten_coeff", "schatten"}, {"embedding_recon_coeff", "embedrecon"}, {"pnorm", "p"},
  {"importance_minimality_coeff", "impmin"},
}

local function settings_part(config)
  local parts = {("nmasks%d_"):format(config.n_mask_samples)}
  for _, entry in ipairs(COEFFICIENTS) do
    local value = config[entry[1]]
    if value then parts[#parts + 1] = ("%s%.2e_"):format(entry[2], value) end
  end
  parts[#parts + 1] = ("C%d_sd%d_lr%.2e_bs%d_"):format(config.C, config.seed, config.lr, config.batch_size)
  return table.concat(parts)
end

local target_part = {}

function target_part.tms(target)
  local model = target.tms_model_config
  return ("ft%d_hid%dhid-layers%d"):format(model.n_features, model.n_hidden, model.n_hidden_layers)
end

function target_part.residual_mlp(target)
  local model = target.resid_mlp_config
  return ("ft%d_lay%d_resid%d_mlp%d"):format(model.n_features, model.n_layers, model.d_embed, model.d_mlp)
end

--- run_name.of(config, directory) -> name
-- From the config of a run, and what its folder says of the target.
function run_name.of(config, directory)
  if config.wandb_run_name then return config.wandb_run_name_prefix .. config.wandb_run_name end
  local name, task = config.wandb_run_name_prefix .. settings_part(config), config.task_config
  if not task then return (name:gsub("_$", "")) end -- a model of the user's own
  if task.task_name == "lm" then
    return ("%s_pretrained%s_seq%d"):format(name, config.pretrained_model_name_hf, task.max_seq_len)
  end
  local target = config_module.load_target(directory .. "/target/target_config.yaml", task.task_name)
  return name .. target_part[task.task_name](target)
end

return run_name
