local config_module = require "spd.config"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local residual_mlp = require "spd.models.residual_mlp"

local function settings(changes)
  local list = {
    n_features = 4, d_embed = 7, d_mlp = 3, n_layers = 2, act_fn_name = "relu", in_bias = false, out_bias = false,
    fixed_random_embedding = true, use_trivial_label_coeffs = true,
  }
  for key, value in pairs(changes or {}) do list[key] = value end
  return list
end

-- A config of a target's training, as read from a file.
local function config(changes, model_changes)
  local values = {
    resid_mlp_config = settings(model_changes), feature_probability = 0.5, batch_size = 64, steps = 300, lr = 1e-2,
    print_freq = 100, fixed_random_embedding = true, use_trivial_label_coeffs = true,
  }
  values.resid_mlp_config.fixed_random_embedding, values.resid_mlp_config.use_trivial_label_coeffs = nil, nil
  for key, value in pairs(changes or {}) do values[key] = value end
  return (config_module.resolve(values, "config", "residual_mlp_target"))
end

local silent = {update = function() end, finish = function() end}

local function train(...) return residual_mlp.train(config(...), silent) end

describe("residual_mlp", function()
  it("computes x W_E, adds the layers, and reads off with W_U", function()
    for _, act in ipairs{"relu", "gelu"} do
      local model = residual_mlp.new(settings{act_fn_name = act, in_bias = true, out_bias = true}, 3)
      local x, t, by_name = core.normal({5, 4}, {seed = 1}), core.transpose, model.by_name
      local r = core.matmul(x, model.constants.W_E)
      for i = 0, 1 do
        local input, output = by_name[("layers.%d.mlp_in"):format(i)], by_name[("layers.%d.mlp_out"):format(i)]
        local hidden = core[act](core.add_bias(core.matmul(r, t(input.weight)), input.bias))
        r = r + core.add_bias(core.matmul(hidden, t(output.weight)), output.bias)
      end
      local expected, found = core.matmul(r, model.constants.W_U):totable(), model:run(x):totable()
      for i, row in ipairs(expected) do
        for j, value in ipairs(row) do assert.near(value, found[i][j], 1e-5) end
      end
    end
  end)

  it("has biases only where they are asked for", function()
    local model = residual_mlp.new(settings{in_bias = true})
    assert.same({3}, model.by_name["layers.1.mlp_in"].bias.shape)
    assert.is_nil(model.by_name["layers.1.mlp_out"].bias)
  end)

  it("starts every matrix with other numbers, and others for another seed", function()
    local seen = {}
    for seed = 0, 1 do
      for name, tensor in pairs(residual_mlp.new(settings{in_bias = true, out_bias = true}, seed):tensors()) do
        if name ~= "label_coeffs" and name ~= "W_U" then
          local first = tensor:totable()
          first = type(first[1]) == "table" and first[1][1] or first[1]
          assert.is_nil(seen[first], name)
          seen[first] = name
        end
      end
    end
  end)

  describe("the embedding", function()
    it("that is fixed and random has unit rows, and W_U is its transpose", function()
      local constants = residual_mlp.new(settings()).constants
      assert.same(core.transpose(constants.W_E):totable(), constants.W_U:totable())
      for _, squares in ipairs(core.sum_columns(constants.W_E * constants.W_E):totable()) do
        assert.near(1, squares, 1e-6)
      end
    end)

    it("can be the identity", function()
      local constants = residual_mlp.new(settings{fixed_random_embedding = false, fixed_identity_embedding = true,
        d_embed = 4}).constants
      assert.same(core.eye(4):totable(), constants.W_E:totable())
      assert.same(core.eye(4):totable(), constants.W_U:totable())
    end)

    it("that is trained has W_U of its own", function()
      local wide = settings{fixed_random_embedding = false, n_features = 50, d_embed = 400}
      local constants = residual_mlp.new(wide).constants
      local function variance(x) return core.sum(x * x):item() / (50 * 400) end
      assert.near(1 / 50, variance(constants.W_E), 0.002)
      assert.near(1 / 400, variance(constants.W_U), 0.0003)
    end)

    it("stays as it is in training only if it is fixed", function()
      for _, fixed in ipairs{true, false} do
        local changes = {fixed_random_embedding = fixed, steps = 2}
        local before = residual_mlp.from_config(config(changes)).constants
        local after = train(changes).constants
        for _, name in ipairs{"W_E", "W_U"} do
          assert.equal(fixed, before[name]:totable()[1][1] == after[name]:totable()[1][1], name)
        end
      end
    end)
  end)

  describe("labels", function()
    it("are act(c x) + x, or |c x|", function()
      local model = residual_mlp.new(settings{use_trivial_label_coeffs = false, label_fn_seed = 5})
      local c, x = model.constants.label_coeffs:totable(), {{-1, 0.5, 0, 2}}
      local function labels(kind) return residual_mlp.label_function(model, kind)(core.tensor(x)):totable()[1] end
      local plus, abs = labels "act_plus_resid", labels "abs"
      for i, value in ipairs(x[1]) do
        assert.near(math.max(0, c[i] * value) + value, plus[i], 1e-6)
        assert.near(math.abs(c[i] * value), abs[i], 1e-6)
      end
    end)

    it("have coefficients of 1, or of [1, 2) named by their own seed", function()
      local function coefficients(changes, seed)
        return residual_mlp.new(settings(changes), seed).constants.label_coeffs:totable()
      end
      assert.same({1, 1, 1, 1}, coefficients{})
      local drawn = coefficients({use_trivial_label_coeffs = false, label_fn_seed = 5}, 0)
      for _, c in ipairs(drawn) do assert.is_true(c >= 1 and c < 2) end
      assert.not_equal(drawn[1], drawn[2])
      assert.same(drawn, coefficients({use_trivial_label_coeffs = false, label_fn_seed = 5}, 1))
      assert.not_same(drawn, coefficients({use_trivial_label_coeffs = false, label_fn_seed = 6}, 0))
    end)
  end)

  describe("training", function()
    it("learns the labels, of either kind, in the output or in the residual stream", function()
      for _, label_type in ipairs{"act_plus_resid", "abs"} do
        for _, loss_type in ipairs{"readoff", "resid"} do
          local changes = {label_type = label_type, loss_type = loss_type, n_batches_final_losses = 3, steps = 1}
          local _, first = train(changes, {d_mlp = 16})
          changes.steps = 600
          local _, last = train(changes, {d_mlp = 16})
          assert.is_true(last < 0.1 * first, ("%s, %s: %g, then %g"):format(label_type, loss_type, first, last))
        end
      end
    end)

    it("measures the mean squared error of the output, weighed by the features' importances", function()
      local changes = {importance_val = 0.5, steps = 1, lr = 1e-12, n_batches_final_losses = 1, batch_size = 32}
      local model, loss = train(changes)
      local x = residual_mlp.dataset{
        target_config = config(changes), task = config(changes), batch_size = 32, seed = 0, purpose = "target data",
      }:batch(1)
      local output, sum = model:run(x):totable(), 0
      for i, row in ipairs(residual_mlp.label_function(model, "act_plus_resid")(x):totable()) do
        for j, label in ipairs(row) do sum = sum + 0.5 ^ (j - 1) * (output[i][j] - label) ^ 2 end
      end
      assert.near(1, loss / (sum / (32 * 4)), 1e-5)
    end)

    it("measures the residual stream over its own width", function()
      local changes = {loss_type = "resid", steps = 1, lr = 1e-12, batch_size = 32}
      local model, loss = train(changes)
      local x = residual_mlp.dataset{
        target_config = config(changes), task = config(changes), batch_size = 32, seed = 0, purpose = "target data",
      }:batch(1)
      local stream = residual_mlp.residual(model, x, function(name, input)
        return core.matmul(input, core.transpose(model.by_name[name].weight))
      end)
      local wanted = core.matmul(residual_mlp.label_function(model, "act_plus_resid")(x), model.constants.W_E)
      assert.near(1, loss / (core.squared_error(stream, wanted):item() / (32 * 7)), 1e-5)
    end)
  end)

  it("data lies in [-1, 1) and is synchronized as the target's is", function()
    local target_config = config{synced_inputs = {{0, 3}}, feature_probability = 0.2}
    local x = residual_mlp.dataset{
      target_config = target_config, task = target_config, batch_size = 500, seed = 0, purpose = "data",
    }:batch(0):totable()
    local negative = 0
    for _, row in ipairs(x) do
      assert.equal(row[1] == 0, row[4] == 0)
      for _, value in ipairs(row) do
        assert.is_true(value >= -1 and value < 1)
        if value < 0 then negative = negative + 1 end
      end
    end
    assert.is_true(negative > 100)
  end)

  it("is saved and loaded with its label coefficients", function()
    local folder = experiment.make_folder()
    local model = residual_mlp.new(settings{use_trivial_label_coeffs = false, label_fn_seed = 2, out_bias = true}, 1)
    model:save(folder .. "/target.safetensors")
    local other = residual_mlp.new(settings{use_trivial_label_coeffs = false, label_fn_seed = 9, out_bias = true}, 8)
    other:load(folder .. "/target.safetensors")
    for name, tensor in pairs(model:tensors()) do
      assert.same(tensor:totable(), other:tensors()[name]:totable(), name)
    end
    experiment.remove_folder(folder)
  end)

  it("is solved with a subcomponent for each feature in mlp_in and for each neuron in mlp_out", function()
    assert.same({
      ["layers.0.mlp_in"] = {kind = "identity", n = 4}, ["layers.0.mlp_out"] = {kind = "dense", k = 3},
      ["layers.1.mlp_in"] = {kind = "identity", n = 4}, ["layers.1.mlp_out"] = {kind = "dense", k = 3},
    }, residual_mlp.solution(config()))
  end)
end)
