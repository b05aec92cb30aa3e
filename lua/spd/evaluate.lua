--- Numbers and matrices that describe a component model: on one batch, on fresh batches, on one-hot inputs.
local core = require "spd.core"
local data_module = require "spd.data"
local shape = require "spd.shape"

local rows = shape.rows

local evaluate = {}

--- Importance above which a subcomponent counts as active in `ci_l0`, and as alive in `n_alive`.
evaluate.active_threshold, evaluate.alive_threshold = 0.01, 0.1

--- A subcomponent is alive if it is that important on more than this fraction of the examples.
evaluate.alive_rate = 0.001

--- The magnitude of the one-hot inputs whose causal importances are scored and drawn.
evaluate.magnitude = 0.75

local function sum_of(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value end
  return sum
end

-- The output with all subcomponents, with those masked by their causal importances, and with none.
local function outputs_of(components, x, lower)
  return {
    unmasked = components:run(x),
    masked = components:run(x, function(matrix, h) return h * lower[matrix.name] end),
    zero_masked = components:run(x, function(_, h) return h * 0 end),
  }
end

-- NAME/ci_l0 for every matrix: the mean over rows of the number of subcomponents with importance > 0.01.
local function add_active(numbers, lower)
  for name, g in pairs(lower) do
    numbers[name .. "/ci_l0"] = core.sum(core.greater(g, evaluate.active_threshold)):item() / rows(g)
  end
end

-- misc/..._ce_loss_vs_labels: the cross-entropies of a language model's outputs with the next token of each row.
local function add_cross_entropies(numbers, outputs, target, ids)
  local labels = data_module.next_tokens(ids)
  numbers["misc/target_ce_loss_vs_labels"] = core.cross_entropy(target, labels):item()
  for kind, output in pairs(outputs) do
    numbers["misc/" .. kind .. "_ce_loss_vs_labels"] = core.cross_entropy(output, labels):item()
  end
end

--- evaluate.batch(components, x, config) -> numbers
-- NAME/ci_l0: mean over rows of the number of subcomponents with importance > 0.01. misc/...: KL and mean
-- squared error (of a language model only KL) of the model's output without masks, and masked by the causal
-- importances, against the target's. With log_ce_losses also cross-entropies of a language model: the target's, and
-- those without masks, masked, and without any subcomponent.
function evaluate.batch(components, x, config)
  local tape <close> = core.tape()
  local numbers, ids = {}, x
  x = core.compact(x)
  local target, inputs = components:run_target(x)
  local lower = components:importances(inputs)
  add_active(numbers, lower)
  local outputs = outputs_of(components, x, lower)
  local is_text = ids.dtype == "int32"
  for _, kind in ipairs{"unmasked", "masked"} do
    local output = outputs[kind]
    numbers["misc/" .. kind .. "_kl_loss_vs_target"] = core.softmax_kl(target, output):item()
    if not is_text then
      local error = core.squared_error(target, output):item() / shape.count(output)
      numbers["misc/" .. kind .. "_mse_loss_vs_target"] = error
    end
  end
  if is_text and config.log_ce_losses then add_cross_entropies(numbers, outputs, target, ids) end
  return numbers
end

--- evaluate.cross_entropies(components, data, config) -> numbers
-- Means over n_eval_steps batches of text: ce_target, ce_unmasked, ce_masked and ce_zero_masked, the cross-entropies in
-- nats of the target and of the model with all subcomponents, with those masked by their causal importances, and with
-- none; l0, a table NAME -> active subcomponents (importance > 0.01) per token.
function evaluate.cross_entropies(components, data, config)
  local result, x = {l0 = {}}, nil
  local function add(into, key, value) into[key] = (into[key] or 0) + value / config.n_eval_steps end
  for step = 0, config.n_eval_steps - 1 do
    local tape <close> = core.tape()
    x = data:batch(step, x)
    local target, inputs = components:run_target(x)
    local lower, numbers = components:importances(inputs), {}
    add_cross_entropies(numbers, outputs_of(components, x, lower), target, x)
    for key, value in pairs(numbers) do add(result, "ce_" .. key:match "^misc/(.*)_ce_loss_vs_labels$", value) end
    add_active(numbers, lower)
    for name in pairs(lower) do add(result.l0, name, numbers[name .. "/ci_l0"]) end
  end
  return result
end

-- Add up, over n_eval_steps fresh batches, a list per matrix made by f(g) from its importances [..., C].
local function over_batches(components, data, config, f)
  local sums, count, x = {}, 0, nil
  for step = 0, config.n_eval_steps - 1 do
    local tape <close> = core.tape()
    x = data:batch(step, x)
    local _, inputs = components:run_target(core.compact(x))
    local lower = components:importances(inputs)
    count = count + rows(select(2, next(lower)))
    for name, g in pairs(lower) do
      local list = f(g):tensor():totable()
      local sum = sums[name] or {}
      for c, value in ipairs(list) do sum[c] = (sum[c] or 0) + value end
      sums[name] = sum
    end
  end
  return sums, count
end

--- evaluate.activation_counts(components, data, config) -> name -> list, examples
-- For every subcomponent the number of examples, of n_eval_steps fresh batches, with importance > 0.1.
function evaluate.activation_counts(components, data, config)
  return over_batches(components, data, config, function(g)
    return core.sum_rows(core.greater(g, evaluate.alive_threshold))
  end)
end

--- evaluate.mean_importances(components, data, config) -> name -> list
-- The mean causal importance of every subcomponent over n_eval_steps fresh batches. The slightly negative values, which
-- lower-leaky has for the sake of its gradient, count as 0: over many examples they would outweigh the others.
function evaluate.mean_importances(components, data, config)
  local sums, count = over_batches(components, data, config, function(g) return core.sum_rows(core.relu(g)) end)
  for _, list in pairs(sums) do
    for c, value in ipairs(list) do list[c] = value / count end
  end
  return sums
end

--- evaluate.alive(components, data, config) -> name -> number
-- Subcomponents with importance > 0.1 on more than one in a thousand examples.
function evaluate.alive(components, data, config)
  local counts, examples = evaluate.activation_counts(components, data, config)
  local alive = {}
  for name, list in pairs(counts) do
    local active = {}
    for c, count in ipairs(list) do active[c] = count > evaluate.alive_rate * examples and 1 or 0 end
    alive[name] = math.tointeger(sum_of(active))
  end
  return alive
end

--- evaluate.histograms(components, x) -> name -> {counts =, negative =}, examples
-- How many causal importances (lower-leaky) of a batch lie in each of 100 equal bins of [0, 1], and how many are
-- negative.
function evaluate.histograms(components, x)
  local BINS = 100
  local _, inputs = components:run_target(x)
  local function above(g, threshold)
    local tape <close> = core.tape() -- frees at once what would be garbage of a hundred batches
    return math.tointeger(core.sum(core.greater(g, threshold)):item())
  end
  local histograms, examples = {}, nil
  for name, g in pairs((components:importances(inputs))) do
    local negative, counts = above(-g, 0), {}
    local left = shape.count(g) - negative -- in this bin and those above it
    for b = 1, BINS do
      local higher = b < BINS and above(g, b / BINS) or 0
      counts[b], left = left - higher, higher
    end
    histograms[name], examples = {counts = counts, negative = negative}, rows(g)
  end
  return histograms, examples
end

--- evaluate.one_hot_importances(components, n_features [, magnitude]) -> lower, upper
-- Causal importances for one-hot inputs, by matrix name as rows [n_features][C]. magnitude defaults to
-- evaluate.magnitude.
function evaluate.one_hot_importances(components, n_features, magnitude)
  local x = core.eye(n_features) * (magnitude or evaluate.magnitude)
  local _, inputs = components:run_target(x)
  local lower, upper = components:importances(inputs)
  for name in pairs(lower) do lower[name], upper[name] = lower[name]:totable(), upper[name]:totable() end
  return lower, upper
end

return evaluate
