local compare = require "spec.support.compare"
local gradient_check = require "spec.support.gradient_check"
local core = require "spd.core"
local core_double = require "spd.core_double"

local inputs = { x = { { 1, -2, 0.5 }, { 0.5, 3, -1 } }, w = { { 1, 2 }, { -1, 0.5 }, { 0.25, -0.75 } } }
local function smooth(given, of) return of.sum(of.gelu(of.matmul(given.x, given.w))) end

describe("spec.support.gradient_check", function()
  it("accepts the right gradient by every input", function()
    local worst = gradient_check.check(core_double, smooth, inputs)
    assert.is_true(worst.x < 1e-8 and worst.w < 1e-8)
  end)

  it("reports a gradient that does not pass", function()
    assert.error_matches(function()
      gradient_check.check(core_double, function(given, of)
        return of.sum(of.greater(given.x, 0) * given.x)
      end, { x = { { 0, 1 } } }, { step = 0.1 })
    end, "gradient by x: error")
  end)

  it("reports NaN", function()
    assert.error_matches(function()
      gradient_check.check(core_double, function(given, of) return of.sum(given.x * given.x) end, { x = { { 0 / 0 } } })
    end, "gradient by x: error inf")
  end)

  it("refuses to check nothing", function()
    assert.error_matches(function() gradient_check.check(core_double, smooth, {}) end, "no input")
  end)
end)

describe("spec.support.compare", function()
  it("relates the largest difference to the largest expected entry", function()
    assert.equal(0.25, (compare.error({ { 1, 2 }, { 3, 5 } }, { { 1, 2 }, { 3, 4 } })))
    assert.equal(0.1, (compare.error({ 1 }, { 0 }, 10)))
    assert.equal(0, (compare.error({ 0, 0 }, { 0, 0 })))
  end)

  it("takes NaN, a missing entry and another shape for an infinite error", function()
    assert.equal(math.huge, (compare.error({ 0 / 0, 1 }, { 1, 1 })))
    assert.equal(math.huge, (compare.error({ 1 }, { 1, 1 })))
    assert.equal(math.huge, (compare.error(core.zeros(2, 1), core.zeros(1, 2))))
  end)

  it("compares values and gradients of the two builds", function()
    local worst = compare.builds(core, core_double, smooth, inputs)
    assert.is_true(worst.value < 1e-6 and worst["gradient by x"] < 1e-6 and worst["gradient by w"] < 1e-6)
    assert.error_matches(function()
      compare.builds(core, core_double, function(given, of)
        return of.sum(given.x) * (of == core and 1.001 or 1)
      end, { x = { 1, 2 } })
    end, "float against double: gradient by x: error")
  end)
end)
