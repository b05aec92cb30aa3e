--- The paper's toy models, and the table of its results beside measured ones.
--
-- Source of the paper's values: Bushnaq, Braun, Sharkey, "Stochastic Parameter Decomposition", arXiv 2506.20790, its
-- Table 1 and the figures of neuron contribution pairs.
local files = require "spd.files"
local json = require "spd.json"
local metrics = require "spd.metrics"
local core = require "spd.core"
local errors = require "spd.errors"
local seeds = require "spd.seeds"

local reproduction = {}

--- reproduction.cases: list of {name =, steps = of the paper, seeds = by default, paper = {QUANTITY = text}}
-- The settings of a case are configs/NAME.yaml (tms.yaml for tms_5-2-id).
reproduction.cases = {
  {name = "tms_5-2", steps = 40000, seeds = "0-9", paper = {mmcs = "1.000 ± 0.000", ml2r = "0.993 ± 0.002"}},
  {
    name = "tms_5-2-id", config = "tms", steps = 40000, seeds = "0-9",
    paper = {mmcs = "1.000 ± 0.000", ml2r = "0.992 ± 0.010"},
  },
  {name = "tms_40-10", steps = 40000, seeds = "0-2", paper = {mmcs = "1.000 ± 0.000", ml2r = "1.010 ± 0.007"}},
  {name = "tms_40-10-id", steps = 40000, seeds = "0-2", paper = {mmcs = "1.000 ± 0.000", ml2r = "1.031 ± 0.001"}},
  {name = "resid_mlp1", steps = 30000, seeds = "0-2", paper = {contribution_correlation = "1.000"}},
  {name = "resid_mlp2", steps = 50000, seeds = "0-2", paper = {contribution_correlation = "0.999"}},
  {name = "resid_mlp3", steps = 200000, seeds = "0", paper = {contribution_correlation = "0.999"}},
}

