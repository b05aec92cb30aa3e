--- Folders of runs for specs, without a training.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"

local M = {}

M.config = [[
seed: %d
steps: 40
lr: 0.001
pnorm: 2.0
wandb_project: null
target_module_patterns: [linear1, linear2]
task_config:
  task_name: tms
  feature_probability: 0.05
]]

--- A run's folder. settings: seed, summary = table of a finished run, rows = list of rows of metrics.jsonl.
function M.make(folder, settings)
  settings = settings or {}
  assert(core.posix.make_directory(folder .. "/checkpoints", true))
  experiment.write(folder .. "/final_config.yaml", M.config:format(settings.seed or 0))
  local lines = {}
  for i, row in ipairs(settings.rows or {}) do lines[i] = json.encode(row) .. "\n" end
  if settings.rows then experiment.write(folder .. "/metrics.jsonl", table.concat(lines)) end
  if settings.summary then
    settings.summary.steps = 40
    experiment.write(folder .. "/summary.json", json.encode_pretty(settings.summary))
    experiment.write(folder .. "/checkpoints/step_40.safetensors", "")
  end
  return folder
end

return M
