--- The loss terms of SPD, by name. `losses.terms` computes those that a config asks for.
--
-- Each is a function of a step: {components =, config =, step =, x =, target =, inputs =, lower =, upper =,
-- draw = (optional) function(matrix, purpose, sample) -> draw or tensor}. It returns a list of scalars, of
-- which the loss is the mean: one for each mask sample and each matrix that is replaced alone. The gradients
-- of a list are taken one after another, so that only one forward pass is in memory at a time.
local core = require "spd.core"
local errors = require "spd.errors"
local shape = require "spd.shape"

local rows = shape.rows

local losses = {}

--- losses.output_distance(kind, target, output) -> scalar
-- The distance D of an output to the target's. kind, a config's output_loss_type: "kl", the divergence of the softmax,
-- or "mse", the mean squared error.
function losses.output_distance(kind, target, output)
  if kind == "kl" then return core.softmax_kl(target, output) end
  return core.squared_error(output, target) / shape.count(output)
end

local function distance(step, output)
  return losses.output_distance(step.config.output_loss_type, step.target, output)
end

-- The sum of a list of scalars.
local function total(list)
  local sum = list[1]
  for i = 2, #list do sum = sum + list[i] end
  return sum
end

-- Masks m = g + (1 - g) r, fresh for every purpose, sample and matrix.
local function stochastic_mask(step, purpose, sample)
  return function(matrix, h)
    local draw
    if step.draw then
      draw = step.draw(matrix, purpose, sample)
    else
      draw = {seed = step.config.seed, purpose = purpose, matrix = matrix.index, sample = sample, step = step.step}
    end
    return core.stochastic_mask(h, step.lower[matrix.name], draw)
  end
end

local function importance_mask(step)
  return function(matrix, h) return h * step.lower[matrix.name] end
end

