--- Bayesian search: a Gaussian process of the metric says where an improvement is to be expected.
--
-- Every parameter is mapped to the unit interval by its distribution, so that a log-uniform one has a logarithmic
-- scale; different values of a list are all as far apart as the ends of an interval. The first trials are random. Then,
-- of random candidates and of some near the best trial, the one with the largest expected improvement is taken. Trials
-- that still run count as what the process predicts for them; those that failed or have no metric as the worst. Of more
-- than a hundred trials the process sees the fifty best and the latest others.
local core = require "spd.core"
local distributions = require "spd.sweep.distributions"
local gaussian_process = require "spd.sweep.gaussian_process"
local random = require "spd.sweep.random"
local special_functions = require "spd.sweep.special_functions"

local bayes = {}

local Bayes = {}
Bayes.__index = Bayes

local MOST_KEPT = 100 -- trials that the process sees: the better half of them the best, the others the latest
local MOST_RUNNING = 50
local ANYWHERE, NEAR_BEST = 300, 200 -- candidates
local STEPS = {0.2, 0.05, 0.0125} -- standard deviations of those near the best
local OTHER_CHOICE = 0.3 -- how often one of them takes another of a list of values
local EDGE = 1e-9
local PENDING = {running = true, interrupted = true}
local CUT = 2 -- costs further above the median than so many times what the best is below it are cut

-- Which coordinate of a point a parameter has, numbers before categories; and how many are numbers.
local function coordinates_of(parameters)
  local coordinates, count = {}, 0
  for i, parameter in ipairs(parameters) do
    if not parameter.choices then coordinates[i], count = count + 1, count + 1 end
  end
  local numeric = count
  for i, parameter in ipairs(parameters) do
    if parameter.choices then coordinates[i], count = count + 1, count + 1 end
  end
  return coordinates, numeric
end

