--- Score and draw a checkpoint of a run again: `spdlua experiments/analyse.lua out/RUN [--step N]`.
local analysis = require "spd.analysis"
local cli = require "spd.cli"
local core = require "spd.core"
local experiment = require "spd.experiment"

local options = cli.parse(arg, {
  script = "experiments/analyse.lua",
  summary = "Score a checkpoint of a run against the ground truth, and draw its figures again.",
  arguments = {{name = "DIR", key = "directory", help = "a run's folder"}},
  options = {
    {name = "step", value = "N", kind = "count", least = 0, help = "the checkpoint of that step (default: the last)"},
    cli.threads,
  },
})
if not options then return end

if options.threads then core.threads(options.threads) end
local subject, run, step = experiment.open(options.directory, options.step)
print("step " .. step)
experiment.print_scores(subject, analysis.score(subject))
experiment.draw(subject, run, step ~= subject.config.steps and step or nil)
print("run: " .. run.directory)
