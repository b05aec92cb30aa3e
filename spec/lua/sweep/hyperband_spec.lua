-- W&B's rule for stopping trials early, on histories that are worked out by hand.
local hyperband = require "spd.sweep.hyperband"

local function bands_of(settings)
  settings.eta = settings.eta or 3.0
  if settings.strict == nil then settings.strict = true end
  return hyperband.bands(settings)
end

local function numbers(bands) return table.move(bands, 1, #bands, 1, {}) end

describe("bands", function()
  it("are max_iter / eta^i as far as they reach 1, ascending", function()
    assert.same({1, 3, 9, 27}, numbers(bands_of{max_iter = 81, s = 4}))
    assert.same({9, 27}, numbers(bands_of{max_iter = 81, s = 2}))
    assert.same({1, 3}, numbers(bands_of{max_iter = 10, s = 9})) -- 10/3, 10/9; 10/27 is below 1
    assert.same({3, 6, 12}, numbers(bands_of{max_iter = 25, s = 3, eta = 2.0})) -- 12.5, 6.25, 3.125
    assert.same({}, numbers(bands_of{max_iter = 2, s = 3}))
  end)

  it("are min_iter * eta^i, a hundred at most", function()
    local bands = bands_of{min_iter = 2, eta = 1.5}
    assert.same({2, 3, 4, 6, 10}, {table.unpack(bands, 1, 5)}) -- 2, 3, 4.5, 6.75, 10.125
    assert.is_true(#bands <= 100)
  end)

  it("prefer max_iter and s to min_iter", function()
    assert.same({1, 3}, numbers(bands_of{max_iter = 9, s = 2, min_iter = 7}))
    assert.equal(7, bands_of{max_iter = 9, min_iter = 7}[1])
  end)
end)

describe("stops", function()
  local HISTORIES = {
    a = {10, 9}, b = {10, 10}, c = {10, 8, 8}, d = {10, 7, 7}, e = {10, 6, 6},
  }

  it("are the running trials above the threshold of the last band that they reached", function()
    local bands = bands_of{max_iter = 5, s = 2, eta = 2.0} -- 1 and 2
    assert.same({1, 2}, numbers(bands))
    -- At band 2: 6 7 8 9 10, int(5 / 2) = 2, so 8 is the threshold.
    assert.same({"b"}, hyperband.stops(bands, HISTORIES, {"b", "c", "d"}))
    assert.same({"a", "b"}, hyperband.stops(bands, HISTORIES, {"a", "b", "c", "d", "e"}))
  end)

  it("count trials that have ended, but never stop them", function()
    local bands = bands_of{min_iter = 1}
    assert.same({}, hyperband.stops(bands, {a = {1}, b = {2}}, {}))
    assert.same({"b"}, hyperband.stops(bands, {a = {1}, b = {3}, c = {2}, d = {1}}, {"b"}))
  end)

  it("need three trials before a third can be the best, as int(n / eta) counts", function()
    local bands = bands_of{min_iter = 1}
    assert.same({2}, hyperband.stops(bands, {{1}, {2}}, {1, 2})) -- int(2 / 3) = 0: only the best goes on
    assert.same({3}, hyperband.stops(bands, {{1}, {2}, {3}}, {1, 2, 3})) -- int(3 / 3) = 1
  end)

  it("look at the value at the band if they are strict, else at the best so far", function()
    local histories = {{5, 1}, {4}, {3}}
    assert.same({1}, hyperband.stops(bands_of{max_iter = 3, s = 1}, histories, {1}))
    assert.same({}, hyperband.stops(bands_of{max_iter = 3, s = 1, strict = false}, histories, {1}))
  end)

  it("leave trials alone that have not reached a band", function()
    assert.same({}, hyperband.stops(bands_of{min_iter = 3}, {{9, 9}, {1, 1, 1}}, {1}))
    assert.same({}, hyperband.stops(bands_of{min_iter = 1}, {{}, {1}}, {1, 2, 3}))
  end)
end)

describe("a history", function()
  it("has the numbers that are valid, negated where more is better", function()
    assert.same({1, 3}, hyperband.history({1, 0 / 0, 3, math.huge}, "minimize"))
    assert.same({-1, -3}, hyperband.history({1, 0 / 0, 3, -math.huge}, "maximize"))
  end)
end)
