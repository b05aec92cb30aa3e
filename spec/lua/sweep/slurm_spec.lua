-- The batch script of a sweep, and what is said when it cannot be submitted. That Slurm does with it what it should is
-- in spec/experiments/sweep_slurm_spec.lua.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local slurm = require "spd.sweep.slurm"
local posix = core.posix

local function refused(...)
  local ok, problem = pcall(...)
  assert.is_false(ok)
  return problem.message, problem.status
end

describe("slurm.words", function()
  it("hands over the words as they are", function()
    assert.same({"--partition=cpu", "-t", "2:00:00", "--cpus-per-task", "4", "-n1", "--exclusive"},
      slurm.words " --partition=cpu  -t 2:00:00 --cpus-per-task 4 -n1 --exclusive")
    assert.same({}, slurm.words "")
  end)

  it("refuses what sbatch would take for the script", function()
    for _, text in ipairs{"cpu", "--partition=cpu fast", "-n4 fast", "-- fast", "- fast"} do
      local message, status = refused(slurm.words, text)
      assert.matches("^%-%-slurm%-options: expected options of sbatch, found '%S+' %(such as %-%-partition=cpu%)$",
        message)
      assert.equal(2, status)
    end
  end)

  it("refuses another array", function()
    for _, text in ipairs{"-a1-4", "-a 1-4", "--time=1 --array=1-4", "--arr 1-4"} do
      assert.matches("the array has a task per job %(%-%-jobs N%)$", (refused(slurm.words, text)))
    end
  end)
end)

describe("slurm.submission", function()
  local study = {folder = "out/study", script = "experiments/sweep.lua", trials = 3}

  it("is nothing without --slurm, which its options need", function()
    assert.is_nil(slurm.submission({}, study))
    assert.equal("--slurm-options: without --slurm", (refused(slurm.submission, {["slurm-options"] = "-n1"}, study)))
  end)

  it("needs a number of tasks where trials have no end", function()
    assert.equal("--slurm: the trials of this sweep have no end (--jobs N is how many tasks there are to be)",
      (refused(slurm.submission, {slurm = true}, {folder = "out/study"})))
  end)

  it("refuses names that no line of a script can hold", function()
    local message = refused(slurm.submission, {slurm = true}, {folder = "out/a\nb", script = study.script, trials = 3})
    assert.matches("/out/a%?b: no batch script can name what has a control character$", message)
  end)
end)

describe("sweep.lua --slurm", function()
  local folder, sweep

  before_each(function()
    folder = experiment.make_folder()
    sweep = folder .. "/it's one.yaml"
    experiment.write(folder .. "/nothing.lua", "")
    experiment.write(sweep, "program: " .. folder .. "/nothing.lua\n" ..
      'method: grid\nparameters: {seed: {values: [0, 1, 2]}}\ncommand: ["${interpreter}", "${program}"]\n')
  end)
  after_each(function() experiment.remove_folder(folder) end)

  -- Run it with this program as sbatch, or none.
  local function submit(sbatch, ...)
    assert(posix.make_directory(folder .. "/bin", true))
    if sbatch then
      experiment.write(folder .. "/bin/sbatch", "#!/bin/sh\n" .. sbatch)
      experiment.run{"chmod", "+x", folder .. "/bin/sbatch"}
    end
    return experiment.run{"env", "PATH=" .. folder .. "/bin", experiment.host, "experiments/sweep.lua", sweep, "--out",
      folder .. "/study", "--slurm", ...}
  end

  it("submits a batch script in the study's folder, and says what can be done then", function()
    local status, out, message = submit('echo "$@" > "${0%bin/sbatch}words"; echo "17;cluster"', "--slurm-options",
      "--time=5 -p cpu")
    assert.same({0, ""}, {status, message})
    assert.equal("--parsable --time=5 -p cpu " .. folder .. "/study/slurm.sh\n", experiment.read(folder .. "/words"))
    assert.equal(([[
Slurm job 17: 3 tasks; their messages are in FOLDER/study/logs
to watch:    squeue -j 17
to cancel:   scancel 17
to take part, and see all trials:
  spdlua experiments/sweep.lua 'FOLDER/it'\''s one.yaml' --out FOLDER/study
study: FOLDER/study
]]):gsub("FOLDER", folder), out)
  end)

  it("writes a script that names all by absolute paths", function()
    submit("echo 17", "--jobs", "2")
    local text, here = experiment.read(folder .. "/study/slurm.sh"), posix.working_directory()
    local function has(part) assert.is_truthy(text:find(part, 1, true), part .. "\nin\n" .. text) end
    has('\n#SBATCH --chdir="' .. here .. '"\n')
    has("\n#SBATCH --array=1-2\n")
    has('\n#SBATCH --output="' .. folder .. '/study/logs/slurm-%A_%a.out"\n')
    has("/spdlua " .. here .. "/experiments/sweep.lua " .. folder .. "/study/sweep.yaml \\\n  --out " .. folder)
    assert.equal(0, (posix.run{"sh", "-n", folder .. "/study/slurm.sh"}))
  end)

  local function run_here()
    assert.equal(0, (experiment.run{experiment.host, "experiments/sweep.lua", sweep, "--out", folder .. "/study",
      "--quiet"}))
  end

  local function journal()
    local db <close> = core.sqlite.open(folder .. "/study/study.db", "read")
    return db:rows("PRAGMA journal_mode")[1].journal_mode
  end

  it("begins a study whose journal works on network folders, and stays so", function()
    submit "echo 17"
    assert.equal("delete", journal())
    run_here()
    assert.equal("delete", journal())
  end)

  it("changes the journal of a study that was begun here, unless processes work on it", function()
    run_here()
    assert.equal("wal", journal())
    do
      local worker <close> = assert(posix.try_lock(folder .. "/study/workers/1-0a"))
      assert.is_userdata(worker)
      local status, _, message = submit "echo 17"
      assert.same({2, ("spdlua: %s/study: other processes work on the study (end them first)\n"):format(
        folder)}, {status, message})
    end
    assert.equal(0, (submit "echo 17"))
    assert.equal("delete", journal())
  end)

  it("says in a line that there is no sbatch, and makes nothing", function()
    local status, _, message = submit()
    assert.same({2, "spdlua: sbatch: No such file or directory (--slurm needs a machine that submits jobs to Slurm)\n"},
      {status, message})
    assert.is_false(posix.is_directory(folder .. "/study"))
  end)

  it("keeps the study of a job that may run, though sbatch names no number", function()
    local status, text, message = submit 'echo "Submitted batch job 17"; echo "sbatch: be patient" >&2'
    assert.same({0, "study: " .. folder .. "/study\n",
      "spdlua: warning: sbatch named no job: Submitted batch job 17; be patient\n"}, {status, text, message})
    assert.is_true(posix.is_file(folder .. "/study/slurm.sh"))
  end)

  it("says in a line what sbatch said, and leaves nothing", function()
    local status, _, message = submit [[
      [ "$1" = --version ] && exit
      printf 'sbatch: error: no such thing: x\nsbatch: error: It failed\n' >&2
      exit 1]]
    assert.same({1, "spdlua: sbatch: no such thing: x; It failed\n"}, {status, message})
    assert.is_false(posix.is_directory(folder .. "/study"))
  end)
end)
