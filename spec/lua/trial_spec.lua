-- What a trial of a sweep is told by its environment, and that experiments act on it.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local trial = require "spd.trial"
local posix = core.posix

local function told(environment)
  return trial.read(function(name) return environment[name] end)
end

describe("trial.read", function()
  it("reads what trial.environment has written", function()
    local environment = trial.environment("out/x/trials/3", {"lr=1e-3", 'name="a b"'}, 2)
    assert.same({folder = posix.working_directory() .. "/out/x/trials/3", overrides = {"lr=1e-3", 'name="a b"'},
      threads = 2}, told(environment))
    assert.equal("/x/trials/3", told(trial.environment("/x/trials/3", {}, 1)).folder)
    assert.same({}, told(trial.environment("out/x/trials/3", {}, 1)).overrides)
  end)

  it("finds no trial where there is none", function()
    assert.is_nil(told{})
    assert.is_nil(told{SPDLUA_TRIAL = "", SPDLUA_OVERRIDES = "nonsense"})
  end)

  for _, text in ipairs{"", "lr=1", '"lr=1"', "[1]", '{"lr": 1}', '["lr"]', "[" } do
    it("refuses the overrides " .. text, function()
      local ok, err = pcall(told, {SPDLUA_TRIAL = "x", SPDLUA_OVERRIDES = text})
      assert.is_false(ok)
      assert.same({2, 'SPDLUA_OVERRIDES: expected a JSON list such as ["lr=1e-3"]'}, {err.status, err.message})
    end)
  end

  it("refuses a number of threads that is none", function()
    for _, text in ipairs{"0", "x", "-1", "99999"} do
      local ok, err = pcall(told, {SPDLUA_TRIAL = "x", SPDLUA_THREADS = text})
      assert.is_false(ok)
      assert.equal("SPDLUA_THREADS: expected an integer from 1 to 1024", err.message)
    end
  end)
end)

describe("trial.apply", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  it("leaves a command line as it is where there is no trial", function()
    local options = {config = "c.yaml", overrides = {"a=1"}}
    assert.equal(options, trial.apply(options))
  end)

  it("lays the swept values below those of the command line, whose threads count too", function()
    local one = {folder = folder, overrides = {"a=1", "b=2"}, threads = 3}
    assert.same({config = "c.yaml", overrides = {"a=1", "b=2", "a=5"}, out = folder, threads = 3},
      trial.apply({config = "c.yaml", overrides = {"a=5"}}, one))
    assert.equal(1, trial.apply({config = "c.yaml", overrides = {}, threads = 1}, one).threads)
  end)

  it("resumes what the folder holds", function()
    experiment.write(folder .. "/final_config.yaml", "")
    assert.same({resume = folder, overrides = {}, quiet = true},
      trial.apply({config = "c.yaml", overrides = {"a=5"}, quiet = true}, {folder = folder, overrides = {"a=1"}}))
  end)

  it("refuses another folder", function()
    for _, name in ipairs{"out", "resume"} do
      local ok, err = pcall(trial.apply, {overrides = {}, [name] = "x"}, {folder = folder, overrides = {}})
      assert.is_false(ok)
      assert.equal(2, err.status)
      assert.matches("^%-%-" .. name .. ": a trial of a sweep has a folder of its own", err.message)
    end
  end)

  -- The command line has the last word on batch_size, and the same command goes on or does nothing.
  it("makes an experiment a trial, also one that brings its own settings", function()
    local run = folder .. "/run"
    assert(posix.make_directory(run))
    local words = {"env", "SPDLUA_TRIAL=" .. run, 'SPDLUA_OVERRIDES=["steps=2","batch_size=8","n_eval_steps=1"]',
      "SPDLUA_THREADS=1", "PATH=/nowhere", experiment.host, "experiments/own_model.lua", "batch_size=16", "--quiet"}
    local expected = {0, "run: " .. run .. "\n", ""}
    assert.same(expected, {experiment.run(words)})
    assert.same(expected, {experiment.run(words)})
    local config = experiment.read(run .. "/final_config.yaml")
    assert.matches("\nsteps: 2\n", config)
    assert.matches("\nbatch_size: 16\n", config)
    local summary = json.decode(experiment.read(run .. "/summary.json"))
    assert.same({2, 1}, {summary.steps, summary.threads})
    assert.is_true(posix.is_file(run .. "/checkpoints/step_2.safetensors"))
  end)
end)
