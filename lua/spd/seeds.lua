--- One decomposition with several seeds: a run for each, and a Markdown table of what they found.
local analysis = require "spd.analysis"
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local experiment = require "spd.experiment"
local files = require "spd.files"
local interrupts = require "spd.interrupts"
local metrics = require "spd.metrics"
local run_module = require "spd.run"
local schema = require "spd.schema"
local target = require "spd.target"
local posix = core.posix

local seeds = {}

-- ---- running ------------------------------------------------------------------------------------

--- seeds.parse(words) -> list of integers
-- Words such as "0", "7" or "0-4", a range; each seed once.
function seeds.parse(words)
  local list, seen = {}, {}
  for _, word in ipairs(words) do
    local first, last = word:match("^(%d+)%-(%d+)$")
    if not first then first, last = word:match("^%d+$"), word:match("^%d+$") end
    first, last = math.tointeger(tonumber(first)), math.tointeger(tonumber(last))
    if not first or not last or first > last or last - first > 9999 or last >= 1 << 53 then
      errors.raise(2, "--seeds", ("expected integers or ranges such as 0-4, found '%s'"):format(word))
    end
    for seed = first, last do
      if not seen[seed] then list[#list + 1] = seed end
      seen[seed] = true
    end
  end
  return list
end

-- The run in the folder must have been started with the same settings.
local function require_same(folder, config)
  local old = config_module.format((config_module.load(folder .. "/final_config.yaml")))
  local new = config_module.format(config):gmatch("[^\n]*")
  for line in old:gmatch("[^\n]*") do
    local wanted = new()
    if line ~= wanted then
      errors.raise(2, folder, ("was started with '%s', not '%s'"):format(line:match("^%s*(.*)$"),
        tostring(wanted):match("^%s*(.*)$")), "another --out")
    end
  end
end

--- seeds.require_own_folder(folder)
-- Raise an error if a folder holds anything but runs seed_N.
function seeds.require_own_folder(folder)
  for _, name in ipairs(posix.is_directory(folder) and files.list(folder) or {}) do
    if not name:match("^seed_%d+$") then errors.raise(2, folder, "is not empty: it holds " .. name) end
  end
end

--- seeds.command{config = path, overrides =, folder =, scripts = folder [, seed =] [, threads =]} -> list of words
-- The command that starts a decomposition in a process of its own, or resumes it where the folder holds an unfinished
-- run with the same settings. scripts: where the decomposition scripts are.
function seeds.command(settings)
  local overrides = table.move(settings.overrides, 1, #settings.overrides, 1, {})
  if settings.seed then overrides[#overrides + 1] = "seed=" .. settings.seed end
  local config = config_module.load(settings.config, overrides)
  local task = config.task_config.task_name
  local script = schema.decomposition_scripts[task]
  if not script then
    errors.raise(2, settings.config .. ": task_config.task_name", ("no target model for '%s'"):format(task))
  end
  local words = {posix.executable(), settings.scripts .. script}
  if posix.is_file(settings.folder .. "/final_config.yaml") then
    require_same(settings.folder, config)
    table.move({"--resume", settings.folder}, 1, 2, #words + 1, words)
  else
    table.move({settings.config, "--out", settings.folder}, 1, 3, #words + 1, words)
    table.move(overrides, 1, #overrides, #words + 1, words)
  end
  if settings.threads then table.move({"--threads", tostring(settings.threads)}, 1, 2, #words + 1, words) end
  words[#words + 1] = "--quiet"
  return words
end

-- What a process said when it failed, in a line: not its warnings, and without the folder's name, which is said anyway.
local function reason_of(folder, status, messages)
  for line in messages:gmatch("[^\n]+") do
    local reason = line:match("^spdlua: (.*)") or line
    if not reason:find("^warning: ") then
      local start = folder .. ": "
      return reason:sub(1, #start) == start and reason:sub(#start + 1) or reason
    end
  end
  return status > 128 and ("ended by signal %d"):format(status - 128) or ("ended with status %d"):format(status)
end

--- seeds.check_ended(folder, status, message)
-- Raise what a process that ran seeds.command ended with, unless it did its work.
function seeds.check_ended(folder, status, message)
  if status == 130 or interrupts.pending() then
    interrupts.stop("stopped in " .. folder, "the same command goes on")
  elseif status ~= 0 then
    errors.raise(status == 2 and 2 or 1, folder, reason_of(folder, status, message))
  end
end

-- ---- results ------------------------------------------------------------------------------------

-- Of a run that is not finished: the scores of its latest checkpoint, and the losses last logged before it.
local function scores_so_far(directory)
  local subject, run, step = experiment.open(directory)
  local scores = analysis.score(subject)
  for _, logged in ipairs(run:metrics_rows()) do
    for key, value in pairs(logged) do
      if logged.step <= step and key:match("^loss/") then scores[key] = value end
    end
  end
  scores.steps, scores.seed = step, subject.config.seed
  return scores
end

local KEPT = {"mmcs", "mmcs_std", "ml2r", "ml2r_std", "contribution_correlation", "contribution_slope", "ms_per_step"}

--- seeds.row(directory) -> {seed =, steps =, of =, solved =, names =, alive =, errors =, errors_0p2 =, wanted =, ...}
-- The result of a run: the steps it has made of those of its config, and whether it is the known solution of the
-- matrices that were decomposed (see metrics.misses). By name of these: live subcomponents, target CI error, that with
-- tolerance 0.2 where the run has it, and how many should be live. losses: the last ones by name. Further those of
-- mmcs, mmcs_std, ml2r, ml2r_std, contribution_correlation, contribution_slope and ms_per_step that there are. A run
-- without summary and checkpoint is an error.
function seeds.row(directory)
  local run = run_module.open(directory)
  local config = config_module.load(run:config_path())
  local kind = config.task_config.task_name
  local scores = run:summary() or scores_so_far(directory)
  local solution = target.kind(kind).solution(
    (config_module.load_target(directory .. "/target/target_config.yaml", kind)))
  local row = {
    seed = scores.seed, steps = scores.steps, of = config.steps, names = {}, wanted = {}, losses = {},
    solved = #metrics.misses(solution, scores) == 0, alive = scores.n_alive, errors = scores.target_ci_error,
    errors_0p2 = scores.target_ci_error_0p2,
  }
  for name, one in pairs(solution) do
    if row.alive[name] then row.names[#row.names + 1], row.wanted[name] = name, one.n or one.k end
  end
  table.sort(row.names)
  for key, value in pairs(scores) do
    local loss = type(key) == "string" and key:match("^loss/(.*)")
    if loss then row.losses[loss] = value end
  end
  for _, key in ipairs(KEPT) do row[key] = scores[key] end
  return row
end

--- seeds.join(row, values) -> text
-- The values of a row's matrices, in the order of their names.
function seeds.join(row, values)
  local list = {}
  for i, name in ipairs(row.names) do list[i] = tostring(values[name]) end
  return table.concat(list, " / ")
end

local function score(number) return number and ("%.4f"):format(number) or "-" end

-- Column title -> key of a row; those that no row has are left out.
local SCORES = {
  {"MMCS", "mmcs"}, {"ML2R", "ml2r"}, {"correlation", "contribution_correlation"}, {"slope", "contribution_slope"},
}

local function scores_of(rows)
  local list = {}
  for _, one in ipairs(SCORES) do
    for _, row in ipairs(rows) do
      if row[one[2]] then
        list[#list + 1] = {title = one[1], key = one[2]}
        break
      end
    end
  end
  return list
end

local function cells(words) return "| " .. table.concat(words, " | ") .. " |" end

-- "9 of 10 solved; over those, MMCS 1.0000 and ML2R 0.9938. Matrices: linear1, linear2."
local function conclusion(rows, columns)
  local solved, means = {}, {}
  for _, row in ipairs(rows) do
    if row.solved then solved[#solved + 1] = row end
  end
  for i, column in ipairs(#solved > 0 and columns or {}) do
    local values = {}
    for k, row in ipairs(solved) do values[k] = row[column.key] end
    means[i] = ("%s %.4f"):format(column.title, metrics.mean(values))
  end
  local names = #rows > 0 and table.concat(rows[1].names, ", ") or ""
  return ("%d of %d solved%s. Matrices: %s."):format(#solved, #rows,
    #means > 0 and "; over those, " .. table.concat(means, " and ") or "", names)
end

--- seeds.table(rows) -> text
-- A Markdown table, a row per seed, and below it how many are solved and the means of their scores.
function seeds.table(rows)
  local columns = scores_of(rows)
  local head, line = {"seed", "solved", "live subcomponents", "target CI error"}, {"---:", ":---:", ":---:", ":---:"}
  for _, column in ipairs(columns) do head[#head + 1], line[#line + 1] = column.title, "---:" end
  local lines = {cells(head), cells(line)}
  for _, row in ipairs(rows) do
    local words = {
      tostring(row.seed), row.solved and "yes" or "no", seeds.join(row, row.alive), seeds.join(row, row.errors),
    }
    for _, column in ipairs(columns) do words[#words + 1] = score(row[column.key]) end
    lines[#lines + 1] = cells(words)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = conclusion(rows, columns)
  return table.concat(lines, "\n")
end

return seeds
