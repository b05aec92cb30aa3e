-- Language models against `transformers` and PyTorch, on tiny random folders (spec/peer/make_language_models.py): what
-- they compute, the gradients of an SPD step on them, and what is refused by name.
local core = require "spd.core"
local cjson = require "cjson"
local compare = require "spec.support.compare"
local component_model = require "spd.component_model"
local errors = require "spd.errors"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local language = require "spd.models.language"
local losses = require "spd.losses"
local rotary = require "spd.models.language.rotary"
local shape = require "spd.shape"

local FIXTURES = "spec/fixtures/language/"
local TOLERANCE = 1e-4

local function expected_of(name) return core.safetensors_load(FIXTURES .. name .. "/expected.safetensors") end

local function assert_close(found, expected, what, tolerance)
  local err, where = compare.error(found, expected)
  assert.is_true(err <= (tolerance or TOLERANCE), ("%s: error %.2g, %s"):format(what, err, where))
end

local function ids_of(rows) return core.tensor(rows, "int32") end

-- ---- logits ------------------------------------------------------------------------------------------

local ALL = {"llama", "llama_tied", "llama_llama3", "llama_linear", "llama_linear_old", "llama_sharded", "llama_f16",
             "llama_bf16", "gpt2", "gpt2_plain", "gpt_neo", "gpt_neo_untied"}

describe("language.load", function()
  for _, name in ipairs(ALL) do
    it("gives " .. name .. " the logits that transformers computes", function()
      local expected = expected_of(name)
      local model = language.load(FIXTURES .. name)
      assert.equal("lm", model.kind)
      assert_close(model:run(expected.ids), expected.logits, "logits")
      local tape <close> = core.tape()
      assert_close(model:run(expected.ids):tensor(), expected.logits, "logits on a tape")
    end)
  end

  it("computes a text alone and a shorter one as in a batch, whatever came before", function()
    for _, name in ipairs{"llama_llama3", "gpt2", "gpt_neo"} do
      local expected = expected_of(name)
      local rows, logits = expected.ids:totable(), expected.logits:totable()
      local model = language.load(FIXTURES .. name)
      for _, length in ipairs{7, 24, 1} do
        local ids = ids_of{table.move(rows[2], 1, length, 1, {})}
        assert_close(model:run(ids), core.tensor{table.move(logits[2], 1, length, 1, {})}, name .. " " .. length)
      end
    end
  end)

  it("names every layer as transformers does, and shares the tensor of tied ones", function()
    local function names(model)
      local list = {}
      for i, layer in ipairs(model.layers) do list[i] = layer.name .. " " .. layer.kind end
      return list
    end
    assert.same({
      "model.embed_tokens embedding",
      "model.layers.0.self_attn.q_proj linear", "model.layers.0.self_attn.k_proj linear",
      "model.layers.0.self_attn.v_proj linear", "model.layers.0.self_attn.o_proj linear",
      "model.layers.0.mlp.gate_proj linear", "model.layers.0.mlp.up_proj linear",
      "model.layers.0.mlp.down_proj linear",
      "model.layers.1.self_attn.q_proj linear", "model.layers.1.self_attn.k_proj linear",
      "model.layers.1.self_attn.v_proj linear", "model.layers.1.self_attn.o_proj linear",
      "model.layers.1.mlp.gate_proj linear", "model.layers.1.mlp.up_proj linear",
      "model.layers.1.mlp.down_proj linear",
      "lm_head linear",
    }, names(language.load(FIXTURES .. "llama")))
    local gpt2 = language.load(FIXTURES .. "gpt2_plain")
    assert.same({
      "transformer.wte embedding", "transformer.wpe embedding",
      "transformer.h.0.attn.c_attn conv1d", "transformer.h.0.attn.c_proj conv1d",
      "transformer.h.0.mlp.c_fc conv1d", "transformer.h.0.mlp.c_proj conv1d",
      "transformer.h.1.attn.c_attn conv1d", "transformer.h.1.attn.c_proj conv1d",
      "transformer.h.1.mlp.c_fc conv1d", "transformer.h.1.mlp.c_proj conv1d",
      "lm_head linear",
    }, names(gpt2))
    assert.equal(gpt2.by_name["transformer.wte"].weight, gpt2.by_name.lm_head.weight)
    local untied = language.load(FIXTURES .. "llama")
    assert.are_not.equal(untied.by_name["model.embed_tokens"].weight, untied.by_name.lm_head.weight)
  end)

  it("keeps rotary tables and positions from step to step, and makes them anew for a longer text", function()
    local model = language.load(FIXTURES .. "llama_tied")
    model:run(ids_of{{1, 2, 3}})
    local kept = model.kept_rotary
    model:run(ids_of{{1, 2}, {3, 4}})
    assert.equal(kept, model.kept_rotary)
    model:run(ids_of{{1, 2, 3, 4}})
    assert.are_not.equal(kept, model.kept_rotary)
    local gpt2 = language.load(FIXTURES .. "gpt2")
    gpt2:run(ids_of{{1, 2, 3}})
    local positions = gpt2.kept_positions
    gpt2:run(ids_of{{4, 5, 6}})
    assert.equal(positions, gpt2.kept_positions)
  end)

  it("copies every tensor once: memory is that of the weights", function()
    for _, name in ipairs{"llama_sharded", "llama_f16", "gpt2"} do
      local function settle()
        collectgarbage()
        collectgarbage()
        core.release_buffers()
      end
      settle()
      local before = core.live_bytes()
      local model = language.load(FIXTURES .. name)
      settle()
      local bytes, tensors = language.bytes(FIXTURES .. name), 0
      for _ in pairs(model:tensors()) do tensors = tensors + 1 end
      assert.is_true(core.live_bytes() - before >= bytes)
      assert.is_true(core.live_bytes() - before < bytes + 300 * tensors, name)
    end
  end)
end)

