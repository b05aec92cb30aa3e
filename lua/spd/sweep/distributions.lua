--- The distributions of swept parameters, with W&B's names and meanings.
--
-- A parameter is a table with its `distribution` and the numbers of that. Every distribution with more than one value
-- is a map from the unit interval: quantile(parameter, u) is the value below which the fraction u of all draws lies.
local special_functions = require "spd.sweep.special_functions"

local values = require "spd.sweep.values"

local distributions = {}

-- name -> {required = keys, optional = keys with defaults, quantile =, position =, count =, at =, log =}
local kinds = {}

local function fraction(x, low, high)
  if high == low then return 0.5 end
  return math.min(1.0, math.max(0.0, (x - low) / (high + 0.0 - low)))
end

local function mix(low, high, u) return low + (high + 0.0 - low) * u end -- floats, which do not overflow

-- ---- finite ones --------------------------------------------------------------------------------

kinds.constant = {
  required = {"value"}, count = function() return 1 end, at = function(p) return p.value end,
  quantile = function(p) return p.value end,
}

local function choice(p, i) return p.choices[i].value end

--- distributions.index(parameter, value) -> the place of a value in a list of values, from 1; nil if it is not there
function distributions.index(parameter, value)
  for i, one in ipairs(parameter.choices) do
    if values.equal(one.value, value) then return i end
  end
end

