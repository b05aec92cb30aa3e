--- Reproduce the paper's toy models, and write its results beside the measured ones.
--
--     spdlua experiments/reproduce_paper.lua [--only CASE,...] [--seeds 0,1,...] [--target-seed N] [--fraction F]
--       [--jobs N]
--
-- Each run is a folder DIR/CASE/seed_N, or seed_N_target_M where its target is of another seed than the config's. Runs
-- that are finished are kept and others resumed, so the same command goes on where it was stopped.
-- DIR/reproduction.json records the results, those of removed run folders too; DIR/reproduction.md shows them. Work
-- from the project's folder, where configs/ is.
local cli = require "spd.cli"
local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local interrupts = require "spd.interrupts"
local processes = require "spd.processes"
local progress = require "spd.progress"
local reproduction = require "spd.reproduction"
local seeds = require "spd.seeds"
local target = require "spd.target"
local posix = core.posix

local options = cli.parse(arg, {
  script = "experiments/reproduce_paper.lua",
  summary = "Train, decompose and score the paper's seven toy models, and write a table of the results.",
  options = {
    {name = "only", value = "CASE,...", kind = "list", help = "some of the cases (default: all, in the table's order)"},
    {name = "seeds", value = "A,B-C", kind = "list", help = "the seeds of each case (default: 0-9, 0-2, or 0)"},
    {
      name = "target-seed", value = "N", kind = "count", least = 0,
      help = "decompose targets trained with this seed (default: that of the configs)",
    },
    {name = "fraction", value = "F", help = "make only this fraction of the paper's steps"},
    {name = "jobs", value = "N", kind = "count", least = 1, most = 256, help = "runs at the same time (default: 1)"},
    {name = "out", value = "DIR", help = "the folder for runs and table (default: out/reproduction)"},
    {name = "report", help = "run nothing: write the table, with unfinished runs as they are"},
    cli.threads,
    {name = "quiet", help = "print the table and where it is only"},
  },
})
if not options then return end

local out, jobs = options.out or "out/reproduction", options.jobs or 1
local fraction = tonumber(options.fraction or 1)
if not fraction or fraction <= 0 or fraction > 1 then
  errors.raise(2, "--fraction", ("expected a number in (0, 1], found '%s'"):format(options.fraction))
end

local target_seed = options["target-seed"]

local function say(text)
  if not options.quiet then io.stderr:write(text, "\n") end
end

-- ---- what there is to do ------------------------------------------------------------------------

-- What a case decomposes: {kind =, config = path, settings =, folder =}, and seed where it is not the config's.
local function target_of(config)
  local its_target = {
    kind = config.task_config.task_name, config = config.target_config,
    folder = config.pretrained_model_path:match("^(.*)/"),
  }
  its_target.settings = config_module.load_target(its_target.config, its_target.kind)
  if target_seed and its_target.settings.seed ~= target_seed then
    its_target.settings = config_module.load_target(its_target.config, its_target.kind, {"seed=" .. target_seed})
    its_target.folder, its_target.seed = ("%s_seed_%d"):format(its_target.folder, target_seed), target_seed
  end
  return its_target
end

