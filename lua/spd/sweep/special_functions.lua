--- Distribution functions of the normal and the beta distribution, and their inverses, to about 1e-12.
local special_functions = {}

local MOST_TERMS = 500

-- Solve f(x) = y for an increasing f between low and high, by halving.
local function invert(f, y, low, high)
  for _ = 1, 200 do
    local middle = 0.5 * (low + high)
    if middle == low or middle == high then break end
    if f(middle) < y then low = middle else high = middle end
  end
  return 0.5 * (low + high)
end

-- ---- normal -------------------------------------------------------------------------------------

--- special_functions.normal_density(x) -> density of N(0, 1)
function special_functions.normal_density(x) return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) end

-- P(X > x) for x above 0: a continued fraction far out, else one half less a power series.
local function upper_tail(x)
  local density = special_functions.normal_density(x)
  if x > 4 then
    local fraction = x
    for k = 60, 1, -1 do fraction = x + k / fraction end
    return density / fraction
  end
  local term, sum = x, x
  for k = 1, MOST_TERMS do
    term = term * x * x / (2 * k + 1)
    sum = sum + term
    if term < 1e-17 * sum then break end
  end
  return 0.5 - density * sum
end

--- special_functions.normal_cdf(x) -> P(X <= x) for X from N(0, 1)
function special_functions.normal_cdf(x)
  if x == 0 then return 0.5 end
  return x > 0 and 1 - upper_tail(x) or upper_tail(-x)
end

--- special_functions.normal_quantile(p) -> x with normal_cdf(x) = p, for p in (0, 1)
function special_functions.normal_quantile(p)
  if p > 0.5 then return -special_functions.normal_quantile(1 - p) end
  return invert(special_functions.normal_cdf, p, -40, 0)
end

-- ---- beta ---------------------------------------------------------------------------------------

-- log Gamma(x) for x above 0: Stirling's series from 12 on, below by Gamma(x) = Gamma(x + 1) / x.
local function log_gamma(x)
  local shift = 0.0
  while x < 12 do
    shift, x = shift - math.log(x), x + 1
  end
  local square = 1 / (x * x)
  local series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / x
  return shift + (x - 0.5) * math.log(x) - x + 0.5 * math.log(2 * math.pi) + series
end

-- The continued fraction of the incomplete beta function (Lentz's method); good for x below (a + 1) / (a + b + 2).
local function beta_fraction(x, a, b)
  local tiny = 1e-300
  local function away_from_zero(y) return math.abs(y) < tiny and tiny or y end
  local c, d = 1.0, 1 / away_from_zero(1 - (a + b) * x / (a + 1))
  local fraction = d
  for m = 1, MOST_TERMS do
    local even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    d, c = 1 / away_from_zero(1 + even * d), away_from_zero(1 + even / c)
    fraction = fraction * d * c
    local odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    d, c = 1 / away_from_zero(1 + odd * d), away_from_zero(1 + odd / c)
    fraction = fraction * d * c
    if math.abs(d * c - 1) < 1e-15 then break end
  end
  return fraction
end

--- special_functions.beta_cdf(x, a, b) -> P(X <= x) for X from the beta distribution
function special_functions.beta_cdf(x, a, b)
  if x <= 0 then return 0.0 elseif x >= 1 then return 1.0 end
  if x > (a + 1) / (a + b + 2) then return 1 - special_functions.beta_cdf(1 - x, b, a) end
  local front = a * math.log(x) + b * math.log(1 - x) + log_gamma(a + b) - log_gamma(a) - log_gamma(b)
  return math.exp(front) * beta_fraction(x, a, b) / a
end

--- special_functions.beta_quantile(p, a, b) -> x with beta_cdf(x, a, b) = p, for p in (0, 1)
function special_functions.beta_quantile(p, a, b)
  return invert(function(x) return special_functions.beta_cdf(x, a, b) end, p, 0, 1)
end

return special_functions
