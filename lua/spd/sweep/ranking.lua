--- What a sweep has found: its trials from the best to the worst, and the metric against every swept parameter.
--
-- A trial is {number =, values = list of {key =, value =}, metric = number or nil, state =}; one that "failed" has no
-- rank, one that was "stopped" early has, by what it reached.
local aligned = require "spd.aligned"
local distributions = require "spd.sweep.distributions"
local figures = require "spd.figures"
local values_module = require "spd.sweep.values"

local ranking = {}

local OVER = {finished = true, stopped = true}

local function is_ranked(trial)
  local metric = trial.metric
  return OVER[trial.state] and type(metric) == "number" and metric == metric or false
end

local function is_constant(parameter) return (distributions.count(parameter) or 2) == 1 end

-- Parameters with more than one value; all if there is none.
local function swept(sweep)
  local list = {}
  for _, parameter in ipairs(sweep.parameters) do
    if not is_constant(parameter) then list[#list + 1] = parameter end
  end
  return #list > 0 and list or sweep.parameters
end

--- ranking.sorted(sweep, trials) -> list, count
-- The trials with a metric from the best to the worst, and how many these are; then the others by number.
function ranking.sorted(sweep, trials)
  local sign, count = sweep.metric and sweep.metric.goal == "maximize" and -1 or 1, 0
  local list = table.move(trials, 1, #trials, 1, {})
  for _, trial in ipairs(list) do count = count + (is_ranked(trial) and 1 or 0) end
  table.sort(list, function(a, b)
    local ranked, other = is_ranked(a), is_ranked(b)
    if ranked ~= other then return ranked end
    if ranked and a.metric ~= b.metric then return sign * a.metric < sign * b.metric end
    return a.number < b.number
  end)
  return list, count
end

-- ---- the table ----------------------------------------------------------------------------------

-- Values that were computed need not have all their digits.
local function cell(value)
  if math.type(value) == "float" then return ("%.6g"):format(value) end
  return (values_module.yaml(value):gsub("|", "/"))
end

local function by_key(trial)
  local values = {}
  for _, item in ipairs(trial.values) do values[item.key] = item.value end
  return values
end

-- Rows of cells as Markdown, every column as wide as its widest cell; those of numbers to the right.
local function markdown(rows, right)
  local widths, rule, lines = aligned.widths(rows), {}, {}
  for i, width in ipairs(widths) do
    widths[i] = math.max(3, width)
    rule[i] = ("-"):rep(widths[i] - 1) .. (right[i] and ":" or "-")
  end
  for r, row in ipairs(rows) do
    local cells = {}
    for i, text in ipairs(row) do cells[i] = aligned.padded(text, widths[i], right[i]) end
    lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
    if r == 1 then lines[2] = "| " .. table.concat(rule, " | ") .. " |" end
  end
  return table.concat(lines, "\n")
end

--- ranking.table(sweep, trials [, most]) -> text
-- A Markdown table of the trials, the best first, that is aligned: rank, number and state of a trial, its metric, and
-- the parameters with more than one value. most: so many rows at most; a line says how many are left out.
function ranking.table(sweep, trials, most)
  local parameters, sorted = swept(sweep), ranking.sorted(sweep, trials)
  local head, right, rows = {"rank", "trial", "state"}, {true, true, false}, {}
  if sweep.metric then head[#head + 1], right[#right + 1] = sweep.metric.name, true end
  for _, parameter in ipairs(parameters) do head[#head + 1], right[#right + 1] = parameter.key, true end
  rows[1] = head
  for i, trial in ipairs(sorted) do
    if most and i > most then break end
    local values = by_key(trial)
    local row = {is_ranked(trial) and sweep.metric and tostring(i) or "-", tostring(trial.number), trial.state}
    if sweep.metric then row[#row + 1] = trial.metric and cell(trial.metric) or "-" end
    for _, parameter in ipairs(parameters) do row[#row + 1] = cell(values[parameter.key]) end
    rows[#rows + 1] = row
  end
  local text = markdown(rows, right)
  local left = #sorted - (#rows - 1)
  return left > 0 and ("%s\n\n%d more trials"):format(text, left) or text
end

-- ---- figures ------------------------------------------------------------------------------------

-- The words of a list of values, numbers ascending before others, and the place of each value in them, from 0.
local function categories_of(parameter)
  local order, words, places = {}, {}, {}
  for i = 1, #parameter.choices do order[i] = i end
  table.sort(order, function(a, b)
    local x, y = parameter.choices[a].value, parameter.choices[b].value
    local number, other = type(x) == "number", type(y) == "number"
    if number ~= other then return number end
    if number and x ~= y then return x < y end
    return a < b
  end)
  for place, i in ipairs(order) do words[place], places[i] = cell(parameter.choices[i].value), place - 1 end
  return words, places
end

-- Where a value lies on the axis of a parameter; NaN if it is none of its values.
local function place_of(parameter, value, places)
  if parameter.choices then return places[distributions.index(parameter, value)] or 0 / 0 end
  return type(value) == "number" and value + 0.0 or 0 / 0
end

local function subject_of(sweep, trials, parameter)
  local subject = {
    name = parameter.key, metric = sweep.metric.name, x = {}, y = {}, log_x = distributions.is_log(parameter),
    maximize = sweep.metric.goal == "maximize",
  }
  local places
  if parameter.choices then subject.categories, places = categories_of(parameter) end
  for _, trial in ipairs(trials) do
    if is_ranked(trial) then
      table.insert(subject.x, place_of(parameter, by_key(trial)[parameter.key], places))
      table.insert(subject.y, trial.metric)
    end
  end
  local without = #trials - #subject.x
  subject.note = without > 0 and ("%d of %d trials have no result"):format(without, #trials) or nil
  return subject
end

--- ranking.draw(sweep, trials, path) -> true, or nil and the reason
-- A figure for every parameter with more than one value: the metric against it. path(key) names its file. Nothing is
-- drawn while no trial has a metric.
function ranking.draw(sweep, trials, path)
  local _, count = ranking.sorted(sweep, trials)
  if not sweep.metric or count == 0 then return true end
  local problem
  for _, parameter in ipairs(swept(sweep)) do
    if not is_constant(parameter) then
      local done, reason = figures.swept_parameter(path(parameter.key), subject_of(sweep, trials, parameter))
      problem = problem or not done and reason or nil
    end
  end
  if problem then return nil, problem end
  return true
end

return ranking
