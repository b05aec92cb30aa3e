--- What a run logged, as columns.
local aligned = require "spd.aligned"
local text = require "spd.opened_run.text"

local run_metrics = {}

local MOST_ROWS = 20 -- that are printed of a column

local function describe_all(self)
  local rows = {{"metric", "first", "lowest", "last"}}
  for _, name in ipairs(self.names) do
    local column, lowest = self[name], math.huge
    for _, value in ipairs(column) do lowest = math.min(lowest, value == value and value or math.huge) end
    rows[#rows + 1] = {name, text.number(column[1]), text.number(lowest), text.number(column[#column])}
  end
  local first = ("%d logged steps, %d to %d"):format(#self.step, self.step[1] or 0, self.step[#self.step] or 0)
  return first .. "\n" .. table.concat(aligned.lines(rows, {[2] = true, [3] = true, [4] = true}), "\n")
end

-- The rows of a column that are printed: all, or some at equal distances with the first and the last one.
local function describe_column(self)
  local meta = getmetatable(self)
  local rows, count = {{"step", meta.name}}, #self
  local shown = math.min(count, MOST_ROWS)
  for k = 1, shown do
    local i = shown == count and k or 1 + (k - 1) * (count - 1) // (shown - 1)
    rows[k + 1] = {tostring(self.steps[i]), text.number(self[i])}
  end
  local lines = aligned.lines(rows, {true, true})
  if shown < count then lines[#lines + 1] = ("(%d of %d rows)"):format(shown, count) end
  return table.concat(lines, "\n")
end

--- run_metrics.columns(rows) -> columns
-- From the rows of metrics.jsonl a list of numbers for each key, and step: list of the steps; NaN where a row does not
-- have the key. names: the keys, sorted. Printed as a table.
function run_metrics.columns(rows)
  local columns, is_key, names = {step = {}}, {}, {}
  for _, row in ipairs(rows) do
    for key, value in pairs(row) do
      if type(value) == "number" and key ~= "step" and key ~= "names" then is_key[key] = true end
    end
  end
  for key in pairs(is_key) do names[#names + 1], columns[key] = key, {} end
  table.sort(names)
  for _, row in ipairs(rows) do
    if math.type(row.step) == "integer" then
      table.insert(columns.step, row.step)
      for _, key in ipairs(names) do
        table.insert(columns[key], type(row[key]) == "number" and row[key] or 0 / 0)
      end
    end
  end
  columns.names = names
  return setmetatable(columns, {__tostring = describe_all})
end

--- run_metrics.column(columns, name) -> list of the numbers of a key, where there are some, with their steps as `steps`
-- Printed as a table.
function run_metrics.column(columns, name)
  local column = {steps = {}}
  for i, value in ipairs(columns[name]) do
    if value == value then
      column[#column + 1] = value
      table.insert(column.steps, columns.step[i])
    end
  end
  return setmetatable(column, {__tostring = describe_column, name = name})
end

return run_metrics
