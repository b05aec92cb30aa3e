local core = require "spd.core"

local function normal(shape, seed) return core.normal(shape, {seed = seed}) end

describe("core.tape", function()
  it("operators compute at once outside of a tape and record on one", function()
    local x = core.tensor{{-1, 2}}
    assert.same({{0, 2}}, core.relu(x):totable())
    local tape <close> = core.tape()
    local y = core.relu(x)
    assert.same({{0, 2}}, y:tensor():totable())
  end)

  it("the same operator on the same inputs is computed once", function()
    local x, w = normal({4, 3}, 1), normal({3, 2}, 2):parameter()
    local function gradient(times)
      w.gradient:fill(0)
      local tape <close> = core.tape()
      local losses = {}
      for i = 1, times do losses[i] = core.sum(core.gelu(core.matmul(x, w))) end
      tape:backward(losses)
      return w.gradient:totable()
    end
    local once, thrice = gradient(1), gradient(3)
    for i, row in ipairs(once) do
      for j, g in ipairs(row) do assert.near(3 * g, thrice[i][j], 1e-5) end
    end
  end)

  it("losses that share a prefix add up as their weighted sum does", function()
    local x, w = normal({9, 5}, 1), normal({5, 4}, 2):parameter()
    local function terms()
      local h = core.gelu(core.matmul(x, w))
      return core.sum(core.relu(h)), core.sum(h * h), core.squared_error(h, core.zeros(9, 4))
    end
    do
      local tape <close> = core.tape()
      local a, b, c = terms()
      tape:backward({a, b, c}, {1, -0.5, 2})
    end
    local one_by_one = w.gradient:totable()
    w.gradient:fill(0)
    do
      local tape <close> = core.tape()
      local a, b, c = terms()
      tape:backward{a - 0.5 * b + 2 * c}
    end
    for i, row in ipairs(w.gradient:totable()) do
      for j, g in ipairs(row) do assert.near(g, one_by_one[i][j], 1e-5) end
    end
  end)

  it("a value recorded before a write to its parameter cannot be read", function()
    local w = normal({3}, 1):parameter()
    local tape <close> = core.tape()
    local y = core.sum(w * w)
    w:fill(2)
    assert.error_matches(function() y:item() end, "recorded before")
    assert.equal(12, core.sum(w * w):item())
  end)

  it("a value of a closed tape cannot be used", function()
    local y
    do
      local tape <close> = core.tape()
      y = core.relu(core.zeros(2))
      assert.same({2}, y.shape)
    end
    assert.error_matches(function() y:tensor() end, "closed")
    local tape <close> = core.tape()
    assert.error_matches(function() core.relu(y) end, "closed")
    assert.error_matches(function() tape:backward{y} end, "closed")
  end)

  it("a parameter that no loss needs keeps gradient 0, and losses must be scalars", function()
    local a, b = normal({3}, 1):parameter(), normal({3}, 2):parameter()
    local tape <close> = core.tape()
    tape:backward{core.sum(a * a)}
    assert.same({0, 0, 0}, b.gradient:totable())
    assert.error_matches(function() tape:backward{a * a} end, "not a scalar")
  end)

  it("tapes nest", function()
    local outer <close> = core.tape()
    local x = core.relu(core.tensor{1, -1})
    do
      local inner <close> = core.tape()
      assert.error_matches(function() return core.relu(x) end, "another tape")
      assert.same({0, 1}, core.relu(core.tensor{-1, 1}):tensor():totable())
    end
    assert.same({1, 0}, core.relu(x):tensor():totable())
  end)

  it("core allocates nothing once every kind of step was seen", function()
    local w = normal({5, 20}, 1):parameter()
    local x = core.zeros(700, 5)
    local function step(i)
      core.fill_sparse_features(x, {probability = 0.1, low = 0, high = 1}, {seed = 1, step = i})
      local tape <close> = core.tape()
      local h = core.matmul(core.compact(x), w)
      local y = core.stochastic_mask(h, core.lower_leaky(h), {seed = 2, step = i})
      tape:backward{core.sum(y * y), core.sum(core.gelu(h))}
    end
    for i = 1, 3 do step(i) end
    local before = core.allocation_count()
    for i = 4, 12 do step(i) end
    assert.equal(before, core.allocation_count())
  end)

  describe("memory", function()
    -- Bytes that a tape holds after f(tape), without what earlier tapes left in their pools.
    local function held(f)
      core.release_buffers()
      local before = core.live_bytes()
      local tape <close> = core.tape()
      f(tape)
      return core.live_bytes() - before
    end

    it("is the same for an expression that is recorded 1 and 50 times", function()
      local x = normal({100, 10}, 1)
      local function record(times)
        return held(function()
          for _ = 1, times do core.sum(core.gelu(core.relu(x) + 1)):item() end
        end)
      end
      assert.equal(record(1), record(50))
    end)

    -- Bytes of the values of a chain, in buffers of [4096, 32].
    local ROWS, COLUMNS = 4096, 32
    local function buffers(f)
      local w = normal({ROWS, COLUMNS}, 1):parameter()
      return held(function(tape) tape:backward(f(w)) end) / (4 * ROWS * COLUMNS)
    end

    local function chain(x, length, f)
      for _ = 1, length do x = f(x) end
      return core.sum(x)
    end

    it("of a long chain is that of a few values, where no gradient needs the others", function()
      local found = buffers(function(w) return {chain(w:clone(), 40, core.gelu)} end)
      assert.is_true(found >= 1 and found <= 10, found)
      found = buffers(function(w) return {chain(w, 40, function(x) return x + w end)} end)
      assert.is_true(found >= 1 and found <= 10, found)
    end)

    it("of a loss is used again by the next loss", function()
      local found = buffers(function(w)
        local losses = {}
        for k = 1, 4 do losses[k] = chain(w * k, 10, core.gelu) end
        return losses
      end)
      assert.is_true(found >= 10 and found <= 20, found)
    end)
  end)

  describe("compact rows", function()
    -- a batch in which most rows are zero, through masks, biases and losses, with and without compaction
    local function run(compact, bias_first)
      local n, C = 5, 6
      local x = core.zeros(600, n)
      core.fill_sparse_features(x, {probability = 0.1, low = -1, high = 1}, {seed = 1})
      local w, u = normal({n, C}, 2):parameter(), normal({C, n}, 3):parameter()
      local bias, b2 = normal({C}, 4):parameter(), normal({n}, 5):parameter()
      local tape <close> = core.tape()
      local input = compact and core.compact(x) or x
      local h = core.matmul(input, w)
      if bias_first then h = core.add_bias(h, bias) end
      local masked = core.stochastic_mask(h, core.lower_leaky(h), {seed = 6})
      local y = core.relu(core.add_bias(core.matmul(masked, u), b2))
      local losses = {
        core.squared_error(y, input), core.softmax_kl(input, y), core.sum(core.gelu(core.add_bias(h, bias))),
        core.sum(core.sum_rows(core.upper_leaky(h)) * core.sum_rows(h)),
      }
      tape:backward(losses, {1, 2, 3, 0.1})
      local results = {y:tensor():totable()}
      for _, loss in ipairs(losses) do results[#results + 1] = {{loss:item()}} end
      for _, p in ipairs{w, u} do results[#results + 1] = p.gradient:totable() end
      for _, p in ipairs{bias, b2} do results[#results + 1] = {p.gradient:totable()} end
      return results
    end

    local function compare(a, b)
      for k, matrix in ipairs(a) do
        local largest, worst = 0, 0
        for i, row in ipairs(matrix) do
          for j, value in ipairs(row) do
            largest, worst = math.max(largest, math.abs(value)), math.max(worst, math.abs(value - b[k][i][j]))
          end
        end
        assert.is_true(worst <= 2e-5 * largest, ("result %d differs by %g of %g"):format(k, worst, largest))
      end
    end

    it("change no output, loss or gradient", function() compare(run(false, false), run(true, false)) end)
    it("are expanded where random masks tell them apart", function() compare(run(false, true), run(true, true)) end)

    it("take memory for the rows that are kept only", function()
      -- A chain on 250000 rows that are zero, in a process of its own: the MiB that it touched.
      local function touched(input)
        local status, text, message = core.posix.run{"./spdlua", "-e", ([[
          local core = require "spd.core"
          local x, before = core.zeros(250000, 4), core.posix.peak_memory_mb()
          do
            local tape <close> = core.tape()
            local y = %s
            for _ = 1, 20 do y = core.gelu(y) end
            core.sum(y):item()
          end
          print(core.posix.peak_memory_mb() - before)]]):format(input)}
        assert.same({0, ""}, {status, message})
        return tonumber(text)
      end
      local all, kept = touched "x", touched "core.compact(x)"
      assert.is_true(kept < all / 8, ("%g MiB instead of %g"):format(kept, all))
    end)
  end)
end)
