local core = require "spd.core"
local double = require "spd.core_double"
local cases = require "spec.support.operators"
local gradient_check = require "spec.support.gradient_check"

local function inputs(c, shapes)
  local list = {}
  for i, shape in ipairs(shapes) do list[i] = c.normal(shape, {seed = i, purpose = "spec"}) end
  return list
end

-- A scalar that depends on every entry of y in its own way.
local function scalar(c, y)
  return c.sum(y * c.normal(y.shape, {seed = 99, purpose = "spec"}))
end

local function flat(tensor)
  local list = {}
  local function visit(value)
    if type(value) ~= "table" then list[#list + 1] = value return end
    for _, entry in ipairs(value) do visit(entry) end
  end
  visit(tensor:totable())
  return list
end

local function assert_close(expected, found, tolerance, what)
  local a, b, largest, worst = flat(expected), flat(found), 1, 0
  assert.equal(#a, #b)
  for i = 1, #a do
    local err = math.abs(a[i] - b[i])
    worst = err ~= err and math.huge or math.max(worst, err)
    largest = math.max(largest, math.abs(a[i]))
  end
  assert.is_true(worst <= tolerance * largest, ("%s: error %g of %g"):format(what, worst, largest))
end

-- Output and gradients of a case in one of the builds.
local function run(c, case)
  local list, results = inputs(c, case.shapes), {}
  for _, input in ipairs(list) do input:parameter() end
  local tape <close> = c.tape()
  local y = case.f(c, table.unpack(list))
  tape:backward{scalar(c, y)}
  results[1] = y:tensor()
  for i, input in ipairs(list) do results[i + 1] = input.gradient:clone() end
  return results
end

describe("core operators in double: the gradient of every input is the derivative", function()
  for _, case in ipairs(cases) do
    it(case.name, function()
      gradient_check.check(double, function(list, c) return scalar(c, case.f(c, table.unpack(list))) end,
        inputs(double, case.shapes))
    end)
  end
end)

describe("core operators in float agree with double", function()
  local best = core.instruction_set()
  for _, name in ipairs{"baseline", "avx2", "avx512"} do
    if pcall(core.instruction_set, name) then
      it(name, function()
        core.instruction_set(name)
        finally(function() core.instruction_set(best) end)
        for _, case in ipairs(cases) do
          local expected, found = run(double, case), run(core, case)
          for i = 1, #expected do assert_close(expected[i], found[i], 2e-5, case.name .. ", result " .. i) end
        end
      end)
    end
  end
  core.instruction_set(best)
end)

describe("core operators pass NaN on:", function()
  local best, nan = core.instruction_set(), 0 / 0

  local elementwise = {
    add = function(x) return x + 1 end, multiply = function(x) return x * x end,
    affine = function(x) return core.affine(x, 2, 1) end,
    add_bias = function(x) return core.add_bias(x, core.zeros(19)) end,
    gate_linear = function(x) return core.gate_linear(x, core.zeros(19), core.zeros(19)) end,
    gate_mlp = function(x)
      local w = core.zeros(19, 3)
      return core.gate_mlp(x, w, w, w, core.zeros(19))
    end,
    mask = function(x) return core.stochastic_mask(x, core.zeros(1, 19), {seed = 1}) end,
    importance = function(x) return core.stochastic_mask(core.zeros(1, 19) + 1, x, {seed = 1}) end,
  }
  for _, name in ipairs{"relu", "gelu", "gelu_tanh", "silu", "absolute", "lower_leaky", "upper_leaky"} do
    elementwise[name] = core[name]
  end
  for _, p in ipairs{1, 1.5, 2} do elementwise["power " .. p] = function(x) return core.power(x, p) end end

  -- A row of 19 numbers, which is more than a vector, with a NaN at one place.
  local function row_with_nan(at)
    local row = {}
    for i = 1, 19 do row[i] = i == at and nan or 0.5 end
    return core.tensor{row}
  end

  local reductions = {
    sum = core.sum, squared_error = function(x) return core.squared_error(x, core.zeros(1, 19)) end,
    matmul = function(x) return core.sum(core.matmul(x, core.zeros(19, 2))) end,
    linear = function(x) return core.sum(core.linear(core.zeros(1, 19), x)) end,
    ["softmax_kl, target"] = function(x) return core.softmax_kl(x, core.zeros(1, 19)) end,
    ["softmax_kl, output"] = function(x) return core.softmax_kl(core.zeros(1, 19), x) end,
    cross_entropy = function(x) return core.cross_entropy(x, core.tensor({2}, "int32")) end,
    ["softmax_kl, product"] = function(x)
      return core.softmax_kl(core.zeros(1, 2000), core.matmul(x, core.zeros(19, 2000)))
    end,
  }

  for _, set in ipairs{"baseline", "avx2", "avx512"} do
    if pcall(core.instruction_set, set) then
      it(set, function()
        core.instruction_set(set)
        finally(function() core.instruction_set(best) end)
        for at = 1, 19 do
          local x = row_with_nan(at)
          for name, f in pairs(elementwise) do
            for i, y in ipairs(f(x):totable()[1]) do
              assert.equal(i == at, y ~= y, ("%s: entry %d is %g with NaN at %d"):format(name, i, y, at))
            end
          end
          for name, f in pairs(reductions) do
            local y = f(x):item()
            assert.is_true(y ~= y, ("%s: %g with NaN at %d"):format(name, y, at))
          end
        end
      end)
    end
  end
  core.instruction_set(best)
end)

describe("core operators", function()
  it("give the same bits on 1 and 3 threads", function()
    local before = core.threads()
    finally(function() core.threads(before) end)
    for _, case in ipairs(cases) do
      core.threads(1)
      local one = run(core, case)
      core.threads(3)
      local three = run(core, case)
      for i = 1, #one do assert.same(one[i]:totable(), three[i]:totable(), case.name) end
    end
  end)

  it("gelu is accurate to float32 over its whole range", function()
    local xs = {}
    for i = -2000, 2000 do xs[#xs + 1] = i / 100 end
    local found, expected = core.gelu(core.tensor(xs)):totable(), double.gelu(double.tensor(xs)):totable()
    for i, x in ipairs(xs) do
      assert.is_true(math.abs(found[i] - expected[i]) <= 5e-7 * math.max(0.1, math.abs(x)), "at " .. x)
    end
  end)

  it("the leaky functions and power have the slopes that SPD defines", function()
    local function slopes(f, xs)
      local x = double.tensor(xs):parameter()
      local tape <close> = double.tape()
      tape:backward{double.sum(f(x))}
      return x.gradient:totable()
    end
    assert.same({0.01, 0.01, 1, 1, 0}, slopes(double.lower_leaky, {-1, 0, 0.5, 1, 2}))
    assert.same({0, 0, 1, 1, 0.01}, slopes(double.upper_leaky, {-1, 0, 0.5, 1, 2}))
    assert.same({0, 1}, slopes(function(x) return double.power(x, 0.5) end, {0, 0.25}))
  end)

  it("greater marks what is above a threshold", function()
    assert.same({0, 0, 1}, core.greater(core.tensor{0, 0.1, 0.11}, 0.1):totable())
  end)

  it("refuse shapes and types that do not fit, naming them", function()
    local function refused(pattern, f, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() f(table.unpack(arguments, 1, arguments.n)) end, pattern)
    end
    local a, ids = core.zeros(2, 3), core.tensor({0, 7}, "int32")
    refused("%[2, 3%] and %[2, 3%]", core.matmul, a, a)
    refused("shapes differ: %[2, 3%] and %[3%]", core.add, a, core.zeros(3))
    refused("add_bias", core.add_bias, a, core.zeros(2))
    refused("does not fit into", core.reshape, a, 7)
    refused("id 7 is outside", core.embedding, ids, a)
    refused("int32 ids", core.embedding, a, a)
    refused("real", core.relu, ids)
    refused("cross_entropy: expected real .* and int32 .*, found %[2, 3%] and %[2, 3%]", core.cross_entropy, a, a)
    refused("label 7 is outside of the vocabulary of 3", core.cross_entropy, a, ids)
    refused("gate_mlp: input 2", core.gate_mlp, a, a, a, a, core.zeros(3))
    refused("exponent above 0", core.power, a, 0)
    refused("expected a tensor", core.relu, "x")
    refused("columns: 2 from column 2 are not all in %[2, 3%]", core.columns, a, 2, 2)
    refused("columns: %-1 from column 0", core.columns, a, 0, -1)
    refused("columns: 1 from column %-1", core.columns, a, -1, 1)
    refused("columns: 9223372036854775807 from column 1", core.columns, a, 1, math.maxinteger)
  end)
end)
