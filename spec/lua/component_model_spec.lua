local core = require "spd.core"
local component_model = require "spd.component_model"
local errors = require "spd.errors"
local model = require "spd.model"
local compare = require "spec.support.compare"

-- A target that does nothing, with layers of these names.
local function target_named(...)
  local layers = {}
  for i, name in ipairs{...} do layers[i] = model.linear(name, core.zeros(2, 3)) end
  return model.new{layers = layers, forward = function() end}
end

local function found(patterns, ...)
  local names = {}
  for i, layer in ipairs(component_model.find(target_named(...), patterns)) do names[i] = layer.name end
  return table.concat(names, " ")
end

local function assert_close(expected, tensor, tolerance)
  local a, b = compare.flatten(expected), compare.flatten(tensor)
  assert.equal(#a, #b)
  for i = 1, #a do
    local close = math.abs(a[i] - b[i]) <= (tolerance or 1e-5)
    assert.is_true(close, ("entry %d: %g, not %g"):format(i, b[i], a[i]))
  end
end

-- linear1 [2, 3] and its transpose linear2 [3, 2].
local function tied_target()
  local W = {{1, 2, 0}, {0, -1, 3}}
  return model.new{
    layers = {
      model.linear("linear1", core.tensor(W)),
      model.linear("linear2", core.transpose(core.tensor(W)), core.tensor{0.5, -0.5, 0.25}),
    },
    tied = {{"linear1", "linear2"}},
    forward = function(_, x, layer) return core.relu(layer("linear2", layer("linear1", x))) end,
  }
end

local function components_of(settings)
  local all = {target = tied_target(), patterns = {"*"}, C = 4, n_ci_mlp_neurons = 3, seed = 5}
  for key, value in pairs(settings or {}) do all[key] = value end
  return component_model.new(all)
end

describe("component_model.find", function()
  it("matches as a shell does: * any text with dots, ? one character, sets and negated sets", function()
    local names = {"a.b.c", "a.b.d", "a.bx", "a1", "a2", "a-", "a_z"}
    for pattern, expected in pairs{
      ["*"] = "a.b.c a.b.d a.bx a1 a2 a- a_z",
      ["a.*"] = "a.b.c a.b.d a.bx",
      ["a.*.d"] = "a.b.d",
      ["*.c"] = "a.b.c",
      ["a?"] = "a1 a2 a-",
      ["a.b?c"] = "a.b.c",
      ["a[12]"] = "a1 a2",
      ["a[0-9]"] = "a1 a2",
      ["a[!0-9]"] = "a-",
      ["a[1-]"] = "a1 a-",
      ["a[_]z"] = "a_z",
      ["a1"] = "a1",
      ["*[cd]"] = "a.b.c a.b.d",
    } do
      assert.equal(expected, found({pattern}, table.unpack(names)), pattern)
    end
  end)

  it("takes characters that mean something to Lua literally", function()
    assert.equal("a%d", found({"a%d"}, "a%d", "a1"))
    assert.equal("a+b", found({"a+b"}, "a+b", "aab"))
    assert.equal("a^", found({"a[]^]"}, "a^", "a1"))
    assert.equal("a[1", found({"a[1"}, "a[1", "a1"))
    assert.equal("a%", found({"a[%a]"}, "a%", "ab"))
  end)

  it("gives each layer once, in the target's order, whatever the patterns' order", function()
    assert.equal("one two", found({"two", "*", "one"}, "one", "two"))
  end)

  it("refuses a pattern that matches none, and lists the matrices", function()
    for _, pattern in ipairs{"three", "t", "wo", "two.", "", "[!a-z]*"} do
      local ok, err = pcall(found, {"one", pattern}, "one", "two")
      assert.is_false(ok)
      assert.is_true(errors.is(err))
      assert.equal(2, err.status)
      assert.equal(("target_module_patterns: '%s' matches no matrix (the target has one, two)"):format(pattern),
        err.message)
    end
  end)
end)

describe("component_model.new", function()
  it("starts with unit columns of V, and rows of U as long as they overlap the target", function()
    local components = components_of()
    local W = tied_target().by_name.linear1.weight
    local V, U = components:V "linear1", components:U "linear1"
    assert.same({3, 4}, V.shape)
    assert.same({4, 2}, U.shape)
    assert_close({1, 1, 1, 1}, core.sum_rows(V * V))
    local v, u, w = V:totable(), U:totable(), W:totable()
    for c = 1, 4 do
      local length, overlap = math.sqrt(u[c][1] ^ 2 + u[c][2] ^ 2), 0
      for o = 1, 2 do
        for i = 1, 3 do overlap = overlap + v[i][c] * w[o][i] * u[c][o] end
      end
      -- U_c = s u with |u| = 1 and s = V_c^T W^T u: then V_c^T W^T U_c = s^2 = |U_c|^2
      assert.is_true(math.abs(overlap - length ^ 2) < 1e-4, ("component %d: %g, %g"):format(c, overlap, length ^ 2))
    end
  end)

  it("gives gates with zero biases and the spread of their width", function()
    local components = components_of{C = 400, n_ci_mlp_neurons = 16}
    local gate = components.by_name.linear1.gate
    for name, variance in pairs{w1 = 2, w2 = 1 / 16} do
      local found_variance = core.sum(gate[name] * gate[name]):item() / (400 * 16)
      assert.is_true(math.abs(found_variance / variance - 1) < 0.1, name .. " " .. found_variance)
    end
    for _, name in ipairs{"b1", "b2"} do assert.equal(0, core.sum(gate[name] * gate[name]):item()) end
    local linear = components_of{n_ci_mlp_neurons = 0}.by_name.linear1.gate
    assert.same({4}, linear.w.shape)
    assert.same({0, 0, 0, 0}, linear.b:totable())
    assert.is_nil(linear.w1)
  end)

  it("draws other values for another seed and another matrix, the same for the same", function()
    local target = target_named("one", "two")
    local function V(seed, name)
      return component_model.new{target = target, patterns = {"*"}, C = 4, n_ci_mlp_neurons = 0, seed = seed}:V(name)
        :totable()
    end
    assert.same(V(1, "one"), V(1, "one"))
    assert.are_not.same(V(1, "one"), V(2, "one"))
    assert.are_not.same(V(1, "one"), V(1, "two"))
  end)

  it("draws V, U and both layers of the gates of every matrix with random numbers of their own", function()
    local normal, seen, count = core.normal, {}, 0
    finally(function() core.normal = normal end)
    core.normal = function(shape, draw)
      local name = ("%s %s"):format(draw.purpose, draw.matrix)
      assert.is_nil(seen[name], name .. " was drawn twice")
      seen[name], count = true, count + 1
      assert.equal(7, draw.seed)
      return normal(shape, draw)
    end
    component_model.new{target = target_named("one", "two"), patterns = {"*"}, C = 4, n_ci_mlp_neurons = 3, seed = 7}
    assert.equal(2 * 4, count)
  end)

  it("draws a V that says nothing about U, where both have one shape", function()
    local target = model.new{layers = {model.linear("w", core.eye(4))}, forward = function() end}
    local components = component_model.new{target = target, patterns = {"w"}, C = 4, n_ci_mlp_neurons = 0, seed = 1}
    local V, U = components:V("w"):totable(), components:U("w"):totable()
    -- neither its transpose nor itself, whatever the lengths and signs of rows and columns: for numbers x of one
    -- draw the quotients U / x would have rank one
    for name, x in pairs{V = V, ["V^T"] = core.transpose(components:V "w"):totable()} do
      local function quotient(i, j) return U[i][j] / x[i][j] end
      local one, other = quotient(1, 1) * quotient(2, 2), quotient(1, 2) * quotient(2, 1)
      assert.is_true(math.abs(one - other) > 1e-3 * (math.abs(one) + math.abs(other)), name)
    end
  end)

  it("names the parameters, with the tied ones once or twice", function()
    local function names(tied_update)
      local list = {}
      for i, parameter in ipairs(components_of{tied_update = tied_update, n_ci_mlp_neurons = 0}.parameters) do
        list[i] = parameter.name
      end
      return list
    end
    assert.same({"components.linear1.V", "components.linear1.U", "gates.linear1.w", "gates.linear1.b",
      "gates.linear2.w", "gates.linear2.b"}, names "summed")
    assert.same({"components.linear1.V", "components.linear1.U", "gates.linear1.w", "gates.linear1.b",
      "components.linear2.V", "components.linear2.U", "gates.linear2.w", "gates.linear2.b"}, names "separate")
  end)
end)

describe("a component model", function()
  for _, tied_update in ipairs{"summed", "separate"} do
    it("keeps tied subcomponents transposes of each other over steps: " .. tied_update, function()
      local components = components_of{tied_update = tied_update}
      local optimizer = components:optimizer()
      local x, before = core.tensor{{1, 0.5, 0}, {0, 0.25, 1}}, components:V("linear1"):totable()
      for _ = 1, 3 do
        do
          local tape <close> = core.tape()
          tape:backward{core.squared_error(components:run(x), x)}
        end
        optimizer:step(0.1)
        optimizer:zero_gradients()
      end
      assert.are_not.same(before, components:V("linear1"):totable())
      assert.same(core.transpose(components:U "linear1"):totable(), components:V("linear2"):totable())
      assert.same(core.transpose(components:V "linear1"):totable(), components:U("linear2"):totable())
    end)
  end

  it("steps the two updates of tied components differently", function()
    local function after(tied_update)
      local components = components_of{tied_update = tied_update}
      local optimizer = components:optimizer()
      do
        local tape <close> = core.tape()
        tape:backward{core.squared_error(components:run(core.tensor{{1, 0.5, 0}}), core.tensor{{1, 0, 0}})}
      end
      optimizer:step(0.1)
      return components:V("linear1"):totable()
    end
    assert.are_not.same(after "summed", after "separate")
  end)

  it("computes ((a V) * m) U + b for the matrices that it replaces, and only those", function()
    local components = components_of()
    components.by_name.linear1.V:copy_from(core.tensor{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}})
    components.by_name.linear1.U:copy_from(core.tensor{{1, 0}, {0, 1}, {1, 1}, {5, 5}})
    -- x = (1, 2, 3): h = (1, 2, 3, 0), unmasked a = (1 + 3, 2 + 3) = (4, 5);
    -- linear2: V = U^T, so h2 = (4, 5, 9, 45), y = (4, 5, 9) + b
    local x = core.tensor{{1, 2, 3}}
    assert_close({{4.5, 4.5, 9.25}}, components:run(x))
    -- only linear1, masked to its first subcomponent: a = (1, 0), y = relu(a W + b) = (1.5, 1.5, 0.25)
    local mask = core.tensor{{1, 0, 0, 0}}
    assert_close({{1.5, 1.5, 0.25}}, components:run(x, function(_, h) return h * mask end, {linear1 = true}))
    assert_close({{1, 0, 1}, {0, 1, 1}}, components:weight "linear1")
    assert_close({{1, 0}, {0, 1}, {1, 1}}, components:weight "linear2")
  end)

  it("runs the target unchanged, with the inputs of every matrix", function()
    local components = components_of()
    local y, inputs = components:run_target(core.tensor{{1, 1, 1}})
    -- linear1 (3, 2); linear2 (3, 6 - 2, 6) + b
    assert_close({{3.5, 3.5, 6.25}}, y)
    assert_close({{1, 1, 1}}, inputs.linear1)
    assert_close({{3, 2}}, inputs.linear2)
  end)

  it("computes importances of linear gates: leaky below 0 for masks, above 1 for minimality", function()
    local target = model.new{
      layers = {model.linear("w", core.tensor{{1}})},
      forward = function(_, x, layer) return layer("w", x) end,
    }
    local components = component_model.new{target = target, patterns = {"w"}, C = 3, n_ci_mlp_neurons = 0, seed = 0}
    components.by_name.w.V:copy_from(core.tensor{{1, 2, -1}})
    components.by_name.w.gate.w:copy_from(core.tensor{1, 1, 1})
    components.by_name.w.gate.b:copy_from(core.tensor{0, 1, 0})
    local lower, upper = components:importances{w = core.tensor{{0.5}}}
    assert_close({{0.5, 1, -0.005}}, lower.w)
    assert_close({{0.5, 1.01, 0}}, upper.w)
  end)

  it("looks up the subcomponents of an embedding by token", function()
    local target = model.new{
      layers = {model.embedding("embed", core.tensor{{1, 2}, {3, 4}, {5, 6}})},
      forward = function(_, ids, layer) return layer("embed", ids) end,
    }
    local components = component_model.new{target = target, patterns = {"embed"}, C = 2, n_ci_mlp_neurons = 0, seed = 0}
    assert.same({3, 2}, components:V("embed").shape)
    components.by_name.embed.V:copy_from(core.tensor{{1, 0}, {0, 1}, {1, 1}})
    components.by_name.embed.U:copy_from(core.tensor{{1, 2}, {3, 4}})
    local ids = core.tensor({2, 0}, "int32")
    assert_close({{4, 6}, {1, 2}}, components:run(ids))
    assert_close({{5, 6}, {1, 2}}, (components:run_target(ids)))
    assert_close({{1, 2}, {3, 4}, {4, 6}}, components:weight "embed")
  end)
end)

