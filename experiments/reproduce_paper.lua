--- Reproduce the paper's toy models, and write its results beside the measured ones.
--
--     spdlua experiments/reproduce_paper.lua [--only CASE,...] [--seeds 0,1,...] [--fraction F] [--jobs N]
--
-- Each run is a folder DIR/CASE/seed_N. Runs that are finished are kept and others resumed, so the same command goes on
-- where it was stopped. DIR/reproduction.json records the results, those of removed run folders too;
-- DIR/reproduction.md shows them. Work from the project's folder, where configs/ is.
local cli = require "spd.cli"
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local interrupts = require "spd.interrupts"
local processes = require "spd.processes"
local reproduction = require "spd.reproduction"
local seeds = require "spd.seeds"
local posix = core.posix

local options = cli.parse(arg, {
  script = "experiments/reproduce_paper.lua",
  summary = "Train, decompose and score the paper's seven toy models, and write a table of the results.",
  options = {
    {name = "only", value = "CASE,...", kind = "list", help = "some of the cases (default: all, in the table's order)"},
    {name = "seeds", value = "A,B-C", kind = "list", help = "the seeds of each case (default: 0-9, 0-2, or 0)"},
    {name = "fraction", value = "F", help = "make only this fraction of the paper's steps"},
    {name = "jobs", value = "N", kind = "count", least = 1, most = 256, help = "runs at the same time (default: 1)"},
    {name = "out", value = "DIR", help = "the folder for runs and table (default: out/reproduction)"},
    {name = "report", help = "run nothing: write the table, with unfinished runs as they are"},
    cli.threads,
    {name = "quiet", help = "print the table only"},
  },
})
if not options then return end

local out, jobs = options.out or "out/reproduction", options.jobs or 1
local scripts = arg[0]:gsub("[^/]*$", "")
local fraction = tonumber(options.fraction or 1)
if not fraction or fraction <= 0 or fraction > 1 then
  errors.raise(2, "--fraction", ("expected a number in (0, 1], found '%s'"):format(options.fraction))
end

local function say(text)
  if not options.quiet then io.stderr:write(text, "\n") end
end

-- ---- what there is to do ------------------------------------------------------------------------

local function overrides_of(config)
  if fraction == 1 then return {} end
  return {("steps=%d"):format(math.max(1, math.floor(fraction * (config_module.load(config)).steps + 0.5)))}
end

-- A run for each case and seed: {case =, seed =, folder =, config =, overrides =}
local work = {}
for _, case in ipairs(reproduction.find(options.only)) do
  local config = ("configs/%s.yaml"):format(case.config or case.name)
  if not posix.is_file(config) then errors.raise(2, config, "does not exist", "work from the project's folder") end
  for _, seed in ipairs(seeds.parse(options.seeds or {case.seeds})) do
    work[#work + 1] = {
      case = case, seed = seed, folder = ("%s/%s/seed_%d"):format(out, case.name, seed), config = config,
      overrides = overrides_of(config),
    }
  end
end

local JSON, MARKDOWN = "reproduction.json", "reproduction.md"

local function require_own_folder()
  local ours = {[JSON] = true, [MARKDOWN] = true}
  for _, case in ipairs(reproduction.cases) do ours[case.name] = true end
  for _, name in ipairs(posix.is_directory(out) and files.list(out) or {}) do
    if not ours[name] and not name:match("^reproduction.*%.tmp$") then
      errors.raise(2, out, "is not empty: it holds " .. name, "another --out")
    end
  end
end

-- ---- results ------------------------------------------------------------------------------------

require_own_folder()
local record = reproduction.read(out .. "/" .. JSON)

local function keep(job)
  reproduction.add(record, job.case.name, seeds.row(job.folder))
  reproduction.write(out .. "/" .. JSON, record)
  files.write(out .. "/" .. MARKDOWN, reproduction.document(record))
end

local function is_finished(job) return posix.is_file(job.folder .. "/summary.json") end

local function has_checkpoint(job)
  local folder = job.folder .. "/checkpoints"
  return posix.is_directory(folder) and #files.list(folder) > 0
end

-- ---- the runs -----------------------------------------------------------------------------------

local threads = options.threads or math.max(1, core.threads() // jobs)

local function command(i)
  local job = work[i]
  if is_finished(job) then
    keep(job)
    return nil
  end
  say(("%s, seed %d: %d of %d, in %s"):format(job.case.name, job.seed, i, #work, job.folder))
  return seeds.command{
    config = job.config, overrides = job.overrides, seed = job.seed, folder = job.folder, scripts = scripts,
    threads = threads,
  }
end

local function finished(i, status, message)
  local job = work[i]
  seeds.check_ended(job.folder, status, message)
  keep(job)
  local rows = record[job.case.name]
  for _, row in ipairs(rows) do
    if row.seed == job.seed then
      say(("%s, seed %d: %s"):format(job.case.name, job.seed, row.solved and "solved" or "missed"))
    end
  end
end

local guard <close> = interrupts.catch()
files.make_directory(out, true)
if options.report then
  for _, job in ipairs(work) do
    if is_finished(job) or has_checkpoint(job) then keep(job) end
  end
else
  processes.run(#work, jobs, command, finished)
  if interrupts.pending() then interrupts.stop("stopped", "the same command goes on") end
end
print(reproduction.table(record))
print("table: " .. out .. "/" .. MARKDOWN)
