-- What a step is bound by is only told rightly if every product is recorded, once, with its sizes.
local core = require "spd.core"

describe("recorded products", function()
  local function operations()
    local sum = 0
    for _, p in ipairs(core.products()) do sum = sum + 2 * p.m * p.n * p.k * p.count end
    return sum
  end

  local function recorded(f)
    core.record_products(true)
    f()
    core.record_products(false)
    return operations()
  end

  local function train(x, V, U)
    local tape <close> = core.tape()
    tape:backward{core.sum(core.matmul(core.relu(core.matmul(x, V)), U))}
  end

  it("of a known step have its number of floating-point operations, also where they are cut into parts", function()
    local x = core.normal({1200, 30}, {seed = 1}) -- more rows than a task has, and a sum over rows in parts
    local V, U = core.normal({30, 7}, {seed = 2}):parameter(), core.normal({7, 5}, {seed = 3}):parameter()
    -- x V, its product with U, and the gradients of U, of the hidden layer and of V
    local expected = 2 * 1200 * (30 * 7 + 7 * 5 + 7 * 5 + 7 * 5 + 30 * 7)
    assert.equal(expected, recorded(function() train(x, V, U) end))
    local threads = core.threads()
    core.threads(3)
    assert.equal(expected, recorded(function() train(x, V, U) end))
    core.threads(threads)
    core.repeat_products()
    assert.equal(expected, operations())
    train(x, V, U) -- switched off
    assert.equal(expected, operations())
  end)

  it("are those inside of attention and of losses over a vocabulary, too", function()
    local B, T, heads, d = 2, 128, 2, 8
    local q = core.normal({B, T, heads * d}, {seed = 1})
    local keys = 64 * 64 + 64 * 128 -- blocks of 64 rows, each against the keys up to its last row
    assert.equal(2 * 2 * B * heads * keys * d, recorded(function() core.attention(q, q, q, heads, 1) end))
    local h, W = core.normal({100, 6}, {seed = 2}):parameter(), core.normal({2000, 6}, {seed = 3})
    local target = core.zeros(100, 2000)
    assert.equal(2 * 2 * 100 * 2000 * 6, recorded(function() -- the logits and the gradient of h
      local tape <close> = core.tape()
      tape:backward{core.softmax_kl(target, core.matmul(h, core.transpose(W)))}
    end))
  end)

  it("are made again in as much memory as theirs, what they share once", function()
    local x, y = core.normal({40, 50}, {seed = 1}), core.normal({50, 60}, {seed = 2})
    local z, expected = core.zeros(40, 60), 4 * (40 * 50 + 50 * 60 + 40 * 60)
    local places = 3 * (24 + 2 * 64) -- of a, b and the result: where they are, and whole lines of the cache
    local function copied(f)
      recorded(f)
      local before = core.live_bytes()
      core.repeat_products()
      local bytes = core.live_bytes() - before
      core.repeat_products()
      assert.equal(before + bytes, core.live_bytes())
      return bytes
    end
    local bytes = copied(function() z:copy_from(core.matmul(x, y)) end)
    assert.is_true(bytes >= expected and bytes <= expected + places, bytes)
    bytes = copied(function()
      local tape <close> = core.tape()
      core.sum(core.matmul(x, core.transpose(x))):item()
    end)
    expected = 4 * (40 * 50 + 40 * 40)
    assert.is_true(bytes >= expected and bytes <= expected + places, bytes)
    core.release_buffers()
  end)

  it("that are none can be listed and repeated", function()
    assert.equal(0, recorded(function() end))
    core.repeat_products()
    assert.error_matches(function() core.record_products() end, "boolean")
  end)

  it("that memory does not suffice for are an error, and a later recording is whole again", function()
    local a = core.eye(3)
    core.release_buffers()
    local failures = 0
    for n = 1, 40 do
      core.release_buffers()
      core.fail_allocation(n)
      local ok, message = pcall(recorded, function() core.matmul(a, a) end)
      core.fail_allocation(0)
      core.record_products(false)
      if not ok then
        failures = failures + 1
        assert.matches("not enough memory", tostring(message))
      end
    end
    assert.is_true(failures > 0)
    assert.equal(54, recorded(function() core.matmul(a, a) end))
  end)
end)
