-- Training a small language model on stories, as a process: the folder it leaves, and what is refused.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local language = require "spd.models.language"
local language_target = require "spd.models.language_target"
local config_module = require "spd.config"
local text_data = require "spd.text_data"
local tokenizer = require "spd.tokenizer"
local posix = core.posix

local host, run, read = experiment.host, experiment.run, experiment.read

local CONFIG = "configs/targets/lm_stories.yaml"
local SMALL = {
  "lm_model_config.hidden_size=16", "lm_model_config.n_layers=1", "lm_model_config.n_heads=2",
  "lm_model_config.n_key_value_heads=1", "lm_model_config.intermediate_size=32", "lm_model_config.max_seq_len=24",
  "stories_config.n_train=60", "stories_config.n_test=10", "batch_size=8", "steps=80", "lr=2e-2", "print_freq=40",
}

local function train(out, ...)
  local words = {host, "experiments/train_lm.lua", CONFIG}
  table.move(SMALL, 1, #SMALL, #words + 1, words)
  for _, word in ipairs{"--out", out, ...} do words[#words + 1] = word end
  return run(words)
end

local function lines_of(path)
  local lines = {}
  for line in read(path):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  return lines
end

describe("train_lm.lua", function()
  local folder, out, printed

  setup(function()
    folder = experiment.make_folder()
    out = folder .. "/lm"
    local status, text, message = train(out, "--threads", "2")
    assert.same({0, ""}, {status, message})
    printed = text
  end)
  teardown(function() experiment.remove_folder(folder) end)

  it("leaves a folder in Hugging Face's layout, with its text and its config", function()
    for _, name in ipairs{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
      "tokenizer_config.json", "special_tokens_map.json", "data/train.jsonl", "data/test.jsonl",
      "target_config.yaml"} do
      assert.is_true(posix.is_file(out .. "/" .. name), name)
    end
    local settings = json.decode(read(out .. "/config.json"))
    assert.same({"llama", 16, 24, 1}, {settings.model_type, settings.hidden_size, settings.max_position_embeddings,
      settings.eos_token_id})
    local config = config_module.load_target(out .. "/target_config.yaml", "lm")
    assert.same({80, 60, 16}, {config.steps, config.stories_config.n_train, config.lm_model_config.hidden_size})
  end)

  it("trains on stories and keeps others for the test, all of known words", function()
    local words, seen = tokenizer.load(out), {}
    for name, count in pairs{train = 60, test = 10} do
      local lines = lines_of(("%s/data/%s.jsonl"):format(out, name))
      assert.equal(count, #lines)
      for _, line in ipairs(lines) do
        local text = json.decode(line).story
        assert.is_nil(seen[text])
        seen[text] = true
        local ids = words:encode(text, false)
        for _, id in ipairs(ids) do assert.is_true(id > 1, text) end
        assert.is_true(#ids > 60, text)
      end
    end
  end)

  it("gives what a decomposition needs: a model, a tokenizer of its size, batches of both splits", function()
    local model, words = language.load(out), tokenizer.load(out)
    assert.equal(model.settings.vocab_size, words:size())
    for _, split in ipairs{"train", "test"} do
      local data = text_data.open{
        path = text_data.find(out, split), column = "story", tokenizer = words, end_id = words:id "[EOS]",
        max_seq_len = 24, batch_size = 2, seed = 0,
      }
      assert.same({2, 24, words:size()}, model:run(data:batch(0)).shape)
    end
  end)

  it("prints cross-entropies that the folder reproduces, and learns more than how often words occur", function()
    local loss = tonumber(printed:match("cross%-entropy of the next token in the test stories: ([%d.]+) nats\n"))
    local bigram, unigram = printed:match("of a bigram model ([%d.]+), of a unigram model ([%d.]+)\n")
    assert.matches("target 80/80 +total", printed)
    assert.equal("target: " .. out .. "/model.safetensors", printed:match("([^\n]*)\n$"))
    local config = config_module.load_target(out .. "/target_config.yaml", "lm")
    local scores = language_target.scores(language.load(out), config, out)
    assert.equal(("%.4f"):format(scores.model), ("%.4f"):format(loss))
    assert.same({("%.4f"):format(scores.bigram), ("%.4f"):format(scores.unigram)}, {bigram, unigram})
    assert.is_true(scores.bigram < scores.unigram)
    assert.is_true(loss < scores.unigram - 0.3, ("%g, unigram %g"):format(loss, scores.unigram))
  end)

  it("has the same bits on any number of threads, and others for another seed", function()
    for _, case in ipairs{{"1", "0"}, {"2", "1"}} do
      local again = folder .. "/again" .. case[2]
      assert.same({0, ("target: %s/model.safetensors\n"):format(again), ""},
        {train(again, "--quiet", "--threads", case[1], "seed=" .. case[2])})
      for _, name in ipairs{"model.safetensors", "data/train.jsonl", "data/test.jsonl"} do
        local same = read(out .. "/" .. name) == read(again .. "/" .. name)
        assert.equal(case[2] == "0", same, name)
      end
    end
  end)

  it("trains a GPT-2 with one matrix for embedding and unembedding", function()
    local gpt2 = folder .. "/gpt2"
    assert.same({0, ("target: %s/model.safetensors\n"):format(gpt2), ""}, {train(gpt2, "--quiet", "steps=3",
      "lm_model_config.architecture=gpt2", "lm_model_config.n_key_value_heads=null",
      "lm_model_config.tie_word_embeddings=true")})
    local model = language.load(gpt2)
    assert.equal("gpt2", model.settings.model_type)
    assert.equal(model.by_name["transformer.wte"].weight, model.by_name.lm_head.weight)
  end)

  it("goes on in a folder that a killed process left, and writes over nothing else", function()
    local left = folder .. "/left"
    assert(posix.make_directory(left .. "/data", true))
    experiment.write(left .. "/data/train.jsonl", "my own\n")
    local status, text, message = train(left, "--quiet")
    assert.same({2, ""}, {status, text})
    assert.matches("is not empty: it holds data", message)
    assert.equal("my own\n", read(left .. "/data/train.jsonl"))
    experiment.write(left .. "/target_config.yaml", read(out .. "/target_config.yaml"))
    experiment.write(left .. "/model.safetensors.123-0.tmp", "half")
    assert.same({0, ("target: %s/model.safetensors\n"):format(left), ""}, {train(left, "--quiet")})
    assert.equal(read(out .. "/model.safetensors"), read(left .. "/model.safetensors"))
    assert.is_false(posix.is_file(left .. "/model.safetensors.123-0.tmp"))
    status, text, message = train(left, "--quiet")
    assert.same({2, ""}, {status, text})
    assert.matches("left: holds a trained target %(remove it, or name another folder with %-%-out%)\n$", message)
  end)

  for word, expected in pairs{
    ["lm_model_config.n_heads=3"] = "n_heads: expected a divisor of hidden_size 16, found 3",
    ["lm_model_config.n_key_value_heads=3"] = "n_key_value_heads: expected a divisor of n_heads 2, found 3",
    ["lm_model_config.n_heads=16"] = "n_heads: expected heads of an even size, found 1",
    ["lm_model_config.architecture=gpt2"] = "n_key_value_heads: expected n_heads, as gpt2 has them, found 1",
    ["lm_model_config.architecture=mamba"] = "architecture: expected one of llama, gpt2",
    ["lm_model_config.max_seq_len=1000"] = "stories_config.n_test: expected 17 or more, enough for one sample of 1000",
    ["stories_config.n_train=1000000000"] = "stories_config.n_train: expected an integer of at most",
    ["lm_model_config.intermediate_size=2000000000"] = "the target's training needs about",
    ["tms_model_config={}"] = "is the config of a tms target, for experiments/train_tms.lua",
    ["lr_schedule=exponential"] = "expected lr_exponential_halflife",
  } do
    it("refuses " .. word, function()
      local status, text, message = train(folder .. "/refused", "--quiet", word)
      assert.same({2, ""}, {status, text})
      assert.matches(expected:gsub("%p", "%%%0"), message)
      assert.equal(1, select(2, message:gsub("\n", "")))
      assert.is_false(posix.is_directory(folder .. "/refused"))
    end)
  end
end)
