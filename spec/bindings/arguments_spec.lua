-- What the functions of spd.core say to arguments that they do not take.
local core = require "spd.core"

local x = core.tensor{{1, 2}, {3, 4}}

--- The error of f(...).
local function message_of(f, ...)
  local arguments = table.pack(...)
  local ok, message = pcall(function() f(table.unpack(arguments, 1, arguments.n)) end)
  assert.is_false(ok)
  return message
end

local function refused(expected, f, ...)
  local message = message_of(f, ...)
  assert.is_truthy(message:find(expected, 1, true), ("expected '%s', found '%s'"):format(expected, message))
end

describe("a table of settings", function()
  it("has no unknown keys: the error names the key and the known ones", function()
    refused("draw: unknown key 'sed' (known: seed, purpose, matrix, sample, step)", core.normal, {3}, {sed = 1})
    refused("draw: unknown key 'sed'", core.uniform, {3}, {seed = 1, sed = 1})
    refused("draw: unknown key 'sed'", core.stochastic_mask, x, x, {sed = 1})
    refused("draw: unknown key '1'", core.normal, {3}, {7})
    refused("fill_sparse_features: unknown key 'probabilty' (known: probability, exactly_active, low, high, group)",
      core.fill_sparse_features, x, {probabilty = 0.5}, {})
    refused("adamw: unknown key 'lr' (known: beta1, beta2, epsilon, weight_decay)", core.adamw, {lr = 1})
  end)
end)

describe("checking a draw and settings", function()
  it("allocates nothing", function()
    local settings, draw = {probability = 0.5, low = 0, high = 1}, {seed = 1, purpose = "spec", step = 2}
    local function fill() for _ = 1, 100 do core.fill_sparse_features(x, settings, draw) end end
    collectgarbage("stop")
    finally(function() collectgarbage("restart") end)
    fill()
    local before = collectgarbage("count")
    fill()
    local after = collectgarbage("count")
    assert.equal(before, after)
  end)
end)

describe("an argument too many", function()
  it("is refused by functions", function()
    refused("bad argument #2 to 'sum' (too many arguments)", core.sum, x, 1)
    refused("bad argument #3 to 'add' (too many arguments)", core.add, x, x, x)
    refused("bad argument #4 to 'linear' (too many arguments)", core.linear, x, x, nil, 1)
    refused("bad argument #3 to 'reshape' (too many arguments)", core.reshape, x, {4}, 1)
    refused("bad argument #2 to 'eye' (too many arguments)", core.eye, 2, 3)
    refused("bad argument #3 to 'normal' (too many arguments)", core.normal, {2}, {}, 1)
    refused("bad argument #3 to 'zeros' (too many arguments)", core.zeros, {2}, "int32", 1)
    refused("bad argument #3 to 'tensor' (too many arguments)", core.tensor, {2}, "int32", 1)
    refused("bad argument #4 to 'fill_sparse_features' (too many arguments)", core.fill_sparse_features, x, {}, {}, 1)
    refused("bad argument #2 to 'adamw' (too many arguments)", core.adamw, {}, 1)
    refused("bad argument #1 to 'tape' (too many arguments)", core.tape, {})
  end)

  it("is refused by methods, which do not count the object", function()
    refused("bad argument #2 to 'size' (too many arguments)", x.size, x, 1, 1)
    refused("bad argument #2 to 'fill' (too many arguments)", x.fill, x, 1, 1)
    assert.error_matches(function() x:sum(1) end, "bad argument #1 to 'sum' %(too many arguments%)")
    assert.error_matches(function() x:get(1) end, "expected 2 indices, found 1")
  end)
end)

describe("an argument of another type", function()
  it("is an error with the function's name and the argument's number", function()
    refused("bad argument #2 to 'linear' (expected a tensor or a value, found nil)", core.linear, x)
    refused("bad argument #1 to 'relu' (expected a tensor or a value, found string)", core.relu, "x")
    refused("bad argument #2 to 'add' (expected a tensor or a value, found adamw)", core.add, x, core.adamw())
    refused("bad argument #2 to 'fill_sparse_features' (expected a table, found nil)",
      core.fill_sparse_features, x, nil)
    refused("bad argument #2 to 'normal' (expected a draw such as {seed = 0}, found no value)", core.normal, {3})
    refused("bad argument #2 to 'affine' (expected a number, found table)", core.affine, x, {})
    refused("bad argument #1 to 'eye' (expected an integer, found 1.5)", core.eye, 1.5)
    refused("bad argument #1 to 'size' (expected an integer, found no value)", x.size, x)
    refused("calling 'size' on bad self (expected a tensor, found number; a method is called with a colon, x:size())",
      x.size, 1)
    refused("calling 'step' on bad self (expected an adamw, found tensor; ", core.adamw().step, x, 1)
    refused("bad argument #1 to 'tensor' (expected nested tables or a number, found string)", core.tensor, "3")
    refused("bad argument #2 to 'zeros' (expected \"real\" or \"int32\", found float)", core.zeros, {2}, "float")
    refused("bad argument #2 to 'add' (expected a tensor or a value, found string)", function() return x + "a" end)
    local closed = core.zeros(1)
    closed:close()
    refused("bad argument #1 to 'relu' (the tensor is closed)", core.relu, closed)
    assert.error_matches(function() closed:size() end, "calling 'size' on bad self %(the tensor is closed%)")
    refused("calling 'totable' on bad self (expected a tensor, found nil; ", x.totable)
  end)

  it("also where Lua does not know what it calls", function()
    local function tail_call(f, ...) return f(...) end
    refused("bad argument #2 to 'matmul' (", tail_call, core.matmul, x)
    refused("bad argument #1 to 'size' (", tail_call, x.size, x)
    assert.equal("bad argument #2 to 'matmul' (expected a tensor or a value, found nil)",
      select(2, pcall(core.matmul, x)))
  end)

  it("names the loss", function()
    local tape <close> = core.tape()
    assert.error_matches(function() tape:backward{core.sum(x), 1} end,
      "backward: loss 2: expected a tensor or a value, found number")
  end)
end)

describe("a tensor", function()
  it("of zeros can hold integers", function()
    local ids = core.zeros({2, 3}, "int32")
    assert.equal("int32", ids.dtype)
    assert.same({{0, 0, 0}, {0, 0, 0}}, ids:totable())
    refused("a size must be an integer", core.zeros, 2, "int32")
  end)

  it("of a number has no dimensions", function()
    assert.same({}, core.tensor(3).shape)
    assert.equal(3, core.tensor(3):item())
    assert.equal("int32", core.tensor(3, "int32").dtype)
  end)

  it("is not indexed by numbers: the error says how to read and write elements", function()
    assert.error_matches(function() return x[1] end, "use t:get%(i, %.%.%.%) for one, t:totable%(%) for all")
    assert.error_matches(function() return x[{1, 2}] end, "use t:get")
    assert.error_matches(function() x[1] = 2 end, "use t:set%(value, i, %.%.%.%)")
    assert.error_matches(function() x.shape = {4} end, "no field 'shape' that can be written")
    assert.is_nil(x.no_such_method)
    local tape <close> = core.tape()
    local value = core.relu(x)
    assert.error_matches(function() return value[1] end, "use v:tensor%(%):get")
    assert.is_nil(value.no_such_method)
  end)

  it("prints what is not a number without a sign", function()
    local nan = core.tensor{0 / 0, -(0 / 0), 1}
    assert.equal("tensor [3]\n     nan     nan  1.0000", tostring(nan))
  end)
end)