--- reproduction.find(names) -> list of cases
-- The cases of these names, in the order of reproduction.cases; all where names is nil.
function reproduction.find(names)
  if not names then return reproduction.cases end
  local wanted, list, known = {}, {}, {}
  for _, name in ipairs(names) do wanted[name] = true end
  for i, case in ipairs(reproduction.cases) do
    known[i] = case.name
    if wanted[case.name] then list[#list + 1] = case end
    wanted[case.name] = nil
  end
  local unknown = next(wanted)
  if unknown then
    errors.raise(2, "--only", ("'%s' is not a case"):format(unknown), "expected some of " .. table.concat(known, ", "))
  end
  return list
end

-- ---- the record ---------------------------------------------------------------------------------

local NEEDED = {
  seed = "number", steps = "number", of = "number", names = "table", alive = "table", errors = "table",
  wanted = "table", losses = "table",
}

-- Whether a decoded value is a list of rows that the tables can show.
local function are_rows(rows)
  local good, count = type(rows) == "table", 0
  for _, row in pairs(good and rows or {}) do
    count = count + 1
    for key, wanted in pairs(NEEDED) do good = good and type(row) == "table" and type(row[key]) == wanted end
    for _, name in ipairs(good and row.names or {}) do
      good = good and row.alive[name] ~= nil and row.errors[name] ~= nil and row.wanted[name] ~= nil
    end
    good = good and type(row.losses.total) == "number" and type(row.target_seed or 0) == "number"
  end
  return good and count == #rows
end

--- reproduction.read(path) -> record {case name -> list of rows}
-- The rows (see seeds.row) that were recorded before; an empty record where there is no file.
function reproduction.read(path)
  if not core.posix.is_file(path) then return {} end
  local ok, record = pcall(json.decode, files.read(path))
  local good = ok and type(record) == "table"
  for name, rows in pairs(good and record or {}) do good = good and type(name) == "string" and are_rows(rows) end
  if not good then errors.raise(2, path, "is not a record of runs", "remove it to start a new one") end
  return record
end

-- Rows of a case's own target, the one that its config trains, have no target_seed, and come first.
local function target_seed(row) return row.target_seed or -1 end

--- reproduction.add(record, name, row)
-- Put a row into the record, in the place of an earlier one of the same seed and target.
function reproduction.add(record, name, row)
  local rows = record[name] or {}
  record[name] = rows
  for i = #rows, 1, -1 do
    if rows[i].seed == row.seed and target_seed(rows[i]) == target_seed(row) then table.remove(rows, i) end
  end
  rows[#rows + 1] = row
  table.sort(rows, function(a, b)
    if target_seed(a) ~= target_seed(b) then return target_seed(a) < target_seed(b) end
    return a.seed < b.seed
  end)
end

--- reproduction.write(path, record)
function reproduction.write(path, record) files.write(path, json.encode_pretty(record)) end

-- ---- the table ----------------------------------------------------------------------------------

local function values_of(rows, get)
  local list = {}
  for _, row in ipairs(rows) do list[#list + 1] = get(row) end
  return list
end

-- "5 (9 of 10), 4 (1 of 10)": how often each number occurs, the most frequent first.
local function frequencies(values)
  local counts, list, words = {}, {}, {}
  for _, value in ipairs(values) do counts[value] = (counts[value] or 0) + 1 end
  for value in pairs(counts) do list[#list + 1] = value end
  table.sort(list, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  for i, value in ipairs(list) do
    words[i] = #values == 1 and tostring(value) or ("%s (%d of %d)"):format(value, counts[value], #values)
  end
  return table.concat(words, ", ")
end

local function extremes(values)
  return math.min(table.unpack(values)), math.max(table.unpack(values))
end

-- "1.000 ± 0.000 (0.998 to 1.000 over seeds)": the mean over seeds, of the deviation over features too.
local function spread(rows, key)
  local values, deviations = values_of(rows, function(row) return row[key] end), {}
  if #values == 0 then return nil end
  for _, row in ipairs(rows) do deviations[#deviations + 1] = row[key .. "_std"] end
  local text = ("%.3f"):format(metrics.mean(values))
  if #deviations > 0 then text = text .. (" ± %.3f"):format(metrics.mean(deviations)) end
  if #values == 1 then return text end
  return text .. (" (%.3f to %.3f over seeds)"):format(extremes(values))
end

local function steps_text(rows, case)
  local steps = frequencies(values_of(rows, function(row) return row.steps end))
  local shorter = false
  for _, row in ipairs(rows) do shorter = shorter or row.steps < case.steps end
  local others = values_of(rows, function(row) return row.target_seed end)
  return ("%d seed%s%s; steps %s%s"):format(#rows, #rows == 1 and "" or "s",
    #others > 0 and (", %d with another target"):format(#others) or "", steps,
    shorter and ", **fewer than the paper**" or "")
end

local function matrix_line(rows, name)
  local alive = frequencies(values_of(rows, function(row) return row.alive[name] end))
  local wrong = frequencies(values_of(rows, function(row) return row.errors[name] end))
  local wrong_0p2 = values_of(rows, function(row) return row.errors_0p2 and row.errors_0p2[name] end)
  local tolerant = #wrong_0p2 == #rows and ("; with tolerance 0.2: %s"):format(frequencies(wrong_0p2)) or ""
  return {
    ("%s: live subcomponents; target CI error"):format(name), ("%d; 0"):format(rows[1].wanted[name]),
    alive .. "; " .. wrong .. tolerant,
  }
end

local function mean_losses(rows)
  local names, words = {}, {}
  for name in pairs(rows[1].losses) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    words[i] = ("%s %.2e"):format(name, metrics.mean(values_of(rows, function(row) return row.losses[name] end)))
  end
  return table.concat(words, ", ")
end

local function time_text(rows)
  local times = values_of(rows, function(row)
    return row.ms_per_step and row.ms_per_step == row.ms_per_step and row.ms_per_step or nil
  end)
  if #times == 0 then return "not known" end
  table.sort(times)
  local median = times[(#times + 1) // 2]
  return ("%.3g ms per step, %.0f s per run"):format(median, median * rows[1].of / 1000)
end

-- The rows that are not finished, in lists of those that one command continues.
local function unfinished(rows)
  local lists, last = {}, nil
  for _, row in ipairs(rows) do
    if row.steps < row.of then
      if not last or target_seed(last[1]) ~= target_seed(row) then
        last = {}
        lists[#lists + 1] = last
      end
      last[#last + 1] = row
    end
  end
  return lists
end

-- The command that continues these rows. options: words of the command line, such as "--out DIR".
local function continuation(case, rows, options)
  local words = {
    "spdlua experiments/reproduce_paper.lua --only", case.name, "--seeds",
    table.concat(values_of(rows, function(row) return tostring(row.seed) end), ","),
  }
  if rows[1].target_seed then words[#words + 1] = ("--target-seed %d"):format(rows[1].target_seed) end
  if rows[1].of ~= case.steps then words[#words + 1] = ("--fraction %g"):format(rows[1].of / case.steps) end
  words[#words + 1] = options
  return "`" .. table.concat(words, " ") .. "`"
end

-- How the runs that are not finished go on; nil if all are.
local function continuation_line(case, rows, options)
  local commands = {}
  for i, list in ipairs(unfinished(rows)) do commands[i] = continuation(case, list, options) end
  return #commands > 0 and {"to be continued by", "", table.concat(commands, ", ")} or nil
end

local QUANTITIES = {
  {"mmcs", "MMCS"}, {"ml2r", "ML2R"}, {"contribution_correlation", "neuron contributions: correlation", "1"},
  {"contribution_slope", "neuron contributions: slope", "1"},
}

-- The lines {quantity, paper, measured} of a case.
local function lines_of(case, rows, options)
  local solved = #values_of(rows, function(row) return row.solved and row or nil end)
  local at_zero = #values_of(rows, function(row)
    for _, wrong in pairs(row.errors) do
      if wrong ~= 0 then return nil end
    end
    return row
  end)
  local lines = {
    {"runs", ("%d steps"):format(case.steps), steps_text(rows, case)},
    {"seeds that find the known solution", "", ("%d of %d"):format(solved, #rows)},
    {"seeds with target CI error 0 in all matrices", "", ("%d of %d"):format(at_zero, #rows)},
  }
  for _, quantity in ipairs(QUANTITIES) do
    local measured = spread(rows, quantity[1])
    if measured then
      lines[#lines + 1] = {quantity[2], case.paper[quantity[1]] or quantity[3], measured}
    end
  end
  for _, name in ipairs(rows[1].names) do lines[#lines + 1] = matrix_line(rows, name) end
  lines[#lines + 1] = {"last losses, mean over seeds", "", mean_losses(rows)}
  lines[#lines + 1] = {"time, median over seeds", "", time_text(rows)}
  lines[#lines + 1] = continuation_line(case, rows, options)
  return lines
end

--- reproduction.table(record [, options]) -> text
-- A Markdown table of all recorded cases: the paper's value, or the ground truth, beside what was measured. options:
-- what the command that continues a run has on its command line besides cases and seeds, such as "--out DIR".
function reproduction.table(record, options)
  local text = {"| case | quantity | paper, or ground truth | measured |", "| --- | --- | --- | --- |"}
  for _, case in ipairs(reproduction.cases) do
    local rows = record[case.name]
    for i, line in ipairs(rows and #rows > 0 and lines_of(case, rows, options) or {}) do
      text[#text + 1] = ("| %s | %s | %s | %s |"):format(i == 1 and case.name or "", table.unpack(line))
    end
  end
  return table.concat(text, "\n")
end

-- ---- each run -----------------------------------------------------------------------------------

local function number(format, value) return value and format:format(value) or "" end

--- reproduction.runs(record) -> text
-- A Markdown table of all recorded runs; numbers of several matrices in the order of their names.
function reproduction.runs(record)
  local text = {
    "| case | seed | target seed | steps | solved | live subcomponents | target CI error | MMCS | ML2R |" ..
      " correlation | slope | total loss | ms per step |",
    "| --- | ---: | ---: | ---: | :---: | :---: | :---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  }
  for _, case in ipairs(reproduction.cases) do
    for _, row in ipairs(record[case.name] or {}) do
      text[#text + 1] = ("| %s | %d | %s | %d | %s | %s | %s | %s | %s | %s | %s | %.3e | %s |"):format(case.name,
        row.seed, number("%d", row.target_seed), row.steps, row.solved and "yes" or "no", seeds.join(row, row.alive),
        seeds.join(row, row.errors), number("%.4f", row.mmcs), number("%.4f", row.ml2r),
        number("%.4f", row.contribution_correlation), number("%.4f", row.contribution_slope), row.losses.total,
        number("%.3g", row.ms_per_step))
    end
  end
  return table.concat(text, "\n")
end

local ABOUT = [[
# The paper's toy models, reproduced

Written by `spdlua experiments/reproduce_paper.lua`. The paper is Bushnaq, Braun and Sharkey, "Stochastic Parameter
Decomposition", [arXiv 2506.20790](https://arxiv.org/abs/2506.20790); its values are those of its Table 1 and of its
figures of neuron contributions. A case has the paper's settings, which are in `configs/CASE.yaml` (`configs/tms.yaml`
for tms_5-2-id), and a target trained with those in `configs/targets/`. Runs of a case, finished ones too, are made or
continued by

    spdlua experiments/reproduce_paper.lua --only CASE --seeds A-B

Seeds of a case share its target, as in the paper; `--target-seed M` decomposes a target that seed M trained.

The numbers are in `experiments/reproduction.json` too. Copied to `out/reproduction/`, it is what the script adds to.

A seed finds the known solution if every input matrix has one subcomponent for each feature (target CI error 0), and
every matrix as many live subcomponents as there should be. MMCS and ML2R are means over features ± their standard
deviation, averaged over seeds. Neuron contributions are compared between the target and, for each feature, the
subcomponent of mlp_in that contributes most. Of a target CI error, an importance on the diagonal that is a little
below 0.9 is no fault of a run: where one of several layers contributes little to a feature, the losses together are
smallest with such an importance. It sinks there slowly, long after the solution is found, so that a longer run has more
of these errors. With tolerance 0.2 they do not count. The time is that of the process that finished a run, other work
on the machine included.

]]

--- reproduction.document(record [, options]) -> text
-- All of it as a Markdown page; options as in reproduction.table.
function reproduction.document(record, options)
  return ABOUT .. reproduction.table(record, options) .. "\n\n## Each run\n\n" .. reproduction.runs(record) .. "\n"
end

return reproduction
