--- What a decomposition found: scores against the ground truth, and figures.
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local figures = require "spd.figures"
local metrics = require "spd.metrics"

local analysis = {}

-- Draw with a function of spd.figures, and note the first reason why one could not be drawn.
local function draw(subject, name, ...)
  local ok, reason = figures[name](...)
  if not ok and not subject.problem then subject.problem = reason end
end

--- analysis.magnitude: of the one-hot inputs whose causal importances are scored and drawn.
analysis.magnitude = 0.75

--- analysis.score(subject) -> table
-- subject: as experiment.subject makes it. The result has n_alive and target_ci_error (objects matrix ->
-- integer), target_ci_error_total, and for a TMS mmcs, ml2r and their variants.
function analysis.score(subject)
  local components = subject.components
  local scores = {n_alive = evaluate.alive(components, subject.evaluation_data, subject.config)}
  if subject.solution then
    local lower = evaluate.one_hot_importances(components, subject.n_features, analysis.magnitude)
    scores.target_ci_error, scores.target_ci_error_total = metrics.target_ci_error(lower, subject.solution)
  end
  if subject.kind == "tms" and components.by_name.linear1 then
    local matches = metrics.mmcs_ml2r(components.by_name.linear1.weight:totable(), components:V("linear1"):totable(),
      components:U("linear1"):totable())
    matches.n_components = nil
    for key, value in pairs(matches) do scores[key] = value end
  end
  return scores
end

-- ---- figures ------------------------------------------------------------------------------------

-- Importances with their columns in an order that shows the structure; returns the order too.
local function permuted(rows, solution)
  local is_dense = solution and solution.kind == "dense"
  local order = is_dense and metrics.mass_permutation(rows) or metrics.greedy_permutation(rows)
  return metrics.permute_columns(rows, order), order
end

local function permuted_rows(rows, order)
  local out = {}
  for i, k in ipairs(order) do out[i] = rows[k] end
  return out
end

local function importance_panels(components, importances, solution)
  local panels, orders = {}, {}
  for i, matrix in ipairs(components.matrices) do
    local rows, order = permuted(importances[matrix.name], solution[matrix.name])
    panels[i], orders[matrix.name] = {name = matrix.name, values = rows}, order
  end
  return panels, orders
end

local function draw_importances(subject, path)
  local components, solution = subject.components, subject.solution
  local lower, upper = evaluate.one_hot_importances(components, subject.n_features, analysis.magnitude)
  local title = ("Causal importances, one-hot inputs of magnitude %g"):format(analysis.magnitude)
  local lower_panels = importance_panels(components, lower, solution)
  draw(subject, "causal_importances", path "causal_importances", lower_panels, {title = title})
  local panels, orders = importance_panels(components, upper, solution)
  draw(subject, "causal_importances", path "causal_importances_upper_leaky", panels, {title = title, upper = true})
  local matrices = {}
  for i, matrix in ipairs(components.matrices) do
    local order = orders[matrix.name]
    matrices[i] = {
      name = matrix.name,
      V = metrics.permute_columns(components:V(matrix.name):totable(), order),
      U = permuted_rows(components:U(matrix.name):totable(), order),
    }
  end
  draw(subject, "components", path "subcomponents", matrices)
end

local function draw_distributions(subject, path)
  local components = subject.components
  local histograms, counts, means = {}, {}, {}
  local x = subject.evaluation_data:batch(0)
  local _, inputs = components:run_target(x)
  local lower = components:importances(inputs)
  local active, examples = evaluate.activation_counts(components, subject.evaluation_data, subject.config)
  local mean = evaluate.mean_importances(components, subject.evaluation_data, subject.config)
  for i, matrix in ipairs(components.matrices) do
    local name, values = matrix.name, {}
    for _, row in ipairs(lower[name]:totable()) do table.move(row, 1, #row, #values + 1, values) end
    histograms[i] = {name = name, values = values}
    local rates = {}
    for c, count in ipairs(active[name]) do rates[c] = count / examples end
    counts[i], means[i] = {name = name, counts = rates}, {name = name, values = mean[name]}
  end
  draw(subject, "histograms", path "importance_histograms", histograms)
  draw(subject, "activation_counts", path "activation_rates", counts)
  draw(subject, "mean_importances", path "mean_importances", means)
end

-- Subcomponents of a matrix by descending norm |V_c| |U_c|, those above a fraction of the largest.
local function largest_components(components, name, fraction, most)
  local V, U = components:V(name), components:U(name)
  local v2, u2 = core.sum_rows(V * V):totable(), core.sum_columns(U * U):totable()
  local list = {}
  for c = 1, #v2 do list[c] = {index = c - 1, column = c, norm = math.sqrt(v2[c] * u2[c])} end
  table.sort(list, function(a, b) return a.norm > b.norm or (a.norm == b.norm and a.index < b.index) end)
  local kept = {}
  for _, item in ipairs(list) do
    if #kept < most and item.norm > fraction * list[1].norm then kept[#kept + 1] = item end
  end
  return kept
end

local function column(rows, c)
  local values = {}
  for i, row in ipairs(rows) do values[i] = row[c] end
  return values
end

-- U_c V_c^T [d_out][d_in].
local function outer(V, U, c)
  local v, u, rows = column(V, c), U[c], {}
  for i, b in ipairs(u) do
    rows[i] = {}
    for j, a in ipairs(v) do rows[i][j] = b * a end
  end
  return rows
end

local function component_matrices(components, name, fraction, most)
  local V, U = components:V(name):totable(), components:U(name):totable()
  local list = {}
  for i, item in ipairs(largest_components(components, name, fraction, most)) do
    list[i] = {index = item.index, W = outer(V, U, item.column)}
  end
  return list
end

local function draw_tms(subject, path)
  local components, first, second = subject.components, "linear1", "linear2"
  local by_name = components.by_name
  if by_name[first] and by_name[second] then
    local shown = component_matrices(components, first, 0.01, 8)
    local V2, U2 = components:V(second):totable(), components:U(second):totable()
    for _, item in ipairs(shown) do item.W2 = outer(V2, U2, item.index + 1) end
    draw(subject, "tms_diagram", path "tms_diagram", {
      target = {W1 = by_name[first].weight:totable(), W2 = by_name[second].weight:totable()},
      sum = {W1 = components:weight(first):totable(), W2 = components:weight(second):totable()},
      components = shown,
    })
  end
  local hidden = {}
  for _, matrix in ipairs(components.matrices) do
    if matrix.name:match("^hidden_layers") then
      hidden[#hidden + 1] = {
        name = matrix.name, target = matrix.weight:totable(), sum = components:weight(matrix.name):totable(),
        components = component_matrices(components, matrix.name, 0.01, 12),
      }
    end
  end
  if #hidden > 0 then draw(subject, "hidden_layers", path "hidden_layers", hidden) end
end

--- analysis.draw(subject, path) -> nil, or the reason why a figure could not be drawn
-- Draw all figures; path(name) gives the file for a figure's name. subject as in analysis.score.
function analysis.draw(subject, path)
  subject = setmetatable({}, {__index = subject})
  if subject.solution then draw_importances(subject, path) end
  draw_distributions(subject, path)
  if subject.kind == "tms" then draw_tms(subject, path) end
  return subject.problem
end

return analysis
