--- GPT2LMHeadModel: layer norms before each block, learned positions, weights stored [d_in, d_out].
--
--     x = wte(ids) + wpe(positions)
--     x = x + c_proj(attention(q, k, v)),  q | k | v = c_attn(ln_1(x))
--     x = x + c_proj(act(c_fc(ln_2(x))))
--     logits = lm_head(ln_f(x))
--
-- spd.models.language.llama says what an architecture consists of.
local core = require "spd.core"
local settings_module = require "spd.models.language.settings"
local transformer = require "spd.models.language.transformer"

local gpt2 = {}

--- gpt2.name and the like: see spd.models.language.llama. Original files have names without the prefix.
gpt2.name, gpt2.model_type = "GPT2LMHeadModel", "gpt2"
gpt2.prefix = "transformer."
gpt2.positions_key = "n_positions"
gpt2.ignored = {"%.attn%.bias$", "%.attn%.masked_bias$"}

-- reorder_and_upcast_attn is about half precision only: here it changes nothing.
gpt2.fields = settings_module.with_common({
  {key = "n_positions", also = "max_position_embeddings", type = "size", default = 1024},
  {key = "n_embd", also = "hidden_size", type = "size", default = 768},
  {key = "n_layer", also = "num_hidden_layers", type = "size", max = transformer.MOST_LAYERS, default = 12},
  {key = "n_head", also = "num_attention_heads", type = "size", default = 12},
  {key = "n_inner", type = "size"},
  {key = "activation_function", type = "choice", choices = transformer.activation_names, default = "gelu_new"},
  {key = "layer_norm_epsilon", type = "number", min = 1e-30, max = 1, default = 1e-5},
  {key = "scale_attn_weights", type = "boolean", default = true},
  {key = "scale_attn_by_inverse_layer_idx", type = "boolean", default = false},
  {key = "reorder_and_upcast_attn", type = "boolean", default = false},
}, {vocab_size = 50257, tie_word_embeddings = true})

--- gpt2.check(settings, where)
-- Refuse settings that do not fit together.
function gpt2.check(settings, where) transformer.check_heads(settings, "n_embd", "n_head", where) end

--- gpt2.parts(settings) -> list of {kind =, name =, shape = [, bias =] [, shares =] [, scale =]}
-- scale: factor of the initial weights of layers that add to the residual stream.
function gpt2.parts(settings)
  local d, vocabulary, layers = settings.n_embd, settings.vocab_size, settings.n_layer
  local d_mlp, scale = settings.n_inner or 4 * d, 1 / math.sqrt(2 * layers)
  local parts = {
    {kind = "embedding", name = "transformer.wte", shape = {vocabulary, d}},
    {kind = "embedding", name = "transformer.wpe", shape = {settings.n_positions, d}},
  }
  local function norm(name) parts[#parts + 1] = {kind = "layer_norm", name = name, shape = {d}, bias = true} end
  local function conv1d(name, d_in, d_out, initial_scale)
    parts[#parts + 1] = {kind = "conv1d", name = name, shape = {d_in, d_out}, bias = true, scale = initial_scale}
  end
  for i = 0, layers - 1 do
    local block = ("transformer.h.%d."):format(i)
    norm(block .. "ln_1")
    conv1d(block .. "attn.c_attn", d, 3 * d)
    conv1d(block .. "attn.c_proj", d, d, scale)
    norm(block .. "ln_2")
    conv1d(block .. "mlp.c_fc", d, d_mlp)
    conv1d(block .. "mlp.c_proj", d_mlp, d, scale)
  end
  norm "transformer.ln_f"
  parts[#parts + 1] = {
    kind = "linear", name = "lm_head", shape = {vocabulary, d},
    shares = settings.tie_word_embeddings and "transformer.wte" or nil,
  }
  return parts
end

local function attention(self, i, x, layer)
  local settings, block = self.settings, ("transformer.h.%d.attn."):format(i)
  local d = settings.n_embd
  local scale = settings.scale_attn_weights and 1 / math.sqrt(d // settings.n_head) or 1
  if settings.scale_attn_by_inverse_layer_idx then scale = scale / (i + 1) end
  local joined = layer(block .. "c_attn", x)
  local q, k, v = core.columns(joined, 0, d), core.columns(joined, d, d), core.columns(joined, 2 * d, d)
  return layer(block .. "c_proj", core.attention(q, k, v, settings.n_head, scale))
end

--- gpt2.forward(self, ids, layer) -> logits [B, T, vocabulary]
-- ids: int32 [B, T]. layer(name, input) applies a layer.
function gpt2.forward(self, ids, layer)
  return transformer.gpt_forward(self, ids, layer, self.settings.n_layer, attention)
end

return gpt2
