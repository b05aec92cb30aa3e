--- Every operator of the core as cases for the specs: how to call it, and shapes that have an edge to them.
--
-- A case is {name, f(core, inputs...), shapes}. Shapes are of real inputs, drawn from N(0, 1); rows of 0, 1, and
-- around the chunk of 128, the gate's chunk of 256 and the vector widths 4, 8 and 16 are the edges.
local function int32(core, rows, below)
  local ids = {}
  for i = 1, rows do ids[i] = (i * 7) % below end
  return core.tensor(ids, "int32")
end

local edges = {0, 1, 3, 127, 128, 129, 257}
local cases = {}

local function case(name, f, ...)
  cases[#cases + 1] = {name = name, f = f, shapes = {...}}
end

-- Each case at all row counts; shapes made by functions of the row count.
local function rows(name, f, ...)
  local makers = {...}
  for _, n in ipairs(edges) do
    local shapes = {}
    for i, make in ipairs(makers) do shapes[i] = type(make) == "function" and make(n) or make end
    cases[#cases + 1] = {name = ("%s, %d rows"):format(name, n), f = f, shapes = shapes, rows = n}
  end
end

local function by(columns) return function(n) return {n, columns} end end

for _, name in ipairs{"relu", "gelu", "gelu_tanh", "silu", "absolute", "lower_leaky", "upper_leaky", "sum", "sum_rows",
  "sum_columns"} do
  rows(name, function(core, x) return core[name](x) end, by(5))
end
case("transpose", function(core, x) return core.transpose(x) end, {3, 5})
case("transpose of a transpose", function(core, x) return core.relu(core.transpose(core.transpose(x))) end, {3, 5})
case("reshape", function(core, x) return core.reshape(x, 5, 2, 3) end, {6, 5})
for _, exponent in ipairs{1, 1.5, 2, 3} do
  case("power " .. exponent, function(core, x) return core.power(core.absolute(x) + 0.5, exponent) end, {17, 3})
end
case("affine", function(core, x) return core.affine(x, -2, 3) end, {17, 3})
rows("add", function(core, a, b) return a + b + 1 end, by(3), by(3))
rows("subtract", function(core, a, b) return 1 - a - b end, by(3), by(3))
rows("multiply", function(core, a, b) return 2 * a * b / 3 end, by(3), by(3))
case("a value times itself", function(core, a) return a * a * a end, {4, 3})
rows("matmul", function(core, a, b) return core.matmul(a, b) end, by(5), {5, 4})
case("matmul, long reduction", function(core, a, b) return core.matmul(core.transpose(a), b) end, {600, 3}, {600, 2})
case("matmul, both transposed", function(core, a, b)
  return core.matmul(core.transpose(a), core.transpose(b))
end, {5, 7}, {4, 5})
case("matmul, wide", function(core, a, b) return core.matmul(a, b) end, {2, 3}, {3, 270})
case("matmul, nothing to sum", function(core, a, b) return core.matmul(a, b) end, {3, 0}, {0, 2})
case("matmul, three dimensions", function(core, a, b) return core.matmul(a, b) end, {2, 3, 4}, {4, 5})
rows("matmul over a residual stream", function(core, x, embedding, z, U, V) -- wide enough to be distributed
  return core.matmul(core.matmul(x, embedding) + core.matmul(z, U), V)
end, by(2), {2, 40}, by(3), {3, 40}, {40, 2})
case("matmul over a stream and what is no product", function(core, x, embedding, residual, V)
  return core.matmul(core.matmul(x, embedding) + residual + core.matmul(x, embedding), core.transpose(V))
end, {9, 1}, {1, 30}, {9, 30}, {1, 30})
rows("linear", function(core, x, w, b) return core.linear(x, w, b) end, by(3), {4, 3}, {4})
rows("add_bias", function(core, x, b) return core.add_bias(x, b) end, by(3), {3})
rows("columns", function(core, x) return core.columns(x, 1, 3) end, by(5))
case("columns, of three dimensions", function(core, x)
  return core.columns(x, 0, 2) * core.columns(x, 3, 2) - core.columns(x, 5, 2)
end, {2, 3, 7})
rows("rms_norm", function(core, x, w) return core.rms_norm(x, w, 0.1) end, by(3), {3})
rows("layer_norm", function(core, x, w, b) return core.layer_norm(x, w, b, 0.1) end, by(3), {3}, {3})
for _, n in ipairs{1, 8, 21} do
  case("rms_norm of " .. n, function(core, x, w) return core.rms_norm(x, w, 0.1) end, {2, 2, n}, {n})
  case("layer_norm of " .. n, function(core, x, w, b) return core.layer_norm(x, w, b, 0.1) end, {2, 2, n}, {n}, {n})
end
case("rms_norm of what is its weight too", function(core, x) return core.rms_norm(x, x, 1) end, {9})
case("layer_norm of what is its weight and bias too", function(core, x)
  return core.layer_norm(x, x, x, 1)
end, {9})
rows("rotary", function(core, x)
  local tables = core.normal({3, 1}, {seed = 5})
  return core.rotary(core.reshape(x, x.shape[1], 2, 2), tables, 1 - tables)
end, by(4))
case("rotary, two heads of six", function(core, x)
  return core.rotary(x, core.normal({4, 3}, {seed = 5}), core.normal({4, 3}, {seed = 6}))
end, {2, 3, 12})
case("rotary of one sequence, one pair to a head", function(core, x, y)
  return core.rotary(x, core.normal({200, 1}, {seed = 5}), core.normal({200, 1}, {seed = 6})) * y
end, {130, 6}, {130, 6})
rows("squared_error", function(core, a, b) return core.squared_error(a, b) end, by(3), by(3))
for _, n in ipairs{1, 127, 129} do
  case("softmax_kl, " .. n .. " rows", function(core, a, b) return core.softmax_kl(a, b) end, {n, 4}, {n, 4})
end

-- Logits h W as wide as a vocabulary, of which only parts are stored; W is made of few numbers, seen as stored or not.
local WIDE = 1030
local function unembed(core, h, w, transposed)
  local W = core.normal({2, WIDE}, {seed = 5, purpose = "spec"})
  if not transposed then return core.matmul(h, core.matmul(w, W)) end
  return core.matmul(h, core.transpose(core.matmul(core.transpose(W), w)))
end

local function labels(core, n, below)
  local list = {}
  for i = 1, n do list[i] = i % 5 == 0 and -1 or (i * 37) % below end
  return core.tensor(list, "int32")
end

for _, n in ipairs{1, 65} do
  for _, transposed in ipairs{false, true} do
    local kind = (", %d rows of a product%s"):format(n, transposed and ", transposed" or "")
    case("softmax_kl" .. kind, function(core, h, w)
      return core.softmax_kl(core.normal({n, WIDE}, {seed = 6, purpose = "spec"}), unembed(core, h, w, transposed))
    end, {n, 2}, {2, 2})
    case("cross_entropy" .. kind, function(core, h, w)
      return core.cross_entropy(unembed(core, h, w, transposed), labels(core, n, WIDE))
    end, {n, 2}, {2, 2})
  end
  case(("cross_entropy, %d rows"):format(n), function(core, x) return core.cross_entropy(x, labels(core, n, 19)) end,
    {n, 19})
end
case("cross_entropy, three dimensions", function(core, x)
  return core.cross_entropy(x, core.tensor({{0, 3, -1}, {2, -1, 1}}, "int32"))
end, {2, 3, 4})
for _, n in ipairs{0, 1, 9} do
  case("embedding, " .. n .. " ids", function(core, table) return core.embedding(int32(core, n, 6), table) end, {6, 3})
end
rows("gate_mlp", function(core, ...) return core.gate_mlp(...) end, by(3), {3, 4}, {3, 4}, {3, 4}, {3})
case("gate_mlp, one neuron, 17 subcomponents", function(core, ...) return core.gate_mlp(...) end,
  {5, 17}, {17, 1}, {17, 1}, {17, 1}, {17})
rows("gate_linear", function(core, ...) return core.gate_linear(...) end, by(3), {3}, {3})
rows("stochastic_mask", function(core, h, g) return core.stochastic_mask(h, g, {seed = 3}) end, by(6), by(6))
rows("given_mask", function(core, h, g)
  return core.stochastic_mask(h, g, core.uniform(h.shape, {seed = 4}))
end, by(6), by(6))
for _, length in ipairs{0, 1, 3, 63, 64, 65, 130} do -- blocks have 64 rows
  case("attention, length " .. length, function(core, q, k, v)
    return core.attention(q, k, v, 2, 0.7)
  end, {1, length, 2}, {1, length, 1}, {1, length, 1})
end
case("attention, grouped queries", function(core, q, k, v)
  return core.attention(q, k, v, 6, 0.5)
end, {2, 7, 18}, {2, 7, 6}, {2, 7, 6})
for _, window in ipairs{1, 2, 5, 18, 19, 100} do
  case("attention, window " .. window, function(core, q, k, v)
    return core.attention(q, k, v, 4, 0.5, window)
  end, {2, 19, 8}, {2, 19, 4}, {2, 19, 4})
end
case("attention, window over blocks", function(core, q, k, v)
  return core.attention(q, k, v, 1, 1, 70)
end, {1, 150, 1}, {1, 150, 1}, {1, 150, 1})
case("attention of a value to itself", function(core, x) return core.attention(x, x, x, 2, 1) end, {2, 5, 4})
case("attention, no batch", function(core, q, k, v) return core.attention(q, k, v, 1, 1) end,
  {0, 3, 2}, {0, 3, 2}, {0, 3, 2})

return cases
