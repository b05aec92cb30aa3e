--- What several seeds of one decomposition found, as a Markdown table.
local config_module = require "spd.config"
local errors = require "spd.errors"
local metrics = require "spd.metrics"
local run_module = require "spd.run"
local target = require "spd.target"

local seeds = {}

-- A hidden layer of k dimensions should have k live subcomponents, a layer of n features n.
local function has_expected_size(solution, alive)
  return alive == (solution.kind == "identity" and solution.n or solution.k)
end

--- seeds.row(directory) -> {seed =, solved =, names =, alive =, errors =, mmcs =, ml2r =, seconds =}
-- The result of a finished run. It is solved if every matrix whose solution is an identity has target CI error 0, and
-- every matrix as many live subcomponents as its solution.
function seeds.row(directory)
  local run = run_module.open(directory)
  local summary = run:summary()
  if not summary then errors.raise(2, directory, "is not finished") end
  local config = config_module.load(run:config_path())
  local kind = config.task_config.task_name
  local solution = target.kind(kind).solution(
    config_module.load_target(directory .. "/target/target_config.yaml", kind))
  local row = {
    seed = summary.seed, solved = true, names = {}, alive = summary.n_alive, errors = summary.target_ci_error,
    mmcs = summary.mmcs, ml2r = summary.ml2r, seconds = summary.wall_s,
  }
  for name, wanted in pairs(solution) do
    row.names[#row.names + 1] = name
    local exact = wanted.kind ~= "identity" or row.errors[name] == 0
    row.solved = row.solved and exact and has_expected_size(wanted, row.alive[name])
  end
  table.sort(row.names)
  return row
end

local function join(names, values)
  local list = {}
  for i, name in ipairs(names) do list[i] = tostring(values[name]) end
  return table.concat(list, " / ")
end

--- seeds.table(rows) -> text
-- A Markdown table, a row per seed, and below it how many are solved and their mean MMCS and ML2R.
function seeds.table(rows)
  local lines = {
    "| seed | solved | live subcomponents | target CI error | MMCS | ML2R |",
    "| ---: | :---: | :---: | :---: | ---: | ---: |",
  }
  local mmcs, ml2r = {}, {}
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("| %d | %s | %s | %s | %.4f | %.4f |"):format(row.seed, row.solved and "yes" or "no",
      join(row.names, row.alive), join(row.names, row.errors), row.mmcs, row.ml2r)
    if row.solved then mmcs[#mmcs + 1], ml2r[#ml2r + 1] = row.mmcs, row.ml2r end
  end
  local names = #rows > 0 and table.concat(rows[1].names, ", ") or ""
  lines[#lines + 1] = ""
  lines[#lines + 1] = ("%d of %d solved; over those, MMCS %.4f and ML2R %.4f. Matrices: %s."):format(#mmcs, #rows,
    metrics.mean(mmcs), metrics.mean(ml2r), names)
  return table.concat(lines, "\n")
end

return seeds
