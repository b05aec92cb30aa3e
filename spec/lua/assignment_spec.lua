local assignment = require "spd.assignment"

-- The largest sum over all assignments, by trying every one.
local function best_sum(matrix, row, taken)
  row, taken = row or 1, taken or {}
  if row > #matrix then return 0 end
  local best = -math.huge
  for column, value in ipairs(matrix[row]) do
    if not taken[column] then
      taken[column] = true
      best = math.max(best, value + best_sum(matrix, row + 1, taken))
      taken[column] = nil
    end
  end
  return best
end

local function sum_of(matrix, columns)
  local sum, seen = 0, {}
  for row, column in ipairs(columns) do
    assert.is_nil(seen[column], "a column was given twice")
    seen[column], sum = true, sum + matrix[row][column]
  end
  return sum
end

-- A small generator of its own, so that the matrices are the same everywhere.
local state = 1
local function random(limit)
  state = (state * 1103515245 + 12345) % 2147483648
  return state // 65536 % limit
end

local function random_matrix(rows, columns, limit)
  local matrix = {}
  for i = 1, rows do
    matrix[i] = {}
    for j = 1, columns do matrix[i][j] = random(limit) / limit end
  end
  return matrix
end

describe("assignment.maximize", function()
  it("finds the sum that trying all assignments finds, with ties and without", function()
    for trial = 1, 200 do
      local rows = 1 + random(5)
      local matrix = random_matrix(rows, rows + random(3), trial % 2 == 0 and 3 or 10007)
      local columns = assignment.maximize(matrix)
      assert.equal(rows, #columns)
      assert.is_near(best_sum(matrix), sum_of(matrix, columns), 1e-12)
    end
  end)

  it("prefers the better sum to the better first row", function()
    assert.same({2, 1}, assignment.maximize{{0.9, 0.8}, {0.9, 0.1}})
  end)

  it("takes negative entries, and NaN as the worst one", function()
    assert.same({2, 1}, assignment.maximize{{-5, -1}, {-1, -5}})
    assert.same({2, 1}, assignment.maximize{{0 / 0, 0}, {0, 0}})
  end)

  it("accepts no rows and one entry", function()
    assert.same({}, assignment.maximize{})
    assert.same({1}, assignment.maximize{{7}})
  end)

  it("refuses more rows than columns", function()
    assert.error_matches(function() assignment.maximize{{1}, {2}} end, "more rows than columns")
  end)

  it("takes less than 1.5 seconds for 102 by 500", function()
    local matrix = random_matrix(102, 500, 10007)
    local started = os.clock()
    assignment.maximize(matrix)
    assert.is_true(os.clock() - started < 1.5)
  end)
end)

describe("assignment.greedy", function()
  it("takes the highest free column row by row", function()
    assert.same({1, 2}, assignment.greedy{{0.9, 0.8}, {0.9, 0.1}})
    assert.same({3, 1, 2}, assignment.greedy{{0, 1, 2}, {3, 0, 9}, {1, 1, 1}})
  end)

  it("takes the first of equal columns", function()
    assert.same({1, 2}, assignment.greedy{{0, 0, 0}, {1, 1, 1}})
  end)

  it("leaves the last rows without a column when there are more rows", function()
    assert.same({2, 1}, assignment.greedy{{0, 1}, {0, 1}, {5, 5}})
  end)
end)
