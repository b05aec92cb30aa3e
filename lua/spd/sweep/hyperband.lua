--- Hyperband: trials that are worse than the others so far are stopped early, by W&B's rule.
--
-- A history is the list of the values of the metric that a trial has logged, smaller is better. At certain lengths of
-- it, the bands, only the best of every eta trials go on.
local hyperband = {}

local MOST_BANDS = 100
local LONGEST = 2.0 ^ 53

--- hyperband.bands(early_terminate) -> bands
-- The lengths of histories at which trials are compared, ascending: max_iter / eta, max_iter / eta^2, ..., s of them
-- as far as they reach 1; or min_iter, min_iter * eta, ... The list also has eta and strict.
function hyperband.bands(early_terminate)
  local eta = early_terminate.eta
  local bands = {eta = eta, strict = early_terminate.strict}
  local band = (early_terminate.max_iter or early_terminate.min_iter) + 0.0
  if early_terminate.max_iter and early_terminate.s then
    for _ = 1, math.min(early_terminate.s, MOST_BANDS) do
      band = band / eta
      if band < 1 then break end
      table.insert(bands, 1, math.floor(band))
    end
    return bands
  end
  band = early_terminate.min_iter + 0.0
  while #bands < MOST_BANDS and band < LONGEST do
    bands[#bands + 1] = math.floor(band)
    band = band * eta
  end
  return bands
end

--- hyperband.history(logged, goal) -> history
-- The numbers that a trial has logged of its metric, without NaN and infinities; negated for the goal "maximize".
function hyperband.history(logged, goal)
  local history = {}
  for _, value in ipairs(logged) do
    if value == value and math.abs(value) ~= math.huge then
      history[#history + 1] = goal == "maximize" and -value or value
    end
  end
  return history
end

-- What a history may be at most at a band: of n histories that reach it, value int(n / eta) from the best, counted
-- from 0.
local function threshold(band, eta, histories)
  local reached = {}
  for _, history in pairs(histories) do
    if #history >= band then reached[#reached + 1] = history[band] end
  end
  if #reached == 0 then return math.huge end
  table.sort(reached)
  return reached[math.floor(1.0 / eta * #reached) + 1]
end

local function best(history)
  local least = math.huge
  for _, value in ipairs(history) do least = math.min(least, value) end
  return least
end

local function last_band(bands, history)
  local last
  for _, band in ipairs(bands) do
    if band > #history then break end
    last = band
  end
  return last
end

--- hyperband.stops(bands, histories, running) -> list of trials to stop
-- histories: trial -> history, of all trials, whatever became of them; running: list of the trials that run. A trial is
-- compared at the last band that it has reached: with its value there if the bands are strict, else with its best so
-- far.
function hyperband.stops(bands, histories, running)
  local stops = {}
  for _, trial in ipairs(running) do
    local history = histories[trial] or {}
    local band = last_band(bands, history)
    if band then
      local value = bands.strict and history[band] or best(history)
      if value > threshold(band, bands.eta, histories) then stops[#stops + 1] = trial end
    end
  end
  return stops
end

return hyperband
