-- Every loss against arithmetic by hand, on a target of one or two 1-dimensional layers.
local component_model = require "spd.component_model"
local core = require "spd.core"
local errors = require "spd.errors"
local losses = require "spd.losses"
local model = require "spd.model"

-- Two layers of a chain: y = w2 w1 x.
local W1, W2 = 2, 3
-- Subcomponents of both: V [1, 2], U [2, 1].
local V1, U1, V2, U2 = {1, 0.5}, {1, 2}, {2, 1}, {1, 1}

local function chain()
  return model.new{
    layers = {model.linear("one", core.tensor{{W1}}), model.linear("two", core.tensor{{W2}})},
    forward = function(_, x, layer) return layer("two", layer("one", x)) end,
  }
end

local function set(components, name, V, U)
  components.by_name[name].V:copy_from(core.tensor{V})
  local rows = {}
  for c, u in ipairs(U) do rows[c] = {u} end
  components.by_name[name].U:copy_from(core.tensor(rows))
end

-- A step with these importances [rows][2] of both layers, and the random numbers r of the masks.
local function step_of(settings)
  local components = component_model.new{target = chain(), patterns = {"*"}, C = 2, n_ci_mlp_neurons = 0, seed = 0}
  set(components, "one", V1, U1)
  set(components, "two", V2, U2)
  local x = core.tensor(settings.x or {{1}, {2}})
  local target, inputs = components:run_target(x)
  local config = {n_mask_samples = 1, pnorm = 1, output_loss_type = "mse", seed = 0}
  for key, value in pairs(settings.config or {}) do config[key] = value end
  local g = settings.g or {{1, 0}, {0.5, 0.25}}
  return {
    components = components, config = config, step = 0, x = x, target = target, inputs = inputs,
    lower = {one = core.tensor(g), two = core.tensor(g)},
    upper = {one = core.tensor(settings.upper or g), two = core.tensor(settings.upper or g)},
    draw = settings.draw,
  }
end

local function assert_near(expected, found)
  found = type(found) == "number" and found or losses.mean(found)
  assert.is_true(math.abs(found - expected) <= 1e-5 * math.max(1, math.abs(expected)),
    ("%.9g instead of %.9g"):format(found, expected))
end

-- What masked subcomponents make of a: sum_c a V_c m_c U_c.
local function masked(a, V, U, m)
  local sum = 0
  for c = 1, 2 do sum = sum + a * V[c] * m[c] * U[c] end
  return sum
end

-- The mean over rows of the squared difference to w2 w1 x of f(x, row).
local function mean_error(x, f)
  local sum = 0
  for i, row in ipairs(x) do sum = sum + (f(row[1], i) - W2 * W1 * row[1]) ^ 2 end
  return sum / #x
end

local X, G = {{1}, {2}}, {{1, 0}, {0.5, 0.25}}

local function masks(g, r)
  local m = {}
  for i, row in ipairs(g) do
    m[i] = {}
    for c, value in ipairs(row) do m[i][c] = value + (1 - value) * r[i][c] end
  end
  return m
end

