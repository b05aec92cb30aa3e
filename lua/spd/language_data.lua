--- The text that a language model is decomposed on: its tokenizer and its batches.
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local hugging_face = require "spd.hugging_face"
local json = require "spd.json"
local posix = core.posix
local text_data = require "spd.text_data"
local tokenizer = require "spd.tokenizer"

local language_data = {}

-- ---- the tokenizer ------------------------------------------------------------------------------

-- A tokenizer that is named is used; the public code names one, but takes that of the model's folder, so where the name
-- is nowhere to be found the folder's is taken, too.
local function tokenizer_path(name, folder)
  local own = folder .. "/tokenizer.json"
  local has_own = posix.is_file(own)
  if not name then
    if not has_own then errors.raise(2, own, "no such file", "tokenizer_name can name a tokenizer elsewhere") end
    return own
  end
  if posix.is_file(name) or posix.is_directory(name) then return name end
  if has_own and hugging_face.is_name(name) and not hugging_face.find("model", name) then return own end
  return hugging_face.snapshot("model", name)
end

--- language_data.tokenizer(name, folder) -> tokenizer, path
-- The tokenizer of a name (a file, a folder, or a model in the Hugging Face cache), or that of a model's folder where
-- the name is nil or cannot be found.
function language_data.tokenizer(name, folder)
  local path = tokenizer_path(name, folder)
  return tokenizer.load(path), path
end

local function read_settings(path)
  if not posix.is_file(path) then return {} end
  local values, message = json.decode(files.read(path))
  if type(values) ~= "table" then errors.raise(2, path, message or "expected an object of settings") end
  return values
end

--- language_data.end_id(folder, tokenizer) -> id, or nil
-- The token that ends a document: eos_token of a folder's tokenizer_config.json, or eos_token_id of its config.json, or
-- a token named <|endoftext|>, [EOS] or </s>.
function language_data.end_id(folder, of)
  local token = read_settings(folder .. "/tokenizer_config.json").eos_token
  if type(token) == "table" then token = token.content end
  if type(token) == "string" and of:id(token) then return of:id(token) end
  local id = read_settings(folder .. "/config.json").eos_token_id
  if type(id) == "table" then id = id[1] end
  if math.type(id) == "integer" and of:token(id) then return id end
  return of:id "<|endoftext|>" or of:id "[EOS]" or of:id "</s>"
end

-- ---- batches ------------------------------------------------------------------------------------

local function needs_tokenizer(paths)
  for _, path in ipairs(paths) do
    if not path:find("%.npy$") then return true end
  end
  return false
end

--- language_data.find_tokenizer(config, folder) -> tokenizer, or nil
-- The tokenizer of a decomposition's config; nil where the text is tokenized already and the model's folder has none.
function language_data.find_tokenizer(config, folder)
  local paths = text_data.find(config.task_config.dataset_name, config.task_config.train_data_split)
  local has_one = config.tokenizer_name or posix.is_file(folder .. "/tokenizer.json")
  if not has_one and not needs_tokenizer(paths) then return nil end
  return (language_data.tokenizer(config.tokenizer_name, folder))
end

--- language_data.open{folder =, vocabulary =, config =, purpose =} -> dataset
-- Batches of token ids as spd.text_data makes them: purpose "data" is the shuffled split to train on, "evaluation" that
-- to be scored on, in order. folder: of the model, where its tokenizer is.
function language_data.open(settings)
  local config, evaluating = settings.config, settings.purpose == "evaluation"
  local task = config.task_config
  local paths = text_data.find(task.dataset_name, evaluating and task.eval_data_split or task.train_data_split)
  local of, end_id
  if needs_tokenizer(paths) then
    local path
    of, path = language_data.tokenizer(config.tokenizer_name, settings.folder)
    if of:size() > settings.vocabulary then
      errors.raise(2, path, ("has %d tokens, the model a vocabulary of %d"):format(of:size(), settings.vocabulary))
    end
    end_id = language_data.end_id(settings.folder, of)
  end
  return text_data.open{
    path = paths, column = task.column_name, tokenizer = of, end_id = end_id, vocabulary = settings.vocabulary,
    max_seq_len = task.max_seq_len, batch_size = config.batch_size, seed = config.seed, purpose = settings.purpose,
    buffer_size = not evaluating and task.buffer_size or nil, keep = evaluating and config.n_eval_steps or nil,
  }
end

return language_data
