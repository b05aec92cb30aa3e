local core = require "spd.core"

describe("core.random", function()
  it("Philox4x32-10 gives the published vectors", function()
    -- Random123's known-answer tests
    local function hex(...)
      local words = {...}
      for i, word in ipairs(words) do words[i] = ("%08x"):format(word) end
      return table.concat(words, " ")
    end
    local ones = 0xffffffff
    assert.equal("6627e8d5 e169c58d bc57ac4c 9b00dbd8", hex(core.philox(0, 0, 0, 0, 0, 0)))
    assert.equal("408f276d 41c83b0e a20bc7c6 6d5451fd", hex(core.philox(ones, ones, ones, ones, ones, ones)))
    assert.equal("d16cfe09 94fdcceb 5001e420 24126ea1",
      hex(core.philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0)))
  end)

  local function flat(shape, draw)
    local list = {}
    for _, row in ipairs(core.uniform(shape, draw):totable()) do
      for _, value in ipairs(row) do list[#list + 1] = value end
    end
    return list
  end

  it("the same name gives the same numbers, any other name others", function()
    local name = {seed = 1, purpose = "mask", matrix = 2, sample = 3, step = 4}
    local before = flat({5, 7}, name)
    assert.same(before, flat({5, 7}, name))
    for key, value in pairs{seed = 9, purpose = "data", matrix = 9, sample = 9, step = 9} do
      local other = setmetatable({[key] = value}, {__index = name})
      local copy = {}
      for k in pairs(name) do copy[k] = other[k] end
      assert.are_not.same(before, flat({5, 7}, copy))
    end
  end)

  it("a row's numbers do not depend on how many rows there are", function()
    local few, many = core.uniform({3, 10}, {seed = 5}):totable(), core.uniform({300, 10}, {seed = 5}):totable()
    for i = 1, 3 do assert.same(few[i], many[i]) end
  end)

  it("all instruction sets draw the same numbers", function()
    local best = core.instruction_set()
    local before = flat({70, 37}, {seed = 8})
    for _, name in ipairs{"baseline", "avx2"} do
      if pcall(core.instruction_set, name) then assert.same(before, flat({70, 37}, {seed = 8})) end
    end
    core.instruction_set(best)
  end)

  it("uniform numbers fill [0, 1) evenly", function()
    local bins, n = {}, 0
    for _, x in ipairs(flat({2000, 50}, {seed = 3})) do
      assert.is_true(x >= 0 and x < 1)
      local bin = math.floor(x * 20) + 1
      bins[bin], n = (bins[bin] or 0) + 1, n + 1
    end
    local chi2 = 0
    for i = 1, 20 do chi2 = chi2 + (bins[i] - n / 20) ^ 2 / (n / 20) end
    assert.is_true(chi2 < 43.8, "chi squared " .. chi2) -- 0.999 quantile, 19 degrees of freedom
  end)

  it("normal numbers have moments 0, 1, 0, 3", function()
    local sums, n = {0, 0, 0, 0}, 0
    for _, row in ipairs(core.normal({2000, 51}, {seed = 4}):totable()) do
      for _, x in ipairs(row) do
        n = n + 1
        for k = 1, 4 do sums[k] = sums[k] + x ^ k end
      end
    end
    for k, expected in ipairs{0, 1, 0, 3} do assert.near(expected, sums[k] / n, 0.06) end
  end)
end)
