--- Scores of a decomposition against a known ground truth, and small statistics, on plain nested Lua tables.
--
-- A matrix is a table of rows. Causal importances M [n, C] are those on the single-feature batch: row i is
-- the input in which only feature i is active.
local assignment = require "spd.assignment"

local metrics = {}

-- ---- statistics ---------------------------------------------------------------------------------

--- metrics.mean(list) -> number; NaN for an empty list.
function metrics.mean(list)
  local sum = 0.0
  for _, value in ipairs(list) do sum = sum + value end
  return sum / #list
end

--- metrics.deviation(list) -> number
-- Sample standard deviation (n - 1 in the denominator); NaN for fewer than two values.
function metrics.deviation(list)
  local mean, squares = metrics.mean(list), 0.0
  for _, value in ipairs(list) do squares = squares + (value - mean) ^ 2 end
  return math.sqrt(squares / (#list - 1))
end

-- Differences from the mean; exactly 0 for a list that does not vary, whose mean may be rounded.
local function centered(list)
  local differences = {}
  for i, value in ipairs(list) do differences[i] = value - list[1] end
  local mean = metrics.mean(differences)
  for i, value in ipairs(differences) do differences[i] = value - mean end
  return differences
end

--- metrics.regression(x, y) -> correlation, slope
-- Pearson's correlation of two lists of one length, NaN where one of them does not vary, and the slope of the
-- least-squares line of y over x, NaN where x does not vary.
function metrics.regression(x, y)
  local dx, dy = centered(x), centered(y)
  local xx, xy, yy = 0.0, 0.0, 0.0
  for i = 1, #dx do
    xx, xy, yy = xx + dx[i] * dx[i], xy + dx[i] * dy[i], yy + dy[i] * dy[i]
  end
  return xy / math.sqrt(xx * yy), xy / xx
end

-- ---- permutations of subcomponents --------------------------------------------------------------

local HUNGARIAN_BELOW = 500 -- rows or columns, whichever are fewer; above that the greedy one

-- The assigned columns of the first rows, then all others in ascending order.
local function complete(assigned, columns)
  local permutation, taken = {}, {}
  for i, column in ipairs(assigned) do permutation[i], taken[column] = column, true end
  for column = 1, columns do
    if not taken[column] then permutation[#permutation + 1] = column end
  end
  return permutation
end

local function first_rows(M, count)
  return table.move(M, 1, count, 1, {})
end

--- metrics.greedy_permutation(M) -> list of all C columns
-- Row by row the highest column not taken yet, then the others in ascending order. Figures use this one.
function metrics.greedy_permutation(M)
  return complete(assignment.greedy(M), #M[1])
end

--- metrics.permutation(M) -> list of all C columns
-- The order of columns that brings M [n, C] closest to the identity: the one with the largest sum of
-- diagonal entries (Hungarian algorithm), or the greedy one where both n and C are 500 or more.
function metrics.permutation(M)
  local size = math.min(#M, #M[1])
  if size >= HUNGARIAN_BELOW then return metrics.greedy_permutation(M) end
  return complete(assignment.maximize(first_rows(M, size)), #M[1])
end

--- metrics.mass_permutation(M) -> list of all C columns, by descending sum; equal ones in ascending order.
function metrics.mass_permutation(M)
  local order, mass = {}, {}
  for c = 1, #M[1] do
    order[c], mass[c] = c, 0.0
    -- NaN must not reach the comparison of the sort
    for _, row in ipairs(M) do mass[c] = mass[c] + (row[c] == row[c] and row[c] or 0.0) end
  end
  table.sort(order, function(a, b)
    if mass[a] ~= mass[b] then return mass[a] > mass[b] end
    return a < b
  end)
  return order
end

--- metrics.permute_columns(M, permutation) -> a new matrix whose column j is column permutation[j] of M.
function metrics.permute_columns(M, permutation)
  local permuted = {}
  for i, row in ipairs(M) do
    permuted[i] = {}
    for j, column in ipairs(permutation) do permuted[i][j] = row[column] end
  end
  return permuted
end

-- ---- distance from the target solution ----------------------------------------------------------
-- Here NaN is never what was wanted.

--- metrics.identity_error(M [, tolerance = 0.1]) -> integer
-- Entries of M [n, C] that keep it from being the identity up to a permutation of columns: those off the
-- diagonal above tolerance, and those on it below 1 - tolerance. A row for which no column is left (C < n)
-- counts as one.
function metrics.identity_error(M, tolerance)
  tolerance = tolerance or 0.1
  local permutation = metrics.permutation(M)
  local count = math.max(0, #M - #permutation)
  for i, row in ipairs(M) do
    for j, column in ipairs(permutation) do
      local value = row[column]
      local right = i == j and value >= 1 - tolerance or i ~= j and value <= tolerance
      if not right then count = count + 1 end
    end
  end
  return count
end

--- metrics.dense_error(M, k [, tolerance = 0.1 [, min_entries = 1]]) -> integer
-- Entries that keep M [n, C] from having k active columns and no others. The columns with the k largest
-- sums are to have min_entries entries of at least 1 - tolerance: each one missing counts; so does each
-- entry above tolerance in the other columns.
function metrics.dense_error(M, k, tolerance, min_entries)
  tolerance, min_entries = tolerance or 0.1, min_entries or 1
  local order = metrics.mass_permutation(M)
  local count = math.max(0, k - #order) * min_entries
  for rank, column in ipairs(order) do
    local strong, weak = 0, 0
    for _, row in ipairs(M) do
      if row[column] >= 1 - tolerance then strong = strong + 1 end
      if row[column] > tolerance or row[column] ~= row[column] then weak = weak + 1 end
    end
    count = count + (rank <= k and math.max(0, min_entries - strong) or rank > k and weak or 0)
  end
  return count
end

--- metrics.target_ci_error(matrices, solution [, tolerance = 0.1]) -> {name = integer}, total
-- How far causal importances are from a target solution. matrices: name -> M [n, C]; solution: name ->
-- {kind = "identity", n = rows} or {kind = "dense", k = columns, min_entries = 1}. Names that are in one of
-- the two only are left out. An identity over another number of rows than M has is an error.
function metrics.target_ci_error(matrices, solution, tolerance)
  local counts, total = {}, 0
  for name, wanted in pairs(solution) do
    local M = matrices[name]
    if M and wanted.kind == "identity" then
      assert(#M == wanted.n, ("target_ci_error: %s has %d rows, its solution %d"):format(name, #M, wanted.n))
      counts[name] = metrics.identity_error(M, tolerance)
    elseif M then
      assert(wanted.kind == "dense", "target_ci_error: unknown kind '" .. tostring(wanted.kind) .. "'")
      counts[name] = metrics.dense_error(M, wanted.k, tolerance, wanted.min_entries)
    end
    total = total + (counts[name] or 0)
  end
  return counts, total
end

--- metrics.misses(solution, scores) -> list of texts, empty if the solution was found
-- How scores {n_alive =, target_ci_error =} differ from a solution (see target_ci_error): a matrix whose solution is an
-- identity must have CI error 0, and every decomposed matrix as many live subcomponents as its solution.
function metrics.misses(solution, scores)
  local names, misses = {}, {}
  for name in pairs(solution) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local wanted, alive, wrong = solution[name], scores.n_alive[name], scores.target_ci_error[name]
    local count = wanted.kind == "identity" and wanted.n or wanted.k
    if alive and alive ~= count then
      misses[#misses + 1] = ("%s has %d live subcomponents, not %d"):format(name, alive, count)
    end
    if alive and wanted.kind == "identity" and wrong > 0 then
      misses[#misses + 1] = ("%s has %d wrong causal importance%s"):format(name, wrong, wrong == 1 and "" or "s")
    end
  end
  return misses
end

-- ---- agreement of subcomponents with the target's weight ----------------------------------------

local TINY = 1e-12 -- added to a norm that is divided by

local function norm(vector)
  local squares = 0.0
  for _, value in ipairs(vector) do squares = squares + value * value end
  return math.sqrt(squares)
end

local function column(rows, j)
  local values = {}
  for i, row in ipairs(rows) do values[i] = row[j] end
  return values
end

local function dot(a, b)
  local sum = 0.0
  for i = 1, #a do sum = sum + a[i] * b[i] end
  return sum
end

-- For each feature the subcomponent whose share of it points most like the target's column: cosine and norm
-- ratio.
local function best_matches(targets, V, U, U_norms, chosen)
  local cosines, ratios = {}, {}
  for f, w in ipairs(targets) do
    local w_norm, best, ratio = norm(w), -math.huge, 0 / 0
    for _, c in ipairs(chosen) do
      local share = math.abs(V[f][c]) * U_norms[c] -- norm of V[f, c] U[c, :]
      local cosine = V[f][c] * dot(U[c], w) / ((share + TINY) * (w_norm + TINY))
      if cosine > best then best, ratio = cosine, share / w_norm end
    end
    cosines[f], ratios[f] = #chosen > 0 and best or 0 / 0, ratio
  end
  return cosines, ratios
end

--- metrics.mmcs_ml2r(W, V, U [, threshold = 0.01]) -> table
-- Mean maximum cosine similarity and mean norm ratio of subcomponents V [n_features, C], U [C, n_hidden]
-- with the columns of the target's weight W [n_hidden, n_features]. Of feature f the subcomponent c
-- contributes V[f, c] U[c, :]. The result has mmcs, mmcs_std, ml2r, ml2r_std over the subcomponents whose
-- matrix norm |V_c| |U_c| exceeds threshold times the largest, the number of those as n_components, and
-- mmcs_all, mmcs_all_std, ml2r_all, ml2r_all_std over all. Standard deviations are over features, with n -
-- 1. Without a subcomponent to look at they are NaN.
function metrics.mmcs_ml2r(W, V, U, threshold)
  local targets, U_norms, norms, largest = {}, {}, {}, 0.0
  for f = 1, #V do targets[f] = column(W, f) end
  for c = 1, #U do
    U_norms[c] = norm(U[c])
    norms[c] = norm(column(V, c)) * U_norms[c]
    largest = math.max(largest, norms[c])
  end
  local all, large = {}, {}
  for c = 1, #U do
    all[c] = c
    if norms[c] > (threshold or 0.01) * largest then large[#large + 1] = c end
  end
  local scores = {n_components = #large}
  for suffix, chosen in pairs{[""] = large, ["_all"] = all} do
    local cosines, ratios = best_matches(targets, V, U, U_norms, chosen)
    scores["mmcs" .. suffix] = metrics.mean(cosines)
    scores["mmcs" .. suffix .. "_std"] = metrics.deviation(cosines)
    scores["ml2r" .. suffix] = metrics.mean(ratios)
    scores["ml2r" .. suffix .. "_std"] = metrics.deviation(ratios)
  end
  return scores
end

return metrics
