-- What is read of a trial's folder while it runs and at its end.
local experiment = require "spec.support.experiment"
local measured = require "spd.sweep.measured"
local posix = require("spd.core").posix

describe("what a trial has measured", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  local function log(text)
    local file <close> = assert(io.open(folder .. "/metrics.jsonl", "a"))
    file:write(text)
  end

  it("is nothing in an empty folder", function()
    local reader = measured.reader(folder, "loss/total")
    reader:update()
    assert.same({{}, 0}, {reader.values, reader.rate})
    assert.is_nil(reader.step)
    assert.same({}, measured.numbers(folder))
  end)

  it("is nothing where metrics.jsonl is a pipe or a folder", function()
    for _, command in ipairs{"mkfifo", "mkdir"} do
      posix.run{command, folder .. "/metrics.jsonl"}
      local reader = measured.reader(folder, "loss/total")
      reader:update()
      assert.same({{}, {}}, {reader.values, measured.numbers(folder)})
      posix.remove(folder .. "/metrics.jsonl")
    end
  end)

  it("is read as it grows, in whole lines", function()
    local reader = measured.reader(folder, "loss/total")
    experiment.write(folder .. "/final_config.yaml", "seed: 0\nsteps: 100\ntask_config:\n  steps: 7\n")
    log '{"step":0,"loss/total":3.5}\n{"step":10,"loss'
    reader:update()
    assert.same({0, 3.5, 100}, {reader.step, reader.value, reader.steps})
    log '/total":2.5}\n{"step":20,"lr":0.1}\nnonsense\n'
    reader:update()
    assert.same({20, 2.5, {3.5, 2.5}}, {reader.step, reader.value, reader.values})
    assert.is_true(reader.rate > 0)
  end)

  it("forgets what a run writes again that went on from a checkpoint", function()
    local reader = measured.reader(folder, "loss")
    log '{"step":0,"loss":3}\n{"step":1,"loss":2}\n{"step":2,"loss":9}\n'
    reader:update()
    log '{"step":1,"loss":4}\n'
    reader:update()
    assert.same({3, 4}, reader.values)
    os.remove(folder .. "/metrics.jsonl")
    log '{"step":0,"loss":5}\n'
    reader:update()
    assert.same({5}, reader.values)
  end)

  it("counts values that have no step", function()
    local reader = measured.reader(folder, "loss")
    log '{"loss":3}\n{"loss":2}\n'
    reader:update()
    assert.same({3, 2}, reader.values)
  end)

  it("is at the end what the summary says, objects by name, and what was logged last", function()
    log '{"step":0,"loss":3,"early":1}\n{"step":1,"loss":2}\n'
    assert.same({step = 1, loss = 2, early = 1}, measured.numbers(folder))
    experiment.write(folder .. "/summary.json",
      '{"loss": 1.5, "target_ci_error": {"linear1": 4}, "version": "0.1.0", "mmcs": null}')
    assert.same({step = 1, loss = 1.5, early = 1, ["target_ci_error/linear1"] = 4}, measured.numbers(folder))
  end)
end)
