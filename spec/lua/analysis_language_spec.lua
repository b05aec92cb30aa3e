-- Which subcomponents are active at which tokens, on a model whose importances are known.
local analysis_language = require "spd.analysis.language"
local support = require "spec.support.language"

local function importance_of(name, id, c)
  local rows = name == "embed" and support.importances or support.embedding
  return math.max(0, math.min(1, rows[id + 1][c + 1]))
end

local BATCHES = {
  {{0, 1, 2, 3, 4, 5}, {1, 1, 5, 5, 5, 11}},
  {{4, 0, 4, 9, 9, 9}, {5, 5, 5, 5, 5, 5}},
  {{1, 1, 5, 5, 5, 11}, {2, 3, 6, 3, 2, 0}},
}

-- All tokens of the batches, in order.
local function tokens_of(batches)
  local ids = {}
  for _, batch in ipairs(batches) do
    for _, row in ipairs(batch) do table.move(row, 1, #row, #ids + 1, ids) end
  end
  return ids
end

describe("analysis_language.prompt", function()
  it("lists the active subcomponents of every token, strongest first", function()
    local found = analysis_language.prompt(support.subject{}, "0 2 4 5")
    assert.same({0, 2, 4, 5}, found.ids)
    assert.same({
      {}, {{component = 0, importance = 0.5}, {component = 1, importance = 0.25}},
      {{component = 0, importance = 1}}, {},
    }, found.active.embed)
    assert.same({
      {{component = 0, importance = 0.5}}, {{component = 2, importance = 0.5}},
      {{component = 0, importance = 1}, {component = 2, importance = 0.125}}, {},
    }, found.active.fc)
  end)

  it("takes another threshold", function()
    local active = analysis_language.prompt(support.subject{}, "2 5", 0.05).active.embed
    assert.same({{component = 0, importance = 0.0625}}, active[2])
    assert.equal(1, #analysis_language.prompt(support.subject{}, "2", 0.25).active.embed[1])
  end)

  it("refuses empty prompts in one line", function()
    for _, text in ipairs{"", " \n", "\n no number of a token at all, and yet more of it"} do
      local ok, err = pcall(analysis_language.prompt, support.subject{}, text)
      assert.is_false(ok)
      assert.equal(2, err.status)
      assert.matches("^prompt '[^\n]*': [%w ]+", tostring(err))
      assert.is_true(#tostring(err) < 120)
    end
  end)
end)

describe("analysis_language.components", function()
  local subject, found, ids

  setup(function()
    subject, ids = support.subject(BATCHES), tokens_of(BATCHES)
    found = analysis_language.components(subject, {tokens = 3, contexts = 3, before = 2, after = 1})
  end)

  it("counts tokens and firings of every subcomponent", function()
    assert.equal(36, found.tokens)
    for name, matrix in pairs(found.matrices) do
      local all = 0
      for c = 0, 2 do
        local firings, sum = 0, 0
        for _, id in ipairs(ids) do
          local importance = importance_of(name, id, c)
          firings, sum = firings + (importance > 0.1 and 1 or 0), sum + importance
        end
        local component = matrix.components[c + 1]
        assert.equal(firings, component.firings)
        assert.equal(firings / 36, component.rate)
        assert.is_true(math.abs(sum / 36 - component.mean) < 1e-6)
        all = all + firings
      end
      assert.is_true(math.abs(all / 36 - matrix.l0) < 1e-12)
    end
    assert.equal(2, found.matrices.embed.alive)
    assert.equal(3, found.matrices.fc.alive)
  end)

  it("knows the tokens that a subcomponent fires on most", function()
    -- 1 occurs five times with 0.75, 4 three times with 1, 2 three times with 0.5
    local tokens = found.matrices.embed.components[1].tokens
    local firings = found.matrices.embed.components[1].firings
    assert.same({
      {id = 1, count = 5, share = 5 / firings, rate = 1, mean = 0.75},
      {id = 4, count = 3, share = 3 / firings, rate = 1, mean = 1},
      {id = 2, count = 3, share = 3 / firings, rate = 1, mean = 0.5},
    }, tokens)
    assert.same({}, found.matrices.embed.components[3].tokens)
  end)

  it("keeps the strongest contexts, each from another row and no text twice", function()
    local contexts = found.matrices.embed.components[1].contexts
    assert.same({
      {at = 3, ids = {2, 3, 4, 5}, importances = {0.5, 0, 1, 0.0625}},
      {at = 1, ids = {4, 0}, importances = {1, 0}},
      {at = 1, ids = {1, 1}, importances = {0.75, 0.75}},
    }, contexts)
  end)

  it("keeps no more of them than asked for, and each text once", function()
    local function texts(most)
      local list = {}
      local options = {contexts = most, before = 2, after = 1}
      for i, context in ipairs(analysis_language.components(subject, options).matrices.embed.components[1].contexts) do
        list[i] = table.concat(context.ids, " ")
      end
      return list
    end
    assert.same({"2 3 4 5", "4 0"}, texts(2)) -- the second one in place of "1 1", which came before
    assert.same({"2 3 4 5", "4 0", "1 1", "2 3"}, texts(9)) -- "1 1" came twice
  end)

  it("tells strong occurrences apart where the importance is 1", function()
    -- entries 2 and 3 of the embedding are both the importance 1 of fc
    local contexts = found.matrices.fc.components[1].contexts
    assert.same({4, 4, 3}, {contexts[1].ids[3], contexts[2].ids[1], contexts[3].ids[contexts[3].at]})
    assert.same({0, 1, 1, 0}, contexts[1].importances)
  end)

  it("calls back before every batch", function()
    local steps = {}
    analysis_language.components(subject, {each_batch = function(step) steps[#steps + 1] = step end})
    assert.same({0, 1, 2}, steps)
  end)

  it("keeps the tokens that matter of a subcomponent that fires on thousands", function()
    local V, rows, batches = 3000, {}, {}
    for i = 1, V do rows[i] = {0.5} end
    rows[2501] = {1}
    for step = 1, 10 do
      batches[step] = {{}, {}}
      for t = 1, 200 do
        batches[step][1][t] = (step - 1) * 200 + t
        batches[step][2][t] = t % 2 == 0 and 2500 or t % 20 == 1 and 7 or 2000 + (step - 1) * 50 + t // 4
      end
    end
    local one = support.subject(batches)
    one.components = support.components(rows, rows)
    local tokens = analysis_language.components(one, {tokens = 2}).matrices.embed.components[1].tokens
    assert.same({{2500, 1000, 1}, {7, 101, 0.5}}, {
      {tokens[1].id, tokens[1].count, tokens[1].mean}, {tokens[2].id, tokens[2].count, tokens[2].mean},
    })
  end)
end)

describe("analysis_language.embedding_importances", function()
  it("has every token's importances, or those of a range", function()
    local components = support.subject{}.components
    local all = analysis_language.embedding_importances(components, "embed")
    assert.same({12, 3}, all.shape)
    assert.equal(0.75, all:get(2, 1))
    assert.is_true(math.abs(all:get(10, 1) + 0.01) < 1e-8) -- lower-leaky below 0
    local some = analysis_language.embedding_importances(components, "embed", 3, 2)
    assert.same({{0, 1, 0}, {1, 0, 0}}, some:totable())
  end)
end)

describe("analysis_language.embedding_panel", function()
  it("sorts subcomponents by mass and tokens by their strongest one", function()
    local panel = analysis_language.embedding_panel(support.subject{}.components, "embed")
    assert.same({0, 1, 2}, panel.columns)
    assert.equal(12, panel.count)
    assert.same({
      {1, 0, 0}, {0.75, 0, 0}, {0.5, 0.25, 0}, {0.25, 0, 0}, {0, 1, 0}, {0, 0.5, 0}, {0.0625, 0, 0},
    }, table.move(panel.values, 1, 7, 1, {}))
    for i = 8, 12 do assert.same({0, 0, 0}, panel.values[i]) end
  end)

  it("joins the tokens of a large vocabulary by their maximum", function()
    local V, rows = 2500, {}
    for i = 1, V do rows[i] = {i == 1700 and 1 or 0, i % 2 == 0 and 0.5 or 0} end
    local panel = analysis_language.embedding_panel(support.components(rows, rows), "embed")
    assert.same({1, 0}, panel.columns)
    assert.equal(1000, #panel.values)
    assert.equal(V, panel.count)
    local strong, half = 0, 0
    for _, row in ipairs(panel.values) do
      strong, half = strong + (row[2] == 1 and 1 or 0), half + (row[1] == 0.5 and 1 or 0)
    end
    assert.equal(1, strong)
    assert.equal(500, half)
  end)

  it("survives entries that are NaN", function()
    local rows = {{0 / 0, 0.5}, {0.5, 0 / 0}, {0 / 0, 0 / 0}, {1, 0}}
    assert.equal(4, #analysis_language.embedding_panel(support.components(rows, rows), "embed").values)
  end)
end)

describe("analysis_language.draw", function()
  it("draws the decomposed embeddings, and nothing where there is none", function()
    local drawn = {}
    local function draw(figure, file, panels) drawn[#drawn + 1] = {figure, file, #panels} end
    analysis_language.draw(support.subject{}, draw)
    assert.same({{"embedding_importances", "embedding_importances", 1}}, drawn)
    local subject = support.subject{}
    table.remove(subject.components.matrices, 1)
    analysis_language.draw(subject, draw)
    assert.equal(1, #drawn)
  end)
end)

describe("analysis_language and the language models", function()
  it("refuse a prompt that is longer than the model can read", function()
    local language = require "spd.models.language"
    local component_model = require "spd.component_model"
    local target = language.new{
      model_type = "gpt2", vocab_size = 12, n_embd = 4, n_head = 1, n_layer = 1, n_positions = 3,
    }
    local subject = support.subject{{{0, 1, 2}}}
    subject.components = component_model.new{
      target = target, patterns = {"transformer.wpe", "*.c_fc"}, C = 2, n_ci_mlp_neurons = 0,
    }
    local found = analysis_language.prompt(subject, "1 2 3")
    assert.equal(3, #found.active["transformer.wpe"])
    assert.equal(3, analysis_language.components(subject).tokens)
    local ok, err = pcall(analysis_language.prompt, subject, "1 2 3 4")
    assert.is_false(ok)
    assert.equal("prompt '1 2 3 4': 4 tokens are more than the model's maximum, 3", tostring(err))
    assert.equal(2, err.status)
  end)
end)
