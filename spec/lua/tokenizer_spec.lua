-- Tokenizers against Hugging Face's library: tokens, spans and decoded text on 10,000 awkward lines (see
-- spec/peer/make_tokenizers.py), and what is refused.
local errors = require "spd.errors"
local json = require "spd.json"
local posix = require("spd.core").posix
local support = require "spec.support.tokenizer"
local tokenizer = require "spd.tokenizer"

local lines = support.lines()

local function flat(spans)
  local numbers = {}
  for _, span in ipairs(spans) do table.move(span, 1, 2, #numbers + 1, numbers) end
  return numbers
end

describe("a tokenizer.json", function()
  for _, name in ipairs(support.names) do
    it(name .. " gives the library's tokens, spans and texts", function()
      local t, expected = support.load(name), support.expected(name)
      for i in ipairs(expected.ids) do
        local ids, spans, decoded, bare = support.all_of(t, lines[i])
        local where = ("line %d: %q"):format(i, lines[i])
        assert.same(expected.ids[i], ids, where)
        assert.same(expected.spans[i], flat(spans), where)
        assert.equal(expected.decoded[i], decoded, where)
        assert.equal(expected.bare[i], bare, where)
      end
    end)

    it(name .. " does so on every 29th line", function()
      local marks = support.expected(name).lines
      local ids_differ, rest_differs = support.differences(support.load(name), lines, marks, 1, 29)
      assert.same({}, ids_differ)
      assert.same({}, rest_differs)
    end)

    it(name .. " does so on 10,000 lines #slow", function()
      local expected = support.expected(name)
      local ids_differ, rest_differs, hash = support.differences(support.load(name), lines, expected.lines, 1, 1)
      assert.equal(10000, #lines)
      assert.same({}, ids_differ)
      assert.same({}, rest_differs)
      assert.equal(expected.hash, hash)
    end)
  end

  it("names its tokens, and leaves special ones out on demand", function()
    local t = support.load("simplestories")
    assert.equal(4096, t:size())
    assert.equal(1, t:id("[EOS]"))
    assert.equal("[EOS]", t:token(1))
    assert.is_nil(t:id("no such token"))
    assert.is_nil(t:token(4096))
    assert.same({1}, (t:encode("")))
    assert.same({}, (t:encode("", false)))
    assert.equal("a dog", t:decode(t:encode("A dog"), true))
    assert.equal("a dog [EOS]", t:decode(t:encode("A dog")))
    assert.equal("", t:decode{4096})
  end)

  it("counts bytes of the text as given, where that is not UTF-8", function()
    local t = support.load("gpt_neo")
    local ids, spans = t:encode("a\xe1\x80b", false)
    assert.equal("a\u{FFFD}b", t:decode(ids))
    assert.same({1, 1}, spans[1])
    assert.same({2, 3}, spans[2])
    assert.same({4, 4}, spans[#spans])
  end)
end)

-- ---- what is refused --------------------------------------------------------------------------

local FOLDER

local function whole()
  local file <close> = assert(io.open(support.path("words"), "rb"))
  return assert(json.decode(file:read("a")))
end

local function load_text(text)
  local file <close> = assert(io.open(FOLDER .. "/tokenizer.json", "wb"))
  file:write(text)
  file:close()
  return tokenizer.load(FOLDER)
end

-- The message for the file of whole words with a change; it is one line and names the file.
local function refusal(change)
  local value = whole()
  change(value)
  local ok, problem = pcall(load_text, json.encode(value))
  assert.is_false(ok)
  assert.is_true(errors.is(problem), tostring(problem))
  assert.equal(2, problem.status)
  assert.is_nil(problem.message:find("%c"))
  local place = FOLDER .. "/tokenizer.json: "
  assert.equal(place, problem.message:sub(1, #place))
  return problem.message:sub(#place + 1)
end

describe("tokenizer.load", function()
  setup(function()
    FOLDER = os.tmpname()
    os.remove(FOLDER)
    assert(posix.make_directory(FOLDER))
  end)
  teardown(function()
    os.remove(FOLDER .. "/tokenizer.json")
    posix.remove_directory(FOLDER)
  end)

  local function split(pattern)
    return {type = "Split", pattern = {Regex = pattern}, behavior = "Isolated", invert = false}
  end
  local bpe = {type = "BPE", vocab = {a = 0, b = 1, ab = 2}, merges = {"a b"}}
  local function model(changes)
    return function(v)
      v.model, v.added_tokens, v.post_processor = {}, nil, nil
      for key, value in pairs(bpe) do v.model[key] = value end
      for key, value in pairs(changes) do v.model[key] = value end
    end
  end

  local function places_of(v) return v.pre_tokenizer.pretokenizers end
  for expected, change in pairs{
    ["model: type 'Unigram' is not supported"] = function(v) v.model.type = "Unigram" end,
    ["normalizer: type 'Precompiled' is not supported"] = function(v) v.normalizer = {type = "Precompiled"} end,
    ["normalizer.normalizers[1]: type 'Nmt' is not supported"] = function(v)
      v.normalizer.normalizers[2].type = "Nmt"
    end,
    ["pre_tokenizer: type 'UnicodeScripts' is not supported"] = function(v)
      v.pre_tokenizer = {type = "UnicodeScripts"}
    end,
    ["decoder: type 'CTC' is not supported"] = function(v) v.decoder = {type = "CTC"} end,
    ["post_processor: type 'New' is not supported"] = function(v) v.post_processor.type = "New" end,
    ["truncation is not supported"] = function(v) v.truncation = {max_length = 4} end,
    ["version '2.0' is not supported"] = function(v) v.version = "2.0" end,
    ["'extra' is not supported"] = function(v) v.extra = 1 end,
    ["model: dropout 0.1 is not supported"] = model{dropout = 0.1},
    ["model.merges: merge 0 is not a pair of tokens"] = model{merges = {"a b c"}},
    ["model.merges: merge 0: 'ba' is not in the vocabulary"] = model{merges = {{"b", "a"}}},
    ["model.vocab: 'a' is -1, expected a whole number"] = model{vocab = {a = -1}, merges = {}},
    ["model: 'merges' is 3, expected a list or an object"] = model{merges = 3},
    ["pre_tokenizer.pretokenizers[3]: behavior 'Sideways' is not supported"] = function(v)
      places_of(v)[4].behavior = "Sideways"
    end,
    ["pre_tokenizer.pretokenizers[4]: 'invert' is missing"] = function(v) places_of(v)[5].invert = nil end,
    ["pre_tokenizer.pretokenizers[2]: 'speed' is not supported"] = function(v) places_of(v)[3].speed = 1 end,
    ["pre_tokenizer.pattern: a pattern does not compile: missing closing parenthesis at byte 7"] = function(v)
      v.pre_tokenizer = split "(a"
    end,
    ["pre_tokenizer.pattern: a pattern does not compile: it can match the empty string"] = function(v)
      v.pre_tokenizer = split "a*"
    end,
    ["added_tokens[1]: '[EOS]' has id 5, expected 1"] = function(v) v.added_tokens[2].id = 5 end,
    ["added_tokens[0]: 'special' is 3, expected true or false"] = function(v) v.added_tokens[1].special = 3 end,
    ["post_processor.special_tokens: '[EOS]' is missing"] = function(v) v.post_processor.special_tokens = {} end,
  } do
    it("says: " .. expected, function() assert.equal(expected, refusal(change)) end)
  end

  for _, case in ipairs{
    {"\\h", "\\h"}, {"\\b", "a\\b"}, {"\\R", "\\R"}, {"(?m", "(?m:a)"}, {"(?i", "(?i)a"}, {"[ in brackets", "[a[b]]"},
    {"&& in brackets", "[a&&b]"}, {"{1,2}+", "a{1,2}+"}, {"{,3}", "ba{,3}"}, {"\\p{Han}", "\\p{Han}"},
    {"\\P{L} in brackets", "[\\P{L}a]"}, {"(?i: with 'ss'", "(?i:ss)"}, {"\\1", "(a)\\1"}, {"(*", "(*UTF)a"},
    {"\\xff", "\\xff"}, {"(?<na", "(?<na>b)"},
  } do
    it("refuses " .. case[2] .. " in a pattern, which Oniguruma and PCRE2 read differently", function()
      local message = refusal(function(v) v.pre_tokenizer = split(case[2]) end)
      assert.equal(("pre_tokenizer.pattern: '%s' in a pattern is not supported"):format(case[1]), message)
    end)
  end

  it("names a file that is not there, not JSON, or not UTF-8", function()
    for text, expected in pairs{["{"] = "is not JSON", ["[]"] = "'model' is missing", ["3"] = "is not a tokenizer",
      ["\"\xff\""] = "is not text in UTF-8", [""] = "is not JSON"} do
      local ok, problem = pcall(load_text, text)
      assert.is_false(ok)
      assert.is_truthy(tostring(problem):find(expected, 1, true), tostring(problem))
    end
    local ok, problem = pcall(tokenizer.load, FOLDER .. "/none")
    assert.is_false(ok)
    assert.equal(FOLDER .. "/none: No such file or directory", tostring(problem))
  end)

  -- A value of the file replaced by one of another type, everywhere: an error object, or a tokenizer that encodes.
  it("survives damage at any place", function()
    local function damage(value, replacement, visit)
      for key, item in pairs(value) do
        value[key] = replacement
        visit()
        value[key] = item
        if type(item) == "table" and key ~= "vocab" then damage(item, replacement, visit) end
      end
    end
    local changes = 0
    for _, name in ipairs{"words", "llama3", "bert", "llama2"} do
      local file <close> = assert(io.open(support.path(name), "rb"))
      local value = assert(json.decode(file:read("a")))
      if value.model.merges then value.model.merges = {} end
      for token, id in pairs(value.model.vocab) do -- the first tokens are enough, and small files are read fast
        if id > 40 then value.model.vocab[token] = nil end
      end
      for i, token in ipairs(value.added_tokens) do
        if token.id > 40 then token.id = 40 + i end
      end
      for _, replacement in ipairs{-1, "\u{1F600}", {}, {1, 2}, true} do
        damage(value, replacement, function()
          changes = changes + 1
          local ok, problem = pcall(function()
            local t = load_text(json.encode(value))
            t:decode((t:encode("Once upon <s> a [EOS] Straße 12")))
          end)
          assert.is_true(ok or errors.is(problem) and problem.status == 2, tostring(problem))
        end)
      end
    end
    assert.is_true(changes > 500)
  end)
end)
