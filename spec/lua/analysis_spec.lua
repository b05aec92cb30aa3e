local analysis = require "spd.analysis"
local component_model = require "spd.component_model"
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local figures = require "spd.figures"
local tms = require "spd.models.tms"

local originals, drawn

-- Instead of drawing, every function of spd.figures notes what it was given: drawn[file name].
before_each(function()
  originals, drawn = {}, {}
  for name, original in pairs(figures) do
    originals[name] = original
    figures[name] = function(path, subject, options)
      drawn[path] = {figure = name, subject = subject, options = options or {}}
      return true
    end
  end
end)

after_each(function()
  for name, original in pairs(originals) do figures[name] = original end
end)

--- Rows [n][columns] with the given value at (i, places[i]) and 0 elsewhere.
local function rows_at(places, columns, value)
  local rows = {}
  for i, place in ipairs(places) do
    rows[i] = {}
    for j = 1, columns do rows[i][j] = j == place and value or 0 end
  end
  return rows
end

local IMPORTANT = { -- which subcomponent is important for which feature, as columns
  linear1 = {6, 2, 5},
  linear2 = {1, 3, 4},
  ["hidden_layers.0"] = {3, 3, 3},
}

local V = {{0, 0, 0, 0, 0, 2}, {0, 3, 0, 0, 0, 0}, {1e-3, 0, 2e-3, 0, 1, 0}}
local U = {{1, 0}, {0, 1}, {1, 0}, {1, 0}, {1, 0}, {0, 1}}

--- A TMS with 3 features and 6 subcomponents, whose importances are the input of magnitude 0.75 scaled to 1.
local function subject_of(changes)
  changes = changes or {}
  local model = tms.new{n_features = 3, n_hidden = 2, n_hidden_layers = 1, tied_weights = not changes.untied}
  local components = component_model.new{
    target = model, patterns = changes.patterns or {"*"}, C = 6, n_ci_mlp_neurons = 0,
  }
  components.by_name.linear1.V, components.by_name.linear1.U = core.tensor(V), core.tensor(U)
  function components.importances(_, inputs)
    local lower, upper = {}, {}
    for _, matrix in ipairs(components.matrices) do
      local places = (changes.important or IMPORTANT)[matrix.name]
      lower[matrix.name] = core.matmul(inputs.linear1, core.tensor(rows_at(places, 6, 1 / 0.75)))
      upper[matrix.name] = core.matmul(inputs.linear1, core.tensor(rows_at(places, 6, 2 / 0.75)))
    end
    return lower, upper
  end
  local batches = {batch = function() return core.tensor{{1, 0, 0}, {0, 0, 0}, {1, 0.5, 0}, {0, 0, 0}} end}
  return {
    kind = "tms", config = {n_eval_steps = 2}, components = components, evaluation_data = batches, n_features = 3,
    solution = {linear1 = {kind = "identity", n = 3}, linear2 = {kind = "identity", n = 3}}, rows = changes.rows,
  }
end

local function draw(subject)
  return analysis.draw(subject, function(name) return name end)
end

local function numbers(components)
  local list = {}
  for i, component in ipairs(components) do list[i] = component.index end
  return list
end

describe("analysis.score", function()
  it("looks at the importances of one-hot inputs of magnitude 0.75", function()
    assert.equal(0.75, evaluate.magnitude)
    local scores = analysis.score(subject_of())
    assert.same({linear1 = 0, linear2 = 0}, scores.target_ci_error)
    assert.same({linear1 = 0, linear2 = 0}, scores.target_ci_error_0p2)
    assert.equal(0, scores.target_ci_error_total)
  end)

  it("says how much of an error a higher tolerance leaves", function()
    local subject = subject_of()
    local importances = subject.components.importances
    function subject.components.importances(...)
      local lower, upper = importances(...)
      for name, g in pairs(lower) do lower[name] = g * 0.85 end
      return lower, upper
    end
    local scores = analysis.score(subject)
    assert.same({linear1 = 3, linear2 = 3}, scores.target_ci_error)
    assert.same({linear1 = 0, linear2 = 0}, scores.target_ci_error_0p2)
  end)

  it("counts what is alive in each matrix", function()
    assert.same({linear1 = 2, linear2 = 2, ["hidden_layers.0"] = 1}, analysis.score(subject_of()).n_alive)
  end)
end)

