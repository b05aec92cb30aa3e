-- Attention beyond its gradients, which spec/core/operators_spec.lua checks: what it computes, and in how much memory.
local core = require "spd.core"
local double = require "spd.core_double"

local function normal(c, seed, ...) return c.normal({...}, {seed = seed, purpose = "spec"}) end

-- The weights of row i of one head over all keys, by the definition.
local function weights(q, k, i, scale, window)
  local list, sum = {}, 0
  for j = 1, #k do
    local score = 0
    for c = 1, #q[i] do score = score + q[i][c] * k[j][c] end
    local visible = j <= i and (window == 0 or j > i - window)
    list[j] = visible and math.exp(scale * score) or 0
    sum = sum + list[j]
  end
  for j = 1, #k do list[j] = list[j] / sum end
  return list
end

-- The columns of one head of rows [T, heads * d].
local function head_of(rows, head, d)
  local list = {}
  for i, row in ipairs(rows) do list[i] = table.move(row, (head - 1) * d + 1, head * d, 1, {}) end
  return list
end

local function naive(q, k, v, heads, kv_heads, scale, window)
  local out = {}
  for b = 1, #q do
    local d = #q[b][1] // heads
    out[b] = {}
    for i = 1, #q[b] do out[b][i] = {} end
    for h = 1, heads do
      local kv_head = (h - 1) // (heads // kv_heads) + 1
      local qh, kh, vh = head_of(q[b], h, d), head_of(k[b], kv_head, d), head_of(v[b], kv_head, d)
      for i = 1, #qh do
        local w = weights(qh, kh, i, scale, window)
        for c = 1, d do
          local sum = 0
          for j = 1, #kh do sum = sum + w[j] * vh[j][c] end
          out[b][i][(h - 1) * d + c] = sum
        end
      end
    end
  end
  return out
end

local function assert_close(expected, found, tolerance, what)
  for b, rows in ipairs(expected) do
    for i, row in ipairs(rows) do
      for c, x in ipairs(row) do
        local err = math.abs(x - found[b][i][c])
        assert.is_true(err <= tolerance, ("%s: error %g at %d, %d, %d"):format(what, err, b, i, c))
      end
    end
  end
end

local variants = { -- heads, kv_heads, d, T, window
  {4, 4, 3, 5, 0}, {4, 2, 3, 70, 0}, {6, 2, 5, 33, 4}, {2, 1, 8, 129, 0}, {2, 1, 8, 129, 65}, {1, 1, 1, 1, 0},
  {3, 1, 17, 40, 1}, {2, 2, 4, 20, 20}, {2, 2, 4, 20, 19},
}

-- Of one variant, the output and the gradients of q, k and v.
local function run(variant)
  local heads, kv_heads, d, length, window = table.unpack(variant)
  local q = normal(core, 1, 2, length, heads * d):parameter()
  local k = normal(core, 2, 2, length, kv_heads * d):parameter()
  local v = normal(core, 3, 2, length, kv_heads * d):parameter()
  local tape <close> = core.tape()
  local y = core.attention(q, k, v, heads, d ^ -0.5, window)
  tape:backward{core.sum(y * normal(core, 4, 2, length, heads * d))}
  return {y:tensor():totable(), q.gradient:totable(), k.gradient:totable(), v.gradient:totable()}
end

