-- Neuron contributions of a residual MLP and its responses to features, against sums over plain tables.
local analysis_residual_mlp = require "spd.analysis.residual_mlp"
local component_model = require "spd.component_model"
local core = require "spd.core"
local residual_mlp = require "spd.models.residual_mlp"

local RESPONSE_POINTS = 41

-- Of two layers with three features in a residual stream of three and two neurons: W_in [2][3] and W_out [3][2]. With
-- the identity as embedding, each feature has a neuron in each layer to which it contributes.
local WEIGHTS = {
  ["layers.0.mlp_in"] = {{1, -0.5, 0.25}, {-2, 3, 0.5}},
  ["layers.0.mlp_out"] = {{2, 0.5}, {-1, 0.25}, {-4, 2}},
  ["layers.1.mlp_in"] = {{0.5, 0.75, -1}, {1, -0.125, 0}},
  ["layers.1.mlp_out"] = {{-1, 1.5}, {2, 1}, {-0.5, 3}},
}

local function target_of(changes)
  local settings = {
    n_features = 3, d_embed = 3, d_mlp = 2, n_layers = 2, act_fn_name = "relu", in_bias = false, out_bias = false,
    fixed_identity_embedding = true, label_fn_seed = 5,
  }
  for key, value in pairs(changes or {}) do settings[key] = value end
  local target = residual_mlp.new(settings, 2)
  for _, layer in ipairs(target.layers) do
    if settings.fixed_identity_embedding then layer.weight:copy_from(core.tensor(WEIGHTS[layer.name])) end
    if layer.bias then layer.bias:copy_from(core.zeros(layer.bias:size(1)) + 0.5) end
  end
  return target
end

local function decompose(target, patterns, C)
  return component_model.new{target = target, patterns = patterns or {"*"}, C = C or 3, n_ci_mlp_neurons = 0, seed = 4}
end

local function set_components(components, name, V, U)
  components.by_name[name].V, components.by_name[name].U = core.tensor(V), core.tensor(U)
end

-- One subcomponent for each column of every decomposed weight, times factor (1): V is the identity, U the transpose.
local function set_columns(components, factor)
  for _, matrix in ipairs(components.matrices) do
    local d_in, V = matrix.weight:size(2), {}
    for i = 1, d_in do
      V[i] = {}
      for c = 1, components.C do V[i][c] = i == c and (factor or 1) or 0 end
    end
    local U = core.transpose(matrix.weight):totable()
    for c = d_in + 1, components.C do U[c] = {0, 0, 0} end
    set_components(components, matrix.name, V, U)
  end
  return components
end

-- Let the gates of a matrix say slope times the inner activation + bias.
local function set_gate(components, name, slope, bias)
  local C = components.C
  components.by_name[name].gate = {w = core.zeros(C) + slope, b = core.zeros(C) + bias}
end

-- ---- what is expected ---------------------------------------------------------------------------

local function product(a, b)
  local rows = {}
  for i = 1, #a do
    rows[i] = {}
    for j = 1, #b[1] do
      rows[i][j] = 0
      for k = 1, #b do rows[i][j] = rows[i][j] + a[i][k] * b[k][j] end
    end
  end
  return rows
end

-- Rows [n][m]: from_feature[f][m], what feature f is to neuron m, times from_neuron[m][f], what that is to output f.
local function paired(from_feature, from_neuron)
  local rows = {}
  for f, row in ipairs(from_feature) do
    rows[f] = {}
    for m, value in ipairs(row) do rows[f][m] = value * from_neuron[m][f] end
  end
  return rows
end

local function transposed(rows)
  local out = {}
  for j = 1, #rows[1] do
    out[j] = {}
    for i = 1, #rows do out[j][i] = rows[i][j] end
  end
  return out
end

-- Contributions [n][m] through W_in [m][d] and W_out [d][m] of a layer, between the embeddings of a target.
local function contributions_through(target, W_in, W_out)
  local constants = target.constants
  return paired(product(constants.W_E:totable(), transposed(W_in)),
    product(transposed(W_out), constants.W_U:totable()))
end

