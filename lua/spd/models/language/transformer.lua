--- What the architectures of language models have in common.
local core = require "spd.core"
local settings_module = require "spd.models.language.settings"

local transformer = {}

--- transformer.activations: the library's names of activation functions -> operators. Four of them are one function:
-- the approximation of GELU by tanh.
transformer.activations = {
  relu = core.relu, gelu = core.gelu, silu = core.silu, swish = core.silu,
  gelu_new = core.gelu_tanh, gelu_pytorch_tanh = core.gelu_tanh, gelu_fast = core.gelu_tanh,
  gelu_python = core.gelu,
}

--- transformer.activation_names: their names in the order of the alphabet.
transformer.activation_names = {}
for name in pairs(transformer.activations) do table.insert(transformer.activation_names, name) end
table.sort(transformer.activation_names)

--- transformer.MOST_LAYERS: more than that is a damaged file.
transformer.MOST_LAYERS = 1000

--- transformer.check_heads(settings, width_key, heads_key, where)
-- Refuse a width that cannot be divided among its heads.
function transformer.check_heads(settings, width_key, heads_key, where)
  if settings[width_key] % settings[heads_key] ~= 0 then
    settings_module.refuse(where, heads_key, ("a divisor of %s %d"):format(width_key, settings[width_key]),
      settings[heads_key])
  end
end

--- transformer.positions(self, ids) -> int32 [B, T], every row 0, 1, ..., T - 1
-- What a table of learned positions is asked for. The latest one is kept in the model.
function transformer.positions(self, ids)
  local B, T = ids.shape[1], ids.shape[2]
  local kept = self.kept_positions
  if not kept or kept:size(1) ~= B or kept:size(2) ~= T then
    local row, rows = {}, {}
    for t = 1, T do row[t] = t - 1 end
    for b = 1, B do rows[b] = row end
    kept = B > 0 and T > 0 and core.tensor(rows, "int32") or core.zeros({B, T}, "int32")
    self.kept_positions = kept
  end
  return kept
end

--- transformer.layer_norm(self, name, x) -> y, by the weight and bias of that name
function transformer.layer_norm(self, name, x)
  return core.layer_norm(x, self.constants[name .. ".weight"], self.constants[name .. ".bias"],
    self.settings.layer_norm_epsilon)
end

--- transformer.rms_norm(self, name, x) -> y, by the weight of that name
function transformer.rms_norm(self, name, x)
  return core.rms_norm(x, self.constants[name .. ".weight"], self.settings.rms_norm_eps)
end

local function gpt_mlp(self, i, x, layer)
  local block = ("transformer.h.%d.mlp."):format(i)
  local act = transformer.activations[self.settings.activation_function]
  return layer(block .. "c_proj", act(layer(block .. "c_fc", x)))
end

--- transformer.gpt_forward(self, ids, layer, blocks, attention) -> logits [B, T, vocabulary]
-- The forward pass of GPT-2 and its kin: learned positions, and blocks whose norms come first. They differ in
-- attention(self, i, x, layer) alone, that of block i.
function transformer.gpt_forward(self, ids, layer, blocks, attention)
  local x = layer("transformer.wte", ids) + layer("transformer.wpe", transformer.positions(self, ids))
  for i = 0, blocks - 1 do
    local block = ("transformer.h.%d."):format(i)
    x = x + attention(self, i, transformer.layer_norm(self, block .. "ln_1", x), layer)
    x = x + gpt_mlp(self, i, transformer.layer_norm(self, block .. "ln_2", x), layer)
  end
  return layer("lm_head", transformer.layer_norm(self, "transformer.ln_f", x))
end

--- transformer.unembed(self, h) -> logits [..., vocabulary]
-- An embedding layer's output h [..., d] through the unembedding alone: neither norm nor blocks, as in the public code.
function transformer.unembed(self, h) return core.linear(h, self.by_name.lm_head.weight) end

return transformer
