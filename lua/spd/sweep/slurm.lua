--- A sweep as a job array of a Slurm cluster: each task works on trials until none is left.
--
-- Tasks share nothing but the study's folder. It has to be on a file system that all nodes see, with fcntl locks that
-- hold between them: those of the database and of the processes are of that kind.
local errors = require "spd.errors"
local files = require "spd.files"
local processes = require "spd.processes"
local posix = require("spd.core").posix

local slurm = {}

--- slurm.option: of a command line, for its description.
slurm.option = {
  name = "slurm", help = "submit an array of N tasks to Slurm instead (--jobs; default: a task per trial)",
}

--- slurm.more_options: of a command line, for its description.
slurm.more_options = {
  name = "slurm-options", value = "WORDS", kind = "words",
  help = "options of sbatch, such as \"--partition=cpu --time=2:00:00 --cpus-per-task=4\"",
}

-- ---- the user's words for sbatch ----------------------------------------------------------------

-- Whether the word before can take this one as its value: -p cpu, --partition cpu.
local function takes_value(word) return word and (word:match "^%-%a$" or word:match "^%-%-[%w-]+$") end

--- slurm.words(text) -> list
-- The words of --slurm-options. sbatch gets them as they are, and knows best what they mean; refused is what would be
-- taken for the batch script, and what another option of the sweep decides.
function slurm.words(text)
  local words, where = {}, "--slurm-options"
  for word in text:gmatch "%S+" do
    if word:match "^%-a" or word:match "^%-%-arr" then
      errors.raise(2, where, ("'%s': the array has a task per job"):format(word), "--jobs N")
    elseif not word:match "^%-%-?%a" and not takes_value(words[#words]) then
      errors.raise(2, where, ("expected options of sbatch, found '%s'"):format(word), "such as --partition=cpu")
    end
    words[#words + 1] = word
  end
  return words
end

-- ---- the batch script ---------------------------------------------------------------------------

local SCRIPT = [=[
#!/bin/sh
# A task of the sweep in @{folder}:
# it works on trials until none is left. Written and submitted by sweep.lua --slurm; this submits it again:
#   @{command}
#SBATCH --job-name=@{name}
#SBATCH --array=1-@{tasks}
#SBATCH --chdir=@{directory}
#SBATCH --output=@{output}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@60

# A minute before the time limit Slurm sends SIGUSR1 to this script: then the trial is told to write a checkpoint, and
# the task is queued again. When a task is cancelled Slurm tells all of its processes, and this one only waits for them.
trap 'signalled=yes; limit=yes; kill -TERM "$worker"' USR1
trap 'signalled=yes' TERM

@{worker} \
  --out @{out} --jobs 1 --threads @{threads} --no-wait --quiet &
worker=$!

signalled=yes
while [ "$signalled" ]; do # a signal ends a wait
  signalled=
  wait "$worker"
  status=$?
done
if [ "$limit" ] && [ "$status" -eq 130 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
]=]

-- A value in a line for sbatch, which has rules of its own.
local function directive(value) return '"' .. value:gsub('["\\]', "\\%0") .. '"' end

-- The batch script of a job array. The sweep file that tasks read is the study's copy, which nobody edits.
local function batch_script(submission)
  local folder = submission.folder
  local values = {
    folder = folder, command = processes.quoted(submission.command), tasks = submission.tasks,
    name = directive(folder:match "[^/]*$"), directory = directive(posix.working_directory()),
    output = directive(folder:gsub("%%", "%%%%") .. "/logs/slurm-%A_%a.out"), out = processes.quoted{folder},
    worker = processes.quoted{posix.executable(), files.absolute(submission.script), folder .. "/sweep.yaml"},
    threads = submission.threads or '"${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}"',
  }
  return (SCRIPT:gsub("@{(%w+)}", values))
end

local function check_names(...)
  for _, name in ipairs{...} do
    if name:find "%c" then
      errors.raise(2, (name:gsub("%c", "?")), "no batch script can name what has a control character")
    end
  end
end

-- ---- submitting ---------------------------------------------------------------------------------

local function count_tasks(options, trials)
  if not options.jobs and not trials then
    errors.raise(2, "--slurm", "the trials of this sweep have no end", "--jobs N is how many tasks there are to be")
  end
  return options.jobs or trials
end

local function require_sbatch()
  local status, reason = posix.run{"sbatch", "--version"}
  if not status then errors.raise(2, "sbatch", reason, "--slurm needs a machine that submits jobs to Slurm") end
end

--- slurm.submission(options, {folder =, script =, trials =}) -> submission, or nil without --slurm
-- What is to be submitted, checked as far as it can be before the study is made. options: of the command line of
-- `script`, sweep.lua. folder: the study's. trials: how many there will be; nil where there is no end.
function slurm.submission(options, study)
  local more = options["slurm-options"]
  if not options.slurm then
    if more then errors.raise(2, "--slurm-options", "without --slurm") end
    return nil
  end
  local submission = {
    folder = files.absolute(study.folder:gsub("(.)/+$", "%1")), script = study.script, sweep = options.sweep,
    threads = options.threads, tasks = count_tasks(options, study.trials),
    command = table.pack("sbatch", "--parsable", table.unpack(slurm.words(more or ""))),
  }
  table.insert(submission.command, submission.folder .. "/slurm.sh")
  check_names(submission.folder, posix.working_directory(), study.script, posix.executable())
  submission.text = batch_script(submission)
  require_sbatch()
  return submission
end

-- What sbatch said, in a line.
local function said(text)
  return (text:gsub("sbatch: ", ""):gsub("error: ", ""):gsub("%s+$", ""):gsub("%c+", "; "))
end

--- slurm.submit(submission) -> job, or nil and what sbatch said
-- Write the batch script, slurm.sh, into the study's folder and submit it. job: its number, as text; nil where sbatch
-- has taken it and named no number.
function slurm.submit(submission)
  local path = submission.folder .. "/slurm.sh"
  files.make_directory(submission.folder .. "/logs")
  files.write(path, submission.text)
  local status, output, messages = posix.run(submission.command)
  if status == 0 then
    local job = output:match "^%d+"
    return job, not job and said(output .. messages) or nil
  end
  os.remove(path)
  errors.raise(1, "sbatch", status and said(messages) or output)
end

--- slurm.advice(submission, job) -> text
-- How to watch the job, take part, and cancel.
function slurm.advice(submission, job)
  return table.concat({
    ("Slurm job %s: %d tasks; their messages are in %s/logs"):format(job, submission.tasks, submission.folder),
    "to watch:    squeue -j " .. job,
    "to cancel:   scancel " .. job,
    "to take part, and see all trials:",
    "  spdlua " .. processes.quoted{submission.script, submission.sweep, "--out", submission.folder},
  }, "\n")
end

return slurm
