--- Train a residual MLP: `spdlua experiments/train_resid_mlp.lua configs/targets/resid_mlp1.yaml`.
local analysis_residual_mlp = require "spd.analysis.residual_mlp"
local experiment = require "spd.experiment"
local figures = require "spd.figures"

experiment.train_target{
  kind = "residual_mlp", script = "experiments/train_resid_mlp.lua",
  summary = "Train the target of a decomposition, a residual MLP, and draw what it learned.",
  draw = function(path, model, config)
    return figures.feature_responses(path, analysis_residual_mlp.responses(model, config.label_type))
  end,
}
