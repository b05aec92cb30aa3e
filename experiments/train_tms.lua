--- Train a toy model of superposition: `spdlua experiments/train_tms.lua configs/targets/tms_5-2.yaml`.
local cli = require "spd.cli"
local config_module = require "spd.config"
local core = require "spd.core"
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
local config = config_module.load_target(options.config, "tms", options.overrides)
local folder = options.out or "out/targets/" .. options.config:match("([^/]*)%.[^./]*$")
target.refuse_existing(folder)

local model, loss = tms.train(config, progress.new{title = "target", steps = config.steps, quiet = options.quiet})
target.save(model, config, folder)

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
