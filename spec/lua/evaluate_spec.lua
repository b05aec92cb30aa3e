local component_model = require "spd.component_model"
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local model = require "spd.model"

-- One layer y = 2 x of one number, with three subcomponents whose importances are those of x, 2 x - 0.05 and 0.
local function components_of()
  local target = model.new{
    layers = {model.linear("w", core.tensor{{2}})},
    forward = function(_, x, layer) return layer("w", x) end,
  }
  local components = component_model.new{target = target, patterns = {"w"}, C = 3, n_ci_mlp_neurons = 0, seed = 0}
  local matrix = components.by_name.w
  matrix.V:copy_from(core.tensor{{1, 2, 1}})
  matrix.U:copy_from(core.tensor{{1}, {0.25}, {0.25}})
  matrix.gate.w:copy_from(core.tensor{1, 1, 0})
  matrix.gate.b:copy_from(core.tensor{0, -0.05, 0})
  return components
end

-- Batches of one column, in turn.
local function batches(...)
  local list = {...}
  return {batch = function(_, step) return core.tensor(list[step + 1]) end}
end

local function assert_near(expected, found)
  assert.is_true(math.abs(found - expected) < 1e-5, ("%g instead of %g"):format(found, expected))
end

describe("evaluate", function()
  it("batch: counts importances above 0.01 per row, and compares masked and unmasked outputs", function()
    local numbers = evaluate.batch(components_of(), core.tensor{{0.5}, {0.02}, {0}})
    -- importances (0.5, 0.95, 0), (0.02, -0.0001, 0), (0, -0.0005, 0)
    assert_near(3 / 3, numbers["w/ci_l0"])
    -- unmasked 1.75 x; masked x (1 g1 + 0.5 g2 + 0.25 g3)
    assert_near((0.25 * 0.25 * 0.25 + (0.25 * 0.02) ^ 2) / 3, numbers["misc/unmasked_mse_loss_vs_target"])
    local masked = 0
    for _, row in ipairs{{0.5, 0.5, 0.95}, {0.02, 0.02, -0.0001}} do
      masked = masked + (2 * row[1] - row[1] * (row[2] + 0.5 * row[3])) ^ 2 / 3
    end
    assert_near(masked, numbers["misc/masked_mse_loss_vs_target"])
    -- a distribution over one word
    assert_near(0, numbers["misc/masked_kl_loss_vs_target"])
  end)

  it("batch: the divergence is of the target's distribution from the model's", function()
    -- two outputs: (2 x, 0) of the target, (3 x, 0) of the subcomponent, and 0.2 of that, its importance, when masked
    local target = model.new{
      layers = {model.linear("w", core.tensor{{2}, {0}})},
      forward = function(_, x, layer) return layer("w", x) end,
    }
    local components = component_model.new{target = target, patterns = {"w"}, C = 1, n_ci_mlp_neurons = 0, seed = 0}
    local matrix = components.by_name.w
    matrix.V:copy_from(core.tensor{{1}})
    matrix.U:copy_from(core.tensor{{3, 0}})
    matrix.gate.w:copy_from(core.tensor{0})
    matrix.gate.b:copy_from(core.tensor{0.2})
    local numbers = evaluate.batch(components, core.tensor{{1}, {0.5}})
    local function divergence(a, b) -- of the distributions of logits (a, 0) and (b, 0)
      local p, q = 1 / (1 + math.exp(-a)), 1 / (1 + math.exp(-b))
      return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    end
    assert_near((divergence(2, 3) + divergence(1, 1.5)) / 2, numbers["misc/unmasked_kl_loss_vs_target"])
    assert_near((divergence(2, 0.6) + divergence(1, 0.3)) / 2, numbers["misc/masked_kl_loss_vs_target"])
  end)

  it("activation_counts: examples with importance above 0.1, over all batches", function()
    local counts, examples = evaluate.activation_counts(components_of(),
      batches({{0.5}, {0.09}}, {{0.2}, {0}}, {{1}, {1}}), {n_eval_steps = 2})
    assert.equal(4, examples)
    assert.same({2, 3, 0}, counts.w)
  end)

  it("mean_importances: over all batches, a negative one counts as 0", function()
    local data = batches({{0.5}, {0}}, {{0.2}, {0.4}})
    local means = evaluate.mean_importances(components_of(), data, {n_eval_steps = 2})
    assert_near((0.5 + 0 + 0.2 + 0.4) / 4, means.w[1])
    assert_near((0.95 + 0 + 0.35 + 0.75) / 4, means.w[2])
    assert_near(0, means.w[3])
  end)

  it("histograms: bins of importances, negative ones apart", function()
    -- importances (0.5, 0.95, 0), (0.02, -0.0001, 0), (0, -0.0005, 0), (1, 1, 0)
    local histograms, examples = evaluate.histograms(components_of(), core.tensor{{0.5}, {0.02}, {0}, {2}})
    assert.equal(4, examples)
    local counts = histograms.w.counts
    assert.equal(2, histograms.w.negative)
    local total = 0
    for _, count in ipairs(counts) do total = total + count end
    assert.equal(10, total)
    assert.same({counts[1], counts[100]}, {5, 2})
  end)

  it("alive: subcomponents that are active on more than one example in a thousand", function()
    local rows = {}
    for i = 1, 500 do rows[i] = {0} end
    rows[1] = {0.08} -- the second one only: 0.11
    local first = {table.unpack(rows)}
    first[2] = {0.5}
    -- the first: 1 of 1000; the second: 3 of 1000
    assert.same({w = 1}, evaluate.alive(components_of(), batches(first, rows), {n_eval_steps = 2}))
    -- the first: 1 of 500
    assert.same({w = 2}, evaluate.alive(components_of(), batches(first, rows), {n_eval_steps = 1}))
  end)

  it("one_hot_importances: rows of importances for one-hot inputs of a magnitude", function()
    local lower, upper = evaluate.one_hot_importances(components_of(), 1)
    assert.equal(1, #lower.w)
    assert_near(0.75, lower.w[1][1])
    assert_near(1, lower.w[1][2])
    assert_near(1 + 0.01 * 0.45, upper.w[1][2])
    lower = evaluate.one_hot_importances(components_of(), 1, 0.25)
    assert_near(0.45, lower.w[1][2])
  end)
end)
