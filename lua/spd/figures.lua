--- The figures of a decomposition, as PNG files drawn by gnuplot.
--
-- Matrices are nested tables of rows, or tensors; so are lists. Every function returns true, or nil and one
-- line that says why there is no figure, and raises nothing but an interrupt: a run goes on without its figures.
-- options may hold title, and program: the gnuplot to run. A file is written whole or not at all.
local errors = require "spd.errors"
local distributions = require "spd.figures.distributions"
local heatmaps = require "spd.figures.heatmaps"
local residual_mlp = require "spd.figures.residual_mlp"
local sweep = require "spd.figures.sweep"
local tms = require "spd.figures.tms"

local figures = {}

local function attempt(path, make, subject, options)
  return make(subject, options):write(path, options and options.program)
end

local function draw(path, make, subject, options)
  local returned, done, reason = pcall(attempt, path, make, subject, options)
  if returned and done then return true end
  if not returned and errors.is(done) and done.status == 130 then error(done, 0) end -- Ctrl-C
  return nil, ("%s: %s"):format(path, tostring(returned and reason or done))
end

--- figures.causal_importances(path, panels [, options]) -> true, or nil and the reason
-- A heat map per matrix, below each other. panels: list of {name =, values = rows [inputs][C], columns = list of
-- the numbers of its subcomponents, if they are reordered}; colours from 0 to 1. options.upper: the values are
-- upper-leaky (reds, not blues).
function figures.causal_importances(path, panels, options)
  return draw(path, heatmaps.causal_importances, panels, options)
end

--- figures.embedding_importances(path, panels [, options]) -> true, or nil and the reason
-- A heat map of every decomposed embedding. panels: list of {name =, values = rows [up to 1000][C], count = how many
-- tokens the rows stand for, columns = as in causal_importances}; see spd.analysis.language, which sorts the tokens.
function figures.embedding_importances(path, panels, options)
  return draw(path, heatmaps.embedding_importances, panels, options)
end

--- figures.importance_comparison(path, runs [, options]) -> true, or nil and the reason
-- The heat maps of several runs side by side. runs: list of {name =, panels = as in causal_importances}, all with the
-- same matrices.
function figures.importance_comparison(path, runs, options)
  return draw(path, heatmaps.importance_comparison, runs, options)
end

--- figures.components(path, matrices [, options]) -> true, or nil and the reason
-- V and U of every matrix, aligned by subcomponent, with one scale of colours around 0. Only their product means
-- anything: both are drawn with the same norm. matrices: list of {name =, V = rows [d_in][C], U = rows [C][d_out],
-- columns = as in causal_importances, tied = name of a matrix with the transposes of these, if there is one}.
function figures.components(path, matrices, options)
  return draw(path, heatmaps.components, matrices, options)
end

--- figures.hidden_layers(path, layers [, options]) -> true, or nil and the reason
-- Heat maps of small square matrices with the components that make them up. layers: list of {name =, target
-- = rows, sum = rows, components = list of {index =, W = rows}, C = how many there are}. Values are printed up to
-- 4 x 4.
function figures.hidden_layers(path, layers, options)
  return draw(path, heatmaps.hidden_layers, layers, options)
end

--- figures.heatmaps(path, panels [, options]) -> true, or nil and the reason
-- Any matrices on one scale of colours. panels: list of {name =, values = rows}. options: palette
-- ("coolwarm", around 0, by default; "blues", "reds", "viridis"), range = {low, high}, columns, bar_title.
function figures.heatmaps(path, panels, options)
  return draw(path, heatmaps.heatmaps, panels, options)
end

--- figures.histograms(path, panels [, options]) -> true, or nil and the reason
-- How often causal importances lie in each of 100 bins of [0, 1], on a logarithmic scale, and how many are
-- negative. panels: list of {name =, counts = list, one for each bin, negative = number}.
function figures.histograms(path, panels, options)
  return draw(path, distributions.histograms, panels, options)
end

