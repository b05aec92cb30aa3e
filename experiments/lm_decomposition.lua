--- Decompose a language model: `spdlua experiments/lm_decomposition.lua configs/ss.yaml`.
local cli = require "spd.cli"
local experiment = require "spd.experiment"

local options = cli.parse(arg, cli.experiment("experiments/lm_decomposition.lua",
  "Decompose matrices of a language model in Hugging Face's layout into subcomponents, and draw what was found."))
if options then experiment.decompose("lm", options) end