describe("core.attention", function()
  local best, threads = core.instruction_set(), core.threads()
  after_each(function()
    core.instruction_set(best)
    core.threads(threads)
  end)

  it("is the softmax of scaled products over what is visible, times v", function()
    for n, variant in ipairs(variants) do
      local heads, kv_heads, d, length, window = table.unpack(variant)
      for name, c in pairs{float = core, double = double} do
        local q = normal(c, 1, 2, length, heads * d)
        local k, v = normal(c, 2, 2, length, kv_heads * d), normal(c, 3, 2, length, kv_heads * d)
        local found = c.attention(q, k, v, heads, d ^ -0.5, window):totable()
        local expected = naive(q:totable(), k:totable(), v:totable(), heads, kv_heads, d ^ -0.5, window)
        assert_close(expected, found, name == "float" and 3e-6 or 1e-13, ("variant %d, %s"):format(n, name))
      end
    end
  end)

  it("has the same bits on any number of threads, forward and backward", function()
    for n, variant in ipairs(variants) do
      core.threads(1)
      local expected = run(variant)
      for _, count in ipairs{2, 3} do
        core.threads(count)
        assert.same(expected, run(variant), "variant " .. n)
      end
    end
  end)

  it("agrees between instruction sets", function()
    for n, variant in ipairs(variants) do
      core.instruction_set("baseline")
      local expected = run(variant)
      for _, set in ipairs{"avx2", "avx512"} do
        if pcall(core.instruction_set, set) then
          local found = run(variant)
          for i = 1, 4 do assert_close(expected[i], found[i], 1e-5, ("variant %d, %s, result %d"):format(n, set, i)) end
        end
      end
    end
  end)

  it("gives each of q, k and v the same gradient whether or not the others need one", function()
    local expected = run(variants[2])
    local heads, kv_heads, d, length = table.unpack(variants[2])
    local columns = {heads * d, kv_heads * d, kv_heads * d}
    for i = 1, 3 do
      local inputs = {}
      for n = 1, 3 do inputs[n] = normal(core, n, 2, length, columns[n]) end
      inputs[i]:parameter()
      local tape <close> = core.tape()
      local y = core.attention(inputs[1], inputs[2], inputs[3], heads, d ^ -0.5)
      tape:backward{core.sum(y * normal(core, 4, 2, length, heads * d))}
      assert.same(expected[i + 1], inputs[i].gradient:totable())
    end
  end)

  it("distinguishes heads, scale and window on one tape", function()
    local x = normal(core, 1, 1, 4, 4)
    local tape <close> = core.tape()
    local seen = {}
    for _, arguments in ipairs{{1, 1, 0}, {2, 1, 0}, {1, 2, 0}, {1, 1, 2}, {1, 1, 3}} do
      local y = core.attention(x, x, x, table.unpack(arguments))
      seen[table.concat(y:tensor():totable()[1][4], " ")] = true
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(5, count)
  end)

  it("takes scores of any size, and passes NaN on", function()
    local k = core.tensor{{{-1}, {1}, {0}}}
    local v = core.tensor{{{1}, {2}, {3}}}
    for _, size in ipairs{100, 1e4, 1e30} do
      assert.same({{{1}, {2}, {2}}}, core.attention(core.zeros(1, 3, 1) + size, k, v, 1, 1):totable())
      assert.same({{{1}, {1}, {1}}}, core.attention(core.zeros(1, 3, 1) - size, k, v, 1, 1):totable())
    end
    for _, set in ipairs{"baseline", "avx2", "avx512"} do
      if pcall(core.instruction_set, set) then
        for at = 1, 40 do
          local key = core.zeros(1, 40, 1)
          key:set(0 / 0, 1, at, 1)
          local y = core.attention(core.zeros(1, 40, 1) + 1, key, core.zeros(1, 40, 1) + 1, 1, 1):totable()[1]
          for i = 1, 40 do assert.equal(i >= at, y[i][1] ~= y[i][1], ("row %d, NaN at %d, %s"):format(i, at, set)) end
        end
      end
    end
  end)

  it("keeps far less than the scores of all heads in memory", function()
    local batch, length, heads, d = 2, 1024, 8, 4
    core.threads(2)
    core.release_buffers()
    collectgarbage() collectgarbage()
    local before = core.live_bytes()
    local q <close> = normal(core, 1, batch, length, heads * d):parameter()
    local tape <close> = core.tape()
    local loss = core.sum(core.attention(q, q, q, heads, 1))
    tape:backward{loss}
    local scores = batch * heads * length * length * 4
    assert.is_true(core.live_bytes() - before < scores / 20, ("%d bytes"):format(core.live_bytes() - before))
    core.release_buffers()
  end)

  it("a window bounds what a block needs", function()
    core.threads(1)
    core.release_buffers()
    local x = core.zeros(1, 20000, 1)
    local before = core.live_bytes()
    local y <close> = core.attention(x, x, x, 1, 1, 16)
    assert.is_true(core.live_bytes() - before < 1e6)
    assert.same({20000, 1}, {y.shape[2], y.shape[3]})
  end)

  it("sees compact rows in full", function()
    local x = normal(core, 1, 2, 6, 4)
    for i = 1, 6, 2 do for c = 1, 4 do x:set(0, 1, i, c) end end
    local expected = core.attention(x, x, x, 2, 1):totable()
    local tape <close> = core.tape()
    local value = core.compact(x)
    assert.same(expected, core.attention(value, value, value, 2, 1):tensor():totable())
  end)

  it("refuses shapes and settings that do not fit, naming them", function()
    local function refused(pattern, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() core.attention(table.unpack(arguments, 1, arguments.n)) end, pattern)
    end
    local q, k = core.zeros(2, 3, 8), core.zeros(2, 3, 4)
    refused("3 heads do not divide q %[2, 3, 8%]", q, k, k, 3, 1)
    refused("0 heads", q, k, k, 0, 1)
    refused("%-2 heads", q, k, k, -2, 1)
    refused("16 heads", q, k, k, 16, 1)
    refused("0 heads", core.zeros(2, 3, 0), core.zeros(2, 3, 0), core.zeros(2, 3, 0), 0, 1)
    refused("1 heads", core.zeros(2, 3, 0), core.zeros(2, 3, 0), core.zeros(2, 3, 0), 1, 1)
    refused("k and v differ: %[2, 3, 4%] and %[2, 3, 8%]", q, k, q, 4, 1)
    refused("batch or length: %[2, 3, 8%] and %[2, 4, 4%]", q, core.zeros(2, 4, 4), core.zeros(2, 4, 4), 4, 1)
    refused("batch or length", q, core.zeros(1, 3, 4), core.zeros(1, 3, 4), 4, 1)
    refused("k %[2, 3, 4%]", q, k, k, 1, 1)
    refused("k %[2, 3, 6%]", q, core.zeros(2, 3, 6), core.zeros(2, 3, 6), 4, 1)
    refused("k %[2, 3, 0%]", q, core.zeros(2, 3, 0), core.zeros(2, 3, 0), 4, 1)
    refused("k %[2, 3, 8%]", k, q, q, 2, 1)
    refused("real %[B, T, columns%], found shape %[6, 8%]", q:reshape(6, 8), k, k, 4, 1)
    refused("real", q, core.tensor({{{1}}}, "int32"), k, 4, 1)
    refused("window of 0 or more, found %-1", q, k, k, 4, 1, -1)
    refused("too large", core.zeros(0, 1 << 40, 2), core.zeros(0, 1 << 40, 2), core.zeros(0, 1 << 40, 2), 1, 1)
    refused("expected an integer", q, k, k, 1.5, 1)
    refused("expected a number", q, k, k, 4)
  end)
end)