describe("a language model", function()
  local model = language.load(FIXTURES .. "llama_tied")

  local function refused(expected, ids)
    local ok, err = pcall(model.run, model, ids)
    assert.is_false(ok)
    assert.is_true(errors.is(err), tostring(err))
    assert.equal(expected, err.message)
  end

  it("refuses more positions than it has, and what is no batch of texts", function()
    local row = {}
    for i = 1, 33 do row[i] = 1 end
    refused("model: 33 positions are more than its max_position_embeddings 32", ids_of{row})
    refused("model: expected token ids [B, T], found [3]", ids_of{1, 2, 3})
    refused("model: expected token ids [B, T], found string", "text")
  end)
end)

-- ---- an SPD step ----------------------------------------------------------------------------------------

-- A component model with the parameters of expected.safetensors.
local function components_of(name, expected, settings, patterns)
  local components = component_model.new{
    target = language.load(FIXTURES .. name), patterns = patterns, C = settings.C, n_ci_mlp_neurons = 0,
  }
  for _, parameter in ipairs(components.parameters) do
    local matrix, key = parameter.name:match("^%a+%.(.*)%.(%a)$")
    parameter.key = key .. "." .. matrix
    parameter.tensor:copy_from(expected[parameter.key])
  end
  return components
end

local DRAWS = {stochastic_recon = "r_stoch.", embedding_recon = "r_stoch.", stochastic_recon_layerwise = "r_layer."}

local function step_of(components, expected, config)
  local y, inputs = components:run_target(expected.ids)
  local lower, upper = components:importances(inputs)
  config.n_mask_samples, config.output_loss_type = 1, "kl"
  return {
    components = components, x = expected.ids, target = y, inputs = inputs, lower = lower, upper = upper,
    config = config, draw = function(matrix, purpose) return expected[DRAWS[purpose] .. matrix.name] end,
  }
end

-- Losses by name, after the gradients were added to those of the parameters.
local function backward(components, expected, config)
  local tape <close> = core.tape()
  return losses.backward(tape, losses.terms(step_of(components, expected, config)))
end

local function assert_gradients(components, expected, prefix)
  for _, parameter in ipairs(components.parameters) do
    assert_close(parameter.tensor.gradient, expected[prefix .. parameter.key], prefix .. parameter.key)
  end
end