-- By feature, contributions [m] of the subcomponent that has the largest of all, and the number of that.
local function best_contributions(target, V, U, W_out)
  local rows, chosen, largest = {}, {}, {}
  for c = 1, #U do
    local W_in = {}
    for m, u in ipairs(U[c]) do
      W_in[m] = {}
      for d = 1, #V do W_in[m][d] = V[d][c] * u end
    end
    for f, row in ipairs(contributions_through(target, W_in, W_out)) do
      local value = math.max(table.unpack(row))
      if not largest[f] or value > largest[f] then rows[f], chosen[f], largest[f] = row, c - 1, value end
    end
  end
  return rows, chosen
end

local function assert_rows(expected, rows, tolerance)
  assert.equal(#expected, #rows)
  for i, row in ipairs(expected) do
    assert.equal(#row, #rows[i])
    for j, value in ipairs(row) do assert.is_near(value, rows[i][j], tolerance or 1e-6) end
  end
end

local function weight(target, name) return target.by_name[name].weight:totable() end

describe("contributions of a residual MLP's neurons", function()
  it("are products of a neuron's weights from a feature and to it", function()
    local components = decompose(target_of{n_layers = 1}, {"layers.0.mlp_in"}, 2)
    -- as a matrix, subcomponent 0 is {{1, 0, 2}, {-2, 0, -4}} and subcomponent 1 {{0, -3, 1}, {0, 1.5, -0.5}}
    set_components(components, "layers.0.mlp_in", {{1, 0}, {0, 3}, {2, -1}}, {{1, -2}, {-1, 0.5}})
    local list = analysis_residual_mlp.contributions(components)
    assert.equal(1, #list)
    assert.equal("layers.0.mlp_in", list[1].name)
    assert_rows({{2, -1}, {0.5, 0.75}, {-1, 1}}, list[1].target)
    -- for feature 0, 1 and 2 they contribute {2, -1} and 0, 0 and {3, 0.375}, {-8, -8} and {-4, -1}
    assert_rows({{2, -1}, {3, 0.375}, {-4, -1}}, list[1].components)
    assert.same({0, 1, 1}, list[1].chosen)
  end)

  it("are of the subcomponent with the single largest one, not the largest sum or magnitude", function()
    local components = decompose(target_of{n_layers = 1}, {"layers.0.mlp_in"}, 3)
    set_components(components, "layers.0.mlp_in", {{1, 1, 1}, {0, 0, 0}, {0, 0, 0}}, {{1, 4}, {1.5, -9}, {-9, 0}})
    local layer = analysis_residual_mlp.contributions(components)[1]
    -- for feature 0: {2, 2}, {3, -4.5} and {-18, 0}
    assert.equal(1, layer.chosen[1])
    assert_rows({{3, -4.5}}, {layer.components[1]})
  end)

  it("go through embedding and unembedding, without biases, and the sum of the subcomponents of mlp_out", function()
    local target = target_of{d_embed = 4, fixed_identity_embedding = false, in_bias = true, out_bias = true}
    local components = decompose(target)
    local list = analysis_residual_mlp.contributions(components)
    assert.equal(2, #list)
    for i, layer in ipairs(list) do
      local mlp_in, mlp_out = ("layers.%d.mlp_in"):format(i - 1), ("layers.%d.mlp_out"):format(i - 1)
      assert.equal(mlp_in, layer.name)
      assert_rows(contributions_through(target, weight(target, mlp_in), weight(target, mlp_out)), layer.target)
      local sum = transposed(product(components:V(mlp_out):totable(), components:U(mlp_out):totable()))
      local rows, chosen = best_contributions(target, components:V(mlp_in):totable(), components:U(mlp_in):totable(),
        sum)
      assert_rows(rows, layer.components)
      assert.same(chosen, layer.chosen)
    end
  end)

  it("are those of the target where subcomponents hold a column each", function()
    local components = set_columns(decompose(target_of()))
    for _, layer in ipairs(analysis_residual_mlp.contributions(components)) do
      assert_rows(layer.target, layer.components)
      assert.same({0, 1, 2}, layer.chosen)
    end
  end)

  it("are listed for the layers whose mlp_in is decomposed; an mlp_out that is not has the target's weight", function()
    for _, patterns in ipairs{{"layers.1.mlp_in"}, {"layers.1.mlp_in", "layers.0.mlp_out"}} do
      local target = target_of()
      local components = decompose(target, patterns)
      local list = analysis_residual_mlp.contributions(components)
      assert.equal(1, #list)
      assert.equal("layers.1.mlp_in", list[1].name)
      assert_rows(contributions_through(target, WEIGHTS["layers.1.mlp_in"], WEIGHTS["layers.1.mlp_out"]),
        list[1].target)
      local rows, chosen = best_contributions(target, components:V("layers.1.mlp_in"):totable(),
        components:U("layers.1.mlp_in"):totable(), WEIGHTS["layers.1.mlp_out"])
      assert_rows(rows, list[1].components)
      assert.same(chosen, list[1].chosen)
    end
  end)
end)

describe("scores of a residual MLP", function()
  local function scores_of(components) return analysis_residual_mlp.scores{components = components} end

  it("are 1 where subcomponents hold a column each", function()
    local scores = scores_of(set_columns(decompose(target_of())))
    assert.is_near(1, scores.contribution_correlation, 1e-12)
    assert.is_near(1, scores.contribution_slope, 1e-12)
  end)

  it("know the size of the contributions: the slope is that of the subcomponents over the target", function()
    local scores = scores_of(set_columns(decompose(target_of(), {"layers.*.mlp_in"}), 0.5))
    assert.is_near(1, scores.contribution_correlation, 1e-12)
    assert.is_near(0.5, scores.contribution_slope, 1e-12)
  end)

  it("pool all layers", function()
    local components = set_columns(decompose(target_of(), {"layers.*.mlp_in"}))
    local U = core.transpose(components.target.by_name["layers.1.mlp_in"].weight):totable()
    set_components(components, "layers.1.mlp_in", {{3, 0, 0}, {0, 3, 0}, {0, 0, 3}}, U)
    -- layer 0 as it is, layer 1 three times
    local x, y = {2, -1, 0.5, 0.75, -1, 1}, {2, -1, 0.5, 0.75, -1, 1}
    for i, value in ipairs{-0.5, 1.5, 1.5, -0.125, 0.5, 0} do x[6 + i], y[6 + i] = value, 3 * value end
    local mean_x, mean_y, xx, xy, yy = 0, 0, 0, 0, 0
    for i = 1, 12 do mean_x, mean_y = mean_x + x[i] / 12, mean_y + y[i] / 12 end
    for i = 1, 12 do
      local dx, dy = x[i] - mean_x, y[i] - mean_y
      xx, xy, yy = xx + dx * dx, xy + dx * dy, yy + dy * dy
    end
    local scores = scores_of(components)
    assert.is_near(xy / math.sqrt(xx * yy), scores.contribution_correlation, 1e-6)
    assert.is_near(xy / xx, scores.contribution_slope, 1e-6)
  end)

  it("are none where no mlp_in is decomposed", function()
    local components = decompose(target_of(), {"layers.*.mlp_out"})
    assert.same({}, analysis_residual_mlp.contributions(components))
    assert.same({}, scores_of(components))
  end)
end)

describe("responses of a residual MLP", function()
  -- A batch of one input: feature f alone, of that magnitude.
  local function one_feature(f, magnitude)
    local row = {0, 0, 0}
    row[f] = magnitude
    return core.tensor{row}
  end

  -- expected(k, f, magnitude) gives the output [3] for feature f alone, of magnitude number k.
  local function assert_panel(magnitudes, panel, expected)
    assert.equal(#magnitudes, #panel.outputs)
    for k, magnitude in ipairs(magnitudes) do
      local rows = {}
      for f = 1, 3 do rows[f] = expected(k, f, magnitude) end
      assert_rows(rows, panel.outputs[k], 1e-5)
    end
  end

  it("are to magnitudes from -1 to 1 in equal steps", function()
    local magnitudes = analysis_residual_mlp.responses(target_of(), "abs").magnitudes
    assert.equal(RESPONSE_POINTS, #magnitudes)
    assert.equal(-1, magnitudes[1])
    assert.equal(1, magnitudes[RESPONSE_POINTS])
    local step = 2 / (RESPONSE_POINTS - 1)
    for k = 2, RESPONSE_POINTS do assert.is_near(step, magnitudes[k] - magnitudes[k - 1], 1e-12) end
  end)

  it("have labels with the target's coefficients", function()
    local target = target_of()
    local coefficients = target.constants.label_coeffs:totable()
    assert.is_true(coefficients[1] ~= coefficients[2])
    local act = analysis_residual_mlp.responses(target, "act_plus_resid")
    local abs = analysis_residual_mlp.responses(target, "abs")
    for k, x in ipairs(act.magnitudes) do
      for f, c in ipairs(coefficients) do
        assert.is_near(math.max(0, c * x) + x, act.labels[k][f], 1e-6)
        assert.is_near(math.abs(c * x), abs.labels[k][f], 1e-6)
      end
      assert.equal(3, #act.labels[k])
    end
  end)

  it("are those of the target to one feature at a time", function()
    for _, changes in ipairs{{}, {d_embed = 4, fixed_identity_embedding = false, in_bias = true, out_bias = true}} do
      local target = target_of(changes)
      local found = analysis_residual_mlp.responses(target, "act_plus_resid")
      assert.equal(1, #found.panels)
      assert.equal("Target", found.panels[1].name)
      assert_panel(found.magnitudes, found.panels[1], function(_, f, magnitude)
        return target:run(one_feature(f, magnitude)):totable()[1]
      end)
    end
  end)

  it("are those of the target too where subcomponents hold a column each and are all important", function()
    local components = set_columns(decompose(target_of{in_bias = true, out_bias = true}))
    -- only the lower-leaky importances end at 1
    for _, matrix in ipairs(components.matrices) do set_gate(components, matrix.name, 0, 5) end
    local found = analysis_residual_mlp.responses(components.target, "act_plus_resid", components)
    assert.equal(2, #found.panels)
    assert.is_true(found.panels[1].outputs[1][1][1] ~= found.panels[1].outputs[RESPONSE_POINTS][1][1])
    assert_panel(found.magnitudes, found.panels[2], function(k, f) return found.panels[1].outputs[k][f] end)
  end)

  it("are masked by the causal importances that the target's activations have, matrix by matrix", function()
    local components = set_columns(decompose(target_of{n_layers = 1}))
    -- of mlp_in a half, of mlp_out a tenth of what the neuron says in the target
    set_gate(components, "layers.0.mlp_in", 0, 0.5)
    set_gate(components, "layers.0.mlp_out", 0.1, 0)
    local W_in, W_out = WEIGHTS["layers.0.mlp_in"], WEIGHTS["layers.0.mlp_out"]
    local found = analysis_residual_mlp.responses(components.target, "act_plus_resid", components)
    assert_panel(found.magnitudes, found.panels[2], function(_, f, magnitude)
      local row = {}
      for j = 1, 3 do
        row[j] = j == f and magnitude or 0
        for m = 1, 2 do
          local neuron = math.max(0, W_in[m][f] * magnitude)
          row[j] = row[j] + W_out[j][m] * (0.1 * neuron) * (0.5 * neuron)
        end
      end
      return row
    end)
  end)
end)

describe("figures of a residual MLP", function()
  local function drawn_of(components)
    local drawn, files = {}, {}
    analysis_residual_mlp.draw({components = components, target_config = {label_type = "abs"}},
      function(figure, file, subject, options)
        files[#files + 1] = file
        drawn[figure] = {subject = subject, options = options}
      end)
    return drawn, files
  end

  it("are contributions, their pairs with the scores, and responses", function()
    local components = set_columns(decompose(target_of(), {"layers.*.mlp_in"}), 0.5)
    local drawn, files = drawn_of(components)
    assert.same({"neuron_contributions", "contribution_pairs", "feature_responses"}, files)
    local layers = analysis_residual_mlp.contributions(components)
    assert.same(layers, drawn.neuron_contributions.subject)
    assert.same({features = 10}, drawn.neuron_contributions.options)
    assert.same(layers, drawn.contribution_pairs.subject)
    assert.is_near(0.5, drawn.contribution_pairs.options.contribution_slope, 1e-12)
    local responses = drawn.feature_responses.subject
    assert.equal(2, #responses.panels)
    assert.same(analysis_residual_mlp.responses(components.target, "abs").labels, responses.labels)
  end)

  it("are responses only where no mlp_in is decomposed", function()
    local _, files = drawn_of(decompose(target_of(), {"layers.*.mlp_out"}))
    assert.same({"feature_responses"}, files)
  end)
end)
