--- Train a toy model of superposition: `spdlua experiments/train_tms.lua configs/targets/tms_5-2.yaml`.
local core = require "spd.core"
local experiment = require "spd.experiment"
local figures = require "spd.figures"

-- The features, and the outputs for single ones of magnitudes from 0 to 1.
local function draw(path, model)
  local magnitudes, outputs = {}, {}
  for i = 1, 41 do
    magnitudes[i] = (i - 1) / 40
    outputs[i] = model:run(core.eye(model.settings.n_features) * magnitudes[i]):totable()
  end
  local weight = model.by_name.linear1.weight:totable()
  return figures.target_tms(path, {W1 = weight, magnitudes = magnitudes, outputs = outputs})
end

experiment.train_target{
  kind = "tms", script = "experiments/train_tms.lua", draw = draw,
  summary = "Train the target of a decomposition, a toy model of superposition, and draw what it learned.",
}