describe("analysis.draw: heat maps", function()
  it("have one order per matrix, from the lower-leaky importances, and one for tied matrices", function()
    assert.is_nil(draw(subject_of()))
    local expected = {linear1 = {5, 1, 4, 0, 2, 3}, linear2 = {5, 1, 4, 0, 2, 3}}
    for _, name in ipairs{"causal_importances", "causal_importances_upper_leaky"} do
      local panels = drawn[name].subject
      assert.same({"linear1", "linear2"}, {panels[1].name, panels[2].name})
      for i = 1, 2 do assert.same(expected[panels[i].name], panels[i].columns) end
    end
    assert.same(expected.linear1, drawn.subcomponents.subject[1].columns)
    assert.is_true(drawn.causal_importances_upper_leaky.options.upper)
  end)

  it("have an order for each of two matrices that are not tied", function()
    draw(subject_of{untied = true})
    local panels = drawn.causal_importances.subject
    assert.same({5, 1, 4, 0, 2, 3}, panels[1].columns)
    assert.same({0, 2, 3, 1, 4, 5}, panels[2].columns)
  end)

  it("show importances and subcomponents in the order that they name", function()
    draw(subject_of())
    local linear1, linear2 = table.unpack(drawn.causal_importances.subject)
    for i = 1, 3 do
      for j = 1, 6 do
        local number = linear1.columns[j] + 1
        assert.is_near(number == IMPORTANT.linear1[i] and 1 or 0, linear1.values[i][j], 1e-6)
        assert.is_near(number == IMPORTANT.linear2[i] and 1 or 0, linear2.values[i][j], 1e-6)
      end
    end
    assert.is_near(2, drawn.causal_importances_upper_leaky.subject[1].values[1][1], 1e-6)
    local first = drawn.subcomponents.subject[1]
    assert.same({2, 0, 0}, {first.V[1][1], first.V[2][1], first.V[3][1]})
    assert.same({0, 1}, first.U[1])
  end)

  it("show V and U of tied matrices once", function()
    draw(subject_of())
    local list = drawn.subcomponents.subject
    assert.same({"linear1", "hidden_layers.0"}, {list[1].name, list[2].name})
    assert.same({"linear2"}, {list[1].tied, list[2].tied})
    draw(subject_of{untied = true})
    assert.equal(3, #drawn.subcomponents.subject)
    assert.is_nil(drawn.subcomponents.subject[1].tied)
  end)
end)

describe("analysis.draw: distributions", function()
  it("have rates of all examples, with the rule of what is alive", function()
    draw(subject_of())
    local rates, options = drawn.activation_rates.subject[1], drawn.activation_rates.options
    assert.same({0, 0.25, 0, 0, 0, 0.5}, rates.counts) -- of 2 x 4 examples
    assert.equal(evaluate.alive_rate, options.threshold)
    assert.equal("Fraction of examples with importance > 0.1", options.label)
    assert.is_near(0.5 / 0.75, drawn.mean_importances.subject[1].values[6], 1e-6)
  end)

  it("have all importances of a batch in the histograms", function()
    draw(subject_of())
    -- four examples of six subcomponents: 1, 1 and 0.5 / 0.75, scaled by 4 / 3, and zeros
    local panel = drawn.importance_histograms.subject[1]
    local total = panel.negative
    for _, count in ipairs(panel.counts) do total = total + count end
    assert.equal(24, total)
    assert.same({21, 2, 1}, {panel.counts[1], panel.counts[100], panel.counts[67]})
    assert.matches("lower%-leaky.* 4 examples", drawn.importance_histograms.options.title)
  end)
end)

describe("analysis.draw: toy models of superposition", function()
  it("show what is important or large, by norm, and one of the dead subcomponents", function()
    draw(subject_of{important = {linear1 = {6, 2, 5}, linear2 = {6, 2, 5}, ["hidden_layers.0"] = {3, 3, 3}}})
    assert.same({1, 5, 4, 2}, numbers(drawn.tms_diagram.subject.components))
    assert.equal(6, drawn.tms_diagram.subject.C)
    draw(subject_of{important = {linear1 = {6, 2, 1}, linear2 = {6, 2, 1}, ["hidden_layers.0"] = {3, 3, 3}}})
    assert.same({1, 5, 4, 0, 2}, numbers(drawn.tms_diagram.subject.components))
  end)

  it("show what is important in either of two tied matrices", function()
    draw(subject_of())
    assert.same({1, 5, 4, 2, 0, 3}, numbers(drawn.tms_diagram.subject.components))
  end)

  it("have the partner in the second matrix where it is tied", function()
    draw(subject_of())
    local diagram = drawn.tms_diagram.subject
    assert.is_true(diagram.tied)
    assert.same({index = 1, W = {{0, 0, 0}, {0, 3, 0}}, W2 = {{0, 0}, {0, 3}, {0, 0}}}, diagram.components[1])
  end)

  it("have no partners where nothing is tied, and no second matrix where it is not decomposed", function()
    draw(subject_of{untied = true})
    local diagram = drawn.tms_diagram.subject
    assert.is_false(diagram.tied)
    assert.equal(3, #diagram.target.W2)
    for _, component in ipairs(diagram.components) do assert.is_nil(component.W2) end
    draw(subject_of{patterns = {"linear1"}})
    diagram = drawn.tms_diagram.subject
    assert.same({}, {diagram.target.W2, diagram.sum.W2, diagram.components[1].W2})
  end)

  it("show the hidden layers, if there are some", function()
    draw(subject_of())
    assert.equal("hidden_layers.0", drawn.hidden_layers.subject[1].name)
    drawn = {}
    draw(subject_of{patterns = {"linear*"}})
    assert.is_nil(drawn.hidden_layers)
    assert.is_table(drawn.tms_diagram)
  end)
end)

describe("analysis.draw: training", function()
  it("shows losses, and numbers of subcomponents by matrix, over steps", function()
    draw(subject_of{rows = {
      {step = 0, ["loss/total"] = 2, ["loss/faithfulness"] = 1, ["linear1/ci_l0"] = 3, ["linear1/n_alive"] = 6},
      {step = 10, ["loss/total"] = 1, ["loss/faithfulness"] = 0.5, ["linear1/ci_l0"] = 2, ["linear1/n_alive"] = 5},
    }})
    local losses, active, alive = table.unpack(drawn.training_curves.subject)
    assert.same({{name = "faithfulness", x = {0, 10}, y = {1, 0.5}}, {name = "total", x = {0, 10}, y = {2, 1}}},
      losses.series)
    assert.same({{name = "linear1", x = {0, 10}, y = {3, 2}}}, active.series)
    assert.same({{name = "linear1", x = {0, 10}, y = {6, 5}}}, alive.series)
    assert.is_nil(losses.linear)
  end)

  it("is left out without rows", function()
    draw(subject_of())
    assert.is_nil(drawn.training_curves)
    draw(subject_of{rows = {}})
    assert.is_nil(drawn.training_curves)
  end)
end)

describe("analysis.draw", function()
  it("draws the other figures where one cannot be drawn, and returns the reason", function()
    figures.components = function(path) return nil, path .. ": no gnuplot" end
    local subject = subject_of()
    assert.equal("subcomponents: no gnuplot", draw(subject))
    assert.is_table(drawn.mean_importances)
    assert.is_nil(subject.problem)
  end)
end)
