-- The distributions are those that W&B means by their names: quantiles, moments of draws, and the way back.
local distributions = require "spd.sweep.distributions"
local sampling = require "spd.sweep.sampling"
local special_functions = require "spd.sweep.special_functions"
local sweep_file = require "spec.support.sweep"

local function close(expected, found, tolerance)
  tolerance = tolerance or 1e-9
  assert.is_true(math.abs(expected - found) <= tolerance * math.max(1, math.abs(expected)),
    ("expected %.15g, found %.15g"):format(expected, found))
end

local function parameter_of(text) return sweep_file.with("  a: " .. text, "method: random").parameters[1] end

-- Draws of one parameter in the trials of a random search.
local function draws(text, count)
  local sampler, list = sampling.new(sweep_file.with("  a: " .. text, "method: random")), {}
  for n = 1, count do list[n] = sampler:values(n)[1].value end
  return list
end

local function moments(list, f)
  local mean, variance = 0.0, 0.0
  for _, x in ipairs(list) do mean = mean + f(x) / #list end
  for _, x in ipairs(list) do variance = variance + (f(x) - mean) ^ 2 / #list end
  return mean, variance
end

describe("special functions", function()
  it("are the normal distribution's", function()
    close(0.97500210485177952, special_functions.normal_cdf(1.96), 1e-12)
    close(0.5, special_functions.normal_cdf(0))
    close(1, special_functions.normal_cdf(-8) / 6.22096057427178e-16, 1e-9)
    close(1, special_functions.normal_cdf(-4.0001) / special_functions.normal_cdf(-3.9999), 2e-3)
    close(1.959963984540054, special_functions.normal_quantile(0.975), 1e-12)
    close(-1.959963984540054, special_functions.normal_quantile(0.025), 1e-12)
  end)

  it("are the beta distribution's", function()
    close(0.3483, special_functions.beta_cdf(0.3, 2, 3), 1e-12) -- P(at least 2 of 4) with p = 0.3
    close(1 - 0.7 ^ 7, special_functions.beta_cdf(0.3, 1, 7), 1e-12)
    close(2 / math.pi * math.asin(math.sqrt(0.2)), special_functions.beta_cdf(0.2, 0.5, 0.5), 1e-12)
    close(0.5, special_functions.beta_cdf(0.5, 300, 300), 1e-10)
    close(0.3, special_functions.beta_quantile(0.3483, 2, 3), 1e-12)
  end)
end)

describe("quantiles", function()
  local e = math.exp
  for text, expected in pairs{
    ["{min: 2.0, max: 6.0}"] = {2, 3, 4, 6},
    ["{min: 1, max: 4}"] = {1, 2, 3, 4},
    ["{distribution: log_uniform, min: -4, max: 0}"] = {e(-4), e(-3), e(-2), 1},
    ["{distribution: log_uniform_values, min: 1e-4, max: 1.0}"] = {1e-4, 1e-3, 1e-2, 1},
    ["{distribution: inv_log_uniform, min: 0, max: 4}"] = {e(-4), e(-3), e(-2), 1}, -- exp(-u), u from 0 to 4
    ["{distribution: inv_log_uniform_values, min: 1e-4, max: 1}"] = {1e-4, 1e-3, 1e-2, 1},
    ["{distribution: q_uniform, min: 0, max: 10, q: 4}"] = {0, 4, 4, 12},
    ["{distribution: q_uniform, min: 0, max: 1, q: 0.1}"] = {0, 0.3, 0.5, 1.0},
    ["{distribution: q_log_uniform, min: 0, max: 4, q: 2}"] = {2, 2, 8, 54}, -- 1, 2.7, 7.4, 54.6
    ["{distribution: q_log_uniform_values, min: 1, max: 10000, q: 5}"] = {0, 10, 100, 10000},
    ["{values: [a, b, c, d]}"] = {"a", "b", "c", "d"},
    ["{values: [a, b, c], probabilities: [0.2, 0, 0.8]}"] = {"a", "c", "c", "c"},
    ["{values: [a, b, c], probabilities: [0.5, 0.5, 0]}"] = {"a", "a", "b", "b"},
  } do
    it("of " .. text, function()
      local parameter = parameter_of(text)
      for i, u in ipairs{0.0, 0.25, 0.5, 1.0} do
        local value = distributions.quantile(parameter, u)
        if type(expected[i]) == "number" then close(expected[i], value, 1e-12) else assert.equal(expected[i], value) end
      end
    end)
  end

  it("of normal and beta distributions", function()
    local z = special_functions.normal_quantile(0.9)
    close(10 + 3 * z, distributions.quantile(parameter_of "{distribution: normal, mu: 10, sigma: 3}", 0.9))
    close(math.exp(1 + 0.5 * z), distributions.quantile(parameter_of
      "{distribution: log_normal, mu: 1, sigma: 0.5}", 0.9))
    assert.equal(14, distributions.quantile(parameter_of "{distribution: q_normal, mu: 10, sigma: 3, q: 2}", 0.9))
    close(special_functions.beta_quantile(0.9, 2, 5), distributions.quantile(parameter_of
      "{distribution: beta, a: 2, b: 5}", 0.9))
    assert.equal(0.5, distributions.quantile(parameter_of "{distribution: q_beta, a: 2, b: 5, q: 0.25}", 0.9))
    assert.equal(6, distributions.quantile(parameter_of "{distribution: q_log_normal, mu: 1, sigma: 0.5, q: 3}", 0.9))
  end)

  it("are integers for an integer q, and have no more digits than q", function()
    assert.equal("integer", math.type(distributions.quantile(parameter_of
      "{distribution: q_uniform, min: 0, max: 10, q: 4}", 0.5)))
    assert.equal("0.3", tostring(distributions.quantile(parameter_of
      "{distribution: q_uniform, min: 0, max: 1, q: 0.1}", 0.3)))
  end)
end)