describe("losses:", function()
  it("faithfulness is the squared distance of the weights over their number", function()
    -- V1 U1 = 1 + 1 = 2 = W1; V2 U2 = 2 + 1 = 3 = W2
    assert_near(0, losses.faithfulness(step_of{}))
    local step = step_of{}
    set(step.components, "one", {1, 1}, {1, 4}) -- 5 instead of 2
    set(step.components, "two", {1, 1}, {1, 1}) -- 2 instead of 3
    assert_near((9 + 1) / 2, losses.faithfulness(step))
  end)

  it("faithfulness divides by all entries of matrices of several shapes", function()
    local target = model.new{
      layers = {model.linear("a", core.tensor{{1, 2, 3}, {4, 5, 6}}), model.linear("b", core.tensor{{1, 1}})},
      forward = function() end,
    }
    local components = component_model.new{target = target, patterns = {"*"}, C = 1, n_ci_mlp_neurons = 0, seed = 0}
    components.by_name.a.V:copy_from(core.tensor{{1}, {0}, {0}})
    components.by_name.a.U:copy_from(core.tensor{{1, 1}})
    components.by_name.b.V:copy_from(core.tensor{{1}, {1}})
    components.by_name.b.U:copy_from(core.tensor{{2}})
    -- a: (0, 2, 3, 3, 5, 6) squared = 83; b: (1, 1) = 2; 8 entries
    assert_near(85 / 8, losses.faithfulness{components = components})
  end)

  it("out_recon replaces all matrices without masks", function()
    local step = step_of{}
    set(step.components, "one", {1, 1}, {1, 0})
    assert_near(mean_error(X, function(x) return 3 * x end), losses.out_recon(step))
  end)

  it("recon masks all matrices by their importances", function()
    assert_near(mean_error(X, function(x, i) return masked(masked(x, V1, U1, G[i]), V2, U2, G[i]) end),
      losses.recon(step_of{}))
    assert_near(0, losses.recon(step_of{g = {{1, 1}, {1, 1}}}))
  end)

  it("recon_layerwise masks one matrix at a time, and averages", function()
    local one = mean_error(X, function(x, i) return W2 * masked(x, V1, U1, G[i]) end)
    local two = mean_error(X, function(x, i) return masked(W1 * x, V2, U2, G[i]) end)
    assert_near((one + two) / 2, losses.recon_layerwise(step_of{}))
  end)

  describe("stochastic", function()
    -- Random numbers by matrix, purpose and sample, and a record of what was asked for.
    local function draws(asked)
      return function(matrix, purpose, sample)
        local base = (matrix.index + 1) * 0.1 + sample * 0.3
        if asked then asked[#asked + 1] = ("%s %s %d"):format(matrix.name, purpose, sample) end
        return core.tensor{{base, base + 0.1}, {base + 0.2, base + 0.3}}
      end
    end

    local function mask(index, sample)
      local base = index * 0.1 + sample * 0.3
      return masks(G, {{base, base + 0.1}, {base + 0.2, base + 0.3}})
    end

    it("recon masks with m = g + (1 - g) r, averaged over samples", function()
      local asked, sum = {}, 0
      for sample = 0, 1 do
        local m1, m2 = mask(1, sample), mask(2, sample)
        sum = sum + mean_error(X, function(x, i) return masked(masked(x, V1, U1, m1[i]), V2, U2, m2[i]) end)
      end
      local step = step_of{draw = draws(asked), config = {n_mask_samples = 2}}
      assert_near(sum / 2, losses.stochastic_recon(step))
      assert.same({"one stochastic_recon 0", "two stochastic_recon 0", "one stochastic_recon 1",
        "two stochastic_recon 1"}, asked)
    end)

    it("recon_layerwise averages over samples and matrices, with draws of its own", function()
      local asked, sum = {}, 0
      for sample = 0, 1 do
        local m1, m2 = mask(1, sample), mask(2, sample)
        sum = sum + mean_error(X, function(x, i) return W2 * masked(x, V1, U1, m1[i]) end)
        sum = sum + mean_error(X, function(x, i) return masked(W1 * x, V2, U2, m2[i]) end)
      end
      local step = step_of{draw = draws(asked), config = {n_mask_samples = 2}}
      assert_near(sum / 4, losses.stochastic_recon_layerwise(step))
      assert.equal("one stochastic_recon_layerwise 0", asked[1])
      assert.equal(4, #asked)
    end)

    it("masks are named by seed, step and sample", function()
      local function value(seed, step_number, samples)
        local step = step_of{config = {seed = seed, n_mask_samples = samples or 1}}
        step.step = step_number
        return losses.mean(losses.stochastic_recon(step))
      end
      assert.equal(value(0, 0), value(0, 0))
      assert.are_not.equal(value(0, 0), value(1, 0))
      assert.are_not.equal(value(0, 0), value(0, 1))
      assert.are_not.equal(value(0, 0), value(0, 0, 2))
    end)

    it("masks have random numbers of their own for every loss, matrix and sample", function()
      local draw_mask, drawn, seen = core.stochastic_mask, {}, {}
      finally(function() core.stochastic_mask = draw_mask end)
      core.stochastic_mask = function(h, g, draw)
        drawn[#drawn + 1] = draw
        return draw_mask(h, g, draw)
      end
      local step = step_of{config = {seed = 7, n_mask_samples = 2}}
      step.step = 5
      losses.stochastic_recon(step)
      losses.stochastic_recon_layerwise(step)
      assert.equal(8, #drawn) -- 2 losses, 2 matrices, 2 samples
      for _, draw in ipairs(drawn) do
        local name = ("%s %s %s"):format(draw.purpose, draw.matrix, draw.sample)
        assert.is_nil(seen[name], name .. " was drawn twice")
        seen[name] = true
        assert.same({7, 5}, {draw.seed, draw.step})
      end
    end)
  end)

  it("importance_minimality is the sum over matrices of the batch mean of upper^p", function()
    local upper = {{0.5, 1.5}, {0, 0.25}}
    assert_near(2 * (0.5 + 1.5 + 0.25) / 2, losses.importance_minimality(step_of{upper = upper}))
    assert_near(2 * (0.25 + 2.25 + 0.0625) / 2,
      losses.importance_minimality(step_of{upper = upper, config = {pnorm = 2}}))
  end)

  it("schatten weighs them with the squared norms of the subcomponents", function()
    local upper = {{0.5, 1.5}, {0, 0.25}}
    -- per subcomponent: column sums of upper over 2 rows, times |V_c|^2 + |U_c|^2
    local one = 0.5 / 2 * (V1[1] ^ 2 + U1[1] ^ 2) + 1.75 / 2 * (V1[2] ^ 2 + U1[2] ^ 2)
    local two = 0.5 / 2 * (V2[1] ^ 2 + U2[1] ^ 2) + 1.75 / 2 * (V2[2] ^ 2 + U2[2] ^ 2)
    assert_near(one + two, losses.schatten(step_of{upper = upper}))
  end)

  describe("kl", function()
    it("is the divergence of the target's distribution from the output's, summed over words, averaged over rows",
      function()
        local target = model.new{
          layers = {model.linear("w", core.tensor{{1}, {0}, {-1}})},
          forward = function(_, x, layer) return layer("w", x) end,
        }
        local components = component_model.new{target = target, patterns = {"w"}, C = 1, n_ci_mlp_neurons = 0, seed = 0}
        components.by_name.w.V:copy_from(core.tensor{{1}})
        components.by_name.w.U:copy_from(core.tensor{{0, 1, 0}})
        local function softmax(values)
          local out, sum = {}, 0
          for _, value in ipairs(values) do sum = sum + math.exp(value) end
          for i, value in ipairs(values) do out[i] = math.exp(value) / sum end
          return out
        end
        local expected = 0
        for _, x in ipairs{1, 2} do
          local p, q = softmax{x, 0, -x}, softmax{0, x, 0}
          for i = 1, 3 do expected = expected + p[i] * math.log(p[i] / q[i]) / 2 end
        end
        local x = core.tensor{{1}, {2}}
        local y, inputs = components:run_target(x)
        assert_near(expected, losses.out_recon{components = components, config = {output_loss_type = "kl"}, x = x,
          target = y, inputs = inputs})
      end)
  end)

  describe("embedding_recon", function()
    -- Tokens 0 and 1 of an embedding {{1, 2}, {3, 4}}, one subcomponent that makes (1, 1) and (2, 2) of them.
    local function embedding_step(config, unembed)
      local target = model.new{
        layers = {model.embedding("embed", core.tensor{{1, 2}, {3, 4}})}, unembed = unembed,
        forward = function(_, ids, layer) return layer("embed", ids) end,
      }
      local components = component_model.new{target = target, patterns = {"embed"}, C = 1, n_ci_mlp_neurons = 0,
        seed = 0}
      components.by_name.embed.V:copy_from(core.tensor{{1}, {2}})
      components.by_name.embed.U:copy_from(core.tensor{{1, 1}})
      local ids = core.tensor({0, 1}, "int32")
      config.n_mask_samples, config.embedding_recon_coeff = 1, 1
      return {
        components = components, config = config, step = 0, x = ids, inputs = {embed = ids},
        lower = {embed = core.tensor{{0}, {0}}}, draw = function() return core.tensor{{1}, {0.5}} end,
      }
    end

    it("is the batch mean of the squared distance of the masked embedding", function()
      -- (1, 1) against (1, 2), (1, 1) against (3, 4)
      assert_near((1 + 4 + 9) / 2, losses.embedding_recon(embedding_step{}))
    end)

    it("after the unembedding is the KL divergence of what the model makes of both", function()
      local step = embedding_step({is_embed_unembed_recon = true}, function(_, h) return h * 2 end)
      local expected = 0
      for _, difference in ipairs{2, 2} do -- logits (0, 2) against (0, 0)
        local p = 1 / (1 + math.exp(-difference))
        expected = expected + (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)) / 2
      end
      assert_near(expected, losses.embedding_recon(step))
    end)

    local function refusal(target, names, config)
      config.embedding_recon_coeff = 1
      local ok, err = pcall(losses.check, target, component_model.find(target, names), config)
      assert.is_false(ok)
      assert.is_true(errors.is(err))
      assert.equal(2, err.status)
      return err.message
    end

    it("is refused for anything but one embedding, and without an unembedding", function()
      assert.equal("embedding_recon_coeff: expected one decomposed matrix, an embedding", refusal(chain(), {"one"}, {}))
      assert.equal("embedding_recon_coeff: expected one decomposed matrix, an embedding", refusal(chain(), {"*"}, {}))
      local step = embedding_step{}
      assert.equal("is_embed_unembed_recon: the target has no function unembed",
        refusal(step.components.target, {"embed"}, {is_embed_unembed_recon = true}))
      losses.check(step.components.target, step.components.matrices, {embedding_recon_coeff = 1})
      losses.check(chain(), step.components.matrices, {})
    end)
  end)

  describe("terms", function()
    it("are those with a coefficient, in a fixed order; null ones are not computed", function()
      local computed, all = {}, {}
      for _, name in ipairs(losses.order) do
        all[name] = losses[name]
        losses[name] = function(step)
          computed[#computed + 1] = name
          return all[name](step)
        end
      end
      finally(function()
        for name, f in pairs(all) do losses[name] = f end
      end)
      local terms = losses.terms(step_of{config = {importance_minimality_coeff = 0.5, faithfulness_coeff = 1,
        schatten_coeff = 0}})
      assert.same({"faithfulness", "importance_minimality", "schatten"}, computed)
      assert.equal(3, #terms)
      assert.equal("importance_minimality", terms[2].name)
      assert.equal(0.5, terms[2].coefficient)
      assert_near(2 * (1 + 0.75) / 2, terms[2].parts)
    end)
  end)
end)
