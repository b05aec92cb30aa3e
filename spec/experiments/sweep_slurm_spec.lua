-- Sweeps on a Slurm cluster that these specs start: no trial is lost or done twice, whatever ends its task.
local cluster = require "spec.support.slurm_cluster"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local posix = core.posix

-- A trial that notes its begin and its end, and takes a while between them.
local PROGRAM = [[
local function note(word)
  local file <close> = io.open(os.getenv "SPDLUA_TRIAL" .. "/notes", "a")
  file:write(word, "\n")
end
note "begin"
require("spd.core").posix.sleep(tonumber(arg[1]))
note "end"
]]

describe("sweep.lua --slurm on a cluster #slow", function()
  local missing = cluster.missing()
  local folder, slurm, study

  setup(function()
    if missing then return end
    folder = experiment.make_folder()
    slurm = cluster.start(folder .. "/cluster")
  end)
  teardown(function()
    if slurm then slurm:stop() end
    if folder then experiment.remove_folder(folder) end
  end)
  before_each(function() study = folder and folder .. "/study" end)
  after_each(function()
    if study then experiment.remove_folder(study) end
  end)

  local function on_cluster(name, body)
    it(name, function()
      if missing then pending("Slurm is not here: no " .. missing .. " (make test-all installs it)") end
      body()
    end)
  end

  -- ---- sweeps ---------------------------------------------------------------------------------

  local function write_sweep(program, words, parameters)
    local path = folder .. "/sweep.yaml"
    experiment.write(path, ("program: %s\nmethod: grid\nparameters: {%s}\ncommand: [%s, %s]\n"):format(program,
      parameters, '"${interpreter}", "${program}"', words))
    return path
  end

  -- Trials of the program above, each of which takes so many seconds.
  local function trivial(count, seconds)
    experiment.write(folder .. "/trial.lua", PROGRAM)
    local values = {}
    for i = 1, count do values[i] = i end
    return write_sweep(folder .. "/trial.lua", ('"%g"'):format(seconds),
      ("value: {values: [%s]}"):format(table.concat(values, ", ")))
  end

  -- Decompositions of a TMS, with these seeds.
  local function decompositions(steps, seeds)
    local target = folder .. "/target/target.safetensors"
    if not posix.is_file(target) then experiment.make_target(folder) end
    return write_sweep("experiments/tms_decomposition.lua",
      ('"configs/tms_5-2.yaml", "pretrained_model_path=%s", "steps=%d", "n_eval_steps=1", "batch_size=64", ' ..
        '"image_freq=null", "image_on_first_step=false", "print_freq=100"'):format(target, steps),
      "seed: {values: " .. seeds .. "}")
  end

  local function sweep_lua(...) return slurm:run(experiment.host, "experiments/sweep.lua", ...) end

  -- Submit so many tasks; returns the number of the job.
  local function submit(sweep, tasks, ...)
    local status, out, message = sweep_lua(sweep, "--out", study, "--slurm", "--jobs", tostring(tasks), ...)
    assert.same({0, ""}, {status, message})
    return (assert(out:match "^Slurm job (%d+): ", out))
  end

  local function wait_for_tasks()
    slurm:wait_until("the end of all tasks", function() return slurm:jobs() == "" end, 120)
  end

  -- Wait until there are no tasks; then the trials are in these states.
  local function wait_for_end(expected)
    wait_for_tasks()
    local counts = {}
    do
      local db <close> = core.sqlite.open(study .. "/study.db", "read")
      for row in db:each "SELECT state, COUNT(*) AS n FROM trials GROUP BY state" do counts[row.state] = row.n end
    end
    assert.same(expected, counts)
  end

  local function notes()
    local list = {}
    for _, trial in ipairs(experiment.names_in(study .. "/trials")) do
      local path = ("%s/trials/%s/notes"):format(study, trial)
      list[tonumber(trial) + 1] = posix.is_file(path) and experiment.read(path) or ""
    end
    return list
  end

  -- What the tasks printed.
  local function messages()
    local list = {}
    for _, name in ipairs(experiment.names_in(study .. "/logs")) do
      if name:find "^slurm" then list[#list + 1] = experiment.read(study .. "/logs/" .. name) end
    end
    return table.concat(list)
  end

  -- ---- specs ----------------------------------------------------------------------------------

  on_cluster("does every trial once, by several tasks", function()
    local job = submit(trivial(6, 0.3), 3)
    wait_for_end{finished = 6}
    assert.equal(("begin\nend\n"):rep(6), table.concat(notes()))
    for task = 1, 3 do assert.is_true(posix.is_file(("%s/logs/slurm-%s_%d.out"):format(study, job, task))) end
    assert.same({}, experiment.names_in(study .. "/workers"))
  end)

  on_cluster("decomposes with as many threads as a task has cores", function()
    submit(decompositions(20, "[0, 1]"), 2, "--slurm-options", "--cpus-per-task=1 --time=5")
    wait_for_end{finished = 2}
    for trial = 0, 1 do
      local summary = json.decode(experiment.read(("%s/trials/%d/summary.json"):format(study, trial)))
      assert.same({20, trial, 1}, {summary.steps, summary.seed, summary.threads})
    end
  end)

  on_cluster("loses no trial with a task that is killed or cancelled, once the array is submitted again", function()
    local sweep = trivial(4, 3)
    local job = submit(sweep, 2)
    slurm:wait_until("two trials", function()
      return posix.is_directory(study .. "/trials") and table.concat(notes()) == "begin\nbegin\n"
    end)
    local _, pids = posix.run{"pgrep", "-f", "^[^ ]*spdlua .* --out " .. study}
    assert.equal(0, (posix.run{"kill", "-KILL", pids:match "^(%d+)\n%d+\n$"}))
    slurm:run("scancel", job)
    wait_for_end{running = 1, interrupted = 1}
    assert.equal("begin\nbegin\n", table.concat(notes()))
    submit(sweep, 2)
    wait_for_end{finished = 4}
    local list = notes()
    table.sort(list)
    assert.same({"begin\nbegin\nend\n", "begin\nbegin\nend\n", "begin\nend\n", "begin\nend\n"}, list)
  end)

  on_cluster("goes on from a checkpoint after the time limit", function()
    local job = submit(decompositions(6000, "[0, 1]"), 2)
    local function metrics(trial) return ("%s/trials/%d/metrics.jsonl"):format(study, trial) end
    local function has_begun(trial)
      return posix.is_file(metrics(trial)) and experiment.read(metrics(trial)):find '"step":300,'
    end
    slurm:wait_until("steps of the trials", function() return has_begun(0) and has_begun(1) end)
    slurm:run("scancel", "--batch", "--signal=USR1", job .. "_2") -- as Slurm does before the limit
    slurm:wait_until("another start", function() return slurm:jobs():find(job .. " 2 PENDING BeginTime", 1, true) end)
    assert.equal(1, select(2, messages():gsub("spdlua: interrupted: stopped in", "")))
    wait_for_end{finished = 2}
    assert.equal(1, select(2, messages():gsub("spdlua: interrupted: stopped in", "")))
    for trial = 0, 1 do
      local rows = experiment.rows_of(experiment.read(metrics(trial)))
      for i, row in ipairs(rows) do assert.equal(100 * (i - 1), row.step) end
      assert.equal(6000, rows[#rows].step)
    end
  end)

  on_cluster("says in a line what sbatch refuses", function()
    local status, out, message = sweep_lua(trivial(1, 0), "--out", study, "--slurm", "--slurm-options",
      "--partition=none")
    assert.same({1, "", "spdlua: sbatch: invalid partition specified: none; Batch job submission failed: Invalid " ..
      "partition name specified\n"}, {status, out, message})
    assert.is_false(posix.is_directory(study))
  end)
end)