describe("an SPD step", function()
  for _, name in ipairs{"llama", "gpt2", "gpt_neo"} do
    it("on " .. name .. " has PyTorch's losses and gradients", function()
      local expected, metadata = expected_of(name)
      local settings = cjson.decode(metadata.settings)
      local config = {pnorm = settings.pnorm}
      for loss, coefficient in pairs(settings.coefficients) do config[loss .. "_coeff"] = coefficient end
      local components = components_of(name, expected, settings, settings.decomposed)
      assert.equal(#settings.decomposed, #components.matrices)
      for loss, value in pairs((backward(components, expected, config))) do
        assert_close({value}, expected["loss." .. loss], loss)
      end
      assert_gradients(components, expected, "grad.")
    end)

    it("on the embedding of " .. name .. " alone, after the unembedding, has PyTorch's gradients", function()
      local expected, metadata = expected_of(name)
      local settings = cjson.decode(metadata.settings)
      local config = {embedding_recon_coeff = 1, is_embed_unembed_recon = true}
      local first = settings.decomposed[1]
      local components = components_of(name, expected, settings, {first})
      local values = backward(components, expected, config)
      assert_close({values.embedding_recon}, expected["loss.embed_unembed_recon"], "loss")
      assert_gradients(components, expected, "unembed_grad.")
    end)
  end
end)

-- ---- rope types --------------------------------------------------------------------------------------------

describe("rotary.frequencies", function()
  local function frequencies(settings, d)
    settings.max_position_embeddings = 8192
    return rotary.frequencies(rotary.parameters(settings, "x"), d)
  end

  it("fall with theta, and are divided by the factor of the linear type", function()
    assert_close(frequencies({}, 8), {1, 0.1, 0.01, 0.001}, "default", 1e-6)
    assert_close(frequencies({rope_theta = 16}, 4), {1, 0.25}, "theta", 1e-6)
    assert_close(frequencies({rope_theta = 3, rope_parameters = {rope_theta = 16}}, 4), {1, 0.25}, "nested", 1e-6)
    assert_close(frequencies({rope_scaling = {type = "linear", factor = 4}}, 4), {0.25, 0.0025}, "linear", 1e-6)
  end)

  it("of the llama3 type stay for short waves, are divided for long ones and blended between", function()
    local scaling = {rope_type = "llama3", factor = 8, low_freq_factor = 1, high_freq_factor = 4,
      original_max_position_embeddings = 64}
    -- 64 f / 2 pi turns: 10.2, 1.02, 0.10; the second keeps 0.0186 / 3 of itself
    local blend = (64 * 0.1 / (2 * math.pi) - 1) / 3
    assert_close(frequencies({rope_theta = 1000, rope_scaling = scaling}, 6),
      {1, 0.1 * (blend + (1 - blend) / 8), 0.01 / 8}, "llama3", 1e-6)
  end)
end)

-- ---- new and saved models -------------------------------------------------------------------------------------

local SETTINGS = {
  llama = {model_type = "llama", vocab_size = 400, hidden_size = 64, intermediate_size = 96, num_hidden_layers = 2,
    num_attention_heads = 4, max_position_embeddings = 32},
  gpt2 = {architectures = {"GPT2LMHeadModel"}, vocab_size = 400, n_embd = 64, n_layer = 8, n_head = 4,
    n_positions = 32},
  gpt_neo = {model_type = "gpt_neo", vocab_size = 400, hidden_size = 64, num_layers = 2, num_heads = 4,
    max_position_embeddings = 32, attention_layers = {"local", "local"}, window_size = 4},
}

local function deviation(x) return math.sqrt(core.sum(x * x):item() / (x:size(1) * x:size(2))) end

describe("language.new", function()
  it("draws weights with initializer_range, less for GPT-2's c_proj; biases are 0 and norms 1", function()
    for name, settings in pairs(SETTINGS) do
      local model = language.new(settings, 3)
      for _, layer in ipairs(model.layers) do
        local range = name == "gpt2" and layer.name:find("c_proj") and 0.02 / math.sqrt(2 * 8) or 0.02
        local ratio = deviation(layer.weight) / range
        assert.is_true(ratio > 0.93 and ratio < 1.07, ("%s: %g"):format(layer.name, ratio))
        if layer.bias then assert.equal(0, core.sum(layer.bias * layer.bias):item(), layer.name) end
      end
      for constant, tensor in pairs(model.constants) do
        local value = constant:match("bias$") and 0 or 1
        assert.equal(0, core.squared_error(tensor, core.zeros(tensor:size(1)) + value):item(), constant)
      end
    end
    local wide = language.new({model_type = "llama", vocab_size = 400, hidden_size = 64, intermediate_size = 96,
      num_hidden_layers = 1, num_attention_heads = 4, initializer_range = 0.5}, 3)
    assert.is_true(math.abs(deviation(wide.by_name.lm_head.weight) - 0.5) < 0.03)
  end)

  it("draws every matrix anew, others with another seed, and the same with the same", function()
    local one, again, other = language.new(SETTINGS.llama, 1), language.new(SETTINGS.llama, 1),
      language.new(SETTINGS.llama, 2)
    local seen = {}
    for _, layer in ipairs(one.layers) do
      local first = ("%.9g"):format(layer.weight:get(1, 1))
      assert.is_nil(seen[first], layer.name)
      seen[first] = true
      assert.same(layer.weight:totable(), again.by_name[layer.name].weight:totable())
      assert.are_not.same(layer.weight:totable(), other.by_name[layer.name].weight:totable())
    end
  end)

  it("has the library's defaults", function()
    local settings = language.new(SETTINGS.llama).settings
    assert.same({4, 16, "silu", 1e-6, false, false, false, 0.02}, {settings.num_key_value_heads, settings.head_dim,
      settings.hidden_act, settings.rms_norm_eps, settings.attention_bias, settings.mlp_bias,
      settings.tie_word_embeddings, settings.initializer_range})
    settings = language.new(SETTINGS.gpt2).settings
    assert.same({"gelu_new", 1e-5, true, true}, {settings.activation_function, settings.layer_norm_epsilon,
      settings.tie_word_embeddings, settings.scale_attn_weights})
    settings = language.new(SETTINGS.gpt_neo).settings
    assert.same({{"local", "local"}, {{{"local", "local"}, 1}}}, {settings.attention_layers, settings.attention_types})
  end)

  it("refuses what could not fit into memory, and what does not say its architecture", function()
    local function message(settings)
      local ok, err = pcall(language.new, settings)
      assert.is_false(ok)
      assert.is_true(errors.is(err), tostring(err))
      return err.message
    end
    assert.matches("^memory: the model needs about .* %(smaller settings%)$", message{model_type = "llama",
      vocab_size = 2 ^ 31 - 1, hidden_size = 2 ^ 31 - 2, num_attention_heads = 1, num_hidden_layers = 1000})
    assert.equal('model: model_type: expected "llama", "gpt2" or "gpt_neo", found null', message{})
  end)
end)

describe("language.save", function()
  it("writes a folder that loads as the same model, with tied weights once", function()
    local folder = experiment.make_folder()
    finally(function() experiment.remove_folder(folder) end)
    for name, settings in pairs(SETTINGS) do
      local model = language.new(settings, 5)
      language.save(model, folder .. "/deep/" .. name)
      local again = language.load(folder .. "/deep/" .. name)
      local ids = ids_of{{1, 5, 3, 399, 7, 7}}
      assert.same(model:run(ids):totable(), again:run(ids):totable())
      local tensors, metadata = core.safetensors_load(folder .. "/deep/" .. name .. "/model.safetensors")
      assert.same({format = "pt"}, metadata)
      assert.equal(name == "llama", tensors["lm_head.weight"] ~= nil)
      local config = assert(json.decode(experiment.read(folder .. "/deep/" .. name .. "/config.json")))
      assert.equal("float32", config.torch_dtype)
      local bytes = 0
      for _, tensor in pairs(tensors) do bytes = bytes + 4 * shape.count(tensor) end
      assert.equal(bytes, language.bytes(folder .. "/deep/" .. name))
      again.settings.torch_dtype = nil
      assert.same(model.settings, again.settings)
    end
  end)

  it("writes numbers that need not be whole with a point, as transformers demands", function()
    local folder = experiment.make_folder()
    finally(function() experiment.remove_folder(folder) end)
    language.save(language.new{model_type = "gpt2", vocab_size = 9, n_embd = 4, n_head = 1, n_layer = 1,
      layer_norm_epsilon = 1, initializer_range = 0.5}, folder)
    local text = experiment.read(folder .. "/config.json")
    assert.matches('\n  "layer_norm_epsilon": 1%.0,\n', text)
    assert.matches('\n  "initializer_range": 0%.5,\n', text)
    assert.matches('\n  "n_embd": 4,\n', text)
    assert.equal(1, language.load(folder).settings.layer_norm_epsilon)
  end)
end)
