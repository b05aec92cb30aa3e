--- LlamaForCausalLM: RMS norms before each block, rotary positions, grouped-query attention, a gated MLP.
--
--     x = embed_tokens(ids)
--     x = x + o_proj(attention(rotary(q_proj n), rotary(k_proj n), v_proj n)),  n = input_layernorm(x)
--     x = x + down_proj(act(gate_proj n) * up_proj n),                          n = post_attention_layernorm(x)
--     logits = lm_head(norm(x))
--
-- An architecture is a table like this one: names, fields (see spd.models.language.settings), parts and forward.
local core = require "spd.core"
local rotary = require "spd.models.language.rotary"
local settings_module = require "spd.models.language.settings"
local transformer = require "spd.models.language.transformer"

local llama = {}

--- llama.name, llama.model_type: what config.json calls it.
llama.name, llama.model_type = "LlamaForCausalLM", "llama"

--- llama.prefix: what the names of tensors may leave out, in files of the model without its unembedding.
llama.prefix = "model."

--- llama.positions_key: the setting that limits the length of a text.
llama.positions_key = "max_position_embeddings"

--- llama.ignored: patterns of tensors that old files have and that are computed instead.
llama.ignored = {"%.rotary_emb%.inv_freq$"}

--- llama.fields: the keys of config.json that count.
llama.fields = settings_module.with_common({
  {key = "hidden_size", type = "size", default = 4096},
  {key = "intermediate_size", type = "size", default = 11008},
  {key = "num_hidden_layers", type = "size", max = transformer.MOST_LAYERS, default = 32},
  {key = "num_attention_heads", type = "size", default = 32},
  {key = "num_key_value_heads", type = "size"},
  {key = "head_dim", type = "size"},
  {key = "hidden_act", type = "choice", choices = transformer.activation_names, default = "silu"},
  {key = "max_position_embeddings", type = "size", default = 2048},
  {key = "rms_norm_eps", type = "number", min = 1e-30, max = 1, default = 1e-6},
  {key = "attention_bias", type = "boolean", default = false},
  {key = "mlp_bias", type = "boolean", default = false},
  {key = "pretraining_tp", type = "only", value = 1},
}, {vocab_size = 32000, tie_word_embeddings = false})

--- llama.check(settings, where)
-- Refuse settings that do not fit together, and fill in those that follow from others.
function llama.check(settings, where)
  settings.num_key_value_heads = settings.num_key_value_heads or settings.num_attention_heads
  if not settings.head_dim then
    transformer.check_heads(settings, "hidden_size", "num_attention_heads", where)
    settings.head_dim = settings.hidden_size // settings.num_attention_heads
  end
  transformer.check_heads(settings, "num_attention_heads", "num_key_value_heads", where)
  if settings.head_dim % 2 ~= 0 then settings_module.refuse(where, "head_dim", "an even number", settings.head_dim) end
  local window = settings.sliding_window
  if window ~= nil and (type(window) ~= "number" or window < settings.max_position_embeddings) then
    settings_module.refuse(where, "sliding_window", "null", window)
  end
  rotary.parameters(settings, where)
end

--- llama.parts(settings) -> list of {kind =, name =, shape = [, bias =] [, shares =]}
-- The layers and norms in the order of the forward pass.
function llama.parts(settings)
  local d, d_mlp, vocabulary = settings.hidden_size, settings.intermediate_size, settings.vocab_size
  local d_query = settings.num_attention_heads * settings.head_dim
  local d_key = settings.num_key_value_heads * settings.head_dim
  local parts = {{kind = "embedding", name = "model.embed_tokens", shape = {vocabulary, d}}}
  local function norm(name) parts[#parts + 1] = {kind = "rms_norm", name = name, shape = {d}} end
  local function linear(name, d_out, d_in, bias)
    parts[#parts + 1] = {kind = "linear", name = name, shape = {d_out, d_in}, bias = bias}
  end
  for i = 0, settings.num_hidden_layers - 1 do
    local block = ("model.layers.%d."):format(i)
    norm(block .. "input_layernorm")
    linear(block .. "self_attn.q_proj", d_query, d, settings.attention_bias)
    linear(block .. "self_attn.k_proj", d_key, d, settings.attention_bias)
    linear(block .. "self_attn.v_proj", d_key, d, settings.attention_bias)
    linear(block .. "self_attn.o_proj", d, d_query, settings.attention_bias)
    norm(block .. "post_attention_layernorm")
    linear(block .. "mlp.gate_proj", d_mlp, d, settings.mlp_bias)
    linear(block .. "mlp.up_proj", d_mlp, d, settings.mlp_bias)
    linear(block .. "mlp.down_proj", d, d_mlp, settings.mlp_bias)
  end
  norm "model.norm"
  linear("lm_head", vocabulary, d)
  parts[#parts].shares = settings.tie_word_embeddings and "model.embed_tokens" or nil
  return parts
end

local function attention(self, block, x, layer)
  local settings = self.settings
  local cosine, sine = rotary.tables(self, x.shape[2], settings.head_dim)
  local q = core.rotary(layer(block .. "self_attn.q_proj", x), cosine, sine)
  local k = core.rotary(layer(block .. "self_attn.k_proj", x), cosine, sine)
  local v = layer(block .. "self_attn.v_proj", x)
  local mixed = core.attention(q, k, v, settings.num_attention_heads, 1 / math.sqrt(settings.head_dim))
  return layer(block .. "self_attn.o_proj", mixed)
end

local function mlp(self, block, x, layer)
  local act = transformer.activations[self.settings.hidden_act]
  local hidden = act(layer(block .. "mlp.gate_proj", x)) * layer(block .. "mlp.up_proj", x)
  return layer(block .. "mlp.down_proj", hidden)
end

--- llama.forward(self, ids, layer) -> logits [B, T, vocabulary]
-- ids: int32 [B, T]. layer(name, input) applies a layer.
function llama.forward(self, ids, layer)
  local x = layer("model.embed_tokens", ids)
  for i = 0, self.settings.num_hidden_layers - 1 do
    local block = ("model.layers.%d."):format(i)
    x = x + attention(self, block, transformer.rms_norm(self, block .. "input_layernorm", x), layer)
    x = x + mlp(self, block, transformer.rms_norm(self, block .. "post_attention_layernorm", x), layer)
  end
  return layer("lm_head", transformer.rms_norm(self, "model.norm", x))
end

return llama
