--- What is special about a residual MLP: what each neuron contributes to each feature, and responses to features.
local core = require "spd.core"
local metrics = require "spd.metrics"
local residual_mlp = require "spd.models.residual_mlp"

local analysis_residual_mlp = {}

local FEATURES_DRAWN = 10 -- of the neuron contributions, one by one
local RESPONSE_POINTS, FEWEST_POINTS = 41, 5
local MOST_RESPONSES = 2e6 -- numbers that are kept of a panel: fewer points where there are many features

-- ---- neuron contributions -----------------------------------------------------------------------

-- Entry by entry product of two matrices given as rows.
local function product(a, b)
  local rows = {}
  for i, row in ipairs(a) do
    rows[i] = {}
    for j, value in ipairs(row) do rows[i][j] = value * b[i][j] end
  end
  return rows
end

-- What the subcomponent with the largest contribution of any neuron to a feature contributes: h [C], one number for
-- each subcomponent; U [C][m]; out [m].
local function best_component(h, U, out)
  local best, largest = 1, -math.huge
  for c, strength in ipairs(h) do
    for m, u in ipairs(U[c]) do
      local value = strength * u * out[m]
      if value > largest then best, largest = c, value end
    end
  end
  local row = {}
  for m, u in ipairs(U[best]) do row[m] = h[best] * u * out[m] end
  return row, best - 1
end

local function layer_contributions(components, embedding, unembedding, names)
  local V, U = components:V(names.mlp_in), components:U(names.mlp_in):totable()
  local weight = components.target.by_name[names.mlp_in].weight
  local out_weight = components.target.by_name[names.mlp_out].weight
  local out_sum = components.by_name[names.mlp_out] and components:weight(names.mlp_out) or out_weight
  local readout = core.transpose(unembedding)
  local inner = core.matmul(embedding, V):totable()
  local out = core.matmul(readout, out_sum):totable()
  local layer = {
    name = names.mlp_in, components = {}, chosen = {},
    target = product(core.matmul(embedding, core.transpose(weight)):totable(),
      core.matmul(readout, out_weight):totable()),
  }
  for f, h in ipairs(inner) do layer.components[f], layer.chosen[f] = best_component(h, U, out[f]) end
  return layer
end

--- analysis_residual_mlp.contributions(components) -> list of {name =, target =, components =, chosen =}
-- For each decomposed mlp_in, rows [n_features][d_mlp]: what neuron m of the layer contributes to the output of
-- feature f from its input f, (W_in W_E[f])[m] (W_U^T W_out)[f, m], of the target, and of the subcomponent of mlp_in
-- whose largest neuron contributes most to f, with the sum of the subcomponents of mlp_out; chosen: the numbers of
-- those. Biases are left out. As the public code's neuron contribution pairs.
function analysis_residual_mlp.contributions(components)
  local target, list = components.target, {}
  for i = 0, target.settings.n_layers - 1 do
    local names = {mlp_in = ("layers.%d.mlp_in"):format(i), mlp_out = ("layers.%d.mlp_out"):format(i)}
    if components.by_name[names.mlp_in] then
      list[#list + 1] = layer_contributions(components, target.constants.W_E, target.constants.W_U, names)
    end
  end
  return list
end

--- analysis_residual_mlp.scores(subject) -> {contribution_correlation =, contribution_slope =}
-- Pearson correlation of the neuron contributions of target and subcomponents, all layers, features and neurons
-- pooled, and the slope of their regression; empty if no mlp_in is decomposed.
function analysis_residual_mlp.scores(subject)
  local x, y = {}, {}
  for _, layer in ipairs(analysis_residual_mlp.contributions(subject.components)) do
    for f, row in ipairs(layer.target) do
      table.move(row, 1, #row, #x + 1, x)
      table.move(layer.components[f], 1, #row, #y + 1, y)
    end
  end
  if #x == 0 then return {} end
  local correlation, slope = metrics.regression(x, y)
  return {contribution_correlation = correlation, contribution_slope = slope}
end

-- ---- responses to single features ---------------------------------------------------------------

-- By magnitude, outputs [n_features][n_features] for one-hot inputs; run(x) computes them.
local function responses(n_features, magnitudes, run)
  local outputs = {}
  for k, magnitude in ipairs(magnitudes) do outputs[k] = run(core.eye(n_features) * magnitude):totable() end
  return outputs
end

local function importance_masked(components)
  return function(x)
    local _, inputs = components:run_target(x)
    local lower = components:importances(inputs)
    return components:run(x, function(matrix, h) return h * lower[matrix.name] end)
  end
end

--- analysis_residual_mlp.responses(model, label_type [, components]) -> {magnitudes =, labels =, panels =}
-- Outputs for single features of magnitudes from -1 to 1: of the target model and, where components are given, of
-- the decomposed model with the causal importances as masks. labels: by magnitude the labels [n_features]; panels: list
-- of {name =, outputs = by magnitude rows [n_features][n_features]}.
function analysis_residual_mlp.responses(model, label_type, components)
  local n, magnitudes, labels = model.settings.n_features, {}, {}
  local points = math.floor(math.max(FEWEST_POINTS, math.min(RESPONSE_POINTS, MOST_RESPONSES / (n * n))))
  local label = residual_mlp.label_function(model, label_type)
  for k = 1, points do
    magnitudes[k] = -1 + 2 * (k - 1) / (points - 1)
    labels[k] = label(core.zeros(1, n) + magnitudes[k]):totable()[1]
  end
  local panels = {{name = "Target", outputs = responses(n, magnitudes, function(x) return model:run(x) end)}}
  if components then
    panels[2] = {
      name = "Decomposed, masked by causal importances",
      outputs = responses(n, magnitudes, importance_masked(components)),
    }
  end
  return {magnitudes = magnitudes, labels = labels, panels = panels}
end

-- ---- figures ------------------------------------------------------------------------------------

--- analysis_residual_mlp.figures(subject) -> list of the names of what analysis_residual_mlp.draw draws
function analysis_residual_mlp.figures(subject)
  for name in pairs(subject.components.by_name) do
    if name:match "mlp_in$" then return {"neuron_contributions", "contribution_pairs", "feature_responses"} end
  end
  return {"feature_responses"}
end

--- analysis_residual_mlp.draw(subject, draw)
-- draw(figure, file, ...) draws with a function of spd.figures.
function analysis_residual_mlp.draw(subject, draw)
  local layers, components = analysis_residual_mlp.contributions(subject.components), subject.components
  if #layers > 0 then
    draw("neuron_contributions", "neuron_contributions", layers, {features = FEATURES_DRAWN})
    draw("contribution_pairs", "contribution_pairs", layers, analysis_residual_mlp.scores(subject))
  end
  draw("feature_responses", "feature_responses",
    analysis_residual_mlp.responses(components.target, subject.target_config.label_type, components))
end

return analysis_residual_mlp
