--- Look into decomposed residual MLPs: `spdlua experiments/resid_mlp_interp.lua out/RUN [out/RUN ...] [--out DIR]`.
--
-- Draws what the neurons contribute to each feature and how the models respond to single features, into each
-- run's figures. Of several runs, such as those with different importance coefficients, the causal importances are
-- drawn side by side, into DIR.
local analysis = require "spd.analysis"
local analysis_residual_mlp = require "spd.analysis.residual_mlp"
local cli = require "spd.cli"
local core = require "spd.core"
local errors = require "spd.errors"
local experiment = require "spd.experiment"
local figures = require "spd.figures"
local files = require "spd.files"

local options = cli.parse(arg, {
  script = "experiments/resid_mlp_interp.lua",
  summary = "Draw neuron contributions and feature responses of decomposed residual MLPs, and compare several.",
  arguments = {{name = "DIR", key = "directories", many = true, help = "folders of runs"}},
  options = {
    {name = "out", value = "DIR", help = "folder for the comparison of several runs"},
    cli.threads,
  },
})
if not options then return end
if #options.directories > 1 and not options.out then
  errors.raise(2, "command line", "several runs need a folder for their comparison", "--out DIR")
end

if options.threads then core.threads(options.threads) end

local function draw(figure, path, ...)
  local drawn, problem = figures[figure](path, ...)
  if drawn then print("figure: " .. path) else io.stderr:write("spdlua: warning: ", problem, "\n") end
end

-- Draw what only residual MLPs have, print the scores, and return the importances for the comparison.
local function interpret(directory)
  local subject, run, step = experiment.open(directory)
  if subject.kind ~= "residual_mlp" then
    errors.raise(2, directory, ("expected a residual_mlp run, found %s"):format(subject.kind))
  end
  print(("%s, step %d"):format(directory, step))
  experiment.print_scores(subject, analysis.score(subject))
  local suffix = step ~= subject.config.steps and ("_step_%d"):format(step) or ""
  run:make_figures_folder()
  analysis_residual_mlp.draw(subject, function(figure, name, ...)
    draw(figure, run:figure_path(name .. suffix), ...)
  end)
  return {
    name = ("importance_minimality_coeff %g, seed %d"):format(subject.config.importance_minimality_coeff,
      subject.config.seed),
    panels = analysis.importances(subject),
  }
end

local runs = {}
for i, directory in ipairs(options.directories) do runs[i] = interpret(directory) end
if #runs > 1 then
  files.make_directory(options.out, true)
  draw("importance_comparison", options.out .. "/importance_comparison.png", runs,
    {title = "Causal importances of one-hot inputs"})
end
