--- A tiny language model with random weights, text and configs for it, for specs that decompose one.
local files = require "spd.files"
local json = require "spd.json"
local language = require "spd.models.language"
local stories = require "spd.stories"
local story_tokenizer = require "spd.stories.tokenizer"

local M = {}

M.script = "experiments/lm_decomposition.lua"

M.vocabulary = story_tokenizer.size()
M.positions, M.C = 32, 8

local architectures = {
  llama = {
    architectures = {"LlamaForCausalLM"}, hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2,
    num_key_value_heads = 1, intermediate_size = 24, max_position_embeddings = M.positions,
  },
  gpt2 = {architectures = {"GPT2LMHeadModel"}, n_embd = 16, n_layer = 1, n_head = 2, n_positions = M.positions},
  gpt_neo = {
    architectures = {"GPTNeoForCausalLM"}, hidden_size = 16, num_layers = 2, num_heads = 2,
    attention_types = {{{"global", "local"}, 1}}, window_size = 8, max_position_embeddings = M.positions,
  },
}

--- Write a folder with a model, embedding and unembedding apart, and the tokenizer of stories. kind: "llama", "gpt2",
-- "gpt_neo"; changes: keys of its config.json.
function M.make_model(folder, kind, changes)
  local settings = {vocab_size = M.vocabulary, tie_word_embeddings = false, bos_token_id = 1, eos_token_id = 1}
  for _, more in ipairs{architectures[kind], changes} do
    for key, value in pairs(more) do settings[key] = value end
  end
  language.save(language.new(settings, 1), folder)
  for name, text in pairs(story_tokenizer.files(M.positions)) do files.write(folder .. "/" .. name, text) end
end

--- Write a folder with stories, as train.jsonl and test.jsonl.
function M.make_text(folder)
  files.make_directory(folder, true)
  for split, first in pairs{train = 0, test = 1000} do
    local lines = {}
    for i = 1, 100 do lines[i] = json.encode{story = stories.story(0, first + i)} end
    files.write(("%s/%s.jsonl"):format(folder, split), table.concat(lines, "\n") .. "\n")
  end
end

--- Write some token ids as .npy, all below `below` (default: the vocabulary).
function M.write_npy(path, count, below)
  local header = ("{'descr': '<u2', 'fortran_order': False, 'shape': (%d,), }"):format(count)
  local ids = {}
  for i = 1, count do ids[i] = string.pack("<I2", i * 7 % (below or M.vocabulary)) end
  files.write(path, "\x93NUMPY\1\0" .. string.pack("<s2", header) .. table.concat(ids))
end

--- The text of a config: the embedding of the model in a folder, on the text in another one.
function M.config(model, text)
  return ([[
pretrained_model_class: transformers.LlamaForCausalLM
pretrained_model_name_hf: %s
C: %d
n_mask_samples: 1
target_module_patterns: [model.embed_tokens]
faithfulness_coeff: 1.0
stochastic_recon_layerwise_coeff: 1.0
importance_minimality_coeff: 1e-4
pnorm: 2.0
output_loss_type: kl
batch_size: 4
steps: 60
lr: 1e-2
n_eval_steps: 2
print_freq: 20
image_on_first_step: false
checkpoint_seconds: 1e-9
log_ce_losses: true
task_config:
  task_name: lm
  max_seq_len: 16
  buffer_size: 30
  dataset_name: %s
]]):format(model, M.C, text)
end

--- The text of a config that trains a llama.
M.training = [[
lm_model_config: {architecture: llama, hidden_size: 16, n_layers: 1, n_heads: 2, intermediate_size: 24, max_seq_len: 24}
stories_config: {n_train: 60, n_test: 20}
batch_size: 4
steps: 4
lr: 1e-2
print_freq: 1
]]

return M
