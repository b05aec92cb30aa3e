--- Run a sweep: the trials of a sweep file of Weights & Biases, side by side, in a study that can be gone on with.
--
--     spdlua experiments/sweep.lua configs/sweeps/tms.yaml [--jobs N] [--out DIR] [--dry-run] [--slurm]
--
-- Any number of these processes can work on one study. The same command goes on where it was stopped.
local board = require "spd.sweep.board"
local cli = require "spd.cli"
local command = require "spd.sweep.command"
local core = require "spd.core"
local definition = require "spd.sweep.definition"
local errors = require "spd.errors"
local experiment = require "spd.experiment"
local files = require "spd.files"
local interrupts = require "spd.interrupts"
local measured = require "spd.sweep.measured"
local processes = require "spd.processes"
local ranking = require "spd.sweep.ranking"
local results = require "spd.sweep.results"
local sampling = require "spd.sweep.sampling"
local slurm = require "spd.sweep.slurm"
local study_module = require "spd.sweep.study"
local worker = require "spd.sweep.worker"

local options = cli.parse(arg, {
  script = "experiments/sweep.lua",
  summary = "Run the trials of a sweep file, side by side; the same command goes on where it was stopped.",
  arguments = {{name = "SWEEP.yaml", key = "sweep", help = "a sweep file of Weights & Biases; see configs/sweeps/"}},
  options = {
    {name = "jobs", value = "N", kind = "count", least = 1, most = 256, help = "trials at the same time (default: 1)"},
    {name = "out", value = "DIR", help = "the study's folder (default: out/sweeps/NAME, by the sweep file's name)"},
    {name = "dry-run", help = "print what would be run, and make nothing"},
    {
      name = "threads", value = "N", kind = "count", least = 1, most = cli.most_threads,
      help = "threads of each trial (default: its share of the cores); no result depends on it",
    },
    {name = "rebuild", help = "make a damaged study.db again, from records/"},
    {name = "no-wait", help = "end when no trial is left to begin; do not wait for those that other processes run"},
    slurm.option, slurm.more_options,
    {name = "quiet", help = "print errors and the last line only"},
  },
})
if not options then return end


local sweep, warnings = definition.read(options.sweep)
for _, warning in ipairs(options.quiet and {} or warnings) do errors.warn(warning) end
local sampler = sampling.new(sweep)
command.check(sweep, sampler)
local directory = options.out or "out/sweeps/" .. experiment.case_name(options.sweep)
local jobs = options.jobs or 1
local threads = options.threads or math.max(1, core.threads() // jobs)

local FIRST = 5 -- trials that --dry-run shows

local function dry_run()
  local count = sampler:count()
  print(count and ("%d trials, by %s"):format(count, sweep.method) or "trials without end, by " .. sweep.method)
  for n = 1, math.min(FIRST, count or FIRST) do
    local folder = ("%s/trials/%d"):format(directory, n - 1)
    local words, overrides = command.words(sweep, sampler:values(n, {}), {folder = folder})
    print(("trial %d: %s"):format(n - 1, processes.quoted(words)))
    if #overrides > 0 then print("  over its config: " .. processes.quoted(overrides)) end
  end
  if not count or count > FIRST then print "..." end
end

if options["dry-run"] then return dry_run() end
local submission = slurm.submission(options, {folder = directory, script = arg[0], trials = sampler:count()})

local SHOWN = 20 -- rows of the ranking

local guard <close> = interrupts.catch()
local study <close> = study_module.open{
  directory = directory, sweep = sweep, text = files.read(options.sweep), sampler = sampler, rebuild = options.rebuild,
  network = submission ~= nil,
}
local readings = measured.readings(study)
local display = board.new{study = study, readings = readings, quiet = options.quiet}
local job, said
do
  local undo <close> = setmetatable({}, {__close = function(_, problem)
    if problem then pcall(study.discard, study) end -- the sweep's own problem is the one to be told
  end})
  if submission then
    job, said = slurm.submit(submission)
  else
    worker.run{
      study = study, jobs = jobs, threads = threads, display = display, readings = readings, leave = options["no-wait"],
    }
  end
end
if submission then
  if not job then
    errors.warn("sbatch named no job: " .. said)
  elseif not options.quiet then
    print(slurm.advice(submission, job))
  end
  print("study: " .. directory)
  return
end
display:update()
if interrupts.pending() then interrupts.stop("stopped in " .. directory, "the same command goes on") end
local drawn, reason = true, nil
if study:is_complete() then drawn, reason = results.write(study) end
if not options.quiet then
  if not drawn then errors.warn("figures: " .. reason) end
  local failed, unreported = study:counts().failed, results.warning(study)
  if failed > 0 then errors.warn(("failed trials: %d (what they printed is in %s/logs)"):format(failed, directory)) end
  if unreported and not display.warned then errors.warn(unreported) end
  print(ranking.table(sweep, study:trials(), SHOWN))
end
print("study: " .. directory)
