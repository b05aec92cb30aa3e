-- The values of trials: the order of grids, draws that are pure, and a search that finds more than chance does.
local bayes = require "spd.sweep.bayes"
local sampling = require "spd.sweep.sampling"
local sweep_file = require "spec.support.sweep"

-- "a=1 b=2" of the values of a trial.
local function text_of(values)
  local words = {}
  for i, item in ipairs(values) do words[i] = item.key .. "=" .. tostring(item.value) end
  return table.concat(words, " ")
end

describe("grid", function()
  local function grid(lines, others) return sampling.new(sweep_file.with(lines, "method: grid" .. (others or ""))) end

  it("has all combinations, keys in order, the last one fastest", function()
    local sampler = grid "  b: {values: [x, y]}\n  a: {min: 1, max: 3}\n  c: {value: 7}"
    assert.equal(6, sampler:count())
    local seen = {}
    for n = 1, 6 do seen[n] = text_of(sampler:values(n)) end
    assert.same({"a=1 b=x c=7", "a=1 b=y c=7", "a=2 b=x c=7", "a=2 b=y c=7", "a=3 b=x c=7", "a=3 b=y c=7"}, seen)
  end)

  it("has the multiples of q from min, without max", function()
    local sampler = grid "  a: {distribution: q_uniform, min: 0, max: 0.5, q: 0.1}"
    local seen = {}
    for n = 1, sampler:count() do seen[n] = sampler:values(n)[1].value end
    assert.same({0, 0.1, 0.2, 0.3, 0.4}, seen)
    sampler = grid "  a: {distribution: q_uniform, min: 1, max: 10, q: 4}"
    assert.same({1, 5, 9}, {sampler:values(1)[1].value, sampler:values(2)[1].value, sampler:values(3)[1].value})
    assert.equal(3, sampler:count())
  end)

  it("of huge ranges is counted, not listed", function()
    local lines = "  a: {min: 0, max: 1152921504606846975}\n  b: {min: 1, max: 1152921504606846976}\n" ..
      "  c: {values: [u, v]}"
    assert.equal(math.maxinteger, grid(lines):count())
    local sampler = grid(lines, "\nrun_cap: 5")
    assert.equal(5, sampler:count())
    assert.equal("a=0 b=3 c=u", text_of(sampler:values(5)))
    assert.equal(1 << 60, grid("  a: {min: 0, max: 1152921504606846975}"):count())
  end)

  it("is cut by run_cap, which does not add to it", function()
    assert.equal(2, grid("  a: {min: 1, max: 3}", "\nrun_cap: 2"):count())
    assert.equal(3, grid("  a: {min: 1, max: 3}", "\nrun_cap: 9"):count())
  end)
end)

describe("random", function()
  local function random(lines, others)
    return sampling.new(sweep_file.with(lines, "method: random" .. (others or "")))
  end
  local LINES = "  a: {min: 0.0, max: 1}\n  b: {values: [x, y, z]}"

  it("has no end but run_cap", function()
    assert.is_nil(random(LINES):count())
    assert.equal(4, random(LINES, "\nrun_cap: 4"):count())
  end)

  it("is a pure function of the sweep and the trial's number", function()
    local one, other = random(LINES), random(LINES)
    local last = one:values(9)
    for n = 1, 9 do assert.same(other:values(n), one:values(n)) end
    assert.same(last, other:values(9, {{values = {}, metric = 1, state = "finished"}}))
    assert.not_same(one:values(1), one:values(2))
  end)

  it("draws the same of a parameter beside others, and something else under another name", function()
    local alone = random "  a: {min: 0.0, max: 1}"
    assert.equal(alone:values(3)[1].value, random(LINES):values(3)[1].value)
    assert.not_equal(alone:values(3)[1].value, random(LINES, "\nname: other"):values(3)[1].value)
    assert.not_equal(random("  a: {min: 0.0, max: 1}\n  b: {min: 0.0, max: 1}"):values(3)[1].value,
      random("  a: {min: 0.0, max: 1}\n  b: {min: 0.0, max: 1}"):values(3)[2].value)
  end)

  it("draws with 48 bits, so that close values of a wide range are drawn too", function()
    local sampler, odd = random "  a: {min: 0, max: 1099511627775}", 0
    for n = 1, 20 do odd = odd + sampler:values(n)[1].value % 65536 % 2 end
    assert.is_true(odd > 3 and odd < 17, odd)
  end)

  it("draws from ranges of 2^62 too", function()
    local value = random("  a: {min: -2305843009213693952, max: 2305843009213693951}"):values(1)[1].value
    assert.equal("integer", math.type(value))
  end)
end)

