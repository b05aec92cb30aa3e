--- Assignment of rows to columns of a matrix (nested Lua tables, one table per row).
--
-- Used to bring a matrix of causal importances [inputs, C] as close to the identity as a permutation of its
-- subcomponents can.
local assignment = {}

-- A finite stand-in, so that sums of entries stay comparable: NaN counts as the worst entry there is.
local function finite(value)
  if value ~= value then return -1e100 end
  return math.max(-1e100, math.min(1e100, value))
end

-- Add one row to an optimal assignment of the rows before it: the shortest path, in reduced costs, from the
-- row to a free column (column 0 stands for the row itself). u, v: potentials of rows and columns; owner:
-- row of a column.
local function assign_row(row, cost, u, v, owner, columns)
  local distance, previous, done = {}, {}, {}
  for j = 0, columns do distance[j] = math.huge end
  owner[0] = row
  local j = 0
  repeat
    done[j] = true
    local i, nearest, step = owner[j], 0, math.huge
    local costs, ui = cost[i], u[i]
    for k = 1, columns do
      if not done[k] then
        local reduced = costs[k] - ui - v[k]
        if reduced < distance[k] then distance[k], previous[k] = reduced, j end
        if distance[k] < step then nearest, step = k, distance[k] end
      end
    end
    for k = 0, columns do
      if done[k] then
        u[owner[k]] = u[owner[k]] + step
        v[k] = v[k] - step
      else
        distance[k] = distance[k] - step
      end
    end
    j = nearest
  until not owner[j]
  while j ~= 0 do
    owner[j] = owner[previous[j]]
    j = previous[j]
  end
end

--- assignment.maximize(matrix) -> list of columns, one per row
-- The assignment of every row to a column of its own with the largest sum of entries (Hungarian algorithm
-- by shortest augmenting paths, O(rows^2 columns)). matrix: rows of equal length, at most as many rows as
-- columns. NaN counts as the worst entry.
function assignment.maximize(matrix)
  local rows = #matrix
  local columns = rows > 0 and #matrix[1] or 0
  assert(rows <= columns or rows == 0, "assignment.maximize: more rows than columns")
  local cost, u, v, owner = {}, {}, {}, {}
  for i = 1, rows do
    local costs = {}
    for j = 1, columns do costs[j] = -finite(matrix[i][j]) end
    cost[i], u[i] = costs, 0
  end
  for j = 0, columns do v[j] = 0 end
  for i = 1, rows do assign_row(i, cost, u, v, owner, columns) end
  local column_of = {}
  for j = 1, columns do
    if owner[j] then column_of[owner[j]] = j end
  end
  return column_of
end

--- assignment.greedy(matrix) -> list of columns, one per row
-- Row by row the column with the largest entry among those not taken yet, the first of equal ones. Of more
-- rows than columns the last ones get none.
function assignment.greedy(matrix)
  local column_of, taken = {}, {}
  local columns = matrix[1] and #matrix[1] or 0
  for i = 1, math.min(#matrix, columns) do
    local best, most
    for j = 1, columns do
      local value = finite(matrix[i][j])
      if not taken[j] and (not best or value > most) then best, most = j, value end
    end
    column_of[i], taken[best] = best, true
  end
  return column_of
end

return assignment
