--- A tokenizer for the stories: every word is a token, and what is not a word of theirs is spelled.
--
-- It is a tokenizer.json as Hugging Face's library has it: texts are put in lower case, split between words and around
-- punctuation, and words cut into the longest pieces of the vocabulary (WordPiece). The order of the vocabulary is
-- [UNK], [EOS], the printable characters of ASCII, letters and digits that go on with a word ("##a"), the words.
local cjson = require "cjson"
local json = require "spd.json"
local stories = require "spd.stories"

local tokenizer = {}

local UNKNOWN, END = "[UNK]", "[EOS]"

--- tokenizer.end_id: the token after each story.
tokenizer.end_id = 1

-- Tokens in the order of their ids, from 0.
local function tokens()
  local list, seen = {}, {}
  local function add(token)
    if not seen[token] then list[#list + 1], seen[token] = token, true end
  end
  add(UNKNOWN)
  add(END)
  for byte = 33, 126 do add(string.char(byte):lower()) end
  for character in ("0123456789abcdefghijklmnopqrstuvwxyz"):gmatch(".") do add("##" .. character) end
  for _, word in ipairs(stories.words()) do add(word) end
  return list
end

--- tokenizer.size() -> how many tokens there are
function tokenizer.size() return #tokens() end

local function special(id, content)
  return {id = id, content = content, single_word = false, lstrip = false, rstrip = false, normalized = false,
    special = true}
end

--- tokenizer.json() -> text of the tokenizer.json
function tokenizer.json()
  local vocabulary = {}
  for i, token in ipairs(tokens()) do vocabulary[token] = i - 1 end
  return json.encode_pretty{
    version = "1.0", truncation = cjson.null, padding = cjson.null, post_processor = cjson.null,
    added_tokens = {special(0, UNKNOWN), special(tokenizer.end_id, END)},
    normalizer = {type = "Lowercase"},
    pre_tokenizer = {type = "Sequence", pretokenizers = {
      {type = "Whitespace"}, {type = "Punctuation", behavior = "Isolated"},
    }},
    decoder = {type = "WordPiece", prefix = "##", cleanup = true},
    model = {type = "WordPiece", unk_token = UNKNOWN, continuing_subword_prefix = "##", max_input_chars_per_word = 100,
      vocab = vocabulary},
  }
end

--- tokenizer.files(longest) -> name -> text
-- tokenizer.json and what `transformers` wants beside it. longest: the most tokens that the model takes.
function tokenizer.files(longest)
  return {
    ["tokenizer.json"] = tokenizer.json(),
    ["tokenizer_config.json"] = json.encode_pretty{
      tokenizer_class = "PreTrainedTokenizerFast", unk_token = UNKNOWN, eos_token = END, model_max_length = longest,
    },
    ["special_tokens_map.json"] = json.encode_pretty{unk_token = UNKNOWN, eos_token = END},
  }
end

return tokenizer
