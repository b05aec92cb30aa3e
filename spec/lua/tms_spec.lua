-- The toy model of superposition: initial weights, data, and what its training does to them.
local core = require "spd.core"
local tms = require "spd.models.tms"

local silent = {update = function() end, finish = function() end}

-- A training config in which no feature is ever active and the bias is 0: every gradient is 0.
local function config_of(changes, model)
  local config = {
    tms_model_config = {
      n_features = 30, n_hidden = 8, n_hidden_layers = 0, tied_weights = false, init_bias_to_zero = true,
    },
    feature_probability = 1e-12, data_generation_type = "at_least_zero_active", batch_size = 4, steps = 4, lr = 1,
    lr_schedule = "constant", seed = 3,
  }
  for key, value in pairs(changes or {}) do config[key] = value end
  for key, value in pairs(model or {}) do config.tms_model_config[key] = value end
  return config
end

local function numbers_of(tensor)
  local rows, list = tensor:totable(), {}
  for _, row in ipairs(rows) do
    for _, value in ipairs(type(row) == "table" and row or {row}) do list[#list + 1] = value end
  end
  return list
end

-- Numbers that are spread over -bound to bound.
local function assert_uniform(bound, tensor, what)
  local largest, smallest = -math.huge, math.huge
  for _, value in ipairs(numbers_of(tensor)) do
    largest, smallest = math.max(largest, value), math.min(smallest, value)
  end
  assert.is_true(largest <= bound and largest > 0.8 * bound, ("%s: up to %g, not %g"):format(what, largest, bound))
  assert.is_true(smallest >= -bound and smallest < -0.8 * bound, ("%s: from %g, not %g"):format(what, smallest, -bound))
end

describe("tms", function()
  it("starts with weights that are uniform up to 1 / sqrt(d_in), like the bias", function()
    local model = tms.from_config(config_of({}, {n_hidden_layers = 1, init_bias_to_zero = false}))
    local layer = model.by_name
    assert_uniform(1 / math.sqrt(30), layer.linear1.weight, "linear1")
    assert_uniform(1 / math.sqrt(8), layer.linear2.weight, "linear2")
    assert_uniform(1 / math.sqrt(8), layer["hidden_layers.0"].weight, "hidden_layers.0")
    assert_uniform(1 / math.sqrt(8), layer.linear2.bias, "bias")
    local zero = tms.from_config(config_of())
    for _, value in ipairs(numbers_of(zero.by_name.linear2.bias)) do assert.equal(0, value) end
  end)

  it("ties the second weight to the first", function()
    local layer = tms.from_config(config_of({}, {tied_weights = true})).by_name
    assert.same(core.transpose(layer.linear1.weight):totable(), layer.linear2.weight:totable())
  end)

  it("has data of the target: features that are synchronized are active together", function()
    local config = config_of{feature_probability = 0.1, batch_size = 500, synced_inputs = {{0, 1}, {2, 5, 7}}}
    local batches = tms.dataset{target_config = config, task = config, batch_size = 500, seed = 1, purpose = "spec"}
    local active = 0
    for _, row in ipairs(batches:batch(0):totable()) do
      assert.equal(row[1] ~= 0, row[2] ~= 0)
      assert.equal(row[3] ~= 0, row[6] ~= 0)
      assert.equal(row[3] ~= 0, row[8] ~= 0)
      if row[1] ~= 0 then active = active + 1 end
      for _, value in ipairs(row) do assert.is_true(value >= 0 and value < 1) end
    end
    assert.is_true(active > 0)
  end)

  describe("training", function()
    -- What a weight is multiplied by, where all gradients are 0: 1 - 0.01 x the rate, at every step.
    local function decay(rates)
      local factor = 1
      for _, rate in ipairs(rates) do factor = factor * (1 - 0.01 * rate) end
      return factor
    end

    local function assert_factor(expected, before, after, what)
      local a, b = numbers_of(before), numbers_of(after)
      assert.equal(#a, #b)
      for i, value in ipairs(a) do
        local near = math.abs(b[i] - expected * value) <= 1e-6
        assert.is_true(near, ("%s: %g became %g, not %g"):format(what, value, b[i], expected * value))
      end
    end

    it("decays weights by 0.01, at the rates of the schedule", function()
      local rates = {
        constant = {1, 1, 1, 1}, linear = {1, 0.75, 0.5, 0.25}, cosine = {1, math.cos(math.pi / 6), 0.5, 0},
      }
      for schedule, list in pairs(rates) do
        local config = config_of{lr_schedule = schedule}
        local before, after = tms.from_config(config).by_name, tms.train(config, silent).by_name
        for _, name in ipairs{"linear1", "linear2"} do
          assert_factor(decay(list), before[name].weight, after[name].weight, schedule .. " " .. name)
        end
      end
    end)

    it("trains hidden layers, but no fixed ones", function()
      local function hidden_factor(expected, changes)
        local config = config_of(changes, {n_hidden_layers = 2})
        local before, after = tms.from_config(config).by_name, tms.train(config, silent).by_name
        for _, name in ipairs{"hidden_layers.0", "hidden_layers.1"} do
          assert_factor(expected, before[name].weight, after[name].weight, name)
        end
        assert_factor(decay{1, 1, 1, 1}, before.linear1.weight, after.linear1.weight, "linear1")
      end
      hidden_factor(decay{1, 1, 1, 1}, {})
      hidden_factor(1, {fixed_random_hidden_layers = true})
      hidden_factor(1, {fixed_identity_hidden_layers = true})
    end)

    it("learns from the data that the config asks for", function()
      local dataset, asked = tms.dataset, {}
      finally(function() tms.dataset = dataset end)
      tms.dataset = function(settings)
        asked[#asked + 1] = settings
        return dataset(settings)
      end
      local config = config_of{synced_inputs = {{0, 1}}}
      tms.train(config, silent)
      assert.equal(1, #asked)
      assert.equal(config.synced_inputs, asked[1].target_config.synced_inputs)
      assert.equal(config.feature_probability, asked[1].task.feature_probability)
      assert.same({4, 3}, {asked[1].batch_size, asked[1].seed})
    end)
  end)
end)