local function overrides_of(config, its_target)
  local overrides = {}
  if fraction ~= 1 then
    overrides[1] = ("steps=%d"):format(math.max(1, math.floor(fraction * config.steps + 0.5)))
  end
  if its_target.seed then
    local weights = its_target.folder .. "/" .. target.weights_file(its_target.kind)
    table.move({"pretrained_model_path=" .. weights, "target_config=null"}, 1, 2, #overrides + 1, overrides)
  end
  return overrides
end

-- A run for each case and seed: {case =, seed =, folder =, config =, target =, overrides =}
local work = {}
for _, case in ipairs(reproduction.find(options.only)) do
  local config = ("configs/%s.yaml"):format(case.config or case.name)
  if not posix.is_file(config) then errors.raise(2, config, "does not exist", "work from the project's folder") end
  local settings = config_module.load(config)
  local its_target = target_of(settings)
  local ending = its_target.seed and ("_target_%d"):format(its_target.seed) or ""
  for _, seed in ipairs(seeds.parse(options.seeds or {case.seeds})) do
    work[#work + 1] = {
      case = case, seed = seed, folder = ("%s/%s/seed_%d%s"):format(out, case.name, seed, ending), config = config,
      target = its_target, overrides = overrides_of(settings, its_target),
    }
  end
end

local JSON, MARKDOWN, LOCK = "reproduction.json", "reproduction.md", "reproduction.lock"

local function require_own_folder()
  local ours = {[JSON] = true, [MARKDOWN] = true, [LOCK] = true}
  for _, case in ipairs(reproduction.cases) do ours[case.name] = true end
  for _, name in ipairs(posix.is_directory(out) and files.list(out) or {}) do
    if not ours[name] and not name:match("^reproduction.*%.tmp$") then
      errors.raise(2, out, "is not empty: it holds " .. name, "another --out")
    end
  end
end

-- The target of a case must be the one that its config trains. target_config: of the target that there is.
local function require_paper_target(job, target_config)
  if not posix.is_file(target_config) then return end
  if files.read(target_config) ~= config_module.format(job.target.settings) then
    errors.raise(2, target_config, "the target was not trained with the settings of " .. job.target.config,
      "remove it to train it anew")
  end
end

-- The target of another seed is trained here where there is none, since the case's config names that of its own.
local function train_target(job)
  local its_target = job.target
  local path = its_target.folder .. "/" .. target.weights_file(its_target.kind)
  if not its_target.seed or posix.is_file(path) then return end
  target.train(its_target.kind, its_target.settings, its_target.folder, function()
    return progress.new{title = "target", steps = its_target.settings.steps, quiet = options.quiet}
  end)
end

-- ---- results ------------------------------------------------------------------------------------

local record_path = out .. "/" .. JSON
local table_options = options.out and "--out " .. options.out or nil

-- Put a run's row, if it is given, into the record, which other processes may be writing too; and write the page.
local function write_record(name, row)
  local lock <close> = assert(posix.lock(out .. "/" .. LOCK))
  local record = reproduction.read(record_path)
  if name then reproduction.add(record, name, row) end
  reproduction.write(record_path, record)
  files.write(out .. "/" .. MARKDOWN, reproduction.document(record, table_options))
  return record
end

local function keep(job)
  require_paper_target(job, job.folder .. "/target/target_config.yaml")
  local row = seeds.row(job.folder)
  row.target_seed = job.target.seed
  write_record(job.case.name, row)
  return row
end

local function has_result(job)
  local checkpoints = job.folder .. "/checkpoints"
  if posix.is_file(job.folder .. "/summary.json") then return true end
  return posix.is_directory(checkpoints) and #files.list(checkpoints) > 0
end

-- ---- the runs -----------------------------------------------------------------------------------

local threads, failures = options.threads or math.max(1, core.threads() // jobs), {}

local function command(i)
  local job = work[i]
  local words = seeds.command{
    config = job.config, overrides = job.overrides, seed = job.seed, folder = job.folder, threads = threads,
    scripts = (arg[0]:gsub("[^/]*$", "")),
  }
  if posix.is_file(job.folder .. "/summary.json") then
    keep(job)
    return nil
  end
  require_paper_target(job, target.config_path(job.target.folder .. "/"))
  train_target(job)
  say(("%s, seed %d: %d of %d, in %s"):format(job.case.name, job.seed, i, #work, job.folder))
  return words
end

-- A run that fails does not keep the others from being made.
local function finished(i, status, message)
  local job = work[i]
  local ok, problem = pcall(seeds.check_ended, job.folder, status, message)
  if ok then
    say(("%s, seed %d: %s"):format(job.case.name, job.seed, keep(job).solved and "solved" or "missed"))
  elseif not errors.is(problem) or problem.status == 130 then
    error(problem, 0)
  else
    failures[#failures + 1] = problem.message
    say("spdlua: " .. problem.message)
  end
end

require_own_folder()
reproduction.read(record_path)
local guard <close> = interrupts.catch()
files.make_directory(out, true)
if options.report then
  for _, job in ipairs(work) do
    if interrupts.pending() then break end
    if has_result(job) then keep(job) end
  end
else
  processes.run(#work, jobs, command, finished)
end
if interrupts.pending() then interrupts.stop("stopped", "the same command goes on") end
print(reproduction.table(write_record(), table_options))
print("table: " .. out .. "/" .. MARKDOWN)
if #failures > 0 then
  errors.raise(1, out, ("%d of %d runs failed, the first: %s"):format(#failures, #work, failures[1]))
end
