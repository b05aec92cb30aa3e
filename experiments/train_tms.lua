--- Train a toy model of superposition: `spdlua experiments/train_tms.lua configs/targets/tms_5-2.yaml`.
local cli = require "spd.cli"
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local experiment = require "spd.experiment"
local figures = require "spd.figures"
local progress = require "spd.progress"
local target = require "spd.target"
local tms = require "spd.models.tms"

local usage = cli.experiment("experiments/train_tms.lua",
  "Train the target of a decomposition, a toy model of superposition, and draw what it learned.")
for i, option in ipairs(usage.options) do
  if option.name == "resume" then table.remove(usage.options, i) break end
end
local options = cli.parse(arg, usage)
if not options then return end

if options.threads then core.threads(options.threads) end
local config, warnings = config_module.load_target(options.config, "tms", options.overrides)
for _, warning in ipairs(options.quiet and {} or warnings) do io.stderr:write("spdlua: warning: ", warning, "\n") end
local folder = options.out or "out/targets/" .. experiment.case_name(options.config)
target.require_own_folder(folder)

local model, loss = target.train("tms", config, folder, function()
  return progress.new{title = "target", steps = config.steps, quiet = options.quiet}
end)
if not model then errors.raise(2, folder, "holds a trained target", "remove it, or name another folder with --out") end

local magnitudes, outputs = {}, {}
for i = 1, 41 do
  magnitudes[i] = (i - 1) / 40
  outputs[i] = model:run(core.eye(tms.n_features(config)) * magnitudes[i]):totable()
end
local drawn, problem = figures.target_tms(folder .. "/target.png",
  {W1 = model.by_name.linear1.weight:totable(), magnitudes = magnitudes, outputs = outputs})
if not drawn then io.stderr:write("spdlua: warning: ", problem, "\n") end
if not options.quiet then print(("loss of the last batch: %.6f"):format(loss)) end
print("target: " .. folder .. "/target.safetensors")
