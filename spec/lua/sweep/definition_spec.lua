-- Sweep files as people have them are read, and what is wrong in one is said with its line.
local definition = require "spd.sweep.definition"
local sweep_file = require "spec.support.sweep"

-- The parameters of such lines by key.
local function parameters_of(lines, method)
  local by_key = {}
  for _, parameter in ipairs(sweep_file.with(lines, "method: " .. (method or "random")).parameters) do
    by_key[parameter.key] = parameter
  end
  return by_key
end

describe("sweep files", function()
  it("have the same trials with another layout, order, run_cap or description, else others", function()
    local text = "method: random\nrun_cap: 3\nparameters: {lr: {min: 0.1, max: 1}, seed: {values: [0, 1]}}\n"
    local function same(other) return definition.same_trials(text, other) end
    assert.is_true(same("# more\nparameters:\n  seed:\n    values: [0, 1]\n  lr: {max: 1, min: 0.1}\n" ..
      "method: random\nrun_cap: 8\ndescription: longer\n"))
    assert.is_false(same((text:gsub("0.1", "0.2"))))
    assert.is_false(same((text:gsub("%[0, 1%]", "[1, 0]"))))
    assert.is_false(same((text:gsub("random", "bayes"))))
    assert.is_false(same(text .. "name: other\n"))
    assert.is_false(same "{")
  end)

  it("have the form of those of the public SPD code", function()
    local sweep, warnings = sweep_file.read [[
program: experiments/lm_decomposition.lua
method: grid
metric:
  name: total_loss
  goal: minimize
parameters:
  seed:
    values: [0]
  lr:
    values: [2e-3, 1e-3, 3e-4, 1e-4]
  # importance_minimality_coeff:
  #   values: [1, 1e-2]

command:
- ${env}
- ${interpreter}
- ${program}
- configs/lm_stories.yaml # the story model
]]
    assert.same({}, warnings)
    assert.same({"experiments/lm_decomposition.lua", "grid"}, {sweep.program, sweep.method})
    assert.same({"total_loss", "minimize"}, {sweep.metric.name, sweep.metric.goal})
    assert.same({"lr", "seed"}, {sweep.parameters[1].key, sweep.parameters[2].key})
    assert.same({{value = 2e-3}, {value = 1e-3}, {value = 3e-4}, {value = 1e-4}}, sweep.parameters[1].choices)
    assert.same({"${env}", "${interpreter}", "${program}", "configs/lm_stories.yaml"}, sweep.command)
  end)

  it("mean a distribution by the keys of a parameter", function()
    local p = parameters_of [[
  a: {value: 3}
  b: {values: [1, two, null]}
  c: {values: [1, 2], probabilities: [0.25, 0.75]}
  d: {min: 1, max: 1_000}
  e: {min: 1, max: 2.0}
  f: {min: 1e-3, max: 1}
  g: {mu: 1}
  h: {value: null}
  i: {min: "1", max: "3"}
]]
    local names = {}
    for key, parameter in pairs(p) do names[key] = parameter.distribution end
    assert.same({
      a = "constant", b = "categorical", c = "categorical_w_probabilities", d = "int_uniform", e = "uniform",
      f = "uniform", g = "normal", h = "constant", i = "int_uniform",
    }, names)
    assert.same({{value = 1}, {value = "two"}, {}}, p.b.choices)
    assert.same({1, 1000}, {p.d.min, p.d.max})
    assert.same({1, 1.0}, {p.g.mu, p.g.sigma})
    assert.is_nil(p.h.value)
  end)

  it("name every distribution of W&B, with its defaults", function()
    local p = parameters_of [[
  a: {distribution: q_uniform, min: 0, max: 1, q: 0.25}
  b: {distribution: log_uniform, min: -5, max: -1}
  c: {distribution: q_log_uniform, min: 0, max: 3, q: 2}
  d: {distribution: log_uniform_values, min: 1e-3, max: 1}
  e: {distribution: q_log_uniform_values, min: 1, max: 100, q: 5}
  f: {distribution: inv_log_uniform, min: 0, max: 3}
  g: {distribution: inv_log_uniform_values, min: 1, max: 3}
  h: {distribution: normal}
  i: {distribution: q_normal, q: 1}
  j: {distribution: log_normal, sigma: 2}
  k: {distribution: q_log_normal, q: 1}
  l: {distribution: beta, a: 2}
  m: {distribution: q_beta, q: 0.1}
  n: {distribution: constant, value: x}
  o: {distribution: categorical, values: [1]}
  p: {distribution: categorical_w_probabilities, values: [1], probabilities: [1]}
  q: {distribution: int_uniform, min: 1, max: 1e3}
  r: {distribution: uniform, min: 1, max: 2}
]]
    assert.same({0.0, 1.0, 1}, {p.i.mu, p.i.sigma, p.i.q})
    assert.same({0.0, 2}, {p.j.mu, p.j.sigma})
    assert.same({2, 1.0}, {p.l.a, p.l.b})
    assert.equal(1000, p.q.max)
  end)

  it("flatten groups to dotted keys, in W&B's order", function()
    local sweep = sweep_file.with [[
  z: {value: 1}
  task_config:
    parameters:
      pnorm: {values: [1, 2]}
      inner:
        parameters:
          x: {value: 1}
  a.b: {value: 2}
  m: {value: {k: 1, list: [1, 2], deep: {n: null}}}
]]
    local keys, paths = {}, {}
    for i, parameter in ipairs(sweep.parameters) do
      keys[i], paths[parameter.key] = parameter.key, table.concat(parameter.path, "/")
    end
    assert.same({"a.b", "m.k", "m.list", "m.deep.n", "task_config.inner.x", "task_config.pnorm", "z"}, keys)
    assert.equal("a.b", paths["a.b"])
    assert.equal("task_config/inner/x", paths["task_config.inner.x"])
    assert.same({1, 2}, sweep.parameters[3].value)
    local message = sweep_file.error_of(sweep_file.with, [[
  task_config:
    parameters:
      pnorm:
        value: 1
        q: 1
]])
    assert.equal("FILE:8: parameters.task_config.pnorm.q: the distribution constant does not have it", message)
  end)

  it("may hold what W&B needs elsewhere, with a warning only where it asks for something else", function()
    local _, warnings = sweep_file.with("  a: {value: 1}", [[
method: grid
name: n
description: d
project: p
entity: e
apiVersion: x
kind: sweep
controller: {type: local}]])
    assert.same({}, warnings)
    _, warnings = sweep_file.with("  a: {value: 1}", "method: grid\njob: x\nscheduler: {engine: wandb}")
    table.sort(warnings)
    assert.same({
      "FILE:2: job: no job is launched, program is run here",
      "FILE:3: scheduler: has no effect: method chooses the values",
    }, warnings)
  end)

  it("warn of values given twice, and of exponents that look like values", function()
    local sweep, warnings = sweep_file.with("  a: {values: [1, 1.0, 2]}\n  b: {distribution: log_uniform, " ..
      "min: 1e-3, max: 1e-1}", "method: random")
    assert.same({{value = 1}, {value = 2}}, sweep.parameters[1].choices)
    assert.equal(2, #warnings)
    assert.matches("^FILE:4: parameters.a.values: 1.0 is given twice", warnings[1])
    assert.matches("^FILE:5: parameters.b: min and max are exponents of e: values lie between 1.001 and 1.105",
      warnings[2])
  end)

  it("have the command of W&B where they have none", function()
    assert.same({"${env}", "${interpreter}", "${program}", "${args}"}, sweep_file.with("  a: {value: 1}").command)
  end)

  it("may do without a program if the command names none", function()
    local sweep = sweep_file.read "method: grid\ncommand: [echo, 3]\nparameters: {a: {value: 1}}"
    assert.same({"echo", "3"}, sweep.command)
  end)
end)

describe("a mistake in a sweep file", function()
  local PARAMETER = {
    {"{values: []}", "FILE:4: parameters.a.values: expected at least one value, found an empty list"},
    {"{values: 3}", "FILE:4: parameters.a.values: expected a list, found 3"},
    {"{min: 3, max: 1}", "FILE:4: parameters.a.min: expected at most max, which is 1, found 3"},
    {"{min: 0.2, max: 0.1}", "FILE:4: parameters.a.min: expected at most max, which is 0.1, found 0.2"},
    {"{min: 3}", "FILE:4: parameters.a: max is missing, which the distribution uniform needs"},
    {"{max: 3}", "FILE:4: parameters.a: min is missing, which the distribution uniform needs"},
    {"{distribution: q_uniform, min: 0, max: 1}",
      "FILE:4: parameters.a: q is missing, which the distribution q_uniform needs (values are multiples of q)"},
    {"{distribution: q_uniform, min: 0, max: 1, q: 0}", "FILE:4: parameters.a.q: expected a number above 0, found 0"},
    {"{min: 0, max: 1, q: 1}", "FILE:4: parameters.a.q: the distribution int_uniform does not have it"},
    {"{distribution: log_uniform_values, min: 0, max: 1}",
      "FILE:4: parameters.a.min: expected a number above 0, found 0"},
    {"{distribution: log_uniform, min: 0, max: 800}", "FILE:4: parameters.a.max: expected exponents of e whose " ..
      "powers are numbers (log_uniform_values takes the values themselves)"},
    {"{distribution: normal, sigma: 0}", "FILE:4: parameters.a.sigma: expected a number above 0, found 0"},
    {"{distribution: beta, a: -1}", "FILE:4: parameters.a.a: expected a number above 0, found -1"},
    {"{min: .nan, max: 1}", "FILE:4: parameters.a.min: expected a number, found .nan"},
    {"{min: x, max: 1}", "FILE:4: parameters.a.min: expected a number, found 'x'"},
    {"{distribution: int_uniform, min: 0.5, max: 1}", "FILE:4: parameters.a.min: expected an integer, found 0.5"},
    {"{min: -9223372036854775807, max: 9223372036854775807}",
      "FILE:4: parameters.a.max: expected at most 2^62 above min, found 9223372036854775807"},
    {"{values: [1, 2], probabilities: [0.5, 0.6]}",
      "FILE:4: parameters.a.probabilities: expected a sum of 1, found 1.1"},
    {"{values: [1, 2], probabilities: [1]}",
      "FILE:4: parameters.a.probabilities: expected 2, one for each value, found 1"},
    {"{values: [1, 2], probabilities: [2, -1]}",
      "FILE:4: parameters.a.probabilities: expected numbers from 0 to 1, found 2"},
    {"{distribution: log_unifrom, min: 1, max: 2}",
      "FILE:4: parameters.a.distribution: unknown distribution 'log_unifrom' (the nearest one is 'log_uniform')"},
    {"{valeu: 1}", "FILE:4: unknown key 'parameters.a.valeu' (the nearest one is 'value')"},
    {"{pnorm: {value: 1}}",
      "FILE:4: unknown key 'parameters.a.pnorm' (a group of parameters is written below the key parameters)"},
    {"{}", "FILE:4: parameters.a: expected value, values, min and max, a distribution, or parameters"},
    {"3", "FILE:4: parameters.a: expected a group such as {value: 3}, found 3"},
    {"{parameters: {}}", "FILE:4: parameters.a.parameters: expected at least one parameter, found an empty group"},
    {"{parameters: {x: {value: 1}}, value: 2}", "FILE:4: parameters.a.value: a group of parameters does not have it"},
    {"{value: {}}", "FILE:4: parameters.a.value: expected a value, found an empty group"},
    {"{values: [[1, null]]}", "FILE:4: parameters.a.values: expected no null inside a list or a group"},
    {"{value: 1}\n  a: {value: 2}", "FILE:5: key 'a' is given twice (first in line 4)"},
    {"{parameters: {b: {value: 1}}}\n  a.b: {value: 2}",
      "FILE:5: parameters.a.b: is given twice (first at "}, -- and the place
    {"{value: 1}\n  a.b: {value: 2}", "FILE:5: parameters.a.b: 'a.b' lies within 'a', which has a value of its own"},
    {"{value: 1}\n  'b c': {value: 2}", "FILE:5: parameters: expected the key of a config, found 'b c'"},
    {"{value: 1}\n  b..c: {value: 2}", "FILE:5: parameters: expected the key of a config, found 'b..c'"},
  }

  for _, case in ipairs(PARAMETER) do
    it("at a parameter: " .. case[1]:gsub("\n", " "), function()
      local message, status = sweep_file.error_of(sweep_file.with, "  a: " .. case[1], "method: random")
      assert.equal(case[2], message:sub(1, #case[2]))
      assert.equal(2, status)
    end)
  end

  local TOP = {
    {"method: gird", "FILE:1: method: expected one of grid, random, bayes, found 'gird' (the nearest one is 'grid')"},
    {"method: custom", "FILE:1: method: custom is a program of your own that chooses the values, which is not " ..
      "supported (there is grid, random, bayes)"},
    {"method: [grid]", "FILE:1: method: expected one of grid, random, bayes, found ['grid']"},
    {"method: grid\nparameter: 3", "FILE:2: unknown key 'parameter' (the nearest one is 'parameters')"},
    {"method: bayes", "FILE: missing key: metric, which method: bayes needs"},
    {"method: bayes\nmetric: {name: m}",
      "FILE: parameters: expected one with several values for method: bayes, found constants only"},
    {"method: grid\nmetric: {goal: minimize}", "FILE: missing key: metric.name"},
    {"method: grid\nmetric: {name: m, goal: max}",
      "FILE:2: metric.goal: expected one of minimize, maximize, found 'max'"},
    {"method: grid\nrun_cap: 0", "FILE:2: run_cap: expected an integer of 1 or more, found 0"},
    {"method: grid\nearly_terminate: {type: hyperband, min_iter: 3}",
      "FILE:2: early_terminate: hyperband compares trials by metric, which is missing"},
    {"method: grid\nmetric: {name: m}\nearly_terminate: {type: hyperband, max_iter: 3}",
      "FILE:3: early_terminate: expected min_iter, or max_iter and s"},
    {"method: grid\nmetric: {name: m}\nearly_terminate: {type: hyperband, max_iter: 2, s: 2}",
      "FILE:3: early_terminate: expected max_iter of eta or more, found 2"},
    {"method: grid\nmetric: {name: m}\nearly_terminate: {type: hyperband, min_iter: 2, eta: 1}",
      "FILE:3: early_terminate.eta: expected a number above 1, found 1"},
    {"method: grid\nmetric: {name: m}\nearly_terminate: {type: envelope}",
      "FILE:3: early_terminate.type: expected hyperband, found 'envelope'"},
    {"method: grid\ncommand: []", "FILE:2: command: expected a list of words, found []"},
    {"method: grid\ncommand: run", "FILE:2: command: expected a list of words, found 'run'"},
    {"method: grid\ncommand: [[a]]", "FILE:2: command: expected a word, found ['a']"},
    {'method: grid\ncommand: ["x${arg}"]', "FILE:2: command: unknown macro '${arg}' (the nearest one is '${args}')"},
    {'method: grid\ncommand: ["${envvar:}"]',
      "FILE:2: command: unknown macro '${envvar:}' (the nearest one is '${envvar:NAME}')"},
  }

  for _, case in ipairs(TOP) do
    it("at the top: " .. case[1]:gsub("\n", " "), function()
      local message, status = sweep_file.error_of(sweep_file.with, "  a: {value: 1}", case[1])
      assert.equal(case[2], message:sub(1, #case[2]))
      assert.equal(2, status)
    end)
  end

  it("is a missing program, method or list of parameters", function()
    local function message_of(text) return (sweep_file.error_of(sweep_file.read, text)) end
    assert.matches("^FILE: missing key: program", message_of "method: grid\nparameters: {a: {value: 1}}")
    assert.equal("FILE: missing keys: method, parameters", message_of "program: x")
    assert.equal("FILE:2: parameters: expected at least one parameter, found an empty group",
      message_of "method: grid\nparameters: {}")
    assert.equal("FILE: expected keys and values, found an empty file", message_of "")
    assert.matches("^FILE:%d: ", message_of "method: [")
  end)

  for _, name in ipairs{
    "uniform", "normal", "log_uniform_values", "beta", "categorical_w_probabilities", "q_normal",
  } do
    it("is a grid over the distribution " .. name, function()
      local keys = {
        uniform = "min: 0.0, max: 1", log_uniform_values = "min: 1, max: 2", q_normal = "q: 1",
        categorical_w_probabilities = "values: [1], probabilities: [1]",
      }
      local lines = ("  a: {distribution: %s, %s}"):format(name, keys[name] or "")
      local message = sweep_file.error_of(sweep_file.with, lines)
      assert.equal(("FILE:4: parameters.a: a grid cannot have the distribution %s (it has values, int_uniform, " ..
        "q_uniform; or method: random)"):format(name), message)
    end)
  end
end)
