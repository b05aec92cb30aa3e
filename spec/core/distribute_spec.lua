-- The order of products: a product over a residual stream is distributed over its terms, with the same result.
local core = require "spd.core"

local function normal(shape, seed) return core.normal(shape, {seed = seed}) end

-- Values must agree to about float32's precision.
local function assert_close(expected, found)
  local difference, largest = 0, 0
  for i, row in ipairs(expected) do
    for j, value in ipairs(row) do
      difference, largest = math.max(difference, math.abs(value - found[i][j])), math.max(largest, math.abs(value))
    end
  end
  assert.is_true(difference <= 1e-5 * largest, ("%g of %g"):format(difference, largest))
end

describe("a product over a residual stream", function()
  local x, embedding, z, U, V = normal({300, 2}, 1), normal({2, 900}, 2), normal({300, 3}, 3), normal({3, 900}, 4),
    normal({900, 5}, 5)

  it("is what it is in the order in which it was written", function()
    local stream = core.matmul(x, embedding) + core.matmul(z, U) -- outside of a tape: computed at once
    local expected = core.matmul(stream, V):totable()
    local tape <close> = core.tape()
    local recorded = core.matmul(x, embedding) + core.matmul(z, U)
    assert_close(expected, core.matmul(recorded, V):tensor():totable())
    assert_close(stream:totable(), recorded:tensor():totable())
  end)

  it("computes no stream that nothing reads", function()
    local width = 200000
    local wide, narrow = normal({2, width}, 6), normal({width, 3}, 7)
    core.release_buffers()
    local before = core.live_bytes()
    do
      local tape <close> = core.tape()
      local y = core.matmul(core.matmul(x, wide), narrow)
      assert.same({300, 3}, y:tensor().shape)
    end
    local grown = core.live_bytes() - before
    assert.is_true(grown < 300 * width, ("%d bytes; the stream has %d"):format(grown, 4 * 300 * width))
  end)

  it("of one row is left alone: the factors alone would take more", function()
    local one = normal({1, 2}, 10)
    local expected = core.matmul(core.matmul(one, embedding), V):totable()
    local tape <close> = core.tape()
    assert.same(expected, core.matmul(core.matmul(one, embedding), V):tensor():totable())
  end)

  describe("that others read too", function()
    -- the stream and a product of it: 3.6 million multiplications each; without the stream: 4.2 million
    local into, out, other = normal({100, 120}, 14), normal({120, 100}, 15), normal({120, 100}, 16)
    local wide = normal({300, 100}, 17)

    it("is distributed for the first, and read by the next", function()
      local stream = core.matmul(wide, into)
      local expected = {core.matmul(stream, out):totable(), core.matmul(stream, other):totable()}
      local tape <close> = core.tape()
      local recorded = core.matmul(wide, into)
      local first, second = core.matmul(recorded, out):tensor(), core.matmul(recorded, other):tensor()
      assert.not_same(expected[1], first:totable())
      assert.same(expected[2], second:totable())
    end)

    it("stays what it is for the same product", function()
      local tape <close> = core.tape()
      local recorded = core.matmul(wide, into)
      local first = core.matmul(recorded, out):tensor():totable()
      core.matmul(recorded, other)
      assert.same(first, core.matmul(recorded, out):tensor():totable())
    end)
  end)

  it("takes no time that grows with the number of paths through a sum", function()
    local tape <close> = core.tape()
    local stream = core.matmul(x, embedding)
    for _ = 1, 60 do stream = stream + stream end
    local y = core.matmul(stream, V):tensor():totable()
    for _, row in ipairs(y) do
      for j, value in ipairs(row) do row[j] = value / 2.0 ^ 60 end
    end
    assert_close(core.matmul(core.matmul(x, embedding), V):tensor():totable(), y)
  end)

  it("takes no stack that grows with the length of a sum or of a chain of products", function()
    local rows, into = normal({6, 2}, 10), normal({2, 40}, 11)
    local tape <close> = core.tape()
    local sum, chain = core.matmul(rows, into), core.matmul(rows, into)
    for _ = 1, 20000 do sum = sum + core.matmul(rows, into) end
    assert.same({6, 2}, core.matmul(sum, core.transpose(into)):tensor().shape)
    local square, vector = normal({40, 40}, 12) / 10, normal({40, 1}, 13)
    for _ = 1, 30000 do chain = core.matmul(chain, square) end
    assert.same({6, 1}, core.matmul(chain, vector):tensor().shape)
  end)
end)