describe("bayes", function()
  local LINES = [[
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1}
  width: {min: 1, max: 64}
  act: {values: [relu, gelu, tanh]}
  fixed: {value: 3}
]]

  local function sweep_of(name, goal)
    local others = "method: bayes\nmetric: {name: m, goal: %s}\nname: %s"
    return sweep_file.with(LINES, others:format(goal or "minimize", name))
  end

  -- Least at lr = 2e-3, width = 20, act = gelu, where it is 0; it explodes at large lr.
  local function cost(values)
    local act, _, lr, width = values[1].value, values[2].value, values[3].value, values[4].value
    if lr > 0.3 then return 1e9 end
    return 0.3 * math.log(lr / 2e-3) ^ 2 + ((width - 20) / 20) ^ 2 + ({relu = 1, gelu = 0, tanh = 0.6})[act]
  end

  local function search(sampler, count, sign)
    local history, best = {}, math.huge
    for n = 1, count do
      local values = sampler:values(n, history)
      local metric = cost(values)
      best = math.min(best, metric)
      history[n] = {values = values, metric = (sign or 1) * metric, state = "finished"}
    end
    return best, history
  end

  it("finds more than random search on a known function", function()
    for name, goal in pairs{one = "minimize", two = "maximize"} do
      local sweep = sweep_of(name, goal)
      local found = search(bayes.new(sweep), 30, goal == "maximize" and -1 or 1)
      local chance = search(require("spd.sweep.random").new(sweep), 30)
      assert.is_true(found < 0.25 * chance, ("%g, by chance %g"):format(found, chance))
    end
  end)

  it("begins with random trials, and is a pure function of sweep, number and history", function()
    local sweep = sweep_of "pure"
    local sampler, random = bayes.new(sweep), require("spd.sweep.random").new(sweep)
    assert.same(random:values(1), sampler:values(1, {}))
    local _, history = search(sampler, 14)
    local values = sampler:values(15, history)
    assert.not_same(random:values(15), values)
    assert.same(values, bayes.new(sweep_of "pure"):values(15, history))
    assert.equal("integer", math.type(values[4].value))
    assert.same({key = "fixed", value = 3}, values[2])
  end)

  it("takes trials that run into account: those started together differ", function()
    local sampler = bayes.new(sweep_of "pending")
    local _, history = search(sampler, 14)
    local first = sampler:values(15, history)
    history[15] = {values = first, state = "running"}
    local second = sampler:values(15, history) -- the same draws
    assert.not_same(first, second)
  end)

  it("takes failed trials, and those whose metric is NaN or missing, for the worst", function()
    local sampler = bayes.new(sweep_of "failed")
    local _, history = search(sampler, 12)
    local failures = {{metric = 0 / 0, state = "finished"}, {state = "finished"}, {metric = -5, state = "failed"},
      {metric = math.huge, state = "finished"}}
    for i, failure in ipairs(failures) do
      failure.values = sampler:values(12 + i, history)
      history[#history + 1] = failure
    end
    local values = sampler:values(20, history)
    history[#history - 1].metric = nil -- that of the failed trial, which would be the best
    assert.same(values, sampler:values(20, history))
    for _, trial in ipairs(history) do trial.metric = nil end
    assert.equal(4, #sampler:values(20, history))
  end)

  it("leaves out trials of another sweep, and goes on with a long history", function()
    local sampler = bayes.new(sweep_of "long")
    local random, history = require("spd.sweep.random").new(sweep_of "other"), {}
    for n = 1, 150 do
      local values = random:values(n)
      history[n] = {values = values, metric = cost(values), state = "stopped"}
    end
    history[151] = {values = {{key = "act", value = "silu"}}, metric = 0, state = "finished"}
    local values = sampler:values(152, history)
    assert.is_true(cost(values) < 0.5, cost(values))
  end)
end)
