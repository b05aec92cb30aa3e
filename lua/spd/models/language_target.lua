--- Small language models as targets: a Llama or GPT-2, trained on the stories of spd.stories.
--
-- A trained target is a folder in Hugging Face's layout, with the text it was trained on in data/.
local files = require "spd.files"
local json = require "spd.json"
local language = require "spd.models.language"
local next_token = require "spd.next_token"
local stories = require "spd.stories"
local story_tokenizer = require "spd.stories.tokenizer"
local target_training = require "spd.target_training"
local text_data = require "spd.text_data"
local tokenizer = require "spd.tokenizer"

local language_target = {}

local COLUMN, BUFFER_SIZE, COUNTED_STORIES = "story", 1000, 5000

--- language_target.weights_file, .files: the file of the weights, which is written last, and all others.
language_target.weights_file = "model.safetensors"
language_target.files = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
  "special_tokens_map.json", "data"}

-- ---- the model ----------------------------------------------------------------------------------

-- config.json of each architecture.
local config_json = {}

function config_json.llama(c)
  return {
    architectures = {"LlamaForCausalLM"}, hidden_size = c.hidden_size, num_hidden_layers = c.n_layers,
    num_attention_heads = c.n_heads, num_key_value_heads = c.n_key_value_heads or c.n_heads,
    intermediate_size = c.intermediate_size, max_position_embeddings = c.max_seq_len,
  }
end

function config_json.gpt2(c)
  return {
    architectures = {"GPT2LMHeadModel"}, n_embd = c.hidden_size, n_layer = c.n_layers, n_head = c.n_heads,
    n_inner = c.intermediate_size, n_positions = c.max_seq_len, attn_pdrop = 0, embd_pdrop = 0, resid_pdrop = 0,
  }
end

--- language_target.from_config(config) -> model
-- The untrained model that a target-training config describes.
function language_target.from_config(config)
  local c = config.lm_model_config
  local settings = config_json[c.architecture](c)
  settings.vocab_size, settings.tie_word_embeddings = story_tokenizer.size(), c.tie_word_embeddings
  settings.initializer_range = c.initializer_range
  settings.bos_token_id, settings.eos_token_id = story_tokenizer.end_id, story_tokenizer.end_id
  return language.new(settings, config.seed)
end

--- language_target.model_bytes(config) -> bytes
-- Memory that the model of a target-training config takes, at most.
function language_target.model_bytes(config)
  local c, LAYER_BYTES = config.lm_model_config, 4096
  local d, m, layers = c.hidden_size + 0.0, c.intermediate_size + 0.0, c.n_layers + 0.0
  local block = 4 * d * d + 3 * d * m + m + 9 * d
  return 4 * (layers * block + d * (2 * story_tokenizer.size() + c.max_seq_len + 2)) + 10 * layers * LAYER_BYTES
end

--- language_target.training_bytes(config) -> bytes
-- What its training takes: gradients and two moments of all weights, the outputs of all layers for a batch with their
-- gradients, and the stories.
function language_target.training_bytes(config)
  local c, STORY_BYTES = config.lm_model_config, 1500
  local outputs = c.n_layers * (16.0 * c.hidden_size + 5.0 * c.intermediate_size) + 2.0 * story_tokenizer.size()
  local tokens = 1.0 * config.batch_size * c.max_seq_len
  return 4 * language_target.model_bytes(config) + 4 * tokens * outputs + STORY_BYTES * config.stories_config.n_train
end

-- ---- text ---------------------------------------------------------------------------------------

local function write_stories(path, seed, first, count)
  local lines = {}
  for i = 1, count do lines[i] = json.encode{[COLUMN] = stories.story(seed, first + i - 1)} end
  files.write(path, table.concat(lines, "\n") .. "\n")
end

--- language_target.prepare(config, folder)
-- Write what is known before the training: the stories, as data/train.jsonl and data/test.jsonl with a column `story`,
-- and the tokenizer.
function language_target.prepare(config, folder)
  local n_train, n_test = config.stories_config.n_train, config.stories_config.n_test
  files.make_directory(folder .. "/data", true)
  write_stories(folder .. "/data/train.jsonl", config.seed, 0, n_train)
  write_stories(folder .. "/data/test.jsonl", config.seed, n_train, n_test)
  for name, text in pairs(story_tokenizer.files(config.lm_model_config.max_seq_len)) do
    files.write(folder .. "/" .. name, text)
  end
end

-- ---- training -----------------------------------------------------------------------------------

-- All weights, by name, those with two dimensions with weight decay; none twice where layers share it.
local function trained_parameters(model)
  local names, list = {}, {}
  local tensors = model:tensors()
  for name in pairs(tensors) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    list[i] = {tensor = tensors[name], without_decay = #tensors[name].shape < 2}
  end
  return list
end

--- language_target.train(config, progress, folder) -> model, loss
-- Train the model on the text in a folder that is prepared, to predict the next token in each row of max_seq_len
-- tokens; see spd.target_training.
function language_target.train(config, progress, folder)
  local model = language_target.from_config(config)
  return model, target_training.run{
    model = model, parameters = trained_parameters(model), config = config, progress = progress,
    loss = next_token.loss, weight_decay = config.weight_decay,
    batches = text_data.open{
      path = folder .. "/data/train.jsonl", column = COLUMN, tokenizer = tokenizer.load(folder),
      end_id = story_tokenizer.end_id, max_seq_len = config.lm_model_config.max_seq_len,
      batch_size = config.batch_size, buffer_size = BUFFER_SIZE, seed = config.seed, purpose = "target data",
    },
  }
end

--- language_target.save(model, folder)
-- Write config.json, generation_config.json and the weights.
function language_target.save(model, folder)
  local last = story_tokenizer.end_id
  files.write(folder .. "/generation_config.json", json.encode_pretty{
    bos_token_id = last, eos_token_id = last, pad_token_id = last, do_sample = true,
  })
  language.save(model, folder)
end

-- ---- how good it is -----------------------------------------------------------------------------

-- Rows of equal length of the tokens of stories first, first + 1, ...; what is left over at the end is dropped.
local function rows_of(words, config, first, count)
  local length, rows, row = config.lm_model_config.max_seq_len, {}, {}
  for n = first, first + count - 1 do
    local ids = words:encode(stories.story(config.seed, n), false)
    ids[#ids + 1] = story_tokenizer.end_id
    for _, id in ipairs(ids) do
      row[#row + 1] = id
      if #row == length then rows[#rows + 1], row = row, {} end
    end
  end
  return rows
end

--- language_target.scores(model, config, folder) -> {model =, bigram =, unigram =}
-- Cross-entropies of the next token in the test stories: of the model, and of n-grams counted in the training stories,
-- of which the first 5000 are enough.
function language_target.scores(model, config, folder)
  local words, sizes = tokenizer.load(folder), config.stories_config
  local rows = rows_of(words, config, sizes.n_train, sizes.n_test)
  local counts = next_token.ngrams(story_tokenizer.size())
  for _, row in ipairs(rows_of(words, config, 0, math.min(sizes.n_train, COUNTED_STORIES))) do counts:add(row) end
  local unigram, bigram = counts:cross_entropies(rows)
  return {model = next_token.cross_entropy(model, rows), bigram = bigram, unigram = unigram}
end

return language_target
