-- Sweeps from the command line to the ranking, with trials that take no time; and one of a real decomposition.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local sweep = require "spec.support.study"
local posix = core.posix

describe("experiments/sweep.lua", function()
  local folder, out

  before_each(function()
    folder = experiment.make_folder()
    out = folder .. "/study"
  end)
  after_each(function() experiment.remove_folder(folder) end)

  local function rows()
    local db <close> = core.sqlite.open(out .. "/study.db", "read")
    return db:rows "SELECT * FROM trials ORDER BY number"
  end

  local function states()
    local list = {}
    for i, row in ipairs(rows()) do list[i] = row.state end
    return list
  end

  it("runs every trial, ranks them, and does nothing the second time", function()
    local file = sweep.trivial(folder)
    local status, text, message = sweep.run(file, "--out", out, "--jobs", "2")
    assert.same({0, ""}, {status, message})
    assert.matches("\ntrial 1 finished, after 0:%d%d, score 3, x=3 %(%d of 3 trials", "\n" .. text)
    assert.matches("\n|    1 |     1 | finished |     3 |   3 |\n|    2 |     2 | finished |     2 |   2 |\n", text)
    assert.equal("study: " .. out, text:match "([^\n]*)\n$")
    assert.same({"figures", "logs", "ranking.md", "records", "study.db", "study.lock", "sweep.yaml", "trials",
      "workers"}, experiment.names_in(out))
    assert.same({"0", "1", "2"}, experiment.names_in(out .. "/trials"))
    assert.same({}, experiment.names_in(out .. "/logs"))
    assert.equal(experiment.read(file), experiment.read(out .. "/sweep.yaml"))
    assert.matches("3 trials, by grid: 3 finished, 0 stopped early, 0 failed", experiment.read(out .. "/ranking.md"))
    experiment.write(out .. "/trials/1/summary.json", "untouched")
    assert.same({0, "study: " .. out .. "\n", ""}, {sweep.run(file, "--out", out, "--quiet")})
    assert.equal("untouched", experiment.read(out .. "/trials/1/summary.json"))
  end)

  it("shows with --dry-run what it would do, and makes nothing", function()
    local file = sweep.trivial(folder)
    local status, text, message = sweep.run(file, "--out", out, "--dry-run")
    assert.same({0, ""}, {status, message})
    assert.equal(("3 trials, by grid\ntrial 0: /usr/bin/env %s %s/program.lua\n  over its config: x=1\n"):format(
      posix.executable(), folder), text:match("^(.-\n)trial 1"))
    assert.is_false(posix.is_directory(out))
  end)

  it("is one sweep in several processes at once", function()
    local file = sweep.trivial(folder, "method: grid\nparameters: {x: {distribution: int_uniform, min: 1, max: 12}}",
      'local file <close> = io.open(os.getenv "SPDLUA_TRIAL" .. "/times", "a")\nfile:write("once")')
    local workers = {}
    for i = 1, 3 do workers[i] = sweep.start(folder, file, "--out", out, "--quiet") end
    for _, worker in ipairs(workers) do
      local status, text, message
      repeat
        posix.sleep(0.01)
        status, text, message = worker.program:poll()
      until status
      assert.same({0, "study: " .. out .. "\n", ""}, {status, text, message})
    end
    assert.equal(12, #rows())
    for number = 0, 11 do assert.equal("once", experiment.read(("%s/trials/%d/times"):format(out, number))) end
  end)

  -- The second trial waits the first time until this file is there.
  local WAITING = [[
    local folder = os.getenv "SPDLUA_TRIAL"
    local posix = require("spd.core").posix
    local file <close> = io.open(folder .. "/times", "a")
    file:write(posix.pid(), "\n")
    file:flush()
    while folder:find "1$" and not posix.is_file "%s/go" do posix.sleep(0.01) end
  ]]

  local function wait_for(path)
    for _ = 1, 1000 do
      if posix.is_file(path) then return end
      posix.sleep(0.01)
    end
    error(path .. " is not there", 2)
  end

  it("goes on where it was killed, with its trial's process", function()
    local file = sweep.trivial(folder, nil, WAITING:format(folder))
    local worker = sweep.start(folder, file, "--out", out, "--quiet")
    wait_for(out .. "/trials/1/times")
    sweep.kill(worker.pid)
    experiment.write(folder .. "/go", "")
    local status, _, message = sweep.run(file, "--out", out, "--quiet")
    assert.same({0, ""}, {status, message})
    assert.same({"finished", "finished", "finished"}, states())
    local _, first = experiment.read(out .. "/trials/0/times"):gsub("\n", "")
    local _, second = experiment.read(out .. "/trials/1/times"):gsub("\n", "")
    assert.same({1, 2}, {first, second})
  end)

  it("after Ctrl-C says how to go on, and so it does", function()
    local file = sweep.trivial(folder, nil, WAITING:format(folder))
    local worker = sweep.start(folder, file, "--out", out, "--quiet")
    wait_for(out .. "/trials/1/times")
    posix.run{"kill", "-INT", worker.pid}
    local status, _, message
    repeat
      posix.sleep(0.01)
      status, _, message = worker.program:poll()
    until status
    assert.same({130, "spdlua: interrupted: stopped in " .. out .. " (the same command goes on)\n"}, {status, message})
    assert.same({"finished", "interrupted"}, states())
    assert.equal(0, rows()[2].kills)
    experiment.write(folder .. "/go", "")
    assert.equal(0, (sweep.run(file, "--out", out)))
    assert.same({"finished", "finished", "finished"}, states())
  end)

  it("after Ctrl-C waits no longer for a process that opens the study", function()
    local file = sweep.trivial(folder)
    assert(posix.make_directory(out))
    local lock <close> = assert(posix.lock(out .. "/study.lock"))
    assert.is_userdata(lock)
    local worker = sweep.start(folder, file, "--out", out)
    local function has_opened(path)
      local files = "/proc/" .. worker.pid .. "/fd"
      for _, name in ipairs(posix.list_directory(files) or {}) do
        if posix.real_path(files .. "/" .. name) == path then return true end
      end
    end
    while not has_opened(posix.real_path(out) .. "/study.lock") do posix.sleep(0.01) end
    posix.run{"kill", "-INT", worker.pid}
    local status, _, message
    repeat
      posix.sleep(0.01)
      status, _, message = worker.program:poll()
    until status
    assert.same({130, "spdlua: interrupted: waited for " .. out .. "/study.lock (the same command goes on)\n"},
      {status, message})
  end)

  it("starts a trial again whose process was killed, but not for ever", function()
    local file = sweep.trivial(folder, "method: grid\nparameters: {x: {value: 1}}", [[
      local file <close> = io.open(os.getenv "SPDLUA_TRIAL" .. "/times", "a")
      file:write("x")
      file:flush()
      require("spd.core").posix.run{"sh", "-c", "kill -9 $PPID"}
    ]])
    assert.equal(0, (sweep.run(file, "--out", out)))
    assert.equal("xxx", experiment.read(out .. "/trials/0/times"))
    assert.same({"failed", 3, "its process was killed 3 times, by signal 9 at last"},
      {rows()[1].state, rows()[1].kills, rows()[1].problem})
  end)

  it("keeps what a failed trial printed, and goes on", function()
    local file = sweep.trivial(folder, nil, [[
      if not os.getenv("SPDLUA_OVERRIDES"):find "x=3" then return end
      print "about to fail"
      error({status = 1, message = "so sorry"})
    ]])
    local status, text, message = sweep.run(file, "--out", out)
    assert.equal(0, status)
    assert.same({"finished", "failed", "finished"}, states())
    assert.matches("trial 1 failed, after 0:%d%d, score %-, x=3, so sorry %(", text)
    assert.same({"1.log"}, experiment.names_in(out .. "/logs"))
    assert.equal("about to fail\nspdlua: so sorry\n", experiment.read(out .. "/logs/1.log"))
    assert.equal("spdlua: warning: no trial has reported the metric 'score' (nor any other number)\n" ..
      "spdlua: warning: failed trials: 1 (what they printed is in " .. out .. "/logs)\n", message)
  end)

  it("ends when the first trials all fail", function()
    local file = sweep.trivial(folder, "method: random\nparameters: {x: {min: 0.0, max: 1.0}}", "error 'always'")
    local status, _, message = sweep.run(file, "--out", out, "--quiet")
    assert.equal(1, status)
    assert.matches("^spdlua: the first 3 trials failed: .*program%.lua:1: always %(all of it in .*/logs/2%.log%)\n$",
      message)
    assert.same({"failed", "failed", "failed"}, states())
  end)

  it("keeps no metric that is not finite", function()
    local file = sweep.trivial(folder, nil, [[
      local x = os.getenv("SPDLUA_OVERRIDES"):match "x=(%d)"
      local file <close> = io.open(os.getenv "SPDLUA_TRIAL" .. "/summary.json", "w")
      file:write(('{"score": %s}'):format(({"1", "1e999", "NaN"})[tonumber(x)]))
    ]])
    assert.equal(0, (sweep.run(file, "--out", out)))
    local metrics = {}
    for _, row in ipairs(rows()) do metrics[row.number] = row.metric end
    assert.same({[0] = 1}, metrics)
  end)

  it("warns of a metric that no trial reports, and names the nearest, in whatever order its words are", function()
    local file = sweep.trivial(folder, "method: grid\nmetric: {name: total_score}\nparameters: {x: {value: 1}}", [[
local file <close> = io.open(os.getenv "SPDLUA_TRIAL" .. "/metrics.jsonl", "w")
file:write('{"step": 0, "score/total": 1}\n')]])
    local status, _, message = sweep.run(file, "--out", out) -- said once, after the first trial
    assert.same({0,
      "spdlua: warning: no trial has reported the metric 'total_score' (the nearest one is 'score/total')\n"},
      {status, message})
  end)

  -- Both trials log 4 values; the second one is worse, and would go on for long.
  it("stops a trial early that is worse than the others", function()
    local file = sweep.trivial(folder, [[
method: grid
metric: {name: loss}
parameters: {x: {values: [1, 2]}}
early_terminate: {type: hyperband, min_iter: 2, eta: 3}]], [[
      local x = os.getenv("SPDLUA_OVERRIDES"):match "x=(%d)"
      local file <close> = io.open(os.getenv "SPDLUA_TRIAL" .. "/metrics.jsonl", "a")
      for step = 1, 4 do file:write(('{"step": %d, "loss": %s}\n'):format(step, x)) end
      file:close()
      if x == "2" then require("spd.core").posix.sleep(30) end
    ]])
    local status, text, message = sweep.run(file, "--out", out)
    assert.same({0, ""}, {status, message})
    assert.same({"finished", "stopped"}, states())
    assert.matches("trial 1 stopped, after 0:%d%d, loss 2, x=2 %(2 of 2 trials, 1 stopped%)", text)
  end)

  describe("refuses in one line, and makes nothing:", function()
    local function refuse(file, ...)
      local status, text, message = sweep.run(file, "--out", folder .. "/new/study", ...)
      assert.same({2, ""}, {status, text})
      assert.matches("^spdlua: [^\n]*\n$", message)
      assert.is_false(posix.is_directory(folder .. "/new"))
      return message
    end

    it("a config that its program refuses", function()
      local file = sweep.trivial(folder, nil, "error({status = 2, message = 'x: too small'})")
      assert.equal("spdlua: trial 0: x: too small\n", refuse(file))
    end)

    it("a program that is not there", function()
      local file = sweep.trivial(folder)
      experiment.write(file, (experiment.read(file):gsub("command:[^\n]*", 'command: [no-such-program, "${program}"]')))
      assert.matches("trial 0: .*no%-such%-program", refuse(file))
    end)

    it("a parameter that the config does not have", function()
      local file = folder .. "/sweep.yaml"
      experiment.write(file, [[
program: experiments/tms_decomposition.lua
method: grid
parameters: {sead: {value: 1}}
command: ["${env}", "${interpreter}", "${program}", configs/tms_5-2.yaml]
]])
      assert.matches("no key 'sead' %(the nearest one is 'seed'%)", refuse(file))
    end)

    it("a sweep file that is wrong, or not there", function()
      assert.matches("method", refuse(sweep.trivial(folder, "method: gird\nparameters: {x: {value: 1}}")))
      assert.matches("No such file", refuse(folder .. "/none.yaml"))
      assert.matches("expected an integer", refuse(sweep.trivial(folder), "--jobs", "0"))
    end)
  end)

  it("sweeps a decomposition whose command does not carry the values", function()
    local file = folder .. "/sweep.yaml"
    experiment.write(file, ([[
program: experiments/tms_decomposition.lua
method: grid
metric: {name: target_ci_error/linear1}
parameters:
  seed: {values: [3, 4]}
  task_config: {parameters: {feature_probability: {value: 0.25}}}
command: [/usr/bin/env, PATH=/nowhere, "${interpreter}", "${program}", configs/tms_5-2.yaml, steps=4, C=4,
  batch_size=16, n_eval_steps=1, image_on_first_step=false, image_freq=null, pretrained_model_path=%s]
]]):format(experiment.make_target(folder)))
    local status, text, message = sweep.run(file, "--out", out, "--jobs", "2")
    assert.same({0, ""}, {status, message})
    for number, seed in ipairs{3, 4} do
      local run = ("%s/trials/%d"):format(out, number - 1)
      local summary = json.decode(experiment.read(run .. "/summary.json"))
      assert.same({seed, 4}, {summary.seed, summary.steps})
      assert.matches("\n  feature_probability: 0%.25\n", experiment.read(run .. "/final_config.yaml"))
      assert.equal(summary.target_ci_error.linear1, rows()[number].metric)
      assert.matches(("trial %d finished, after 0:%%d%%d, target_ci_error/linear1 %%d+, seed=%d "):format(number - 1,
        seed), text)
    end
  end)
end)
