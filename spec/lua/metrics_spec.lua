local metrics = require "spd.metrics"

local nan = 0 / 0

describe("metrics: statistics", function()
  it("mean, and deviation with n - 1", function()
    assert.equal(2.5, metrics.mean{1, 2, 3, 4})
    assert.is_near(math.sqrt(5 / 3), metrics.deviation{1, 2, 3, 4}, 1e-15)
    local one = metrics.deviation{3}
    assert.is_true(one ~= one)
  end)
end)

describe("metrics.regression", function()
  local function is_nan(x) return x ~= x end

  it("is the correlation, and the slope of y over x, not of x over y", function()
    -- 2 x + 3 and noise that x does not explain: sums of products 5, 10 and 21
    local correlation, slope = metrics.regression({1, 2, 3, 4}, {5.5, 6.5, 8.5, 11.5})
    assert.is_near(10 / math.sqrt(5 * 21), correlation, 1e-15)
    assert.is_near(2, slope, 1e-15)
  end)

  it("is negative for data that fall", function()
    local correlation, slope = metrics.regression({0, 1, 2}, {4, 3, -1})
    assert.is_near(-5 / math.sqrt(2 * 14), correlation, 1e-15)
    assert.is_near(-2.5, slope, 1e-15)
    correlation, slope = metrics.regression({3, 0, -1}, {-1.5, 0, 0.5})
    assert.is_near(-1, correlation, 1e-15)
    assert.is_near(-0.5, slope, 1e-15)
  end)

  it("is 0 for data that x does not explain", function()
    local correlation, slope = metrics.regression({-1, 0, 1}, {5, 2, 5})
    assert.equal(0, correlation)
    assert.equal(0, slope)
  end)

  it("is NaN where x does not vary; where y does not, the line is level and has no correlation", function()
    -- the mean of three times 0.1 is rounded to another number
    for _, value in ipairs{0, 2, 0.1} do
      local correlation, slope = metrics.regression({value, value, value}, {0.3, 0.2, 0.7})
      assert.is_true(is_nan(correlation) and is_nan(slope), ("x = %g: %g, %g"):format(value, correlation, slope))
      correlation, slope = metrics.regression({0.3, 0.2, 0.7}, {value, value, value})
      assert.is_true(is_nan(correlation) and slope == 0, ("y = %g: %g, %g"):format(value, correlation, slope))
    end
  end)

  it("is NaN with a NaN, and of nothing", function()
    for _, lists in ipairs{{{1, nan, 3}, {1, 2, 3}}, {{1, 2, 3}, {nan, 2, 3}}, {{}, {}}} do
      local correlation, slope = metrics.regression(lists[1], lists[2])
      assert.is_true(is_nan(correlation) and is_nan(slope))
    end
  end)
end)

describe("metrics: permutations", function()
  local M = {{0.9, 0.8, 0.1}, {0.9, 0.1, 0.2}}

  it("permutation maximizes the diagonal and appends the other columns in order", function()
    assert.same({2, 1, 3}, metrics.permutation(M))
    assert.same({4, 2, 1, 3}, metrics.permutation{{0, 0, 0, 1}, {0, 1, 0, 0}})
  end)

  it("greedy_permutation goes row by row", function()
    assert.same({1, 3, 2}, metrics.greedy_permutation(M))
  end)

  it("only the first C rows decide when there are more rows than columns", function()
    assert.same({1, 2}, metrics.permutation{{1, 0}, {0, 1}, {100, 0}})
    assert.same({1, 2}, metrics.greedy_permutation{{1, 0}, {0, 1}, {100, 0}})
  end)

  it("is greedy from 500 by 500 on", function()
    local big = {}
    for i = 1, 500 do
      big[i] = {}
      for j = 1, 500 do big[i][j] = 0 end
    end
    big[1][1], big[1][2], big[2][1] = 0.9, 0.8, 0.9
    assert.same(metrics.greedy_permutation(big), metrics.permutation(big))
    assert.equal(1, metrics.permutation(big)[1])
  end)

  it("mass_permutation sorts by column sum, equal ones in their order, NaN as 0", function()
    assert.same({2, 1, 3}, metrics.mass_permutation{{1, 2, 1}, {1, 1, 1}})
    assert.same({2, 1}, metrics.mass_permutation{{nan, 1}})
  end)

  it("permute_columns puts column permutation[j] at j and leaves its argument alone", function()
    assert.same({{0.1, 0.9}, {0.2, 0.9}}, metrics.permute_columns(M, {3, 1}))
    assert.equal(0.9, M[1][1])
  end)
end)

describe("metrics.identity_error", function()
  it("is 0 for a permuted identity within the tolerance", function()
    assert.equal(0, metrics.identity_error{{0.1, 0.95, 0}, {0.95, 0.05, 0.1}})
  end)

  it("counts entries off the diagonal and on it", function()
    assert.equal(1, metrics.identity_error{{1, 0, 0.2}, {0, 1, 0}})
    assert.equal(1, metrics.identity_error{{1, 0, 0}, {0, 0.85, 0}})
    assert.equal(2, metrics.identity_error{{1, 0, 0}, {0, 0, 0.85}, {0, 0.5, 0}})
  end)

  it("depends on the tolerance", function()
    local M = {{0.85, 0.15}, {0, 1}}
    assert.equal(2, metrics.identity_error(M, 0.1))
    assert.equal(0, metrics.identity_error(M, 0.2))
  end)

  it("is never 0 with a NaN", function()
    assert.is_true(metrics.identity_error{{nan, 0}, {0, 1}} > 0)
    assert.equal(1, metrics.identity_error{{1, nan}, {0, 1}})
    assert.equal(1, metrics.identity_error{{nan}})
  end)

  it("counts a row for which no column is left", function()
    assert.equal(1, metrics.identity_error{{1, 0}, {0, 1}, {0, 0}})
  end)
end)

