--- Decompose a toy model of superposition: `spdlua experiments/tms_decomposition.lua configs/tms.yaml`.
local cli = require "spd.cli"
local experiment = require "spd.experiment"

local options = cli.parse(arg, cli.experiment("experiments/tms_decomposition.lua",
  "Decompose a toy model of superposition into subcomponents, score it against the ground truth, and draw it."))
if options then experiment.decompose("tms", options) end
