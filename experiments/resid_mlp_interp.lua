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
    {name = "out", value = "DIR", help = "folder for the causal importances of the runs, side by side"},
    cli.threads,
  },
})
if not options then return end
if #options.directories > 1 and not options.out then
  errors.raise(2, "command line", "several runs need a folder for their comparison", "--out DIR")
end

if options.threads then core.threads(options.threads) end

-- Returns whether it was drawn.
local function draw(figure, path, ...)
  local drawn, problem = figures[figure](path, ...)
  if drawn then print("figure: " .. path) else errors.warn(problem) end
  return drawn
end

local function open(directory)
  local subject, run, step = experiment.open(directory)
  if subject.kind ~= "residual_mlp" then
    errors.raise(2, directory, ("expected a residual_mlp run, found %s"):format(subject.kind))
  end
  return {directory = directory, subject = subject, run = run, step = step}
end

-- Print the scores and draw what only residual MLPs have.
local function interpret(opened)
  local subject, run = opened.subject, opened.run
  print(("%s, step %d"):format(opened.directory, opened.step))
  experiment.print_scores(subject, analysis.score(subject))
  local suffix = opened.step ~= subject.config.steps and ("_step_%d"):format(opened.step) or ""
  run:make_figures_folder()
  analysis_residual_mlp.draw(subject, function(figure, name, ...)
    draw(figure, run:figure_path(name .. suffix), ...)
  end)
end

-- What a run is called beside others: its importance coefficient, seed and folder.
local function name_of(opened)
  local config = opened.subject.config
  local coefficient = config.importance_minimality_coeff
  return ("importance coefficient %s, seed %d (%s)"):format(coefficient and ("%g"):format(coefficient) or "null",
    config.seed, opened.directory:match("([^/]+)/*$") or opened.directory)
end

local runs = {}
for i, directory in ipairs(options.directories) do runs[i] = open(directory) end
if options.out then files.make_directory(options.out, true) end
for _, opened in ipairs(runs) do interpret(opened) end
if options.out then
  local panels = {}
  for i, opened in ipairs(runs) do
    panels[i] = {name = name_of(opened), panels = analysis.importances(opened.subject)}
  end
  local drawn = draw("importance_comparison", options.out .. "/importance_comparison.png", panels,
    {title = "Causal importances of one-hot inputs"})
  if not drawn then errors.raise(1, options.out, "the runs could not be compared") end
end