describe("the components of a conv1d matrix", function()
  local W, bias = core.tensor{{1, 2, 0, 1}, {0, -1, 3, 2}, {2, 1, 1, 0}}, core.tensor{1, 2, 3, 4}

  local function components_of_layer(layer, C)
    local target = model.new{layers = {layer}, forward = function(_, x, apply) return apply("w", x) end}
    return component_model.new{target = target, patterns = {"w"}, C = C, n_ci_mlp_neurons = 2, seed = 3}
  end

  it("are those of the linear layer with the transposed weight; their sum has the stored shape", function()
    local stored = components_of_layer(model.conv1d("w", W, bias), 6)
    local linear = components_of_layer(model.linear("w", core.transpose(W), bias), 6)
    for _, factor in ipairs{"V", "U"} do
      assert.same(linear[factor](linear, "w"):totable(), stored[factor](stored, "w"):totable())
    end
    assert.same({3, 4}, stored:weight("w").shape)
    assert_close(core.transpose(linear:weight "w"), stored:weight("w"))
    local x = core.tensor{{{1, 2, 3}, {0, 1, -1}}}
    local _, inputs = stored:run_target(x)
    local mask = function(matrix, h) return h * stored:importances(inputs)[matrix.name] end
    assert_close(linear:run(x, mask), stored:run(x, mask))
    assert_close(linear:run(x), stored:run(x))
  end)

  it("reproduce the layer where they sum to its weight", function()
    local components = components_of_layer(model.conv1d("w", W, bias), 3)
    components:V("w"):copy_from(core.eye(3))
    components:U("w"):copy_from(W)
    local x = core.tensor{{1, 2, 3}, {0, 1, -1}}
    assert_close(components.target:run(x), components:run(x))
    assert.same(W:totable(), components:weight("w"):totable())
  end)
end)
