--- GPTNeoForCausalLM: as GPT-2, with scores that are not scaled, and layers that see only a window of the text.
--
--     x = wte(ids) + wpe(positions)
--     x = x + out_proj(attention(q_proj n, k_proj n, v_proj n)),  n = ln_1(x)
--     x = x + c_proj(act(c_fc(ln_2(x))))
--     logits = lm_head(ln_f(x))
--
-- In a "local" layer, position i sees the window_size positions up to i. Weights are stored [d_out, d_in], despite
-- GPT-2's names. spd.models.language.llama says what an architecture consists of.
local core = require "spd.core"
local settings_module = require "spd.models.language.settings"
local transformer = require "spd.models.language.transformer"

local gpt_neo = {}

--- gpt_neo.name and the like: see spd.models.language.llama.
gpt_neo.name, gpt_neo.model_type = "GPTNeoForCausalLM", "gpt_neo"
gpt_neo.prefix = "transformer."
gpt_neo.positions_key = "max_position_embeddings"
gpt_neo.ignored = {"%.attn%.attention%.bias$", "%.attn%.attention%.masked_bias$"}

gpt_neo.fields = settings_module.with_common({
  {key = "max_position_embeddings", type = "size", default = 2048},
  {key = "hidden_size", type = "size", default = 2048},
  {key = "num_layers", also = "num_hidden_layers", type = "size", max = transformer.MOST_LAYERS, default = 24},
  {key = "num_heads", also = "num_attention_heads", type = "size", default = 16},
  {key = "intermediate_size", type = "size"},
  {key = "window_size", type = "size", default = 256},
  {key = "activation_function", type = "choice", choices = transformer.activation_names, default = "gelu_new"},
  {key = "layer_norm_epsilon", type = "number", min = 1e-30, max = 1, default = 1e-5},
}, {vocab_size = 50257, tie_word_embeddings = true})

local function check_kinds(kinds, key, where)
  if type(kinds) ~= "table" then settings_module.refuse(where, key, "a list of words", kinds) end
  for _, kind in ipairs(kinds) do
    if kind ~= "global" and kind ~= "local" then settings_module.refuse(where, key, {"global", "local"}, kind) end
  end
end

-- attention_types, [[["global", "local"], 12], ...], as one word for each layer; stops past the number of layers.
local function expand(types, layers, where)
  local KEY, FORM = "attention_types", 'a list such as [[["global", "local"], 12]]'
  local kinds = {}
  if type(types) ~= "table" then settings_module.refuse(where, KEY, FORM, types) end
  for _, group in ipairs(types) do
    local times = type(group) == "table" and math.type(group[2]) == "integer" and group[2]
    if not times then settings_module.refuse(where, KEY, FORM, types) end
    check_kinds(group[1], KEY, where)
    local count = math.min(times, #group[1] > 0 and layers + 1 or 0)
    for _ = 1, count do
      if #kinds > layers then break end
      table.move(group[1], 1, #group[1], #kinds + 1, kinds)
    end
  end
  return kinds
end

--- gpt_neo.check(settings, where)
-- Refuse settings that do not fit together, and fill in attention_layers, one word for each layer.
function gpt_neo.check(settings, where)
  transformer.check_heads(settings, "hidden_size", "num_heads", where)
  local given, layers = settings.attention_layers, settings.num_layers
  if given ~= nil then check_kinds(given, "attention_layers", where) end
  settings.attention_types = settings.attention_types or {given and {given, 1} or {{"global", "local"}, 12}}
  local kinds = expand(settings.attention_types, layers, where)
  if #kinds ~= layers then
    settings_module.refuse(where, "attention_types", ("kinds of attention for num_layers %d"):format(layers),
      settings.attention_types)
  end
  if given and table.concat(given, " ") ~= table.concat(kinds, " ") then
    settings_module.refuse(where, "attention_layers", {kinds}, given)
  end
  settings.attention_layers = kinds
end

--- gpt_neo.parts(settings) -> list of {kind =, name =, shape = [, bias =] [, shares =]}
function gpt_neo.parts(settings)
  local d, vocabulary = settings.hidden_size, settings.vocab_size
  local d_mlp = settings.intermediate_size or 4 * d
  local parts = {
    {kind = "embedding", name = "transformer.wte", shape = {vocabulary, d}},
    {kind = "embedding", name = "transformer.wpe", shape = {settings.max_position_embeddings, d}},
  }
  local function norm(name) parts[#parts + 1] = {kind = "layer_norm", name = name, shape = {d}, bias = true} end
  local function linear(name, d_out, d_in, bias)
    parts[#parts + 1] = {kind = "linear", name = name, shape = {d_out, d_in}, bias = bias}
  end
  for i = 0, settings.num_layers - 1 do
    local block = ("transformer.h.%d."):format(i)
    norm(block .. "ln_1")
    linear(block .. "attn.attention.q_proj", d, d)
    linear(block .. "attn.attention.k_proj", d, d)
    linear(block .. "attn.attention.v_proj", d, d)
    linear(block .. "attn.attention.out_proj", d, d, true)
    norm(block .. "ln_2")
    linear(block .. "mlp.c_fc", d_mlp, d, true)
    linear(block .. "mlp.c_proj", d, d_mlp, true)
  end
  norm "transformer.ln_f"
  linear("lm_head", vocabulary, d)
  parts[#parts].shares = settings.tie_word_embeddings and "transformer.wte" or nil
  return parts
end

local function attention(self, i, x, layer)
  local settings, block = self.settings, ("transformer.h.%d.attn.attention."):format(i)
  local q, k, v = layer(block .. "q_proj", x), layer(block .. "k_proj", x), layer(block .. "v_proj", x)
  local window = settings.attention_layers[i + 1] == "local" and settings.window_size or 0
  return layer(block .. "out_proj", core.attention(q, k, v, settings.num_heads, 1, window))
end

--- gpt_neo.forward(self, ids, layer) -> logits [B, T, vocabulary]
-- ids: int32 [B, T]. layer(name, input) applies a layer.
function gpt_neo.forward(self, ids, layer)
  return transformer.gpt_forward(self, ids, layer, self.settings.num_layers, attention)
end

return gpt_neo
