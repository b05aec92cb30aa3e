--- A run's folder opened to look into it, at the prompt or in a script: run = spd.open "out/RUN".
--
-- Nothing that is asked of it changes it. Subcomponents, features, examples, tokens and rows are counted from 0, as in
-- figures and in the page of a language model; only t:get(i, j) of a tensor counts from 1.
local activity = require "spd.opened_run.activity"
local arguments = require "spd.opened_run.arguments"
local component = require "spd.opened_run.component"
local core = require "spd.core"
local errors = require "spd.errors"
local evaluate = require "spd.evaluate"
local experiment = require "spd.experiment"
local masks = require "spd.opened_run.masks"
local overview = require "spd.opened_run.overview"
local plots = require "spd.opened_run.plots"
local run_module = require "spd.run"
local run_list = require "spd.opened_run.run_list"
local run_metrics = require "spd.opened_run.run_metrics"
local posix = require("spd.core").posix

local opened_run = {}

local OpenedRun = {__tostring = overview.text}
OpenedRun.__index = OpenedRun

local MOST_ABLATED = 50

-- ---- opening ------------------------------------------------------------------------------------

local function check_own(options)
  local own = options.model
  if own == nil then
    if options.dataset ~= nil then errors.raise(2, "spd.open", "dataset: expected a model, too") end
    return nil
  end
  if type(own) ~= "table" or type(own.layers) ~= "table" or type(own.run) ~= "function" then
    errors.raise(2, "spd.open", "model: expected one made by spd.model.new, found " .. arguments.shown(own))
  end
  if options.dataset ~= nil and type(options.dataset) ~= "function" then
    errors.raise(2, "spd.open", "dataset: expected a function, found " .. arguments.shown(options.dataset))
  end
  return {model = own, dataset = options.dataset}
end

local function new(subject, run, step)
  local matrices = {}
  for i, matrix in ipairs(subject.components.matrices) do matrices[i] = matrix.name end
  return setmetatable({
    directory = run.directory, step = step, kind = subject.kind, config = subject.config, subject = subject,
    components = subject.components, target = subject.components.target, matrices = matrices,
    n_features = subject.n_features, summary = run:summary(), rows = run:metrics_rows(),
  }, OpenedRun)
end

--- opened_run.open([directory [, options]]) -> run
-- A run's folder, finished or not, or its path below out/; see spd.open. The object has the fields
--
--     config, summary        what is in final_config.yaml and, of a finished run, summary.json
--     target                 the model that is decomposed (spd.model)
--     components             its subcomponents (spd.component_model)
--     matrices               names of the decomposed matrices
--     directory, step, kind  where it is, of which step, and what: "tms", "residual_mlp", "lm" or "own_model"
--     n_features             of a toy model, how many inputs it has
--     subject                all of this as spd.analysis takes it
--     rows                   what metrics.jsonl holds
--
-- and the methods that help(run) lists. Without a directory, a list of the newest runs under out/.
function opened_run.open(...)
  if select("#", ...) == 0 then return run_list.of "out" end
  local directory, options = ...
  if type(directory) ~= "string" or directory == "" or directory:find "\0" then
    errors.raise(2, "spd.open", "expected a run's folder, found " .. arguments.shown(directory))
  end
  options = arguments.options("spd.open", options, {"step", "model", "dataset"})
  local step = options.step and arguments.integer("spd.open", "step", options.step, 0)
  local below = "out/" .. directory -- as runs.lua names it
  if not posix.is_directory(directory) and posix.is_directory(below) then directory = below end
  return new(experiment.open(directory, step, check_own(options)))
end

-- ---- the run ------------------------------------------------------------------------------------

-- Who comes from Python writes run.steps().
local function check_self(self, name)
  if getmetatable(self) == OpenedRun then return end
  errors.raise(2, "run." .. name, "a method is called with a colon", ("run:%s(...)"):format(name))
end

--- run:steps() -> list
-- The steps of which there is a checkpoint. spd.open(dir, {step = N}) opens one.
function OpenedRun:steps()
  check_self(self, "steps")
  return run_module.open(self.directory):checkpoints()
end

--- run:metrics([name]) -> columns, or one of them
-- What the run logged. A list of numbers for each name, such as ["loss/total"], and one of the steps, `step`. With a
-- name only that list, with the steps at which it was logged in `steps`.
function OpenedRun:metrics(name)
  check_self(self, "metrics")
  local columns = run_metrics.columns(self.rows)
  if name == nil then return columns end
  return run_metrics.column(columns, arguments.word("run:metrics", "metric", name, columns.names))
end

-- ---- inputs -------------------------------------------------------------------------------------

--- run:one_hot(feature [, magnitude = 0.75]) -> x [1, n_features]
-- An input of a toy model: only one feature is on. The first one is 0.
function OpenedRun:one_hot(feature, magnitude)
  check_self(self, "one_hot")
  if not self.n_features then
    errors.raise(2, "run:one_hot", "there are no features in a run of kind " .. self.kind, "run:example() is an input")
  end
  arguments.integer("run:one_hot", "feature", feature, 0, self.n_features - 1)
  magnitude = magnitude == nil and evaluate.magnitude or arguments.number("run:one_hot", "magnitude", magnitude)
  return core.zeros(1, self.n_features):set(magnitude, 1, feature + 1)
end