kinds.categorical = {
  required = {"values"}, count = function(p) return #p.choices end, at = choice,
  quantile = function(p, u) return choice(p, math.min(#p.choices, 1 + math.floor(u * #p.choices))) end,
  position = function(p, value) return (distributions.index(p, value) - 0.5) / #p.choices end,
}

kinds.categorical_w_probabilities = {
  required = {"values", "probabilities"},
  quantile = function(p, u)
    local sum, last = 0.0, 1
    for i, probability in ipairs(p.probabilities) do
      sum = sum + probability
      if probability > 0 then last = i end
      if u < sum then break end
    end
    return choice(p, last)
  end,
  position = function(p, value)
    local index, sum = distributions.index(p, value), 0.0
    for i = 1, index - 1 do sum = sum + p.probabilities[i] end
    return sum + 0.5 * p.probabilities[index]
  end,
}

kinds.int_uniform = {
  required = {"min", "max"}, count = function(p) return p.max - p.min + 1 end,
  at = function(p, i) return p.min + i - 1 end,
  quantile = function(p, u) return math.min(p.max, p.min + math.floor(u * (p.max - p.min + 1))) end,
  position = function(p, x) return fraction(x - p.min + 0.5, 0, p.max - p.min + 1) end,
}

-- ---- continuous ones ----------------------------------------------------------------------------

kinds.uniform = {
  required = {"min", "max"},
  quantile = function(p, u) return mix(p.min, p.max, u) end,
  position = function(p, x) return fraction(x, p.min, p.max) end,
}

-- exponents(p): the least and the largest logarithm of the values.
local function log_uniform(exponents)
  return {
    required = {"min", "max"}, log = true, exponents = exponents,
    quantile = function(p, u)
      local low, high = exponents(p)
      return math.exp(mix(low, high, u))
    end,
    position = function(p, x)
      local low, high = exponents(p)
      return x > 0 and fraction(math.log(x), low, high) or 0.0
    end,
  }
end

local function given_values(p) return math.log(p.min), math.log(p.max) end

kinds.log_uniform = log_uniform(function(p) return p.min, p.max end)
kinds.log_uniform_values = log_uniform(given_values)
kinds.inv_log_uniform = log_uniform(function(p) return -p.max, -p.min end) -- exp(-u) with u from min to max
kinds.inv_log_uniform_values = log_uniform(given_values)

kinds.normal = {
  optional = {mu = 0.0, sigma = 1.0},
  quantile = function(p, u) return p.mu + p.sigma * special_functions.normal_quantile(u) end,
  position = function(p, x) return special_functions.normal_cdf((x - p.mu) / p.sigma) end,
}

kinds.log_normal = {
  optional = {mu = 0.0, sigma = 1.0}, log = true,
  quantile = function(p, u) return math.exp(kinds.normal.quantile(p, u)) end,
  position = function(p, x) return x > 0 and kinds.normal.position(p, math.log(x)) or 0.0 end,
}

kinds.beta = {
  optional = {a = 1.0, b = 1.0},
  quantile = function(p, u) return special_functions.beta_quantile(u, p.a, p.b) end,
  position = function(p, x) return special_functions.beta_cdf(x, p.a, p.b) end,
}

-- ---- quantised ones -----------------------------------------------------------------------------

-- k times q: an integer for an integer q, else without the last digits, which are only rounding (3 * 0.1).
local function multiple(k, q)
  if math.type(q) == "integer" then return math.tointeger(k * q) or k * q end
  return tonumber(("%.12g"):format(k * q)) or k * q
end

local function quantised(base)
  local required = table.move(base.required or {}, 1, #(base.required or {}), 1, {})
  required[#required + 1] = "q"
  return {
    required = required, optional = base.optional, position = base.position, log = base.log,
    exponents = base.exponents,
    quantile = function(p, u) return multiple(math.floor(base.quantile(p, u) / p.q + 0.5), p.q) end,
  }
end

for _, name in ipairs{"uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta"} do
  kinds["q_" .. name] = quantised(kinds[name])
end

-- A grid has min, min + q, ... below max.
kinds.q_uniform.count = function(p) return math.max(1, math.ceil((p.max + 0.0 - p.min) / p.q - 1e-9)) end
kinds.q_uniform.at = function(p, i)
  local value = p.min + (i - 1) * p.q
  return math.type(value) == "integer" and value or tonumber(("%.12g"):format(value))
end

-- ---- what others need ---------------------------------------------------------------------------

--- distributions.names: a sorted list.
distributions.names = {}
for name in pairs(kinds) do table.insert(distributions.names, name) end
table.sort(distributions.names)

--- distributions.keys(name) -> required, defaults
-- The keys that a distribution must have, and those that it may have with their defaults.
function distributions.keys(name) return kinds[name].required or {}, kinds[name].optional or {} end

--- distributions.is_log(parameter) -> whether equal ratios of the values weigh the same
function distributions.is_log(parameter) return kinds[parameter.distribution].log or false end

--- distributions.exponents(parameter) -> least, largest
-- Logarithms of the least and the largest value; nothing if the distribution is not log-uniform.
function distributions.exponents(parameter)
  local exponents = kinds[parameter.distribution].exponents
  if exponents then return exponents(parameter) end
end

--- distributions.count(parameter) -> how many values a grid has of it; nil if it cannot be in a grid
function distributions.count(parameter)
  local count = kinds[parameter.distribution].count
  return count and count(parameter)
end

--- distributions.at(parameter, i) -> value i, from 1, in a grid
function distributions.at(parameter, i) return kinds[parameter.distribution].at(parameter, i) end

--- distributions.extremes(parameter) -> list of {value =}
-- Values that a config must accept if it is to accept all: those of a list, else the least and the largest; none where
-- there is no least and largest.
function distributions.extremes(parameter)
  local count = distributions.count(parameter)
  if parameter.choices then return parameter.choices end
  if parameter.distribution == "constant" or not parameter.min then return {} end
  if count then return {{value = distributions.at(parameter, 1)}, {value = distributions.at(parameter, count)}} end
  return {{value = distributions.quantile(parameter, 0.0)}, {value = distributions.quantile(parameter, 1.0)}}
end

--- distributions.quantile(parameter, u) -> value
-- The value at u in (0, 1) of the distribution: with u uniform, a draw from it.
function distributions.quantile(parameter, u) return kinds[parameter.distribution].quantile(parameter, u) end

--- distributions.position(parameter, value) -> number from 0 to 1
-- Where a value lies in the distribution: a u that quantile takes to it, or, where that rounds, nearby. Not for
-- constants.
function distributions.position(parameter, value)
  return kinds[parameter.distribution].position(parameter, value)
end

return distributions
