--- A sweep as a job array of a Slurm cluster: each task works on trials until none is left.
--
-- Tasks share nothing but the study's folder. It has to be on a file system that all nodes see, with fcntl locks that
-- hold between them: those of the database and of the trials are of that kind.
local errors = require "spd.errors"
local files = require "spd.files"
local posix = require("spd.core").posix

local slurm = {}

--- slurm.options: the options of a command line, for its description.
slurm.options = {
  {name = "slurm", help = "submit the trials to Slurm as an array of N tasks (--jobs) instead of running them here"},
  {
    name = "slurm-options", value = "WORDS", kind = "words",
    help = "options of sbatch: --slurm-options \"--partition=cpu --time=2:00:00 --cpus-per-task=4\"",
  },
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

--- slurm.require_sbatch()
-- An error of status 2 where there is no sbatch.
function slurm.require_sbatch()
  local status, reason = posix.run{"sbatch", "--version"}
  if not status then errors.raise(2, "sbatch", reason, "--slurm needs a machine that submits jobs to Slurm") end
end

-- ---- the batch script ---------------------------------------------------------------------------

local SCRIPT = [=[
#!/bin/sh
# A task of the sweep in @{folder}: it works on trials until none is left. Written and submitted by sweep.lua --slurm;
# this submits it again:
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

@{worker} --threads "${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}" &
worker=$!

signalled=yes
while [ "$signalled" ]; do # a signal ends a wait
  signalled=
  wait "$worker"
  status=$?
done
if [ "$limit" ] && [ "$status" -eq 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
]=]

local function quoted(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = word:match "^[%w_./=:,+-]+$" and word or "'" .. word:gsub("'", "'\\''") .. "'"
  end
  return table.concat(list, " ")
end

-- A value in a line for sbatch, which has rules of its own.
local function directive(value) return '"' .. value:gsub('["\\]', "\\%0") .. '"' end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or posix.working_directory() .. "/" .. path
end

local function script_path(settings) return absolute(settings.folder) .. "/slurm.sh" end

local function sbatch_words(settings)
  local words = table.move(settings.words, 1, #settings.words, 3, {"sbatch", "--parsable"})
  words[#words + 1] = script_path(settings)
  return words
end

-- The batch script of a job array.
local function script(settings)
  local folder = absolute(settings.folder)
  local values = {
    folder = folder, directory = directive(posix.working_directory()), tasks = settings.tasks,
    name = directive(folder:match "[^/]*$"), command = quoted(sbatch_words(settings)),
    output = directive(folder:gsub("%%", "%%%%") .. "/logs/slurm-%A_%a.out"),
    worker = quoted{posix.executable(), absolute(settings.script), settings.sweep, "--out", folder, "--jobs", "1",
      "--quiet"},
  }
  for _, value in pairs(values) do
    if tostring(value):find "%c" then
      errors.raise(2, value:gsub("%c", "?"), "has a control character, which no batch script can name")
    end
  end
  return (SCRIPT:gsub("@{(%w+)}", values))
end

-- ---- submitting ---------------------------------------------------------------------------------

-- What sbatch said, in a line.
local function said(text)
  return (text:gsub("sbatch: ", ""):gsub("error: ", ""):gsub("%s+$", ""):gsub("%c+", "; "))
end

--- slurm.submit{folder =, sweep =, script =, tasks =, words =} -> job
-- Write the batch script slurm.sh into the study's folder and submit it: `tasks` tasks, each of which is the script,
-- sweep.lua, on that sweep file with --jobs 1. words: more for sbatch. job: its number, as text.
function slurm.submit(settings)
  files.make_directory(settings.folder .. "/logs")
  files.write(script_path(settings), script(settings))
  local status, output, messages = posix.run(sbatch_words(settings))
  if not status then errors.raise(1, "sbatch", output) end
  local job = status == 0 and output:match "^%d+"
  if not job then errors.raise(1, "sbatch", said(messages), "the same command tries again") end
  return job
end

--- slurm.advice(job, settings) -> text
-- How to watch the job, look at the study, and cancel.
function slurm.advice(job, settings)
  return ("Slurm job %s: %d tasks; their messages are in %s/logs\n"):format(job, settings.tasks, settings.folder) ..
    ("to watch:  squeue -j %s\n"):format(job) ..
    ("to look:   spdlua %s\n"):format(quoted{settings.script, settings.sweep, "--out", settings.folder}) ..
    ("to cancel: scancel %s"):format(job)
end

return slurm