--- figures.activation_counts(path, panels [, options]) -> true, or nil and the reason
-- How often each subcomponent is active, in descending order. panels: list of {name =, counts = list, mean
-- counts per example}; options.label names them, options.threshold: say how many are above it.
function figures.activation_counts(path, panels, options)
  return draw(path, distributions.activation_counts, panels, options)
end

--- figures.mean_importances(path, panels [, options]) -> true, or nil and the reason
-- Mean causal importance of each subcomponent, in descending order, on a linear scale, and on a logarithmic one
-- where some are much smaller. panels: list of {name =, values = list}.
function figures.mean_importances(path, panels, options)
  return draw(path, distributions.mean_importances, panels, options)
end

--- figures.curves(path, panels [, options]) -> true, or nil and the reason
-- Numbers over steps, a panel below the other. panels: list of {name =, y_label =, series = list of {name =, x =
-- list, y = list}, linear = true for a linear y axis; a logarithmic one leaves out what is not positive}.
-- options: x_label ("Step").
function figures.curves(path, panels, options)
  return draw(path, distributions.curves, panels, options)
end

--- figures.tms_diagram(path, subject [, options]) -> true, or nil and the reason
-- A toy model of superposition and its components. subject: target and sum, each {W1 = rows [h][n], W2 =
-- rows [n][h]}; components = list of {index =, W = rows [h][n], W2 = rows [n][h]}, the first matrix's
-- largest and their partners in the second; C: how many there are; names = of both matrices; tied: true if the
-- second is the transpose of the first. A W2 may be missing: then the network ends at the hidden dimensions.
-- With two hidden dimensions the features are vectors in the plane; up to 12 features the network is drawn; more
-- are shown as heat maps.
function figures.tms_diagram(path, subject, options)
  return draw(path, tms.diagram, subject, options)
end

--- figures.target_tms(path, subject [, options]) -> true, or nil and the reason
-- What a toy model of superposition learned. subject: W1 = rows [h][n]; magnitudes = list; outputs = for
-- each of them rows [n][n], the output for the one-hot input of that magnitude for each feature. Shows the
-- features in the plane (two hidden dimensions), their cosine similarities, and the output for a feature
-- beside the strongest of the other outputs.
function figures.target_tms(path, subject, options)
  return draw(path, tms.target, subject, options)
end

--- figures.neuron_contributions(path, layers [, options]) -> true, or nil and the reason
-- What single neurons contribute to their features, of the target above, of subcomponents below. layers: list of {name
-- =, target = rows [n_features][neurons], components = rows of the same shape, chosen = numbers of the subcomponents,
-- one for each feature}. options.features: so many are shown (10). Neurons that contribute much are numbered.
function figures.neuron_contributions(path, layers, options)
  return draw(path, residual_mlp.contributions, layers, options or {})
end

--- figures.contribution_pairs(path, layers [, options]) -> true, or nil and the reason
-- The same contributions of all features and neurons, those of the target across and those of the subcomponents up.
-- options: contribution_correlation and contribution_slope, to be printed.
function figures.contribution_pairs(path, layers, options)
  return draw(path, residual_mlp.pairs, layers, options or {})
end

--- figures.feature_responses(path, subject [, options]) -> true, or nil and the reason
-- Outputs of models for single features. subject: magnitudes = list; labels = for each of them the labels [n];
-- panels = list of {name =, outputs = for each magnitude rows [n][n], the output for that input of each feature}.
function figures.feature_responses(path, subject, options)
  return draw(path, residual_mlp.responses, subject, options)
end

--- figures.swept_parameter(path, subject [, options]) -> true, or nil and the reason
-- The metric of a sweep's trials against the values of a parameter, with its means where trials share a value, and the
-- best trial. subject: name, metric = their names; x, y = lists of numbers, one for each trial; categories = list of
-- words for x of 0, 1, ...; log_x = true for a logarithmic axis; maximize = true if more is better; note.
function figures.swept_parameter(path, subject, options)
  return draw(path, sweep.parameter, subject, options)
end

return figures
