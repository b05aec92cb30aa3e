local core = require "spd.core"

describe("core's allocator", function()
  -- everything a training step uses, in buffers of its own
  local function train()
    core.release_buffers()
    local x <close> = core.uniform({40, 3}, {seed = 1})
    local V, U = core.normal({3, 4}, {seed = 2}):parameter(), core.normal({4, 2}, {seed = 3}):parameter()
    local gate = {}
    for i = 1, 3 do gate[i] = core.normal({4, 2}, {seed = 3 + i}):parameter() end
    local b2 = core.zeros(4):parameter()
    local optimizer <close> = core.adamw()
    optimizer:add(V)
    optimizer:add(U)
    local tape <close> = core.tape()
    local input = core.compact(x)
    local h = core.matmul(input, V)
    local g = core.lower_leaky(core.gate_mlp(h, gate[1], gate[2], gate[3], b2))
    local y = core.matmul(core.stochastic_mask(h, g, {seed = 9}), U)
    local wanted = core.matmul(input, core.transpose(core.zeros(2, 3)))
    tape:backward{core.squared_error(y, wanted), core.sum(core.power(g * g, 2))}
    local result = y:tensor():totable()
    optimizer:step(0.1)
    return result
  end

  it("failing at its n-th call, for every n, gives a clean error and leaks nothing", function()
    collectgarbage() collectgarbage()
    local before = core.allocation_count()
    train()
    local allocations, failures = core.allocation_count() - before, 0
    for n = 1, allocations do
      core.fail_allocation(n)
      local ok, message = pcall(train)
      core.fail_allocation(0)
      if not ok then -- growing the pool of buffers may fail: a buffer is freed then
        failures = failures + 1
        assert.matches("not enough memory", tostring(message))
      end
    end
    assert.is_true(failures >= allocations - 5, ("%d of %d failures were noticed"):format(failures, allocations))
  end)

  it("a size that cannot be allocated is an error", function()
    assert.error_matches(function() core.zeros(1 << 40, 1 << 20) end, "too large")
    assert.error_matches(function() core.zeros(1 << 45) end, "not enough memory")
    assert.error_matches(function() core.zeros(1, 2, 3, 4, 5) end, "at most 4")
    assert.error_matches(function() core.zeros(-1) end, "0 or more")
  end)
end)