--- bayes.new(sweep) -> sampler
-- See spd.sweep.sampling.
function bayes.new(sweep)
  local self = setmetatable({sweep = sweep, random = random.new(sweep), searched = {}}, Bayes)
  for _, parameter in ipairs(sweep.parameters) do
    if parameter.distribution ~= "constant" then table.insert(self.searched, parameter) end
  end
  self.coordinates, self.numeric = coordinates_of(self.searched)
  self.first = math.min(10, 2 + 2 * #self.searched)
  return self
end

--- sampler:count() -> the sweep's run_cap, or nil: there is no end
function Bayes:count() return self.sweep.run_cap end

-- ---- points -------------------------------------------------------------------------------------

-- Where a value lies: a number from 0 to 1, or the place in a list of values; nil if it is none of the parameter's.
local function coordinate(parameter, value)
  if parameter.choices then return distributions.index(parameter, value) end
  return type(value) == "number" and distributions.position(parameter, value) or nil
end

-- The point of a trial's values, and its places in the unit intervals; nil if they are not of this sweep.
local function point_of(self, list)
  local by_key, point, places = {}, {}, {}
  for _, item in ipairs(list) do by_key[item.key] = item.value end
  for i, parameter in ipairs(self.searched) do
    local at = coordinate(parameter, by_key[parameter.key])
    if not at then return nil end
    point[self.coordinates[i]] = at
    places[i] = distributions.position(parameter, by_key[parameter.key])
  end
  return point, places
end

-- The point at places in the unit intervals.
local function point_at(self, places)
  local point = {}
  for i, parameter in ipairs(self.searched) do
    point[self.coordinates[i]] = coordinate(parameter, distributions.quantile(parameter, places[i]))
  end
  return point
end

-- ---- what is known ------------------------------------------------------------------------------

local function is_measured(trial)
  local metric = trial.metric
  return trial.state ~= "failed" and type(metric) == "number" and metric == metric and math.abs(metric) ~= math.huge
end

-- Trials with points: those that are over, as {point =, places =, cost =, n =}, and those that are not, as points.
local function read_history(self, history)
  local over, running, worst = {}, {}, -math.huge
  local sign = self.sweep.metric.goal == "maximize" and -1 or 1
  for n, trial in ipairs(history) do
    local point, places = point_of(self, trial.values)
    if point and PENDING[trial.state] then
      if #running < MOST_RUNNING then running[#running + 1] = point end
    elseif point then
      local cost = is_measured(trial) and sign * trial.metric or nil
      over[#over + 1] = {point = point, places = places, cost = cost, n = n}
      worst = math.max(worst, cost or worst)
    end
  end
  for _, trial in ipairs(over) do trial.cost = trial.cost or worst end
  return over, running
end

local function by_cost(a, b)
  if a.cost ~= b.cost then return a.cost < b.cost end
  return a.n < b.n
end

-- At most MOST_KEPT trials, the best first.
local function keep(over)
  table.sort(over, by_cost)
  if #over <= MOST_KEPT then return over end
  local kept = table.move(over, 1, MOST_KEPT // 2, 1, {})
  local others = table.move(over, MOST_KEPT // 2 + 1, #over, 1, {})
  table.sort(others, function(a, b) return a.n > b.n end)
  table.move(others, 1, MOST_KEPT - #kept, #kept + 1, kept)
  table.sort(kept, by_cost)
  return kept
end

-- The costs of sorted trials for the process: those that are much worse than most are cut, so that a loss of 1e9 leaves
-- the differences between the good ones visible; then with mean 0 and variance 1.
local function scores_of(sorted)
  local best, median = sorted[1].cost, sorted[(#sorted + 1) // 2].cost
  local most = median + CUT * (median - best)
  local scores, mean, variance = {}, 0.0, 0.0
  for i, trial in ipairs(sorted) do
    scores[i] = math.min(trial.cost, most)
    mean = mean + scores[i] / #sorted
  end
  for _, score in ipairs(scores) do variance = variance + (score - mean) ^ 2 / #sorted end
  for i, score in ipairs(scores) do scores[i] = variance > 0 and (score - mean) / math.sqrt(variance) or 0.0 end
  return scores
end

-- ---- candidates ---------------------------------------------------------------------------------

local function draws(self, purpose, n, rows, fill)
  return fill({rows, #self.searched}, {purpose = random.purpose(self.sweep, purpose), step = n}):totable()
end

local function inside(place) return math.min(1 - EDGE, math.max(EDGE, place)) end

-- Lists of places in the unit intervals: anywhere, and near those of the best trial.
local function candidates(self, n, best)
  local list = draws(self, "anywhere", n, ANYWHERE, core.uniform)
  local other = draws(self, "other choice", n, NEAR_BEST, core.uniform)
  for k, steps in ipairs(draws(self, "near the best", n, NEAR_BEST, core.normal)) do
    local places = {}
    for i, parameter in ipairs(self.searched) do
      if not parameter.choices then
        places[i] = best[i] + STEPS[k % #STEPS + 1] * steps[i]
      else
        places[i] = other[k][i] < OTHER_CHOICE and other[k][i] / OTHER_CHOICE or best[i]
      end
    end
    list[#list + 1] = places
  end
  for _, places in ipairs(list) do
    for i, place in ipairs(places) do places[i] = inside(place) end
  end
  return list
end

local function expected_improvement(process, least, point)
  local mean, deviation = process:predict(point)
  if deviation < 1e-9 then return math.max(0.0, least - mean) end
  local z = (least - mean) / deviation
  return (least - mean) * special_functions.normal_cdf(z) + deviation * special_functions.normal_density(z)
end

local function values_at(self, places)
  local list, i = {}, 0
  for k, parameter in ipairs(self.sweep.parameters) do
    local value
    if parameter.distribution == "constant" then
      value = parameter.value
    else
      i = i + 1
      value = distributions.quantile(parameter, places[i])
    end
    list[k] = {key = parameter.key, value = value}
  end
  return list
end

--- sampler:values(n, history) -> list of {key =, value =}
function Bayes:values(n, history)
  local over, running = read_history(self, history)
  if #over < self.first then return self.random:values(n) end
  local kept, points = keep(over), {}
  for i, trial in ipairs(kept) do points[i] = trial.point end
  local process = gaussian_process.fit(points, scores_of(kept), self.numeric):with(running)
  local least, best, most = process:least(), nil, -1.0
  for _, places in ipairs(candidates(self, n, kept[1].places)) do
    local improvement = expected_improvement(process, least, point_at(self, places))
    if improvement > most then best, most = places, improvement end
  end
  return values_at(self, best)
end

return bayes
