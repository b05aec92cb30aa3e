--- What the figures accept: nested tables or tensors, checked, and small measures of them.
local errors = require "spd.errors"

local tables = {}

local function plain(value)
  if type(value) == "userdata" or type(value) == "table" and value.totable then return value:totable() end
  return value
end

--- tables.refuse(what, where)
-- Raise that a figure cannot be drawn; where: the name of what is at fault.
function tables.refuse(what, where)
  errors.raise(1, tostring(where or "figure"), what)
end

--- tables.list(value, where) -> list of numbers
-- From a list or a one-dimensional tensor; empty ones are refused.
function tables.list(value, where)
  local list = plain(value)
  if type(list) ~= "table" then tables.refuse("expected a list of numbers, found " .. type(list), where) end
  if #list == 0 then tables.refuse("there is nothing to draw", where) end
  if type(list[1]) ~= "number" then tables.refuse("expected a list of numbers", where) end
  return list
end

--- tables.rows(value, where) -> rows of one length
-- From nested tables or a matrix tensor; empty ones are refused.
function tables.rows(value, where)
  local rows = plain(value)
  if type(rows) ~= "table" then tables.refuse("expected rows of numbers, found " .. type(rows), where) end
  local empty = #rows == 0 or type(rows[1]) == "table" and #rows[1] == 0
  if empty then tables.refuse("there is nothing to draw", where) end
  for _, row in ipairs(rows) do
    if type(row) ~= "table" or #row ~= #rows[1] then tables.refuse("expected rows of one length", where) end
  end
  return rows
end

--- tables.items(list) -> the list; an empty one is refused
function tables.items(list)
  if type(list) ~= "table" or #list == 0 then tables.refuse "there is nothing to draw" end
  return list
end

--- tables.shown_of(count, C) -> text that says how many of C subcomponents are shown; nil without a C
function tables.shown_of(count, C)
  return C and ("%d of %d subcomponents shown"):format(count, C)
end

--- tables.transpose(rows) -> rows
function tables.transpose(rows)
  local out = {}
  for j = 1, #rows[1] do
    out[j] = {}
    for i = 1, #rows do out[j][i] = rows[i][j] end
  end
  return out
end

--- tables.difference(a, b) -> rows a - b; of one shape, or refused
function tables.difference(a, b)
  if #a ~= #b or #a[1] ~= #b[1] then tables.refuse "expected matrices of one shape" end
  local out = {}
  for i, row in ipairs(a) do
    out[i] = {}
    for j, value in ipairs(row) do out[i][j] = value - b[i][j] end
  end
  return out
end

--- tables.finite(x) -> true if x is neither NaN nor infinite
function tables.finite(x)
  return x == x and x ~= math.huge and x ~= -math.huge
end

--- tables.range(lists) -> lowest and highest finite number of several lists; nil if there is none
function tables.range(lists)
  local low, high
  for _, list in ipairs(lists) do
    for _, x in ipairs(list) do
      if tables.finite(x) then low, high = math.min(low or x, x), math.max(high or x, x) end
    end
  end
  return low, high
end

--- tables.largest(matrices) -> number
-- The largest finite absolute entry of several matrices; 1 if all are 0 or none is finite.
function tables.largest(matrices)
  local largest = 0.0
  for _, rows in ipairs(matrices) do
    local low, high = tables.range(rows)
    if low then largest = math.max(largest, -low, high) end
  end
  return largest > 0 and largest or 1.0
end

-- The entry of largest absolute value in a block of rows; NaN only if nothing else is there.
local function strongest(rows, first_row, last_row, first, last)
  local best = 0 / 0
  for i = first_row, last_row do
    for j = first, last do
      local x = rows[i][j]
      if best ~= best or math.abs(x) > math.abs(best) then best = x end
    end
  end
  return best
end

--- tables.reduce(rows, most_rows, most_columns) -> rows, reduced
-- At most that many rows and columns, each entry the strongest of the block that it stands for; reduced:
-- whether anything was left out.
function tables.reduce(rows, most_rows, most_columns)
  local down, across = math.ceil(#rows / most_rows), math.ceil(#rows[1] / most_columns)
  if down == 1 and across == 1 then return rows, false end
  local out = {}
  for i = 1, math.ceil(#rows / down) do
    out[i] = {}
    for j = 1, math.ceil(#rows[1] / across) do
      out[i][j] = strongest(rows, (i - 1) * down + 1, math.min(i * down, #rows), (j - 1) * across + 1,
        math.min(j * across, #rows[1]))
    end
  end
  return out, true
end

return tables
