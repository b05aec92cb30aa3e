-- Sweeps on a Slurm cluster that these specs start: no trial is lost or done twice, whatever ends its task.
local cluster = require "spec.support.slurm_cluster"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local posix = core.posix

local SCRIPT = "experiments/sweep.lua"

-- A trial that notes its begin and its end, takes a while between them, and leaves a result.
local PROGRAM = [[
local folder, seconds = os.getenv "SPDLUA_TRIAL", arg[1]
local function note(word)
  local file <close> = io.open(folder .. "/notes", "a")
  file:write(word, "\n")
end
note "begin"
os.execute("sleep " .. seconds)
note "end"
local file <close> = io.open(folder .. "/summary.json", "w")
file:write '{"loss": 1}'
]]

describe("sweep.lua --slurm #slow", function()
  local folder, slurm, study

  setup(function()
    if cluster.missing() then return end
    folder = experiment.make_folder()
    assert(posix.make_directory(folder .. "/cluster"))
    slurm = cluster.start(folder .. "/cluster")
  end)
  teardown(function()
    if slurm then slurm:stop() end
    if folder then experiment.remove_folder(folder) end
  end)
  before_each(function()
    if not slurm then return pending("without Slurm: " .. cluster.missing() .. " not found (make test-all installs it)") end
    study = folder .. "/study"
    experiment.remove_folder(study)
  end)

  local function write_sweep(program, command, parameters)
    local path = folder .. "/sweep.yaml"
    experiment.write(path, ("program: %s\nmethod: grid\nparameters:\n%s\ncommand: [%s]\n"):format(program, parameters,
      command))
    return path
  end

  -- Trials of the program above, each of which takes some seconds.
  local function write_trivial(count, seconds)
    experiment.write(folder .. "/trial.lua", PROGRAM)
    local values = {}
    for i = 1, count do values[i] = i end
    return write_sweep(folder .. "/trial.lua", '"${interpreter}", "${program}", "' .. seconds .. '"',
      "  value: {values: [" .. table.concat(values, ", ") .. "]}")
  end

  -- Submit; returns the number of the job.
  local function submit(sweep, tasks, ...)
    local status, out, message = slurm:run(experiment.host, SCRIPT, sweep, "--out", study, "--slurm", "--jobs",
      tostring(tasks), ...)
    assert.same({0, ""}, {status, message})
    return assert(out:match "Slurm job (%d+)", out)
  end

  local function wait_for_end() slurm:wait_until("the end of all tasks", function() return slurm:jobs() == "" end, 120) end

  local function trials() return experiment.names_in(study .. "/trials") end
  local function notes(trial) return experiment.read(("%s/trials/%s/notes"):format(study, trial)) end

  it("does every trial once, by several tasks", function()
    local job = submit(write_trivial(6, 0.5), 3)
    wait_for_end()
    assert.equal(6, #trials())
    for _, trial in ipairs(trials()) do assert.equal("begin\nend\n", notes(trial)) end
    assert.same({1, 2, 3}, {#experiment.names_in(study .. "/logs"), job})
  end)
end)