describe("metrics.dense_error", function()
  it("is 0 when k columns have a strong entry and the others none", function()
    assert.equal(0, metrics.dense_error({{1, 0, 0.05}, {0, 0, 0.95}}, 2))
  end)

  it("counts strong entries that are missing in the k largest columns", function()
    assert.equal(1, metrics.dense_error({{1, 0, 0.8}, {0, 0, 0}}, 2))
    assert.equal(3, metrics.dense_error({{1, 0, 1}, {1, 0, 0.5}}, 2, 0.1, 3))
  end)

  it("counts entries above the tolerance in the other columns", function()
    assert.equal(2, metrics.dense_error({{1, 0.2, 1}, {1, 0.2, 1}}, 2))
    assert.equal(1, metrics.dense_error({{1, nan, 1}, {1, 0, 1}}, 2))
  end)

  it("counts columns that do not exist as missing", function()
    assert.equal(1, metrics.dense_error({{1}}, 2))
  end)
end)

describe("metrics.target_ci_error", function()
  local matrices = {linear1 = {{1, 0.5}, {0, 1}}, ["hidden_layers.0"] = {{1, 0}, {1, 0}}}

  it("gives the error of every matrix and their sum", function()
    local counts, total = metrics.target_ci_error(matrices, {
      linear1 = {kind = "identity", n = 2}, ["hidden_layers.0"] = {kind = "dense", k = 2},
    })
    assert.same({linear1 = 1, ["hidden_layers.0"] = 1}, counts)
    assert.equal(2, total)
    assert.equal("integer", math.type(total))
  end)

  it("leaves out a matrix without a solution and a solution without a matrix", function()
    local counts, total = metrics.target_ci_error(matrices, {other = {kind = "dense", k = 1}})
    assert.same({}, counts)
    assert.equal(0, total)
  end)

  it("refuses an identity over another number of rows, and an unknown kind", function()
    assert.error_matches(function()
      metrics.target_ci_error(matrices, {linear1 = {kind = "identity", n = 3}})
    end, "linear1 has 2 rows, its solution 3")
    assert.error_matches(function()
      metrics.target_ci_error(matrices, {linear1 = {kind = "block"}})
    end, "unknown kind 'block'")
  end)
end)

describe("metrics.mmcs_ml2r", function()
  -- two features, two hidden dimensions: w_1 = (3, 4), w_2 = (1, 0)
  local W = {{3, 1}, {4, 0}}

  it("is 1 and 1 for the weight's own columns", function()
    local scores = metrics.mmcs_ml2r(W, {{1, 0}, {0, 1}}, {{3, 4}, {1, 0}})
    assert.is_near(1, scores.mmcs, 1e-9)
    assert.is_near(1, scores.ml2r, 1e-9)
    assert.is_near(0, scores.mmcs_std, 1e-9)
    assert.equal(2, scores.n_components)
  end)

  it("knows sign, angle and length", function()
    -- feature 1: -1 * (-1.5, -2), half as long; feature 2: 2 * (3, 4), cosine 3/5, 10 times as long
    local scores = metrics.mmcs_ml2r(W, {{-1, 0}, {0, 2}}, {{-1.5, -2}, {3, 4}})
    assert.is_near((1 + 0.6) / 2, scores.mmcs, 1e-9)
    assert.is_near((0.5 + 10) / 2, scores.ml2r, 1e-9)
    -- of two values: |a - b| / sqrt(2)
    assert.is_near(0.4 / math.sqrt(2), scores.mmcs_std, 1e-9)
    assert.is_near(9.5 / math.sqrt(2), scores.ml2r_std, 1e-9)
  end)

  it("looks at subcomponents above 1 % of the largest norm; the _all scores at every one", function()
    -- subcomponent 2, tiny, points exactly along w_1; subcomponent 1 does not
    local V, U = {{1, 0.001}, {1, 0}}, {{1, 0}, {3, 4}}
    local scores = metrics.mmcs_ml2r(W, V, U)
    assert.equal(1, scores.n_components)
    assert.is_near((0.6 + 1) / 2, scores.mmcs, 1e-9)
    assert.is_near((1 / 5 + 1) / 2, scores.ml2r, 1e-9)
    assert.is_near(1, scores.mmcs_all, 1e-9)
    assert.is_near((0.001 + 1) / 2, scores.ml2r_all, 1e-9)
    assert.equal(2, metrics.mmcs_ml2r(W, V, U, 0.001).n_components)
  end)

  it("counts a subcomponent with 1.5 % of the largest norm, and none with 0.5 %", function()
    local function count(share)
      return metrics.mmcs_ml2r(W, {{2, share}, {0, 0}}, {{3, 4}, {6, 8}}).n_components
    end
    -- norms 2 x 5 and share x 10
    assert.equal(2, count(0.015))
    assert.equal(2, count(0.011))
    assert.equal(1, count(0.009))
    assert.equal(1, count(0.005))
  end)

  it("is NaN when all subcomponents are zero", function()
    local scores = metrics.mmcs_ml2r(W, {{0}, {0}}, {{0, 0}})
    assert.equal(0, scores.n_components)
    assert.is_true(scores.mmcs ~= scores.mmcs)
    assert.is_true(scores.ml2r ~= scores.ml2r)
  end)
end)
