--- Decompose a residual MLP: `spdlua experiments/resid_mlp_decomposition.lua configs/resid_mlp1.yaml`.
local cli = require "spd.cli"
local experiment = require "spd.experiment"

local options = cli.parse(arg, cli.experiment("experiments/resid_mlp_decomposition.lua",
  "Decompose a residual MLP into subcomponents, score it against the ground truth, and draw it."))
if options then experiment.decompose("residual_mlp", options) end
