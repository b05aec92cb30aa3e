--- What a decomposition found: scores against the ground truth, and figures.
local evaluate = require "spd.evaluate"
local figures = require "spd.figures"
local metrics = require "spd.metrics"

local analysis = {}

-- What only one kind of target has.
local of_kind = {
  tms = require "spd.analysis.tms", residual_mlp = require "spd.analysis.residual_mlp",
  lm = require "spd.analysis.language",
}

-- Draw with a function of spd.figures, unless there is no path, and note the first reason why one could not be drawn.
local function draw(subject, name, path, ...)
  if not path then return end
  local ok, reason = figures[name](path, ...)
  if not ok and not subject.problem then subject.problem = reason end
end

--- analysis.score(subject) -> table
-- subject: as experiment.subject makes it. The result has n_alive, target_ci_error and, with tolerance 0.2 in place of
-- 0.1, target_ci_error_0p2 (objects matrix -> integer), target_ci_error_total, and what spd.analysis.tms or
-- spd.analysis.residual_mlp adds.
function analysis.score(subject)
  local components = subject.components
  local scores = {n_alive = evaluate.alive(components, subject.evaluation_data, subject.config)}
  if subject.solution then
    local lower = evaluate.one_hot_importances(components, subject.n_features, evaluate.magnitude)
    scores.target_ci_error, scores.target_ci_error_total = metrics.target_ci_error(lower, subject.solution)
    scores.target_ci_error_0p2 = metrics.target_ci_error(lower, subject.solution, 0.2)
  end
  local special = of_kind[subject.kind]
  for key, value in pairs(special and special.scores and special.scores(subject) or {}) do scores[key] = value end
  return scores
end

-- ---- heat maps ----------------------------------------------------------------------------------

-- Subcomponents are numbered from 0, as in a checkpoint's tensors.
local function numbers_of(order)
  local numbers = {}
  for i, c in ipairs(order) do numbers[i] = c - 1 end
  return numbers
end

-- By matrix, the order of its subcomponents that shows the structure, in all heat maps; where no solution is known, the
-- most important ones first. Component c of a tied matrix is component c of its partner, so both have one order.
local function orders_of(subject)
  local orders = {}
  for _, matrix in ipairs(subject.components.matrices) do
    local name = (matrix.transposed_of or matrix).name
    if not orders[name] then
      local wanted = subject.solution and subject.solution[name]
      local order = wanted and wanted.kind == "identity" and metrics.greedy_permutation or metrics.mass_permutation
      orders[name] = order(subject.lower and subject.lower[name] or {subject.means[name]})
    end
    orders[matrix.name] = orders[name]
  end
  return orders
end

-- By matrix {name =, values = importances with reordered columns, columns = their numbers}.
local function importance_panels(subject, importances)
  local list = {}
  for i, matrix in ipairs(subject.components.matrices) do
    local name, order = matrix.name, subject.orders[matrix.name]
    list[i] = {name = name, values = metrics.permute_columns(importances[name], order), columns = numbers_of(order)}
  end
  return list
end

local function draw_importances(subject, path)
  local title = ("Causal importances, one-hot inputs of magnitude %g"):format(evaluate.magnitude)
  draw(subject, "causal_importances", path "causal_importances", importance_panels(subject, subject.lower),
    {title = title})
  draw(subject, "causal_importances", path "causal_importances_upper_leaky", importance_panels(subject, subject.upper),
    {title = title, upper = true})
end

--- analysis.importances(subject) -> list of {name =, values =, columns =}
-- For every matrix the causal importances (lower-leaky) of one-hot inputs, with the subcomponents in the order that
-- shows the structure, and their numbers. For a subject with n_features and a solution.
function analysis.importances(subject)
  subject = setmetatable({}, {__index = subject})
  subject.lower = evaluate.one_hot_importances(subject.components, subject.n_features, evaluate.magnitude)
  subject.orders = orders_of(subject)
  return importance_panels(subject, subject.lower)
end

local function permuted_rows(rows, order)
  local out = {}
  for i, k in ipairs(order) do out[i] = rows[k] end
  return out
end

-- V and U of every matrix; those of a tied one are its partner's, transposed.
local function draw_components(subject, path)
  local components, list, tied = subject.components, {}, {}
  for _, matrix in ipairs(components.matrices) do
    if matrix.transposed_of then tied[matrix.transposed_of.name] = matrix.name end
  end
  for _, matrix in ipairs(components.matrices) do
    local name, order = matrix.name, subject.orders[matrix.name]
    if not matrix.transposed_of then
      list[#list + 1] = {
        name = name, tied = tied[name], columns = numbers_of(order),
        V = metrics.permute_columns(components:V(name):totable(), order),
        U = permuted_rows(components:U(name):totable(), order),
      }
    end
  end
  draw(subject, "components", path "subcomponents", list)
