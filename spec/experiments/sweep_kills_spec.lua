-- Sweeps whose processes are killed at any moment: no trial is lost, none is run twice to its end, and the results are
-- those of a sweep that nobody disturbs.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local sweep = require "spec.support.study"
local posix = core.posix

-- What a run leaves that depends on time.
local TIMES = {"wall_s", "ms_per_step", "peak_mb"}

-- A decomposition without figures, which would take most of its time, that notes when it has ended for the first time.
local PROGRAM = [[
local cli = require "spd.cli"
local experiment = require "spd.experiment"
local posix = require("spd.core").posix
local folder = os.getenv "SPDLUA_TRIAL"
local was_finished = posix.is_file(folder .. "/summary.json")
experiment.decompose("tms", cli.parse(arg, cli.experiment("program.lua", "Decompose.")))
if was_finished then return end
local file = assert(io.open(folder .. "/../../../completed", "a"))
file:write(folder:match("%d+$"), "\n")
file:close()
]]

local SWEEP = [[
program: %s/program.lua
method: grid
metric: {name: loss/total}
parameters:
  lr: {values: [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3, 8e-3, 9e-3, 1e-2]}
  importance_minimality_coeff: {values: [1e-4, 3e-4, 1e-3, 3e-3]}
  seed: {values: [0, 1, 2, 3, 4]}
command: [/usr/bin/env, PATH=/nowhere, "${interpreter}", "${program}", configs/tms_5-2.yaml, C=10, steps=50,
          n_eval_steps=1, batch_size=64, print_freq=10, save_freq=10, image_freq=null, image_on_first_step=false,
          pretrained_model_path=%s]
]]
local TRIALS = 200

describe("a sweep of 200 trials #slow", function()
  local folder, file, undisturbed

  -- Everything that the trials of a study have left, without what depends on time.
  local function results(study)
    local found = {}
    for number = 0, TRIALS - 1 do
      local run = ("%s/trials/%d"):format(study, number)
      local summary = json.decode(experiment.read(run .. "/summary.json"))
      for _, key in ipairs(TIMES) do summary[key] = nil end
      found[number] = {
        summary = summary, metrics = experiment.read(run .. "/metrics.jsonl"),
        checkpoint = experiment.read(run .. "/checkpoints/step_50.safetensors"),
      }
    end
    return found
  end

  local function states(study)
    local counts = {}
    local db <close> = core.sqlite.open(study .. "/study.db", "read")
    for row in db:each "SELECT state, COUNT(*) AS n FROM trials GROUP BY state" do counts[row.state] = row.n end
    return counts
  end

  local function completed()
    local counts, twice = {}, {}
    for number in experiment.read(folder .. "/completed"):gmatch("%d+") do
      counts[number] = (counts[number] or 0) + 1
      if counts[number] > 1 then twice[#twice + 1] = number end
    end
    return twice
  end

  setup(function()
    folder = experiment.make_folder()
    experiment.write(folder .. "/program.lua", PROGRAM)
    file = folder .. "/sweep.yaml"
    experiment.write(file, SWEEP:format(folder, experiment.make_target(folder)))
    local status, _, message = sweep.run(file, "--out", folder .. "/undisturbed", "--jobs", "2", "--quiet")
    assert.same({0, ""}, {status, message})
    undisturbed = results(folder .. "/undisturbed")
  end)
  teardown(function() experiment.remove_folder(folder) end)

  -- Keep so many processes at work on a study until they have all ended by themselves; choose(workers) kills some from
  -- time to time. Returns how many kills there were.
  local function run_with_kills(study, count, jobs, choose)
    local workers, kills = {}, 0
    local function start()
      return sweep.start(folder, file, "--out", study, "--jobs", jobs, "--threads", "1", "--quiet")
    end
    for i = 1, count do workers[i] = start() end
    local next_kill = posix.monotonic_time() + 1
    while #workers > 0 do
      posix.sleep(0.01)
      if posix.monotonic_time() >= next_kill then
        for _, pid in ipairs(choose(workers)) do
          sweep.kill(pid)
          kills = kills + 1
        end
        next_kill = posix.monotonic_time() + 2 * math.random()
      end
      for i = #workers, 1, -1 do
        local status, _, message = workers[i].program:poll()
        if status == 0 then
          table.remove(workers, i)
        elseif status then
          assert.equal(137, status, message)
          workers[i] = start()
        end
      end
    end
    return kills
  end

  local function pids(workers)
    local list = {}
    for i, worker in ipairs(workers) do list[i] = worker.pid end
    return list
  end

  local function check(study)
    assert.same({finished = TRIALS}, states(study))
    assert.same({}, completed())
    local found = results(study)
    for number = 0, TRIALS - 1 do
      assert.same(undisturbed[number].summary, found[number].summary)
      assert.equal(undisturbed[number].metrics, found[number].metrics)
      assert.is_true(undisturbed[number].checkpoint == found[number].checkpoint, "checkpoint of " .. number)
    end
  end

  before_each(function()
    os.remove(folder .. "/completed")
    math.randomseed(1)
  end)

  it("by four processes, of which one, a trial's, or all are killed, is as if nothing had happened", function()
    local study = folder .. "/four"
    local started = posix.monotonic_time()
    local kills = run_with_kills(study, 4, "1", function(workers)
      local kind, one = math.random(4), workers[math.random(#workers)].pid
      if kind == 1 then return pids(workers) end
      return kind == 2 and sweep.children(one) or {one}
    end)
    check(study)
    print(("four processes: %d kills, %.0f s"):format(kills, posix.monotonic_time() - started))
  end)

  it("by one process with four trials at a time, which is killed, is as if nothing had happened", function()
    local study = folder .. "/one"
    local started = posix.monotonic_time()
    local kills = run_with_kills(study, 1, "4", function(workers)
      return math.random(3) == 1 and sweep.children(workers[1].pid) or pids(workers)
    end)
    check(study)
    print(("one process: %d kills, %.0f s"):format(kills, posix.monotonic_time() - started))
  end)
end)
