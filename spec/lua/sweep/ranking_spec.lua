-- The table and the figures of what a sweep has found.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local figures_sweep = require "spd.figures.sweep"
local ranking = require "spd.sweep.ranking"
local sweep_file = require "spec.support.sweep"

local function sweep_of(goal)
  return sweep_file.with([[
  lr: {distribution: log_uniform_values, min: 1e-4, max: 1}
  act: {values: [null, relu, 3, 1]}
  steps: {value: 20}
]], ("method: random\nmetric: {name: mmcs, goal: %s}"):format(goal))
end

local function trial(number, metric, state, lr, act)
  return {number = number, metric = metric, state = state,
    values = {{key = "act", value = act}, {key = "lr", value = lr}, {key = "steps", value = 20}}}
end

local TRIALS = {
  trial(0, 0.5, "finished", 1e-3, "relu"), trial(1, nil, "failed", 1e-2, 3),
  trial(2, 0.75, "stopped", 0.123456789, nil), trial(3, nil, "running", 0.5, 1),
  trial(4, 0.25, "finished", 0.5, 1), trial(5, 0 / 0, "finished", 0.5, 3),
}

describe("ranking", function()
  it("puts the best first and those without a result last", function()
    local function order(goal)
      local numbers = {}
      local list, count = ranking.sorted(sweep_of(goal), TRIALS)
      for i, one in ipairs(list) do numbers[i] = one.number end
      return numbers, count
    end
    assert.same({2, 0, 4, 1, 3, 5}, (order "maximize"))
    assert.same({4, 0, 2, 1, 3, 5}, (order "minimize"))
    assert.equal(3, select(2, order "minimize"))
    assert.equal(0, TRIALS[1].number)
  end)

  it("is an aligned table of the metric and what is swept", function()
    assert.equal([[
| rank | trial | state    | mmcs |  act |       lr |
| ---: | ----: | -------- | ---: | ---: | -------: |
|    1 |     2 | stopped  | 0.75 | null | 0.123457 |
|    2 |     0 | finished |  0.5 | relu |    0.001 |
|    3 |     4 | finished | 0.25 |    1 |      0.5 |
|    - |     1 | failed   |    - |    3 |     0.01 |

2 more trials]], ranking.table(sweep_of "maximize", TRIALS, 4))
  end)

  it("does without a metric, and with no trial", function()
    local sweep = sweep_file.with "  a: {values: [1, 2]}"
    local list = {{number = 0, state = "finished", values = {{key = "a", value = 1}}}}
    assert.equal("| rank | trial | state    |   a |\n| ---: | ----: | -------- | --: |\n" ..
      "|    - |     0 | finished |   1 |", ranking.table(sweep, list))
    assert.matches("^| rank | trial | state | mmcs | act |  lr |\n[^\n]*$", ranking.table(sweep_of "maximize", {}))
    assert.is_true(ranking.draw(sweep, list, error))
    assert.is_true(ranking.draw(sweep_of "maximize", {TRIALS[2]}, error))
  end)

  it("draws a figure for every swept parameter", function()
    local folder, paths = experiment.make_folder(), {}
    local drawn, problem = ranking.draw(sweep_of "maximize", TRIALS, function(key)
      paths[#paths + 1] = folder .. "/" .. key .. ".png"
      return paths[#paths]
    end)
    assert.is_true(drawn, problem)
    assert.same({folder .. "/act.png", folder .. "/lr.png"}, paths)
    for _, path in ipairs(paths) do assert.equal("\137PNG", experiment.read(path):sub(1, 4)) end
    local done, reason = ranking.draw(sweep_of "maximize", TRIALS, function() return folder .. "/none/x.png" end)
    assert.is_nil(done)
    assert.matches("none/x.png", reason)
    experiment.remove_folder(folder)
  end)
end)

describe("the axis of a list of values", function()
  local figures = require "spd.figures"
  local draw = figures.swept_parameter

  after_each(function() figures.swept_parameter = draw end)

  it("has numbers ascending, then the others", function()
    local subjects = {}
    figures.swept_parameter = function(path, subject)
      subjects[path] = subject
      return true
    end
    ranking.draw(sweep_of "maximize", TRIALS, function(key) return key end)
    assert.same({"1", "3", "null", "relu"}, subjects.act.categories)
    assert.same({3, 2, 0}, subjects.act.x) -- of the trials 0, 2, 4
    assert.same({0.5, 0.75, 0.25}, subjects.act.y)
    assert.equal("3 of 6 trials have no result", subjects.act.note)
    assert.same({true, true}, {subjects.lr.log_x, subjects.lr.maximize})
  end)
end)

describe("the figure of a swept parameter", function()
  local function script_of(subject)
    subject.name, subject.metric = subject.name or "lr", "loss"
    local page = figures_sweep.parameter(subject)
    local status, _, messages = core.posix.run({"gnuplot", "-d", "-"}, {stdin = page:script()})
    assert.same({0, ""}, {status, messages})
    return page:script()
  end

  it("has a logarithmic axis for a log distribution, and for metrics of several sizes", function()
    local script = script_of{x = {1e-4, 1e-2, 1}, y = {1, 2, 3}, log_x = true}
    assert.matches("\nset logscale x\n", script)
    assert.not_matches("\nset logscale y\n", script)
    assert.matches("\nset logscale y\n", script_of{x = {1, 2, 3}, y = {1e-4, 2, 3}})
    assert.not_matches("\nset logscale y\n", script_of{x = {1, 2, 3}, y = {-1e-4, 2, 3}})
  end)

  it("has a line of means only where trials share a value", function()
    local script = script_of{x = {1, 1, 2}, y = {2, 4, 5}}
    assert.matches("with linespoints", script)
    assert.matches("\n1 3\n2 5\n", script)
    assert.not_matches("with linespoints", script_of{x = {1, 2}, y = {2, 4}})
  end)

  it("names categories, and marks the best trial", function()
    local script = script_of{x = {0, 1, 1}, y = {2, 4, 5}, categories = {"a", "it's"}, maximize = true, note = "x"}
    assert.matches("'it’s' 1", script)
    assert.matches("<< END_OF_DATA\n1.16 5\nEND", script) -- the last of two dots at 1, apart from each other
    assert.matches("<< END_OF_DATA\n0 2\nEND", script_of{x = {0, 1, 1}, y = {2, 4, 5}, categories = {"a", "b"}})
  end)

  it("leaves out what is no number, and is not drawn without any", function()
    script_of{x = {1, 0 / 0, 3, 4}, y = {2, 1, 0 / 0, math.huge}}
    assert.is_false(pcall(figures_sweep.parameter, {name = "a", metric = "b", x = {1}, y = {0 / 0}}))
    assert.is_false(pcall(figures_sweep.parameter, {name = "a", metric = "b", x = {}, y = {}}))
  end)

  it("has room for many categories and long names", function()
    local categories, x, y = {}, {}, {}
    for i = 1, 60 do categories[i], x[i], y[i] = ("a long name of a value %d"):format(i), i - 1, i end
    script_of{x = x, y = y, categories = categories, name = ("key."):rep(60)}
  end)
end)