describe("positions", function()
  for _, text in ipairs{
    "{min: 2.0, max: 6.0}", "{distribution: log_uniform, min: -4, max: 0}", "{distribution: normal, mu: 3}",
    "{distribution: inv_log_uniform, min: 0, max: 4}", "{distribution: log_normal, sigma: 2}",
    "{distribution: log_uniform_values, min: 1e-4, max: 1.0}", "{distribution: beta, a: 2, b: 0.7}",
  } do
    it("lead back from values of " .. text, function()
      local parameter = parameter_of(text)
      for _, u in ipairs{0.01, 0.3, 0.77, 0.999} do
        close(u, distributions.position(parameter, distributions.quantile(parameter, u)), 1e-9)
      end
    end)
  end

  for _, text in ipairs{
    "{min: 3, max: 9}", "{values: [1, x, null, [1, 2]]}", "{values: [1, 2, 3], probabilities: [0.1, 0.7, 0.2]}",
    "{distribution: q_uniform, min: 0, max: 10, q: 2}",
  } do
    it("lead to the same value again for " .. text, function()
      local parameter = parameter_of(text)
      for i = 1, 19 do
        local value = distributions.quantile(parameter, i / 20)
        assert.same(value, distributions.quantile(parameter, distributions.position(parameter, value)))
      end
    end)
  end

  it("are in the unit interval for values outside, and where all values are one", function()
    assert.equal(0, distributions.position(parameter_of "{min: 2.0, max: 6.0}", 1))
    assert.equal(0, distributions.position(parameter_of "{distribution: log_uniform, min: 0, max: 1}", -1))
    assert.equal(1, distributions.position(parameter_of "{distribution: log_uniform, min: 0, max: 1}", 100))
    assert.equal(0.5, distributions.position(parameter_of "{min: 2.0, max: 2.0}", 2))
  end)
end)

-- Mean and variance of 1500 draws are within four standard errors of those of the distribution.
describe("draws", function()
  local function itself(x) return x end
  for text, expected in pairs{
    ["{min: 2.0, max: 6.0}"] = {itself, 4, 16 / 12},
    ["{min: 1, max: 6}"] = {itself, 3.5, 35 / 12},
    ["{distribution: log_uniform_values, min: 1e-4, max: 1}"] = {math.log, math.log(1e-2), math.log(1e4) ^ 2 / 12},
    ["{distribution: inv_log_uniform, min: 0, max: 4}"] = {math.log, -2, 16 / 12},
    ["{distribution: normal, mu: -3, sigma: 2}"] = {itself, -3, 4},
    ["{distribution: log_normal, mu: -3, sigma: 2}"] = {math.log, -3, 4},
    ["{distribution: beta, a: 2, b: 3}"] = {itself, 0.4, 0.04},
    ["{distribution: q_normal, sigma: 3, q: 1}"] = {itself, 0, 9 + 1 / 12},
    ["{values: [1, 2, 3]}"] = {itself, 2, 2 / 3},
    ["{values: [0, 1, 2], probabilities: [0.7, 0.2, 0.1]}"] = {itself, 0.4, 0.44},
  } do
    it("from " .. text, function()
      local count = 1500
      local mean, variance = moments(draws(text, count), expected[1])
      assert.is_true(math.abs(mean - expected[2]) < 4 * math.sqrt(expected[3] / count), mean)
      assert.is_true(math.abs(variance / expected[3] - 1) < 0.15, variance)
    end)
  end

  it("of an integer range have every value, and both ends, equally often", function()
    local counts = {}
    for _, x in ipairs(draws("{min: -1, max: 2}", 2000)) do counts[x] = (counts[x] or 0) + 1 end
    for x = -1, 2 do assert.is_true(math.abs(counts[x] - 500) < 80, counts[x]) end
    counts[-1], counts[0], counts[1], counts[2] = nil, nil, nil, nil
    assert.same({}, counts)
  end)
end)
