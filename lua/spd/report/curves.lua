--- The curves of a training for a report: the numbers of metrics.jsonl, thinned so that no peak is lost.
local html_page = require "spd.html_page"

local curves = {}

local DIGITS = 5

-- By metric its steps and values, in the order of the steps.
local function series_of(rows)
  local by_name, names = {}, {}
  for _, row in ipairs(rows) do
    for name, value in pairs(math.type(row.step) == "integer" and row or {}) do
      if type(value) == "number" and name ~= "step" then
        if not by_name[name] then
          by_name[name] = {name = name, steps = {}, values = {}}
          names[#names + 1] = name
        end
        local series = by_name[name]
        series.steps[#series.steps + 1] = row.step
        series.values[#series.values + 1] = html_page.rounded(value, DIGITS)
      end
    end
  end
  table.sort(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = by_name[name] end
  return list
end

-- The places of the least and the largest of values[first .. last], in their order.
local function extremes(values, first, last)
  local least, most = first, first
  for i = first + 1, last do
    if values[i] < values[least] then least = i end
    if values[i] > values[most] then most = i end
  end
  return math.min(least, most), math.max(least, most)
end

--- curves.thin(series, most) -> series with at most `most` points (4 or more)
-- The first and the last point, and the smallest and the largest value of each of equal parts in between.
function curves.thin(series, most)
  local count = #series.values
  if count <= most then return series end
  local kept, parts = {1}, (most - 2) // 2
  for part = 0, parts - 1 do
    local first = 2 + (count - 2) * part // parts
    local low, high = extremes(series.values, first, 1 + (count - 2) * (part + 1) // parts)
    kept[#kept + 1] = low
    if high > low then kept[#kept + 1] = high end
  end
  kept[#kept + 1] = count
  local thin = {name = series.name, steps = {}, values = {}}
  for k, i in ipairs(kept) do thin.steps[k], thin.values[k] = series.steps[i], series.values[i] end
  return thin
end

local function same_list(a, b)
  if #a ~= #b then return false end
  for i, value in ipairs(a) do
    if value ~= b[i] then return false end
  end
  return true
end

--- curves.data(rows, most) -> {thinned =, series = list of {name =, steps =, values =}}
-- What the rows of a metrics.jsonl say, each metric with at most `most` points; thinned: whether any lost some. Steps
-- that are those of the series before are left out.
function curves.data(rows, most)
  local list, thinned, before = {}, false, nil
  for i, series in ipairs(series_of(rows)) do
    local thin = curves.thin(series, most)
    thinned = thinned or thin ~= series
    list[i] = {name = thin.name, values = thin.values, steps = thin.steps}
    if before and same_list(before, thin.steps) then list[i].steps = nil else before = thin.steps end
  end
  return {thinned = thinned, series = list}
end

return curves
