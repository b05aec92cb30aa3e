local json = require "spd.json"
local stories = require "spd.stories"
local story_tokenizer = require "spd.stories.tokenizer"

local COUNT = 1500

describe("spd.stories", function()
  local texts, counts = {}, {}

  setup(function()
    for n = 0, COUNT - 1 do
      local text = stories.story(0, n)
      texts[n + 1] = text
      for word in text:lower():gmatch("%a+") do counts[word] = (counts[word] or 0) + 1 end
    end
  end)

  it("gives the same story for the same seed and number, whatever was asked before", function()
    for _, n in ipairs{COUNT - 1, 7, 0} do assert.equal(texts[n + 1], stories.story(0, n)) end
    assert.not_equal(texts[1], stories.story(1, 0))
    local seen = {}
    for _, text in ipairs(texts) do
      assert.is_nil(seen[text], text)
      seen[text] = true
    end
  end)

  it("leaves no gap, no alternative and no doubled space", function()
    for _, text in ipairs(texts) do
      assert.is_nil(text:find("[^%w%s.,:;!?\"]"), text)
      assert.is_nil(text:find("%s%s"), text)
      assert.is_nil(text:find("\n"), text)
      assert.is_nil(text:find("%s[.,!?]"), text)
      assert.matches("^%u.*[.!?\"]$", text)
    end
  end)

  it("writes sentences: with capitals after a full stop, closed quotes, and an before a vowel", function()
    for _, text in ipairs(texts) do
      assert.is_nil(text:find("%. %l"), text)
      assert.is_nil(text:find("%f[%a][Aa] [aeiou]"), text)
      local _, quotes = text:gsub('"', "")
      assert.equal(0, quotes % 2, text)
    end
  end)

  it("lets pronouns agree with the hero of the story", function()
    local girls, boys = 0, 0
    for _, text in ipairs(texts) do
      local name = text:match("a %a+ girl %a+ (%u%l+)%.") or text:match("^(%u%l+) was a %a+ girl%.")
      if name then
        girls = girls + 1
        assert.is_nil(text:find("He wanted") or text:find(name .. " smiled, and his"), text)
      end
      name = text:match("a %a+ boy %a+ (%u%l+)%.") or text:match("^(%u%l+) was a %a+ boy%.")
      if name then
        boys = boys + 1
        assert.is_nil(text:find("She wanted") or text:find(name .. " smiled, and her"), text)
      end
    end
    assert.is_true(girls > COUNT / 10 and boys > COUNT / 10)
  end)

  it("uses every word of its vocabulary and no other, 420 or more", function()
    local words = stories.words()
    assert.is_true(#words >= 420, #words .. " words")
    local known = {}
    for _, word in ipairs(words) do
      known[word] = true
      assert.is_truthy(counts[word], "no story has " .. word)
    end
    for word in pairs(counts) do assert.is_true(known[word], word) end
  end)

  it("uses words as unequally as real text does", function()
    local list, total, most = {}, 0, 0
    for _, count in pairs(counts) do
      list[#list + 1], total = count, total + count
    end
    table.sort(list, function(a, b) return a > b end)
    for rank = 1, 20 do most = most + list[rank] end
    assert.is_true(most > 0.35 * total and most < 0.65 * total, ("%.3f"):format(most / total))
    assert.is_true(list[300] < list[1] / 100)
  end)
end)

describe("spd.stories.tokenizer", function()
  local decoded, tokens = json.decode(story_tokenizer.json()), {}

  setup(function()
    for token, id in pairs(decoded.model.vocab) do tokens[id] = token end
  end)

  it("numbers its tokens from 0 without a gap: [UNK], [EOS], characters, pieces, words", function()
    assert.equal(story_tokenizer.size(), #tokens + 1)
    assert.is_true(story_tokenizer.size() >= 450)
    assert.equal("[UNK]", tokens[0])
    assert.equal("[EOS]", tokens[story_tokenizer.end_id])
    for _, word in ipairs(stories.words()) do assert.is_truthy(decoded.model.vocab[word], word) end
    for byte = 33, 126 do assert.is_truthy(decoded.model.vocab[string.char(byte):lower()], string.char(byte)) end
    for character in ("abcxyz019"):gmatch(".") do
      assert.is_truthy(decoded.model.vocab["##" .. character], character)
    end
  end)

  it("names the special tokens in the files beside it", function()
    local files = story_tokenizer.files(128)
    assert.equal(story_tokenizer.json(), files["tokenizer.json"])
    local settings = json.decode(files["tokenizer_config.json"])
    assert.same({"[UNK]", "[EOS]", 128}, {settings.unk_token, settings.eos_token, settings.model_max_length})
  end)
end)
