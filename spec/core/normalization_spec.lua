-- Operators of language models: norms, rotary positions, SiLU and tanh-GELU, against formulas written out here.
local core = require "spd.core"
local double = require "spd.core_double"

local best, nan = core.instruction_set(), 0 / 0

local function normal(shape, purpose) return core.normal(shape, {seed = 3, purpose = purpose}) end

local function near(expected, found, tolerance, what)
  local bound = tolerance * math.max(1, math.abs(expected))
  assert.is_true(math.abs(expected - found) <= bound, ("%s: expected %.9g, found %.9g"):format(what, expected, found))
end

local function near_rows(expected, found, tolerance, what)
  assert.equal(#expected, #found)
  for i, row in ipairs(expected) do
    assert.equal(#row, #found[i])
    for j, value in ipairs(row) do near(value, found[i][j], tolerance, ("%s [%d, %d]"):format(what, i, j)) end
  end
end

-- Each row normalized by a formula; `bias` nil for RMSNorm.
local function normalized(rows, weight, bias, epsilon)
  local result = {}
  for i, row in ipairs(rows) do
    local mean, squares = 0, 0
    for _, x in ipairs(row) do mean = mean + (bias and x / #row or 0) end
    for _, x in ipairs(row) do squares = squares + (x - mean) ^ 2 / #row end
    result[i] = {}
    for j, x in ipairs(row) do
      result[i][j] = weight[j] * (x - mean) / math.sqrt(squares + epsilon) + (bias and bias[j] or 0)
    end
  end
  return result
end

local function each_instruction_set(name, f)
  for _, set in ipairs{"baseline", "avx2", "avx512"} do
    if pcall(core.instruction_set, set) then
      core.instruction_set(best)
      it(name .. ", " .. set, function()
        core.instruction_set(set)
        finally(function() core.instruction_set(best) end)
        f()
      end)
    end
  end
end

describe("rms_norm and layer_norm", function()
  for _, n in ipairs{1, 3, 16, 37, 128} do
    each_instruction_set(("are their formulas for %d columns"):format(n), function()
      local x, weight, bias = normal({5, n}, 1), normal({n}, 2), normal({n}, 3)
      local rows, w, b = x:totable(), weight:totable(), bias:totable()
      near_rows(normalized(rows, w, nil, 1e-5), core.rms_norm(x, weight, 1e-5):totable(), 2e-6, "rms_norm")
      near_rows(normalized(rows, w, b, 1e-5), core.layer_norm(x, weight, bias, 1e-5):totable(), 2e-6, "layer_norm")
    end)
  end

  each_instruction_set("keep their precision far from 0 and for numbers whose squares are not float32", function()
    local n, row, large, weight, zeros = 20, {}, {}, core.zeros(20) + 1, core.zeros(20)
    for i = 1, n do
      row[i] = 1e4 + (i * 7 % n) / 1024 -- exact in float32
      large[i] = (i % 2 == 0 and 1e30 or -1e30) * (1 + i / 64)
    end
    local x, big = core.tensor{row, {table.unpack(row, 1, n)}}, core.tensor{large}
    local w, b = weight:totable(), zeros:totable()
    near_rows(normalized(x:totable(), w, b, 1e-6), core.layer_norm(x, weight, zeros, 1e-6):totable(), 1e-6, "offset")
    near_rows(normalized(big:totable(), w, nil, 1e-6), core.rms_norm(big, weight, 1e-6):totable(), 1e-6, "large")
    near_rows(normalized(big:totable(), w, b, 1e-6), core.layer_norm(big, weight, zeros, 1e-6):totable(), 1e-6, "large")
  end)

  each_instruction_set("a zero row is zero, or the bias; so is a constant row; its gradient is finite", function()
    local weight, bias = normal({19}, 2), normal({19}, 3)
    local x = core.zeros(2, 19):parameter()
    for i = 1, 19 do x:set(1e4 + 1 / 3, 2, i) end
    assert.same(core.zeros(19):totable(), core.rms_norm(x, weight, 1e-6):totable()[1])
    local y = core.layer_norm(x, weight, bias, 1e-6):totable()
    near_rows({bias:totable(), bias:totable()}, y, 1e-6, "bias")
    local tape <close> = core.tape()
    local loss = core.sum(core.layer_norm(x, weight, bias, 1e-6) * normal({2, 19}, 4))
    tape:backward({loss, core.sum(core.rms_norm(x, weight, 1e-6))}, {1, 1})
    for _, row in ipairs(x.gradient:totable()) do
      for _, d in ipairs(row) do assert.is_true(math.abs(d) < 1e5, d) end
    end
  end)

  each_instruction_set("NaN makes its own row NaN and no other", function()
    local weight, bias = core.zeros(19) + 1, core.zeros(19)
    for at = 1, 19 do
      local x = normal({3, 19}, 1)
      x:set(nan, 2, at)
      for _, y in ipairs{core.rms_norm(x, weight, 1e-6), core.layer_norm(x, weight, bias, 1e-6)} do
        for i, row in ipairs(y:totable()) do
          for _, value in ipairs(row) do assert.equal(i == 2, value ~= value) end
        end
      end
    end
  end)
end)

describe("silu and gelu_tanh", function()
  local xs = {}
  for i = -1000, 1000 do xs[#xs + 1] = i / 64 end
  for _, x in ipairs{1e4, -1e4, 88.7, -88.8, -103, 1e-30, -1e30, 1e30} do xs[#xs + 1] = x end

  local function slopes(c, f)
    local x = c.tensor(xs):parameter()
    local tape <close> = c.tape()
    tape:backward{c.sum(c[f](x))}
    return x.gradient:totable()
  end

  it("are their formulas", function()
    local x64 = double.tensor(xs)
    local silu, gelu_tanh = double.silu(x64):totable(), double.gelu_tanh(x64):totable()
    for i, x in ipairs(xs) do
      local u = math.sqrt(2 / math.pi) * (x + 0.044715 * x ^ 3)
      near(x / (1 + math.exp(-x)), silu[i], 1e-14, "silu")
      near(0.5 * x * (1 + (1 - 2 / (1 + math.exp(2 * u)))), gelu_tanh[i], 1e-14, "gelu_tanh")
    end
  end)

  for _, name in ipairs{"silu", "gelu_tanh"} do
    each_instruction_set(name .. " and its slope are accurate to float32, at any number", function()
      local expected, found = double[name](double.tensor(xs)):totable(), core[name](core.tensor(xs)):totable()
      local slope, slope_found = slopes(double, name), slopes(core, name)
      for i, x in ipairs(xs) do
        local bound = 5e-7 * math.max(0.1, math.abs(expected[i]))
        assert.is_true(math.abs(expected[i] - found[i]) <= bound, ("%s(%g) = %.9g"):format(name, x, found[i]))
        near(slope[i], slope_found[i], 1e-6, ("%s'(%g)"):format(name, x))
      end
    end)
  end
end)

describe("rotary", function()
  it("turns the pairs i and i + d/2 of each head by the angle of the row's position", function()
    local T, heads, half = 3, 2, 2
    local x, cosine, sine = normal({2, T, heads * 2 * half}, 1), normal({T + 2, half}, 2), normal({T + 2, half}, 3)
    local rows, c, s, y = x:totable(), cosine:totable(), sine:totable(), core.rotary(x, cosine, sine):totable()
    for b = 1, 2 do
      for t = 1, T do
        for head = 0, heads - 1 do
          for i = 1, half do
            local first, second = head * 2 * half + i, head * 2 * half + half + i
            local p, q = rows[b][t][first], rows[b][t][second]
            near(p * c[t][i] - q * s[t][i], y[b][t][first], 1e-6, "first")
            near(q * c[t][i] + p * s[t][i], y[b][t][second], 1e-6, "second")
          end
        end
      end
    end
  end)
end)

describe("columns", function()
  it("are counted from 0", function()
    local x = core.tensor{{1, 2, 3, 4}, {5, 6, 7, 8}}
    assert.same({{2, 3}, {6, 7}}, core.columns(x, 1, 2):totable())
    assert.same(x:totable(), core.columns(x, 0, 4):totable())
    assert.same({2, 0}, core.columns(x, 4, 0).shape)
  end)
end)

describe("operators of language models", function()
  -- Value and all gradients of a chain of them, as one flat list.
  local function run(input, weight, bias)
    local tape <close> = core.tape()
    local x = input()
    local h = core.rms_norm(core.matmul(x, weight), core.columns(bias, 0, 24), 1e-5)
    h = core.silu(core.layer_norm(h, core.columns(bias, 2, 24), core.columns(bias, 5, 24), 1e-5))
    h = core.gelu_tanh(h * core.rotary(h, normal({400, 3}, 5), normal({400, 3}, 6)))
    local y = core.columns(h, 7, 9)
    weight.gradient:fill(0)
    bias.gradient:fill(0)
    tape:backward{core.sum(y * y)}
    return {y:tensor():totable(), weight.gradient:totable(), {bias.gradient:totable()}}
  end

  local function inputs()
    local x = core.zeros(400, 6)
    core.fill_sparse_features(x, {probability = 0.1, low = -1, high = 1}, {seed = 1})
    return x, normal({6, 24}, 2):parameter(), (normal({30}, 3) + 1):parameter()
  end

  it("give the same bits on 1 and 3 threads", function()
    local before, x, weight, bias = core.threads(), inputs()
    finally(function() core.threads(before) end)
    core.threads(1)
    local one = run(function() return x end, weight, bias)
    core.threads(3)
    assert.same(one, run(function() return x end, weight, bias))
  end)

  -- Compare results, each relative to its largest number.
  local function agree(expected, found, tolerance)
    for k, rows in ipairs(expected) do
      local largest, worst = 0, 0
      for i, row in ipairs(rows) do
        for j, value in ipairs(row) do
          largest, worst = math.max(largest, math.abs(value)), math.max(worst, math.abs(value - found[k][i][j]))
        end
      end
      assert.is_true(worst <= tolerance * largest, ("result %d: error %g of %g"):format(k, worst, largest))
    end
  end

  it("agree on all instruction sets", function()
    finally(function() core.instruction_set(best) end)
    local x, weight = normal({50, 37}, 1), normal({37}, 2)
    local all = {}
    for _, set in ipairs{"baseline", "avx2", "avx512"} do
      if pcall(core.instruction_set, set) then
        all[#all + 1] = {
          core.rms_norm(x, weight, 1e-5):totable(), core.layer_norm(x, weight, weight, 1e-5):totable(),
          core.silu(x * 5):totable(), core.gelu_tanh(x * 2):totable(),
          core.rotary(core.columns(x, 1, 36), normal({50, 6}, 3), normal({50, 6}, 4)):totable(),
        }
      end
    end
    for i = 2, #all do agree(all[1], all[i], 1e-6) end
  end)

  it("see compact rows as if they were full", function()
    local x, weight, bias = inputs()
    agree(run(function() return x end, weight, bias), run(function() return core.compact(x) end, weight, bias), 2e-5)
  end)

  it("refuse shapes and settings that do not fit, naming them", function()
    local function refused(pattern, f, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() f(table.unpack(arguments, 1, arguments.n)) end, pattern)
    end
    local x, w, ids = core.zeros(2, 4), core.zeros(4), core.tensor({0, 1, 2, 3}, "int32")
    refused("rms_norm: expected real %[..., n%] and weight %[n%], found %[2, 4%] and %[3%]",
      core.rms_norm, x, core.zeros(3), 1)
    refused("rms_norm: expected real", core.rms_norm, x, ids, 1)
    refused("layer_norm: expected real %[..., n%] and bias %[n%], found %[2, 4%] and %[2, 4%]",
      core.layer_norm, x, w, x, 1)
    for _, epsilon in ipairs{0, -1, nan, 1e-60, math.huge} do
      refused("rms_norm: expected an epsilon above 0", core.rms_norm, x, w, epsilon)
    end
    refused("expected a number", core.layer_norm, x, w, w)
    local tables = core.zeros(2, 2)
    refused("rotary: expected real x", core.rotary, x, tables, core.zeros(2, 1))
    refused("rotary: expected real x", core.rotary, x, w, w)
    refused("no dimension of positions", core.rotary, w, tables, tables)
    refused("more positions than the tables have: x %[2, 4%], tables %[1, 2%]", core.rotary, x, core.zeros(1, 2),
      core.zeros(1, 2))
    for _, n in ipairs{0, 3, 4} do
      local misfit = core.zeros(2, n)
      refused("columns are not whole heads", core.rotary, core.zeros(2, n == 4 and 4 or 5), misfit, misfit)
    end
  end)
end)
