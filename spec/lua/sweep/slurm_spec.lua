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

describe("slurm.submit", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  -- Submit in a process that finds this program as sbatch, or none.
  local function submit(sbatch, words)
    assert(posix.make_directory(folder .. "/bin"))
    if sbatch then
      experiment.write(folder .. "/bin/sbatch", "#!/bin/sh\n" .. sbatch)
      experiment.run{"chmod", "+x", folder .. "/bin/sbatch"}
    end
    local program = [[
      package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
      local slurm = require "spd.sweep.slurm"
      slurm.require_sbatch()
      local settings = {folder = arg[1], sweep = "it's one.yaml", script = "experiments/sweep.lua", tasks = 3}
      settings.words = slurm.words(arg[2])
      local job = slurm.submit(settings)
      print(slurm.advice(job, settings))]]
    return posix.run({"env", "PATH=" .. folder .. "/bin", experiment.host, "-", folder, words or ""}, {stdin = program})
  end

  it("submits the batch script in the study's folder, and says what can be done then", function()
    local status, out, err = submit('printf "%s\\n" "$@" >&2; echo "17;cluster"', "--time=5 -p cpu")
    assert.same({0, ""}, {status, (err:gsub(".*slurm.sh\n", ""))})
    assert.equal(table.concat({
      "Slurm job 17: 3 tasks; their messages are in " .. folder .. "/logs", "to watch:  squeue -j 17",
      "to look:   spdlua experiments/sweep.lua 'it'\\''s one.yaml' --out " .. folder, "to cancel: scancel 17", "",
    }, "\n"), out)
  end)

  it("writes a script that names all by absolute paths", function()
    submit "echo 17"
    local text, here = experiment.read(folder .. "/slurm.sh"), posix.working_directory()
    local function has(part) assert.is_truthy(text:find(part, 1, true), part .. "\nin\n" .. text) end
    has('\n#SBATCH --chdir="' .. here .. '"\n')
    has("\n#SBATCH --array=1-3\n")
    has('\n#SBATCH --output="' .. folder .. '/logs/slurm-%A_%a.out"\n')
    has("/spdlua " .. here .. "/experiments/sweep.lua 'it'\\''s one.yaml' --out " .. folder .. " --jobs 1 --quiet")
    assert.equal(0, (posix.run{"sh", "-n", folder .. "/slurm.sh"}))
    assert.is_true(posix.is_directory(folder .. "/logs"))
  end)

  it("says in a line that there is no sbatch", function()
    local status, _, err = submit()
    assert.same({2, "spdlua: sbatch: No such file or directory (--slurm needs a machine that submits jobs to Slurm)\n"},
      {status, err})
  end)

  it("says in a line what sbatch said", function()
    local status, _, err = submit "echo 'sbatch: error: no such thing: x\nsbatch: error: It failed' >&2; exit 1"
    assert.same({1, "spdlua: sbatch: no such thing: x; It failed (the same command tries again)\n"}, {status, err})
  end)
end)
