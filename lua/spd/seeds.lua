--- One decomposition with several seeds: a run for each, and a Markdown table of what they found.
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local interrupts = require "spd.interrupts"
local metrics = require "spd.metrics"
local run_module = require "spd.run"
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

--- seeds.run{config = path, overrides =, seed =, folder =, script = [, threads =]}
-- Start the decomposition script in a process of its own, or resume it where the folder holds an unfinished run.
function seeds.run(settings)
  local seed = "seed=" .. settings.seed
  local overrides = table.move(settings.overrides, 1, #settings.overrides, 1, {})
  overrides[#overrides + 1] = seed
  local words = {posix.executable(), settings.script}
  if posix.is_file(settings.folder .. "/final_config.yaml") then
    require_same(settings.folder, (config_module.load(settings.config, overrides)))
    table.move({"--resume", settings.folder}, 1, 2, #words + 1, words)
  else
    table.move({settings.config, "--out", settings.folder}, 1, 3, #words + 1, words)
    table.move(overrides, 1, #overrides, #words + 1, words)
  end
  if settings.threads then table.move({"--threads", tostring(settings.threads)}, 1, 2, #words + 1, words) end
  words[#words + 1] = "--quiet"
  local status, _, message = posix.run(words)
  if status == 130 or interrupts.pending() then
    interrupts.stop(("stopped in seed %d"):format(settings.seed), "the same command goes on")
  elseif status ~= 0 then
    errors.raise(status or 1, settings.folder, (tostring(message):gsub("^spdlua: ", ""):gsub("\n.*", "")))
  end
end

-- ---- results ------------------------------------------------------------------------------------

--- seeds.row(directory) -> {seed =, solved =, names =, alive =, errors =, mmcs =, ml2r =}
-- The result of a finished run, and whether it is the known solution of the matrices that were decomposed (see
-- metrics.misses).
function seeds.row(directory)
  local run = run_module.open(directory)
  local summary = run:summary()
  if not summary then errors.raise(2, directory, "is not finished") end
  local kind = config_module.load(run:config_path()).task_config.task_name
  local solution = target.kind(kind).solution(
    config_module.load_target(directory .. "/target/target_config.yaml", kind))
  local row = {
    seed = summary.seed, solved = #metrics.misses(solution, summary) == 0, names = {}, alive = summary.n_alive,
    errors = summary.target_ci_error, mmcs = summary.mmcs, ml2r = summary.ml2r,
  }
  for name in pairs(solution) do
    if row.alive[name] then row.names[#row.names + 1] = name end
  end
  table.sort(row.names)
  return row
end

local function join(names, values)
  local list = {}
  for i, name in ipairs(names) do list[i] = tostring(values[name]) end
  return table.concat(list, " / ")
end

local function score(number) return number and ("%.4f"):format(number) or "-" end

--- seeds.table(rows) -> text
-- A Markdown table, a row per seed, and below it how many are solved and their mean MMCS and ML2R.
function seeds.table(rows)
  local lines = {
    "| seed | solved | live subcomponents | target CI error | MMCS | ML2R |",
    "| ---: | :---: | :---: | :---: | ---: | ---: |",
  }
  local solved, mmcs, ml2r = 0, {}, {}
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("| %d | %s | %s | %s | %s | %s |"):format(row.seed, row.solved and "yes" or "no",
      join(row.names, row.alive), join(row.names, row.errors), score(row.mmcs), score(row.ml2r))
    if row.solved then
      solved, mmcs[#mmcs + 1], ml2r[#ml2r + 1] = solved + 1, row.mmcs, row.ml2r
    end
  end
  local names = #rows > 0 and table.concat(rows[1].names, ", ") or ""
  lines[#lines + 1] = ""
  local means = #mmcs > 0 and ("; over those, MMCS %.4f and ML2R %.4f"):format(metrics.mean(mmcs),
    metrics.mean(ml2r)) or ""
  lines[#lines + 1] = ("%d of %d solved%s. Matrices: %s."):format(solved, #rows, means, names)
  return table.concat(lines, "\n")
end

return seeds
