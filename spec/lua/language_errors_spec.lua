-- What is wrong with a language model's folder is one line that names it: broken copies of spec/fixtures/language.
local core = require "spd.core"
local cjson = require "cjson"
local errors = require "spd.errors"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local language = require "spd.models.language"
local posix = core.posix

local FIXTURES = "spec/fixtures/language/"

describe("language.load", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  -- A copy of a fixture, in the temporary folder.
  local function copy(name)
    for _, file in ipairs(assert(posix.list_directory(FIXTURES .. name))) do
      experiment.write(folder .. "/" .. file, experiment.read(FIXTURES .. name .. "/" .. file))
    end
  end

  -- The message about the folder, without its path in front: a line, status 2, from load and bytes alike.
  local function message(function_name)
    local ok, err = pcall(language[function_name or "load"], folder)
    assert.is_false(ok)
    assert.is_true(errors.is(err), tostring(err))
    assert.equal(2, err.status)
    assert.is_nil(err.message:find("%c"))
    assert.equal(folder, err.message:sub(1, #folder))
    return (err.message:sub(#folder + 1):gsub("^/", ""):gsub(folder:gsub("%p", "%%%0"), "FOLDER"))
  end

  -- Change keys of config.json; "null" stands for null.
  local function configure(changes)
    local config = assert(json.decode(experiment.read(folder .. "/config.json")))
    for key, value in pairs(changes) do
      if value == "null" then value = cjson.null end
      config[key] = value
    end
    experiment.write(folder .. "/config.json", json.encode_pretty(config))
  end

  -- Change the tensors of model.safetensors by a function, or another file's.
  local function change(f, file)
    local path = folder .. "/" .. (file or "model.safetensors")
    local tensors, metadata = core.safetensors_load(path)
    f(tensors)
    core.safetensors_save(path, tensors, metadata)
  end

  local function config_refused(name, changes, expected)
    copy(name)
    configure(changes)
    assert.equal("config.json: " .. expected, message())
    assert.equal("config.json: " .. expected, message "bytes")
  end

  local function accepted(name, changes)
    copy(name)
    configure(changes)
    local model = language.load(folder)
    local expected = core.safetensors_load(FIXTURES .. name .. "/expected.safetensors")
    return core.squared_error(model:run(expected.ids), expected.logits):item()
  end

  -- ---- config.json ----------------------------------------------------------------------------------------

  it("refuses a folder without a valid config.json", function()
    assert.equal("config.json: no such file", message())
    experiment.write(folder .. "/config.json", "{\"a\": \n")
    assert.matches("^config.json: is not valid JSON: ", message())
    for _, text in ipairs{"[1]", "3", "null", '"llama"', "[[]]"} do
      experiment.write(folder .. "/config.json", text)
      assert.matches("^config.json: expected an object, found ", message())
    end
    experiment.write(folder .. "/config.json", ("["):rep(100000))
    assert.matches("^config.json: is not valid JSON: ", message())
    experiment.write(folder .. "/config.json", "{}")
    assert.equal('config.json: model_type: expected "llama", "gpt2" or "gpt_neo", found null', message())
    experiment.remove_folder(folder)
    assert.equal("is not a folder", (message():gsub("^: ", "")))
  end)

  it("chooses by the first architecture, else by model_type, and lists those it has", function()
    local supported = 'expected "LlamaForCausalLM", "GPT2LMHeadModel" or "GPTNeoForCausalLM", found '
    config_refused("llama_tied", {architectures = {"MistralForCausalLM"}},
      "architectures: " .. supported .. '"MistralForCausalLM"')
    config_refused("llama_tied", {architectures = {"LlamaModel", "LlamaForCausalLM"}},
      "architectures: " .. supported .. '"LlamaModel"')
    config_refused("llama_tied", {architectures = 7}, "architectures: " .. supported .. "7")
    config_refused("llama_tied", {architectures = "null", model_type = "bert"},
      'model_type: expected "llama", "gpt2" or "gpt_neo", found "bert"')
    assert.is_true(accepted("llama_tied", {architectures = "null"}) < 1e-6)
    assert.is_true(accepted("llama_tied", {architectures = {}}) < 1e-6)
    assert.is_true(accepted("llama_tied", {model_type = "null"}) < 1e-6)
  end)

  it("refuses sizes and numbers that are wrong or absurd", function()
    local size = "expected an integer from 1 to 2147483647, found "
    for key, value in pairs{vocab_size = -1, hidden_size = 1e12, intermediate_size = 1.5, num_attention_heads = 0,
      max_position_embeddings = 2 ^ 31} do
      config_refused("llama_tied", {[key] = value}, key .. ": " .. size .. json.encode(value))
    end
    config_refused("llama_tied", {head_dim = "6"}, "head_dim: " .. size .. '"6"')
    config_refused("llama_tied", {num_key_value_heads = {2}}, "num_key_value_heads: " .. size .. "[2]")
    config_refused("llama_tied", {num_hidden_layers = 1e6},
      "num_hidden_layers: expected an integer from 1 to 1000, found 1000000")
    config_refused("llama_tied", {rms_norm_eps = 0},
      "rms_norm_eps: expected a number of 1e-30 or more, of at most 1, found 0")
    config_refused("llama_tied", {rms_norm_eps = true},
      "rms_norm_eps: expected a number of 1e-30 or more, of at most 1, found true")
    config_refused("gpt2", {layer_norm_epsilon = "small"},
      'layer_norm_epsilon: expected a number of 1e-30 or more, of at most 1, found "small"')
    config_refused("llama_tied", {tie_word_embeddings = 1}, "tie_word_embeddings: expected true or false, found 1")
    config_refused("gpt2", {scale_attn_weights = "yes"}, 'scale_attn_weights: expected true or false, found "yes"')
  end)

  it("refuses heads that do not divide what they share", function()
    config_refused("gpt2", {n_head = 5}, "n_head: expected a divisor of n_embd 24, found 5")
    config_refused("gpt_neo", {num_heads = 7}, "num_heads: expected a divisor of hidden_size 24, found 7")
    config_refused("llama_tied", {num_key_value_heads = 3},
      "num_key_value_heads: expected a divisor of num_attention_heads 4, found 3")
    config_refused("llama_tied", {num_attention_heads = 3, head_dim = "null"},
      "num_attention_heads: expected a divisor of hidden_size 16, found 3")
    config_refused("llama_tied", {head_dim = 5}, "head_dim: expected an even number, found 5")
  end)

  it("refuses by name what it would compute wrongly", function()
    local acts = 'expected "gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "relu", "silu" or ' ..
      '"swish", found '
    config_refused("llama_tied", {hidden_act = "mish"}, "hidden_act: " .. acts .. '"mish"')
    config_refused("gpt2", {activation_function = "tanh"}, "activation_function: " .. acts .. '"tanh"')
    config_refused("llama_tied", {quantization_config = {bits = 4}},
      "quantization_config: quantized weights are not supported (use the original model)")
    for key, value in pairs{is_encoder_decoder = true, add_cross_attention = true} do
      config_refused("gpt2", {[key] = value}, key .. ": expected false, as nothing else is supported, found true")
    end
    config_refused("llama_tied", {pretraining_tp = 2},
      "pretraining_tp: expected 1, as nothing else is supported, found 2")
    config_refused("gpt2", {pruned_heads = {["0"] = {1}}}, 'pruned_heads: expected {}, found {"0":[1]}')
    config_refused("llama_tied", {sliding_window = 8}, "sliding_window: expected null, found 8")
    config_refused("llama_tied", {partial_rotary_factor = 0.5}, "partial_rotary_factor: expected 1, found 0.5")
  end)

  it("refuses rope types that it does not have, and wrong parameters of those it has, in both spellings", function()
    local types = 'expected "default", "linear" or "llama3", found '
    for _, name in ipairs{"dynamic", "yarn", "longrope"} do
      config_refused("llama_tied", {rope_scaling = {rope_type = name, factor = 2, short_factor = {1, 2}}},
        ('rope_scaling.rope_type: %s"%s"'):format(types, name))
    end
    config_refused("llama_tied", {rope_scaling = {type = "yarn"}}, 'rope_scaling.rope_type: ' .. types .. '"yarn"')
    config_refused("llama_linear", {rope_parameters = {rope_type = "yarn"}},
      'rope_parameters.rope_type: ' .. types .. '"yarn"')
    config_refused("llama_linear", {rope_parameters = {rope_type = "linear"}},
      "rope_parameters.factor: expected a number above 0, found null")
    config_refused("llama_linear", {rope_parameters = {rope_type = "default", rope_theta = -1}},
      "rope_parameters.rope_theta: expected a number above 0, found -1")
    config_refused("llama_llama3", {rope_theta = "10000"}, 'rope_theta: expected a number above 0, found "10000"')
    config_refused("llama_tied", {rope_scaling = "linear"}, 'rope_scaling: expected an object or null, found "linear"')
    config_refused("llama_tied", {rope_scaling = {full_attention = {rope_type = "default"}}},
      'rope_scaling.full_attention: expected a number or a word, found {"rope_type":"default"}')
    local scaling = {rope_type = "llama3", factor = 8, low_freq_factor = 4, high_freq_factor = 4}
    config_refused("llama_llama3", {rope_scaling = scaling},
      "rope_scaling.high_freq_factor: expected a number above low_freq_factor 4, found 4")
    scaling.original_max_position_embeddings = 1.5
    config_refused("llama_llama3", {rope_scaling = scaling}, "rope_scaling.original_max_position_embeddings: " ..
      "expected an integer from 1 to 2147483647, found 1.5")
    config_refused("llama_llama3", {rope_scaling = {rope_type = "default", partial_rotary_factor = 0.5}},
      "partial_rotary_factor: expected 1, found 0.5")
  end)

  it("refuses kinds of attention that GPT-Neo does not have, or not for all layers", function()
    local types = {{{"global", "local"}, 2}}
    config_refused("gpt_neo", {attention_types = types},
      'attention_types: expected kinds of attention for num_layers 2, found [[["global","local"],2]]')
    config_refused("gpt_neo", {attention_types = {{{"global"}, 1e12}}},
      'attention_types: expected kinds of attention for num_layers 2, found [[["global"],1000000000000]]')
    config_refused("gpt_neo", {attention_types = {{{"sparse"}, 2}}},
      'attention_types: expected "global" or "local", found "sparse"')
    for _, value in ipairs{3, {3}, {{{"global"}, "2"}}} do
      config_refused("gpt_neo", {attention_types = value},
        'attention_types: expected a list such as [[["global", "local"], 12]], found ' .. json.encode(value))
    end
    config_refused("gpt_neo", {attention_layers = {"local", "local"}},
      'attention_layers: expected ["global","local"], found ["local","local"]')
    config_refused("gpt_neo", {attention_layers = "local"},
      'attention_layers: expected a list of words, found "local"')
    copy "gpt_neo"
    configure{attention_types = "null", attention_layers = "null"}
    assert.equal("config.json: attention_types: expected kinds of attention for num_layers 2, found " ..
      '[[["global","local"],12]]', message())
    assert.is_true(accepted("gpt_neo", {attention_types = "null", attention_layers = {"global", "local"}}) < 1e-6)
  end)

  it("refuses two names of a key that disagree, and takes either", function()
    config_refused("gpt2", {hidden_size = 32}, "hidden_size: expected 24, found 32")
    assert.is_true(accepted("gpt2", {hidden_size = 24, n_embd = "null", num_attention_heads = 4, n_head = "null"})
      < 1e-6)
  end)

  it("takes what changes nothing here", function()
    assert.is_true(accepted("gpt2", {torch_dtype = "float16", attn_pdrop = 0.5, use_cache = true, n_ctx = 1,
      reorder_and_upcast_attn = true, add_cross_attention = false, pruned_heads = {}, anything = {1}}) < 1e-6)
    assert.is_true(accepted("llama_tied", {sliding_window = 32, rope_scaling = {}, pretraining_tp = 1,
      num_hidden_layers = 2.0}) < 1e-6)
  end)

  it("computes something else with every key that matters", function()
    local changes = {
      {"llama", {rms_norm_eps = 0.1}}, {"llama", {hidden_act = "relu"}}, {"llama", {rope_parameters = "null",
      rope_theta = 100}}, {"llama", {rope_scaling = {rope_type = "linear", factor = 2}}},
      {"llama_llama3", {rope_scaling = "null"}}, {"gpt2", {scale_attn_weights = false}},
      {"gpt2", {scale_attn_by_inverse_layer_idx = true}}, {"gpt2", {activation_function = "gelu"}},
      {"gpt2", {layer_norm_epsilon = 0.1}}, {"gpt2", {n_head = 2}}, {"gpt_neo", {window_size = 6}},
      {"gpt_neo", {attention_types = {{{"global"}, 2}}, attention_layers = {"global", "global"}}},
      {"gpt_neo", {activation_function = "relu"}}, {"gpt_neo", {num_heads = 2}},
    }
    for i, change_of in ipairs(changes) do
      assert.is_true(accepted(table.unpack(change_of)) > 1e-4, ("change %d"):format(i))
    end
  end)

  -- ---- weights -------------------------------------------------------------------------------------------------

  it("refuses a folder without weights, and says how to convert a pickle", function()
    copy "llama_tied"
    os.remove(folder .. "/model.safetensors")
    assert.equal(": expected weights in model.safetensors or model.safetensors.index.json, found neither", message())
    experiment.write(folder .. "/pytorch_model.bin", "")
    assert.equal(": its weights are in pytorch_model.bin, which is not read (convert it: python3 -c \"from " ..
      "transformers import AutoModelForCausalLM as M; M.from_pretrained('FOLDER').save_pretrained('FOLDER')\")",
      message())
  end)

  it("refuses a damaged file", function()
    copy "llama_tied"
    local path = folder .. "/model.safetensors"
    local bytes = experiment.read(path)
    experiment.write(path, bytes:sub(1, -2))
    assert.matches("^model.safetensors: .*truncated", message())
    experiment.write(path, "")
    assert.matches("^model.safetensors: expected a safetensors file", message())
  end)

  it("refuses a tensor that is missing, unknown, or of another shape or dtype", function()
    copy "llama_tied"
    local name = "model.layers.1.mlp.up_proj.weight"
    change(function(tensors) tensors[name] = nil end)
    assert.equal(("model.safetensors: tensor '%s' is missing"):format(name), message())
    assert.equal(("model.safetensors: tensor '%s' is missing"):format(name), message "bytes")
    change(function(tensors) tensors[name] = core.zeros(16, 24) end)
    assert.equal(("model.safetensors: tensor '%s': expected [24, 16], found [16, 24]"):format(name), message())
    change(function(tensors) tensors[name] = core.zeros({24, 16}, "int32") end)
    assert.equal(("model.safetensors: tensor '%s': expected F32, F16 or BF16, found I32"):format(name), message())
    change(function(tensors) tensors[name], tensors["a\n\"b"] = core.zeros(24, 16), core.zeros(1) end)
    assert.equal([[model.safetensors: tensor "a\n\"b" does not belong to a LlamaForCausalLM with these settings]],
      message())
    copy "llama_tied"
    configure{num_hidden_layers = 1}
    assert.matches('^model.safetensors: tensor "model.layers.1.[%w._]+" does not belong', message())
    configure{num_hidden_layers = 3}
    assert.equal("model.safetensors: tensor 'model.layers.2.input_layernorm.weight' is missing", message())
    configure{num_hidden_layers = 2, attention_bias = true}
    assert.equal("model.safetensors: tensor 'model.layers.0.self_attn.q_proj.bias' is missing", message())
    configure{attention_bias = false, vocab_size = 65}
    assert.equal("model.safetensors: tensor 'model.embed_tokens.weight': expected [65, 16], found [64, 16]", message())
  end)

  it("refuses biases and other tensors of settings that have none", function()
    copy "llama"
    configure{mlp_bias = false}
    assert.matches('^model.safetensors: tensor "model.layers.%d.mlp.%w+_proj.bias" does not belong', message())
    copy "gpt2"
    change(function(tensors) tensors["wte.weight"] = tensors["transformer.wte.weight"] end)
    assert.matches('^model.safetensors: tensor "wte.weight" does not belong', message())
  end)

  it("ignores buffers that are computed instead", function()
    copy "llama_tied"
    change(function(tensors)
      tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = core.zeros(3)
      tensors["model.rotary_emb.inv_freq"] = core.zeros(3)
    end)
    language.load(folder)
    copy "gpt_neo"
    change(function(tensors)
      tensors["transformer.h.0.attn.attention.bias"] = core.zeros({1, 1, 32, 32}, "int32")
      tensors["transformer.h.0.attn.attention.masked_bias"] = core.tensor(-1e9)
    end)
    language.load(folder)
    change(function(tensors) tensors["transformer.h.0.attn.attention.bia"] = core.zeros(1) end)
    assert.matches("does not belong", message())
  end)

  it("refuses entries that are NaN or infinite", function()
    for _, number in ipairs{0 / 0, math.huge, -math.huge} do
      copy "gpt2_plain"
      change(function(tensors) tensors["h.0.mlp.c_fc.weight"]:set(number, 2, 3) end)
      assert.equal("model.safetensors: tensor 'h.0.mlp.c_fc.weight' has entries that are NaN or infinite", message())
      assert.equal(4 * (64 * 16 + 32 * 16 + 2 * (4 * 16 + 16 * 48 + 48 + 16 * 16 + 16 + 2 * 16 * 20 + 20 + 16) + 32),
        language.bytes(folder))
    end
  end)

  it("refuses a tied weight that is stored with other entries", function()
    copy "gpt2"
    change(function(tensors) tensors["lm_head.weight"]:set(tensors["lm_head.weight"]:get(3, 4) + 1, 3, 4) end)
    assert.equal("model.safetensors: tensor 'lm_head.weight' is not 'transformer.wte.weight', though they are tied " ..
      "(set tie_word_embeddings to false in config.json to keep both)", message())
    configure{tie_word_embeddings = false}
    local model = language.load(folder)
    assert.are_not.equal(model.by_name["transformer.wte"].weight, model.by_name.lm_head.weight)
    copy "llama_tied"
    configure{tie_word_embeddings = false}
    assert.equal("model.safetensors: tensor 'lm_head.weight' is missing", message())
  end)

  -- ---- shards --------------------------------------------------------------------------------------------------

  local INDEX = "model.safetensors.index.json"

  local function change_index(f)
    local index = assert(json.decode(experiment.read(folder .. "/" .. INDEX)))
    f(index.weight_map, index)
    experiment.write(folder .. "/" .. INDEX, json.encode(index))
  end

  it("refuses a shard that is missing, or lacks a tensor, or has one of another shard", function()
    copy "llama_sharded"
    local one, other = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
    assert.is_true(posix.is_file(folder .. "/" .. one) and posix.is_file(folder .. "/" .. other))
    local moved
    change(function(tensors)
      moved = next(tensors)
      tensors[moved] = nil
    end, one)
    assert.equal(('%s: tensor "%s" is missing, but %s lists it there'):format(one, moved, INDEX), message())
    change(function(tensors) tensors[moved] = core.zeros(1) end, other)
    assert.equal(('%s: tensor "%s" is missing, but %s lists it there'):format(one, moved, INDEX), message())
    change(function(tensors) tensors[moved] = core.zeros(1) end, one)
    assert.equal(('%s: tensor "%s" is in another file too'):format(other, moved), message())
    os.remove(folder .. "/" .. other)
    assert.equal(("%s: no such file, but %s lists it"):format(other, INDEX), message())
  end)

  it("names the file of a tensor that is wrong, and the index where one is missing", function()
    copy "llama_sharded"
    local index = assert(json.decode(experiment.read(folder .. "/" .. INDEX)))
    local name = "model.layers.1.mlp.down_proj.weight"
    local file = index.weight_map[name]
    change(function(tensors) tensors[name] = core.zeros(2) end, file)
    assert.equal(("%s: tensor '%s': expected [16, 24], found [2]"):format(file, name), message())
    change(function(tensors) tensors[name] = nil end, file)
    change_index(function(map) map[name] = nil end)
    assert.equal(("%s: tensor '%s' is missing"):format(INDEX, name), message())
  end)

  it("refuses an index that is damaged, or leads out of the folder", function()
    copy "llama_sharded"
    local intact = experiment.read(folder .. "/" .. INDEX)
    for _, text in ipairs{"{", "[]x", ""} do
      experiment.write(folder .. "/" .. INDEX, text)
      assert.matches("^model.safetensors.index.json: is not valid JSON: ", message())
    end
    for _, map in ipairs{3, {}, "a"} do
      experiment.write(folder .. "/" .. INDEX, json.encode{weight_map = map})
      assert.matches("^model.safetensors.index.json: weight_map: expected tensors with their files, found ", message())
    end
    for _, name in ipairs{"../a.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", 7, {"a"}} do
      experiment.write(folder .. "/" .. INDEX, intact)
      change_index(function(weight_map) weight_map["model.norm.weight"] = name end)
      assert.equal(INDEX .. ': weight_map: expected the name of a file beside it for "model.norm.weight", found ' ..
        json.encode(name), message())
    end
    experiment.write(folder .. "/" .. INDEX, json.encode{weight_map = {"model.norm.weight"}})
    assert.matches("^model.safetensors.index.json: weight_map: expected the name of a file beside it", message())
  end)
end)