--- run:example([number = 0]) -> x, one row
-- An example of the evaluation data. Numbers are those that run:component gives; the first one is 0.
function OpenedRun:example(number)
  check_self(self, "example")
  local data, batches = self.subject.evaluation_data, self.config.n_eval_steps
  if not data then errors.raise(2, "run:example", "the run was opened without a dataset") end
  local size = self.config.batch_size
  number = arguments.integer("run:example", "example", number or 0, 0, batches * size - 1)
  local batch = data:batch(number // size)
  local row = batch:totable()[number % size + 1]
  return core.tensor({row}, batch.dtype)
end

-- ---- what the subcomponents do ------------------------------------------------------------------

local ByMatrix = {}

-- Every matrix's tensor below its name.
function ByMatrix.__tostring(self)
  local lines = {}
  for _, name in ipairs(getmetatable(self).matrices) do lines[#lines + 1] = ("%s: %s"):format(name, self[name]) end
  return table.concat(lines, "\n")
end

--- run:importances(x [, {upper = true}]) -> by matrix a tensor [..., C]
-- Causal importances for an input. x: of a toy model one row of numbers ({0, 0, 1, 0, 0}), rows of them, or a tensor;
-- of a language model a text, token ids, or an int32 tensor. Lower-leaky ones, as masks have them, or upper-leaky ones.
function OpenedRun:importances(x, options)
  check_self(self, "importances")
  options = arguments.options("run:importances", options, {"upper"})
  local lower, upper = activity.importances(self, arguments.input("run:importances", self, x))
  return setmetatable(options.upper and upper or lower, {
    __tostring = ByMatrix.__tostring, matrices = self.matrices,
  })
end

--- run:components_on(x [, {threshold = 0.1}]) -> by matrix and row a list
-- The subcomponents that are important for an input, strongest first. {component =, importance =} of those with an
-- importance above the threshold: run:components_on(x).linear1[1][1] is the strongest one of linear1 for the first row.
function OpenedRun:components_on(x, options)
  check_self(self, "components_on")
  options = arguments.options("run:components_on", options, {"threshold"})
  local threshold = options.threshold == nil and evaluate.alive_threshold
    or arguments.number("run:components_on", "threshold", options.threshold)
  return activity.active(self, arguments.input("run:components_on", self, x), threshold)
end

--- run:component(matrix, number) -> object
-- One subcomponent: its vectors, and what it is for. The first one is 0. V [d_in] and U [d_out]; norm, of their
-- product; mean, its importance, and rate, how often that is above 0.1, on `count` examples or tokens of the evaluation
-- data. Of a toy model features, the one-hot inputs that need it, and examples, its strongest ones {example =,
-- importance =, activation =, x =}; of a language model tokens and contexts, see spd.analysis.language.components.
function OpenedRun:component(matrix, number)
  check_self(self, "component")
  local found = arguments.matrix("run:component", self, matrix)
  arguments.component("run:component", self, found, number)
  return component.new(self.subject, matrix, number)
end

-- ---- forward passes -----------------------------------------------------------------------------

--- run:target_output(x) -> y
-- What the target model gives for an input.
function OpenedRun:target_output(x)
  check_self(self, "target_output")
  return activity.target_output(self, arguments.input("run:target_output", self, x))
end

--- run:forward(x [, {mask =, ablate =, keep =, seed =}]) -> y
-- What the decomposed model gives for an input, under masks. mask: "importances" (default: every subcomponent as far as
-- it is important), "ones", "zeros" or "stochastic" (at random between importance and 1, with a seed), or a table by
-- matrix of such words, numbers, lists of C numbers, or tensors; matrices that it does not name have their importances.
-- ablate = {linear1 = {3, 7}} switches these subcomponents off, too; keep = {linear1 = {3}} all others of linear1.
function OpenedRun:forward(x, options)
  check_self(self, "forward")
  options = arguments.options("run:forward", options, masks.options)
  local plan = masks.read("run:forward", self, options)
  x = arguments.input("run:forward", self, x)
  local tape <close> = core.tape()
  return masks.run(self, x, plan):tensor()
end

--- run:ablation(x [, options]) -> list
-- What each of the active subcomponents is worth. {matrix =, component =, importance =, distance =, change =}: how far
-- the output is from the target's without it (by the run's output_loss_type), and how much farther than with it; the
-- largest change first. options: those of run:forward; threshold (0.1): importance from which on one is active; most
-- (50): how many are tried, the most important ones.
function OpenedRun:ablation(x, options)
  check_self(self, "ablation")
  local where, known = "run:ablation", table.move(masks.options, 1, #masks.options, 1, {})
  table.move({"threshold", "most"}, 1, 2, #known + 1, known)
  local all = {threshold = evaluate.alive_threshold, most = MOST_ABLATED}
  for name, value in pairs(arguments.options(where, options, known)) do all[name] = value end
  arguments.number(where, "threshold", all.threshold)
  arguments.integer(where, "most", all.most, 1)
  return activity.ablations(where, self, arguments.input(where, self, x), all)
end

-- ---- figures ------------------------------------------------------------------------------------

--- run:plot(figure, ... [, path]) -> path
-- Draw a figure as PNG. run:plot "causal_importances" and others: run:plot() lists them; run:plot("metric", name): the
-- curve of what was logged; run:plot("component", matrix, number): a subcomponent beside its matrix. It goes into a
-- temporary file, or to a path, where a picture is replaced.
function OpenedRun:plot(...)
  check_self(self, "plot")
  if select("#", ...) == 0 then return plots.names(self) end
  return plots.draw(self, run_metrics.columns(self.rows), ...)
end

return opened_run
