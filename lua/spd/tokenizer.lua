--- Tokenizers from Hugging Face's tokenizer.json.
--
-- Text goes through the parts of the file in turn: added tokens are cut out, the rest is normalized, cut into words
-- (pre-tokenizer), each word becomes tokens (model), and special tokens are added (post-processor). All parts do what
-- the tokenizers library does, offsets included; what they do not know is refused when the file is read.
local core = require "spd.core"
local added_tokens = require "spd.tokenizer.added_tokens"
local decoders = require "spd.tokenizer.decoders"
local errors = require "spd.errors"
local files = require "spd.files"
local json = require "spd.json"
local models = require "spd.tokenizer.models"
local normalizers = require "spd.tokenizer.normalizers"
local post_processors = require "spd.tokenizer.post_processors"
local pre_tokenizers = require "spd.tokenizer.pre_tokenizers"
local section = require "spd.tokenizer.section"

local tokenizer = {}

local Tokenizer = {}
Tokenizer.__index = Tokenizer

-- ---- encoding ---------------------------------------------------------------------------------

-- The tokens of a text that is cut into words: ids, the bytes of the text where they begin and end, and the texts of
-- added tokens, by their place.
local function tokens_of(text, encode)
  local strings, places, tokens = text:pieces()
  local ids, firsts, lasts, values = {}, {}, {}, {}
  local n = 0
  for i, word in ipairs(strings) do
    local place = places[i]
    if tokens[i] then
      n = n + 1
      ids[n], firsts[n], lasts[n], values[n] = tokens[i], place, place + #word, word
    else
      local list = encode(word)
      for j = 1, #list, 2 do
        n = n + 1
        ids[n], firsts[n] = list[j], place
        place = place + list[j + 1]
        lasts[n] = place
      end
    end
  end
  return ids, firsts, lasts, values
end

--- tokenizer:encode(text [, add_special_tokens = true]) -> ids, spans
-- ids: a list. spans: of each token the bytes {first, last} of the text that it stands for (both inclusive; last is
-- first - 1 for none, and {1, 0} for special tokens that were added). What is not valid UTF-8 counts as U+FFFD.
function Tokenizer:encode(string, add_special_tokens)
  local text <close> = core.text.new(string)
  self.added.cut_raw(text)
  self.normalize(text)
  self.added.cut_normalized(text)
  self.pre_tokenize(text)
  local ids, firsts, lasts, values = tokens_of(text, self.model.encode)
  local encoding = {ids = ids, spans = text:spans(firsts, lasts), values = values, original = string}
  self.post_process(encoding, add_special_tokens ~= false)
  return encoding.ids, encoding.spans
end

-- ---- decoding ---------------------------------------------------------------------------------

--- tokenizer:decode(ids [, skip_special_tokens = false]) -> text
-- Ids that no token has are left out.
function Tokenizer:decode(ids, skip_special_tokens)
  local list = {}
  for _, id in ipairs(ids) do
    local token = self:token(id)
    if token and not (skip_special_tokens == true and self.added.special[token]) then list[#list + 1] = token end
  end
  return self.join(list)
end

--- tokenizer:id(token) -> id, or nil
function Tokenizer:id(token) return self.added.ids[token] or self.model.ids[token] end

--- tokenizer:token(id) -> the token's text in the file's own alphabet, or nil
function Tokenizer:token(id) return self.added.tokens[id] or self.model.tokens[id] end

--- tokenizer:size() -> one more than the largest id
function Tokenizer:size() return self.largest + 1 end

-- ---- loading ----------------------------------------------------------------------------------

local function read(path)
  local text = files.read(path)
  if not utf8.len(text) then errors.raise(2, path, "is not text in UTF-8") end
  local value, problem = json.decode(text)
  if value == nil then errors.raise(2, path, "is not JSON: " .. tostring(problem)) end
  if type(value) ~= "table" then errors.raise(2, path, "is not a tokenizer: expected an object") end
  return section.new(path, "", value)
end

local function largest_id(...)
  local largest = -1
  for _, tokens in ipairs{...} do
    for id in pairs(tokens) do largest = math.max(largest, id) end
  end
  return largest
end

--- tokenizer.load(path) -> tokenizer
-- path: a tokenizer.json, or a folder with one. Errors name the file and what is wrong with it or not supported.
function tokenizer.load(path)
  local file = core.posix.is_directory(path) and path .. "/tokenizer.json" or path
  local whole = read(file)
  whole:only("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
    "decoder", "model")
  whole:choice("version", {"1.0"}, "1.0")
  if whole.value.truncation ~= nil then whole:fail("truncation is not supported") end
  local normalize = normalizers.build(whole:child("normalizer", true))
  local model = models.build(whole:child("model"))
  local added = added_tokens.build(whole.value.added_tokens and whole:list("added_tokens") or {}, model, normalize)
  return setmetatable({
    added = added, normalize = normalize, model = model,
    pre_tokenize = pre_tokenizers.build(whole:child("pre_tokenizer", true)),
    post_process = post_processors.build(whole:child("post_processor", true), model.tokens),
    join = decoders.build(whole:child("decoder", true)),
    largest = largest_id(model.tokens, added.tokens),
  }, Tokenizer)
end

return tokenizer
