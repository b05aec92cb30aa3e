local core = require "spd.core"

local VOCABULARY = 2048

local function normal(shape, name) return core.normal(shape, {seed = 1, purpose = name}) end

-- The loss with its gradients by h and by W, where those are parameters, and what the core held at most.
local function measure(loss, h, W)
  collectgarbage()
  local before = core.live_bytes()
  local tape <close> = core.tape()
  local value = loss(h, W)
  tape:backward{value}
  return value:item(), core.live_bytes() - before
end

describe("losses over a vocabulary", function()
  it("never store the logits of all rows", function()
    local rows = 8192
    local h, W = normal({rows, 4}, "h"):parameter(), normal({VOCABULARY, 4}, "W"):parameter()
    local labels = {}
    for i = 1, rows do labels[i] = i % VOCABULARY end
    labels = core.tensor(labels, "int32")
    local _, bytes = measure(function(x, w) return core.cross_entropy(core.linear(x, w), labels) end, h, W)
    assert.is_true(bytes < rows * VOCABULARY * 4 / 4, ("%d bytes"):format(bytes))
  end)

  it("compute the target's logits with the prediction's, where they are too many to be kept", function()
    local rows = 33000 -- times the vocabulary of 1024 is just above the limit
    local function kl(from, count)
      local function part(x)
        local list = {}
        for i = 1, count do list[i] = from + i - 1 end
        return core.embedding(core.tensor(list, "int32"), x)
      end
      local W = normal({1024, 1}, "W")
      local target, h = part(normal({rows, 1}, "target")), part(normal({rows, 1}, "h")):parameter()
      local value, bytes = measure(function(x, w)
        return core.softmax_kl(core.linear(target, w), core.linear(x, w))
      end, h, W)
      return value, bytes, h.gradient
    end
    local whole, bytes, gradient = kl(0, rows)
    local half, _, half_gradient = kl(0, rows // 2)
    local other = kl(rows // 2, rows // 2)
    assert.near((half + other) / 2, whole, 1e-6 * whole)
    assert.is_true(bytes < 50e6, ("%d bytes"):format(bytes))
    for _, row in ipairs{1, 64, 65, rows // 2} do
      assert.near(half_gradient:get(row, 1) / 2, gradient:get(row, 1), 1e-10)
    end
  end)

  it("count no row whose label is negative, and are 0 where none counts", function()
    local logits = normal({3, 5}, "logits")
    local function loss(...) return core.cross_entropy(logits, core.tensor({...}, "int32")):item() end
    assert.near((loss(1, -1, -1) + loss(-1, -1, 4)) / 2, loss(1, -1, 4), 1e-6)
    assert.equal(0, loss(-1, -2, -1))
  end)

  it("are those of their definition", function()
    local function log_softmax(row)
      local sum = 0
      for _, x in ipairs(row) do sum = sum + math.exp(x) end
      local result = {}
      for i, x in ipairs(row) do result[i] = x - math.log(sum) end
      return result
    end
    local target, h, W = normal({7, VOCABULARY}, "target"), normal({7, 3}, "h"), normal({VOCABULARY, 3}, "W")
    local logits = core.linear(h, W)
    local kl, entropy = 0, 0
    for i = 1, 7 do
      local a, b = log_softmax(target:totable()[i]), log_softmax(logits:totable()[i])
      for j = 1, VOCABULARY do kl = kl + math.exp(a[j]) * (a[j] - b[j]) / 7 end
      entropy = entropy - b[i * 100 + 1] / 7
    end
    local labels = core.tensor({100, 200, 300, 400, 500, 600, 700}, "int32")
    assert.near(kl, core.softmax_kl(target, logits):item(), 1e-5 * kl)
    assert.near(entropy, core.cross_entropy(logits, labels):item(), 1e-5 * entropy)
    local tape <close> = core.tape() -- here the logits are a product, and stored nowhere
    assert.near(kl, core.softmax_kl(target, core.linear(h, W)):item(), 1e-5 * kl)
    assert.near(entropy, core.cross_entropy(core.linear(h, W), labels):item(), 1e-5 * entropy)
  end)

  it("are 0 of no rows, whether the logits are stored or not", function()
    local h, W, none = core.zeros({0, 3}), normal({VOCABULARY, 3}, "W"), core.zeros({0, VOCABULARY})
    assert.equal(0, core.softmax_kl(none, none):item())
    local tape <close> = core.tape()
    assert.equal(0, core.softmax_kl(none, core.linear(h, W)):item())
    assert.equal(0, core.cross_entropy(core.linear(h, W), core.zeros({0}, "int32")):item())
  end)

  it("can be taken backward twice", function()
    local h, W = normal({70, 3}, "h"):parameter(), normal({VOCABULARY, 3}, "W"):parameter()
    local tape <close> = core.tape()
    local loss = core.softmax_kl(normal({70, VOCABULARY}, "target"), core.linear(h, W))
    tape:backward{loss}
    local once = {h.gradient:clone(), W.gradient:clone()}
    tape:backward{loss}
    assert.same((once[1] * 2):tensor():totable(), h.gradient:totable())
    assert.same((once[2] * 2):tensor():totable(), W.gradient:totable())
  end)

  it("leave nothing unfinished for the next backward pass where memory runs out", function()
    local h, W = normal({70, 3}, "h"), normal({VOCABULARY, 3}, "W"):parameter()
    local tape <close> = core.tape()
    local loss = core.softmax_kl(normal({70, VOCABULARY}, "target"), core.linear(h, W))
    tape:backward{loss}
    local once = W.gradient:totable()
    core.release_buffers() -- so that the next pass allocates
    core.fail_allocation(1)
    local ok, message = pcall(tape.backward, tape, {loss})
    core.fail_allocation(0)
    assert.is_false(ok)
    assert.matches("not enough memory", tostring(message))
    W.gradient:fill(0)
    tape:backward{loss}
    assert.same(once, W.gradient:totable())
  end)
end)
