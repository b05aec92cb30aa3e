--- The paper's toy cases, and a small language model, with random targets, for measuring a training step.
local component_model = require "spd.component_model"
local core = require "spd.core"
local data = require "spd.data"
local language = require "spd.models.language"
local optimize = require "spd.optimize"
local residual_mlp = require "spd.models.residual_mlp"
local tms = require "spd.models.tms"
local posix = core.posix

local benchmark = {}

--- benchmark.names: all cases, in order.
benchmark.names = {
  "tms_5-2", "tms_5-2-id", "tms_40-10", "tms_40-10-id", "resid_mlp1", "resid_mlp2", "resid_mlp3", "lm_embed", "lm_mlp",
}

--- benchmark.cases: name -> sizes and settings of the paper, for the language model those of configs/ss.yaml.
benchmark.cases = {}

local function tms_case(n, d, hidden, C, importance, pnorm)
  return {
    n = n, d = d, hidden = hidden, C = C, neurons = 16, batch = 4096, p = 0.05, importance = importance, pnorm = pnorm,
  }
end

local function residual_case(n, layers, width, C, neurons, importance)
  return {
    n = n, d = 1000, layers = layers, width = width, C = C, neurons = neurons, batch = 2048, p = 0.01,
    importance = importance, pnorm = 2,
  }
end

benchmark.cases["tms_5-2"] = tms_case(5, 2, 0, 20, 3e-3, 1)
benchmark.cases["tms_5-2-id"] = tms_case(5, 2, 1, 20, 3e-3, 1)
benchmark.cases["tms_40-10"] = tms_case(40, 10, 0, 200, 1e-4, 2)
benchmark.cases["tms_40-10-id"] = tms_case(40, 10, 1, 200, 1e-4, 2)
benchmark.cases.resid_mlp1 = residual_case(100, 1, 50, 100, 16, 1e-5)
benchmark.cases.resid_mlp2 = residual_case(100, 2, 25, 400, 16, 1e-5)
benchmark.cases.resid_mlp3 = residual_case(102, 3, 17, 500, 128, 5e-6)

-- The shape of SimpleStories-1.25M.
local STORIES = {
  architectures = {"LlamaForCausalLM"}, vocab_size = 4096, hidden_size = 128, intermediate_size = 341,
  num_hidden_layers = 4, num_attention_heads = 4, num_key_value_heads = 2, max_position_embeddings = 512,
  tie_word_embeddings = true,
}

local function language_case(pattern)
  return {
    language = STORIES, length = 512, pattern = pattern, C = 100, neurons = 0, batch = 4, importance = 1e-6, pnorm = 2,
  }
end

benchmark.cases.lm_embed = language_case "model.embed_tokens"
benchmark.cases.lm_mlp = language_case "model.layers.*.mlp.*"

local function target_of(case)
  if case.language then return language.new(case.language) end
  if case.layers then
    return residual_mlp.new{
      n_features = case.n, d_embed = case.d, d_mlp = case.width, n_layers = case.layers, act_fn_name = "relu",
      fixed_random_embedding = true, use_trivial_label_coeffs = true,
    }
  end
  return tms.new{
    n_features = case.n, n_hidden = case.d, n_hidden_layers = case.hidden, fixed_identity_hidden_layers = true,
    tied_weights = true,
  }
end

-- Random token ids.
local function random_tokens(case)
  return {batch = function(_, step)
    local draws = core.uniform({case.batch, case.length}, {seed = 0, purpose = "data", step = step}):totable()
    for _, row in ipairs(draws) do
      for i, draw in ipairs(row) do row[i] = math.floor(draw * case.language.vocab_size) end
    end
    return core.tensor(draws, "int32")
  end}
end

local function batches_of(case)
  if case.language then return random_tokens(case) end
  return data.sparse_features{
    n_features = case.n, batch_size = case.batch, feature_probability = case.p, seed = 0,
    value_range = case.layers and {-1, 1} or {0, 1},
  }
end

local function config_of(case)
  return {
    seed = 0, n_mask_samples = 1, pnorm = case.pnorm, output_loss_type = case.language and "kl" or "mse",
    faithfulness_coeff = 1, stochastic_recon_layerwise_coeff = 1, importance_minimality_coeff = case.importance,
    stochastic_recon_coeff = not case.language and 1 or nil,
  }
end

-- Record the matrix products of what f does, and repeat them once, which makes room for them. Returns their 10^9
-- floating-point operations.
local function record_products(f)
  core.record_products(true)
  f()
  core.record_products(false)
  local operations = 0
  for _, product in ipairs(core.products()) do
    operations = operations + 2.0 * product.m * product.n * product.k * product.count
  end
  core.repeat_products()
  return operations / 1e9
end

local function seconds_of(f, ...)
  local started = posix.monotonic_time()
  f(...)
  return posix.monotonic_time() - started
end

local function round(x) return tonumber(("%.4g"):format(x)) end

--- benchmark.measure(name [, steps [, products]]) -> {case =, ms_per_step =, peak_mb =, steps =, threads =}
-- Train a case for some warm-up steps and then `steps` more, or as many as fit into about two seconds. With products,
-- products_ms and gflop too: the time that the matrix products of a step take alone, in the same parts and order and as
-- far apart in memory, in turns with the steps so that both meet the same machine; and their 10^9 floating-point
-- operations.
function benchmark.measure(name, steps, products)
  local case, WARM_UP, SECONDS = benchmark.cases[name], 5, 2
  local components = component_model.new{
    target = target_of(case), patterns = {case.pattern or "*"}, C = case.C, n_ci_mlp_neurons = case.neurons,
    tied_update = "separate",
  }
  local batches, config = batches_of(case), config_of(case)
  local optimizer, x, step = components:optimizer(), nil, 0
  local function run(count)
    for _ = 1, count do
      x = batches:batch(step, x)
      do
        local tape <close> = core.tape()
        optimize.step(components, tape, config, core.compact(x), step)
      end
      optimizer:step(1e-3)
      optimizer:zero_gradients()
      step = step + 1
    end
  end
  run(WARM_UP)
  steps = steps or math.max(3, math.floor(SECONDS / seconds_of(run, 3) * 3))
  local seconds, of_products = products and 0 or seconds_of(run, steps), 0
  local peak_mb = posix.peak_memory_mb() -- that of a training, without a copy of its memory for the products
  local gflop = products and record_products(function() run(1) end)
  for _ = 1, products and steps or 0 do
    seconds, of_products = seconds + seconds_of(run, 1), of_products + seconds_of(core.repeat_products)
  end
  return {
    case = name, ms_per_step = round(1000 * seconds / steps), steps = steps,
    threads = core.threads(), peak_mb = tonumber(("%.1f"):format(peak_mb)),
    products_ms = products and round(1000 * of_products / steps) or nil, gflop = gflop and round(gflop) or nil,
  }
end

return benchmark