-- Add to the list the distances with only one matrix replaced.
local function add_layerwise(list, step, mask)
  for _, matrix in ipairs(step.components.matrices) do
    list[#list + 1] = distance(step, step.components:run(step.x, mask, {[matrix.name] = true}))
  end
  return list
end

--- losses.faithfulness(step): squared distance of all weights to the sums of their subcomponents, over their number.
function losses.faithfulness(step)
  local list, count = {}, 0
  for _, matrix in ipairs(step.components.matrices) do
    list[#list + 1] = core.squared_error(step.components:weight(matrix.name), matrix.weight)
    count = count + matrix.weight:size(1) * matrix.weight:size(2)
  end
  return {total(list) / count}
end

--- losses.stochastic_recon(step): distance with all matrices replaced under stochastic masks.
function losses.stochastic_recon(step)
  local list = {}
  for sample = 0, step.config.n_mask_samples - 1 do
    local mask = stochastic_mask(step, "stochastic_recon", sample)
    list[#list + 1] = distance(step, step.components:run(step.x, mask))
  end
  return list
end

--- losses.stochastic_recon_layerwise(step): the same with one matrix replaced at a time, averaged.
function losses.stochastic_recon_layerwise(step)
  local list = {}
  for sample = 0, step.config.n_mask_samples - 1 do
    add_layerwise(list, step, stochastic_mask(step, "stochastic_recon_layerwise", sample))
  end
  return list
end

--- losses.recon(step): distance with all matrices replaced and the causal importances as masks.
function losses.recon(step)
  return {distance(step, step.components:run(step.x, importance_mask(step)))}
end

--- losses.recon_layerwise(step): the same with one matrix replaced at a time, averaged.
function losses.recon_layerwise(step) return add_layerwise({}, step, importance_mask(step)) end

--- losses.out_recon(step): distance with all matrices replaced and no mask.
function losses.out_recon(step) return {distance(step, step.components:run(step.x))} end

--- losses.importance_minimality(step): sum over matrices of the batch mean of sum_c upper_c^p.
function losses.importance_minimality(step)
  local list = {}
  for _, matrix in ipairs(step.components.matrices) do
    local upper = step.upper[matrix.name]
    list[#list + 1] = core.sum(core.power(upper, step.config.pnorm)) / rows(upper)
  end
  return {total(list)}
end

--- losses.schatten(step): sum over matrices of the batch mean of sum_c upper_c^p (|V_c|^2 + |U_c|^2).
function losses.schatten(step)
  local list = {}
  for _, matrix in ipairs(step.components.matrices) do
    local V, U, upper = step.components:V(matrix.name), step.components:U(matrix.name), step.upper[matrix.name]
    local norms = core.sum_rows(V * V) + core.sum_columns(U * U)
    list[#list + 1] = core.sum(core.sum_rows(core.power(upper, step.config.pnorm)) * norms) / rows(upper)
  end
  return {total(list)}
end

local function check_embedding(target, layers, config)
  if #layers ~= 1 or layers[1].kind ~= "embedding" then
    errors.raise(2, "embedding_recon_coeff", "expected one decomposed matrix, an embedding")
  elseif config.is_embed_unembed_recon and not target.unembed then
    errors.raise(2, "is_embed_unembed_recon", "the target has no function unembed")
  end
end

--- losses.check(target, layers, config)
-- Refuse a config that asks for a loss which cannot be computed for these layers of the target.
function losses.check(target, layers, config)
  if config.embedding_recon_coeff then check_embedding(target, layers, config) end
end

--- losses.embedding_recon(step): batch mean of the squared distance between the masked and the target's
-- embedding; with is_embed_unembed_recon, the KL divergence after the target's unembedding.
function losses.embedding_recon(step)
  local matrix = step.components.matrices[1]
  check_embedding(step.components.target, step.components.matrices, step.config)
  local ids = step.inputs[matrix.name]
  local wanted = core.embedding(ids, matrix.weight)
  local target, h = step.components.target, step.components:inner_activations(matrix.name, ids)
  local list = {}
  for sample = 0, step.config.n_mask_samples - 1 do
    local mask = stochastic_mask(step, "embedding_recon", sample)
    local embedded = core.matmul(mask(matrix, h), step.components:U(matrix.name))
    if step.config.is_embed_unembed_recon then
      list[#list + 1] = core.softmax_kl(target:unembed(wanted), target:unembed(embedded))
    else
      list[#list + 1] = core.squared_error(embedded, wanted) / rows(wanted)
    end
  end
  return list
end

--- losses.order: names in the order in which they are computed; NAME_coeff is the config key of each.
losses.order = {
  "faithfulness", "recon", "stochastic_recon", "recon_layerwise", "stochastic_recon_layerwise",
  "importance_minimality", "schatten", "out_recon", "embedding_recon",
}

--- losses.terms(step) -> list of {name =, coefficient =, parts =}
-- The terms whose coefficient is not null in the config; a term's loss is the mean of its parts.
function losses.terms(step)
  local terms = {}
  for _, name in ipairs(losses.order) do
    local coefficient = step.config[name .. "_coeff"]
    if coefficient then
      terms[#terms + 1] = {name = name, coefficient = coefficient, parts = losses[name](step)}
    end
  end
  return terms
end

--- losses.mean(parts) -> the loss of a list of scalars, as a number.
function losses.mean(parts)
  local sum = 0
  for _, part in ipairs(parts) do sum = sum + part:item() end
  return sum / #parts
end

--- losses.backward(tape, terms) -> values, total
-- Add the gradients of the terms to those of the parameters. values: the loss of each term, by name; total: the sum of
-- coefficient times loss.
function losses.backward(tape, terms)
  local parts, coefficients = {}, {}
  for _, term in ipairs(terms) do
    for i = #term.parts, 1, -1 do
      parts[#parts + 1], coefficients[#parts + 1] = term.parts[i], term.coefficient / #term.parts
    end
  end
  tape:backward(parts, coefficients)
  local values, total_loss = {}, 0
  for _, term in ipairs(terms) do
    values[term.name] = losses.mean(term.parts)
    total_loss = total_loss + term.coefficient * values[term.name]
  end
  return values, total_loss
end

return losses
