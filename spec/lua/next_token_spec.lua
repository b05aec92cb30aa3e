local core = require "spd.core"
local language = require "spd.models.language"
local next_token = require "spd.next_token"

local function tiny(changes)
  local settings = {
    architectures = {"LlamaForCausalLM"}, vocab_size = 11, hidden_size = 8, intermediate_size = 12,
    num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 1,
    max_position_embeddings = 6, initializer_range = 0.5,
  }
  for key, value in pairs(changes or {}) do settings[key] = value end
  return language.new(settings, 5)
end

local ROWS = {{1, 2, 3, 4, 5, 6}, {0, 0, 7, 8, 0, 9}, {10, 9, 8, 10, 9, 8}}

describe("next_token", function()
  it("measures all tokens but the first of each row, however many rows there are at a time", function()
    local model = tiny()
    local logits = model:run(core.tensor(ROWS, "int32")):totable()
    local sum = 0
    for i, row in ipairs(ROWS) do
      for t = 1, #row - 1 do
        local total = 0
        for _, x in ipairs(logits[i][t]) do total = total + math.exp(x) end
        sum = sum + math.log(total) - logits[i][t][row[t + 1] + 1]
      end
    end
    for batch_size = 1, 4 do
      assert.is_true(math.abs(next_token.cross_entropy(model, ROWS, batch_size) - sum / 15) < 1e-5)
    end
    local tape <close> = core.tape()
    assert.is_true(math.abs(next_token.loss(model, core.tensor(ROWS, "int32")):item() - sum / 15) < 1e-5)
  end)

  it("gives an embedding that is also the unembedding the gradients of both uses", function()
    local function gradients(model)
      for _, tensor in pairs(model:tensors()) do tensor:parameter() end
      local tape <close> = core.tape()
      tape:backward{next_token.loss(model, core.tensor(ROWS, "int32"))}
      return model.by_name["model.embed_tokens"].weight.gradient, model.by_name.lm_head.weight.gradient
    end
    local tied, separate = tiny{tie_word_embeddings = true}, tiny()
    local source = tied:tensors()
    for name, tensor in pairs(separate:tensors()) do
      tensor:copy_from(source[name] or source["model.embed_tokens.weight"])
    end
    local both = gradients(tied)
    local embedding, unembedding = gradients(separate)
    assert.is_true(core.squared_error(both, embedding + unembedding):item() < 1e-10)
    assert.is_true(core.sum(embedding * embedding):item() > 1e-4)
    assert.is_true(core.sum(unembedding * unembedding):item() > 1e-4)
  end)

  it("counts n-grams inside of rows", function()
    local counts = next_token.ngrams(4)
    counts:add{1, 2, 1, 2, 1, 3}
    counts:add{2, 2}
    local function single(count) return (count + 1) / (8 + 4) end
    local unigram, bigram = counts:cross_entropies{{1, 2}, {2, 0, 3}}
    assert.is_true(math.abs(unigram + (math.log(single(4)) + math.log(single(0)) + math.log(single(1))) / 3) < 1e-12)
    local after_1 = (2 + single(4)) / (3 + 1) -- 1 occurs three times before something, twice before 2
    local after_2 = single(0) / (3 + 1)
    local after_0 = single(1) / 1
    assert.is_true(math.abs(bigram + (math.log(after_1) + math.log(after_2) + math.log(after_0)) / 3) < 1e-12)
  end)

  it("makes of n-grams distributions", function()
    local counts = next_token.ngrams(4)
    counts:add{1, 2, 1, 2, 1, 3}
    for id = 0, 3 do
      local one, two = 0, 0
      for following = 0, 3 do
        local unigram, bigram = counts:cross_entropies{{id, following}}
        one, two = one + math.exp(-unigram), two + math.exp(-bigram)
      end
      assert.is_true(math.abs(one - 1) < 1e-12 and math.abs(two - 1) < 1e-12)
    end
  end)
end)
