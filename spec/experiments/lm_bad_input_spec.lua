-- Whatever a user gets wrong about a language model or its text is one line that says where, status 2, and nothing is
-- created.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local tiny = require "spec.support.tiny_language"
local posix = core.posix

local read, write = experiment.read, experiment.write

describe("bad input about a language model: one line, status 2, nothing created #long", function()
  local folder, model, text, config

  setup(function()
    folder = experiment.make_folder()
    model, text, config = folder .. "/model", folder .. "/text", folder .. "/tiny.yaml"
    write(config, tiny.config(model, text))
  end)
  before_each(function()
    tiny.make_model(model, "llama")
    tiny.make_text(text)
  end)
  after_each(function()
    experiment.remove_folder(model)
    experiment.remove_folder(text)
  end)
  teardown(function() experiment.remove_folder(folder) end)

  -- FOLDER, MODEL and TEXT in a pattern stand for these paths.
  local function expect_refused(pattern, ...)
    local before = experiment.contents(folder)
    local status, out, err = experiment.run{"env", "HF_HOME=" .. folder .. "/cache", "HF_HUB_CACHE=",
      experiment.host, tiny.script, config, "--out", folder .. "/run", ...}
    assert.matches("^spdlua: [^\n]+\n$", err)
    local told = err:gsub(folder:gsub("%W", "%%%0"), "FOLDER"):gsub("FOLDER/model", "MODEL"):gsub("FOLDER/text", "TEXT")
    assert.matches("^spdlua: " .. pattern .. "\n$", told)
    assert.is_nil(err:find("stack traceback", 1, true) or err:find("%.lua:%d"), err)
    assert.same({2, ""}, {status, out})
    assert.same(before, experiment.contents(folder))
    assert.is_false(posix.is_directory(folder .. "/run"))
  end

  local function change_json(path, f)
    local value = assert(json.decode(read(path)))
    f(value)
    write(path, json.encode(value))
  end

  local function change_tensors(f)
    local path = model .. "/model.safetensors"
    local tensors = core.safetensors_load(path)
    f(tensors)
    core.safetensors_save(path, tensors)
  end

  -- ---- the model's folder -----------------------------------------------------------------------------------

  for name, pattern in pairs{
    ["config.json"] = "MODEL/config.json: no such file",
    ["tokenizer.json"] = "MODEL/tokenizer.json: no such file %(tokenizer_name can name a tokenizer elsewhere%)",
    ["model.safetensors"] = "MODEL: expected weights in model.safetensors or [^\n]*, found neither",
  } do
    it("a folder without " .. name, function()
      os.remove(model .. "/" .. name)
      expect_refused(pattern)
    end)
  end

  it("a shard that is missing", function()
    os.remove(model .. "/model.safetensors")
    write(model .. "/model.safetensors.index.json", '{"weight_map": {"lm_head.weight": "model-1.safetensors"}}')
    expect_refused "MODEL/model%-1.safetensors: no such file, but model.safetensors.index.json lists it"
  end)

  it("a tensor that is missing, or has a wrong shape", function()
    change_tensors(function(tensors) tensors["model.norm.weight"] = nil end)
    expect_refused "MODEL/model.safetensors: tensor 'model.norm.weight' is missing"
    change_tensors(function(tensors) tensors["model.norm.weight"] = core.zeros(17) end)
    expect_refused "MODEL/model.safetensors: tensor 'model.norm.weight': expected %[16%], found %[17%]"
  end)

  for name, case in pairs{
    ["an architecture that there is not"] = {"architectures", {"MistralForCausalLM"},
      'architectures: expected "LlamaForCausalLM", [^\n]*, found "MistralForCausalLM"'},
    ["a rope type that there is not"] = {"rope_scaling", {rope_type = "yarn", factor = 2},
      'rope_scaling.rope_type: expected "default", "linear" or "llama3", found "yarn"'},
    ["sizes that are none"] = {"hidden_size", -16, "hidden_size: expected an integer from 1 [^\n]*, found %-16"},
  } do
    it(name, function()
      change_json(model .. "/config.json", function(settings) settings[case[1]] = case[2] end)
      expect_refused("MODEL/config.json: " .. case[3])
    end)
  end

  it("a model that is nowhere, with the command that downloads it", function()
    expect_refused("org/name: is no file or folder, and not in the cache FOLDER/cache/hub %(download it: " ..
      "hf download org/name%)", "pretrained_model_name_hf=org/name")
    expect_refused("/nowhere/model: does not exist %(expected a path, or the name of a model at Hugging Face%)",
      "pretrained_model_name_hf=/nowhere/model")
  end)

  -- ---- the config -------------------------------------------------------------------------------------------

  for override, pattern in pairs{
    ["pretrained_model_path=model.safetensors"] = "override [^\n]*: a language model is a folder " ..
      "%(pretrained_model_name_hf names it%)",
    ["pretrained_model_class=transformers.GPT2LMHeadModel"] = "pretrained_model_class: expected a GPT2LMHeadModel, " ..
      "found a LlamaForCausalLM in MODEL",
    ["task_config.max_seq_len=33"] = "task_config.max_seq_len: 33 is more than the 32 positions of the model in MODEL",
    ["target_module_patterns=[lm_head, h.*]"] = "target_module_patterns: 'h.%*' matches no matrix %(the target has " ..
      "model.embed_tokens, [^\n]*, lm_head%)",
    ["embedding_recon_coeff=1"] = "embedding_recon_coeff: expected one decomposed matrix, an embedding",
    ["batch_size=2147483647"] = "memory: the run needs about [%d.]+ [GP]B, [^\n]*",
    ["tokenizer_name=/nowhere/tokenizer.json"] = "/nowhere/tokenizer.json: does not exist [^\n]*",
    ["tokenizer_name=tokenizer.json"] = "tokenizer.json: does not exist [^\n]*",
    ["tokenizer_name=spec/fixtures/simplestories-4096.json"] = "spec/fixtures/simplestories%-4096.json: has 4096 " ..
      "tokens, the model a vocabulary of %d+",
    ["task_config.column_name=text"] = "TEXT/train.jsonl:1: has no column 'text' %(it has story%)",
    ["task_config.train_data_split=validation"] = "TEXT: has no split 'validation' %(it has train, test%)",
    ["task_config.dataset_name=/nowhere/text"] = "/nowhere/text: does not exist %(expected a path, or the name of a " ..
      "dataset at Hugging Face%)",
    ["task_config.dataset_name=org/name"] = "org/name: is no file or folder, and not in the cache FOLDER/cache/hub " ..
      "%(download it: hf download %-%-repo%-type dataset org/name %-%-local%-dir name, then name that folder%)",
  } do
    it(override, function()
      expect_refused(pattern, override, override:match "embedding_recon" and "target_module_patterns=[lm_head]")
    end)
  end

  it("a pattern that matches nothing lists no more matrices than can be read", function()
    tiny.make_model(model, "llama", {num_hidden_layers = 40})
    expect_refused("target_module_patterns: 'mlp' matches no matrix %(the target has model.embed_tokens, " ..
      "[%w._, ]+, %.%.%. %(282 in all%)%)", "target_module_patterns=[mlp]")
  end)

  it("a tokenizer where the model names one that is nowhere, and has none itself", function()
    os.remove(model .. "/tokenizer.json")
    expect_refused("org/name: is no file or folder, and not in the cache [^\n]*hf download org/name%)",
      "tokenizer_name=org/name")
  end)

  -- ---- the tokenizer ----------------------------------------------------------------------------------------

  for name, case in pairs{
    ["a kind of model"] = {function(t) t.model.type = "Unigram" end, "model: type 'Unigram' is not supported"},
    ["a kind of normalizer"] = {function(t) t.normalizer = {type = "Precompiled"} end,
      "normalizer: type 'Precompiled' is not supported"},
    ["a kind of pre-tokenizer"] = {function(t) t.pre_tokenizer = {type = "UnicodeScripts"} end,
      "pre_tokenizer: type 'UnicodeScripts' is not supported"},
    ["a kind of decoder"] = {function(t) t.decoder.type = "CTC" end, "decoder: type 'CTC' is not supported"},
    ["a vocabulary"] = {function(t) t.model.vocab["one more"] = tiny.vocabulary end,
      "has " .. tiny.vocabulary + 1 .. " tokens, the model a vocabulary of " .. tiny.vocabulary},
  } do
    it("a tokenizer.json with " .. name .. " that does not fit", function()
      change_json(model .. "/tokenizer.json", case[1])
      expect_refused("MODEL/tokenizer.json: " .. case[2])
    end)
  end

  it("a tokenizer.json that is no JSON", function()
    write(model .. "/tokenizer.json", "{")
    expect_refused "MODEL/tokenizer.json: is not JSON: [^\n]+"
  end)

  -- ---- the text ---------------------------------------------------------------------------------------------

  for name, case in pairs{
    ["that is empty"] = {"", "TEXT/train.jsonl: there is no text %(max_seq_len = 16%)"},
    ["of empty lines and documents"] = {'\n{"story": ""}\n', "TEXT/train.jsonl: there is no text [^\n]*"},
    ["shorter than one sequence"] = {'{"story": "a cat"}\n',
      "TEXT/train.jsonl: text shorter than one sequence: 3 tokens in all %(max_seq_len = 16%)"},
    ["that is not JSON"] = {'{"story": "a cat"}\n\n{"story": a}\n', "TEXT/train.jsonl:3: is not a JSON object [^\n]+"},
    ["of lists"] = {'["a cat"]\n', "TEXT/train.jsonl:1: is not a JSON object"},
    ["of numbers"] = {'{"story": 3}\n', "TEXT/train.jsonl:1: column 'story' is a number, not text %(it has story%)"},
  } do
    it("text " .. name, function()
      write(text .. "/train.jsonl", case[1])
      expect_refused(case[2])
    end)
  end

  it("text to be scored on that is empty", function()
    write(text .. "/test.jsonl", "")
    expect_refused "TEXT/test.jsonl: there is no text %(max_seq_len = 16%)"
  end)

  it("text as Parquet, with its conversion", function()
    os.remove(text .. "/train.jsonl")
    write(text .. "/train-00000-of-00001.parquet", "PAR1")
    expect_refused("TEXT/train%-00000%-of%-00001.parquet: Parquet is not read %(convert it: python3 %-c " ..
      "\"import pandas; pandas.read_parquet%([^\n]*%)\"%)")
  end)

  it("a folder without text", function()
    os.remove(text .. "/train.jsonl")
    os.remove(text .. "/test.jsonl")
    expect_refused "TEXT: holds no file of text %(read are .jsonl, .txt and .npy%)"
  end)

  it("ids that the model has not", function()
    os.remove(text .. "/train.jsonl")
    tiny.write_npy(text .. "/train.npy", 256, 60000)
    expect_refused("TEXT/train.npy: holds the token id %d+, the model has a vocabulary of %d+ " ..
      "%(it was made by another tokenizer%)", "task_config.max_seq_len=32")
  end)
end)