end

-- ---- distributions ------------------------------------------------------------------------------

local function draw_histograms(subject, path)
  local to = path "importance_histograms"
  if not to then return end
  local components, panels = subject.components, {}
  local x = subject.evaluation_data:batch(0)
  local histograms, examples = evaluate.histograms(components, x)
  for i, matrix in ipairs(components.matrices) do
    panels[i] = histograms[matrix.name]
    panels[i].name = matrix.name
  end
  draw(subject, "histograms", to, panels,
    {title = ("Causal importances (lower-leaky) on %d examples"):format(examples)})
end

local function draw_activity(subject, path)
  local rates_to, means_to = path "activation_rates", path "mean_importances"
  if not (rates_to or means_to) then return end
  local components, data, config = subject.components, subject.evaluation_data, subject.config
  local active, examples = evaluate.activation_counts(components, data, config)
  local counts, means = {}, {}
  for i, matrix in ipairs(components.matrices) do
    local name, rates = matrix.name, {}
    for c, count in ipairs(active[name]) do rates[c] = count / examples end
    counts[i], means[i] = {name = name, counts = rates}, {name = name, values = subject.means[name]}
  end
  draw(subject, "activation_counts", rates_to, counts, {
    label = ("Fraction of examples with importance > %g"):format(evaluate.alive_threshold),
    threshold = evaluate.alive_rate,
  })
  draw(subject, "mean_importances", means_to, means)
end

-- ---- training -----------------------------------------------------------------------------------

-- Series of the metrics whose name matches a pattern; the capture names them.
local function metric_series(rows, pattern)
  local by_key, list = {}, {}
  for _, row in ipairs(rows) do
    for key, value in pairs(row) do
      local name = key:match(pattern)
      if name and type(value) == "number" then
        if not by_key[key] then
          by_key[key] = {name = name, x = {}, y = {}}
          list[#list + 1] = by_key[key]
        end
        local series = by_key[key]
        series.x[#series.x + 1], series.y[#series.y + 1] = row.step, value
      end
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function draw_training(subject, path)
  local panels = {}
  for _, panel in ipairs{
    {
      name = "Losses; the total weighs them by their coefficients", y_label = "Loss",
      series = metric_series(subject.rows, "^loss/(.*)"),
    },
    {
      name = ("Subcomponents with importance > %g, mean over a batch"):format(evaluate.active_threshold),
      y_label = "ci_l0", series = metric_series(subject.rows, "^(.*)/ci_l0$"), linear = true,
    },
    {
      name = ("Subcomponents with importance > %g on more than %g of the examples"):format(evaluate.alive_threshold,
        evaluate.alive_rate),
      y_label = "n_alive", series = metric_series(subject.rows, "^(.*)/n_alive$"), linear = true,
    },
  } do
    if #panel.series > 0 then panels[#panels + 1] = panel end
  end
  if #panels > 0 then draw(subject, "curves", path "training_curves", panels) end
end

--- analysis.figures(subject) -> list of the names of the figures that analysis.draw can draw
function analysis.figures(subject)
  local names = {"subcomponents", "importance_histograms", "activation_rates", "mean_importances", "training_curves"}
  if subject.solution then
    table.move({"causal_importances", "causal_importances_upper_leaky"}, 1, 2, #names + 1, names)
  end
  local special = of_kind[subject.kind]
  local more = special and special.figures(subject) or {}
  table.move(more, 1, #more, #names + 1, names)
  table.sort(names)
  return names
end

--- analysis.draw(subject, path) -> nil, or the reason why a figure could not be drawn
-- Draw all figures; path(name) gives the file for a figure's name, or nil for one that is not wanted. subject as in
-- analysis.score, and, for the curves of a training, rows = list of what its metrics.jsonl holds, decoded.
function analysis.draw(subject, path)
  subject = setmetatable({}, {__index = subject})
  local known = subject.solution ~= nil
  if known then
    subject.lower, subject.upper = evaluate.one_hot_importances(subject.components, subject.n_features,
      evaluate.magnitude)
  end
  subject.means = evaluate.mean_importances(subject.components, subject.evaluation_data, subject.config)
  subject.orders = orders_of(subject)
  if known then draw_importances(subject, path) end
  draw_components(subject, path)
  draw_histograms(subject, path)
  draw_activity(subject, path)
  if of_kind[subject.kind] then
    of_kind[subject.kind].draw(subject, function(figure, name, ...) draw(subject, figure, path(name), ...) end)
  end
  if subject.rows then draw_training(subject, path) end
  return subject.problem
end

return analysis
