local core = require "spd.core"

describe("core.adamw", function()
  it("follows the published update", function()
    local p = core.tensor{1.0, -2.0}:parameter()
    local optimizer <close> = core.adamw{weight_decay = 0.1}
    optimizer:add(p)
    local x, m, v = {1.0, -2.0}, {0, 0}, {0, 0}
    for t = 1, 3 do
      local g = {0.5 * t, -1.0}
      for i = 1, 2 do
        p.gradient:set(g[i], i)
        x[i] = x[i] * (1 - 0.01 * 0.1)
        m[i], v[i] = 0.9 * m[i] + 0.1 * g[i], 0.999 * v[i] + 0.001 * g[i] ^ 2
        x[i] = x[i] - 0.01 / (1 - 0.9 ^ t) * m[i] / (math.sqrt(v[i]) / math.sqrt(1 - 0.999 ^ t) + 1e-8)
      end
      optimizer:step(0.01)
      for i = 1, 2 do assert.near(x[i], p:get(i), 1e-6) end
    end
    assert.equal(3, optimizer:steps())
  end)

  it("gives the norm of all gradients, and clears them", function()
    local a, b = core.zeros(2):parameter(), core.zeros(1, 1):parameter()
    local optimizer <close> = core.adamw():add(a):add(b)
    a.gradient:set(3, 1)
    b.gradient:set(4, 1, 1)
    assert.near(5, optimizer:gradient_norm(), 1e-6)
    optimizer:zero_gradients()
    assert.equal(0, optimizer:gradient_norm())
  end)

  it("a tied parameter stays the transpose, and both get the sum of both updates", function()
    local a = core.normal({3, 2}, {seed = 1}):parameter()
    local before = a:totable()
    local b = core.transpose(a):parameter()
    local optimizer <close> = core.adamw():add(a):add(b, a)
    for i = 1, 3 do
      for j = 1, 2 do
        a.gradient:set(1, i, j)
        b.gradient:set(j == 1 and 1 or -1, j, i)
      end
    end
    optimizer:step(0.1)
    for i = 1, 3 do
      assert.near(before[i][1] - 0.2, a:get(i, 1), 1e-5) -- both move by the learning rate
      assert.near(before[i][2], a:get(i, 2), 1e-5) -- and cancel
      for j = 1, 2 do assert.equal(a:get(i, j), b:get(j, i)) end
    end
  end)

  it("refuses what it cannot train", function()
    local p = core.zeros(2, 3):parameter()
    local optimizer <close> = core.adamw():add(p)
    assert.error_matches(function() optimizer:add(core.zeros(2)) end, "not a parameter")
    assert.error_matches(function() optimizer:add(p) end, "twice")
    assert.error_matches(function() optimizer:add(core.zeros(2, 3):parameter(), p) end, "transposed shape")
    assert.error_matches(function() core.adamw{beta1 = -1} end, "beta1")
  end)
end)
