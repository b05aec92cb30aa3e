-- core.text: bytes, spans and pieces of a text; the parts of a tokenizer over it are compared with a library in
-- spec/lua/tokenizer_spec.lua.
local core = require "spd.core"

local function regex(pattern) return assert(core.text.regex(pattern)) end

-- The pieces of a text joined by bars, and the spans of its bytes as "first-last".
local function cut(text) return table.concat((text:pieces()), "|") end
local function spans(text)
  local strings, places = text:pieces()
  local firsts, lasts, words = {}, {}, {}
  for i, place in ipairs(places) do
    for j = 0, #strings[i] - 1 do
      firsts[#firsts + 1], lasts[#lasts + 1] = place + j, place + j + 1
    end
  end
  for i, span in ipairs(text:spans(firsts, lasts)) do words[i] = span[1] .. "-" .. span[2] end
  return table.concat(words, " ")
end

describe("core.text.new", function()
  it("replaces what is not UTF-8 as Unicode recommends, and keeps the spans", function()
    -- Unicode 15, table 3-11, and its neighbours: one mark for each longest beginning of a character.
    for bytes, expected in pairs{
      ["\xf1\x80\x80\xe1\x80\xc2b\x80c\x80\xbfd"] = "???b?c??d",
      ["\xc0\xaf\xe0\x80\xbf\xf0\x81\x82A"] = "????????A",
      ["\xed\xa0\x80\xed\xbf\xbf\xed\xafA"] = "????????A",
      ["\xf4\x91\x92\x93\xffA\x80\xbfB"] = "?????A??B",
      ["\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA"] = "????A",
      ["\xe2\x82"] = "?", ["\xf0\x9f\x98"] = "?", ["a\0b"] = "a\0b",
    } do
      local text <close> = core.text.new(bytes)
      assert.equal((expected:gsub("?", "\u{FFFD}")), text:string())
    end
    local text <close> = core.text.new("a\xe1\x80é")
    assert.equal("1-1 2-3 2-3 2-3 4-5 4-5", spans(text))
  end)

  it("has no pieces for an empty text", function()
    local text <close> = core.text.new("")
    assert.equal("", text:lower():normalize("NFC"):byte_level():prepend("x"):string())
    assert.same({}, (text:pieces()))
  end)
end)

describe("a text", function()
  it("changes its bytes and keeps what they stand for", function()
    local text <close> = core.text.new("Éa İ")
    assert.equal("éa i\u{307}", text:lower():string())
    assert.equal("1-2 1-2 3-3 4-4 5-6 5-6 5-6", spans(text))
    assert.equal("e\u{301}a i\u{307}", text:normalize("NFD"):string())
    assert.equal("1-2 1-2 1-2 3-3 4-4 5-6 5-6 5-6", spans(text))
    -- A composed character stands for the first that went into it.
    assert.equal("é_a_ +", text:normalize("NFC"):surround(regex "a", "_"):replace(regex "i.", "+"):string())
    assert.equal("1-2 1-2 3-3 3-3 3-3 4-4 5-6", spans(text))
  end)

  it("is cut at matches in five ways", function()
    for behavior, expected in pairs{
      Removed = "the|final|countdown", Isolated = "the|-|final|-|-|countdown",
      MergedWithPrevious = "the-|final-|-|countdown", MergedWithNext = "the|-final|-|-countdown",
      Contiguous = "the|-|final|--|countdown",
    } do
      local text <close> = core.text.new("the-final--countdown")
      assert.equal(expected, cut(text:split(regex "-", behavior)))
    end
    local text <close> = core.text.new("the-final--countdown")
    assert.equal("-|-|-", cut(text:split(regex "-", "Removed", true)))
  end)

  it("leaves pieces alone that have their token", function()
    local text <close> = core.text.new("Ab<X>Cd")
    text:set_pieces{0, 2, false, 2, 5, 7, 5, 7, false}
    text:lower():replace(regex "x|b", "__"):prepend(">"):split(regex "[a-zX]", "Isolated")
    local strings, _, tokens = text:pieces()
    assert.same({">", "a", "__", "<X>", ">", "c", "d"}, strings)
    assert.same({[4] = 7}, tokens)
  end)

  it("puts text before pieces, unless it is there or they are not at the start", function()
    local text <close> = core.text.new("a_b")
    text:split(regex "(?=_)..", "Isolated")
    assert.equal("_a|_b", cut(text:prepend("_", "_")))
    text:split(regex "b", "Isolated")
    assert.equal("+_a|_|b", cut(text:prepend("+", nil, true)))
  end)

  it("names arguments that do not fit", function()
    local text <close> = core.text.new("abc")
    for expected, f in pairs{
      ["expected NFC, NFD, NFKC or NFKD"] = function() text:normalize("NFX") end,
      ["expected a regex, found string"] = function() text:split("a", "Removed") end,
      ["invalid option 'Gone'"] = function() text:split(regex "a", "Gone") end,
      ["not a place in the text"] = function() text:spans({0}, {4}) end,
    } do
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.is_truthy(message:find(expected, 1, true), message)
    end
  end)

  it("cannot be used once it is closed, nor by a finalizer while it is in use", function()
    local text = core.text.new("abc")
    text:close()
    text:close()
    assert.has_error(function() text:lower() end)
    local other <close> = core.text.new(("é"):rep(1000))
    local outcomes = {}
    local mode = collectgarbage("generational")
    for _ = 1, 300 do
      setmetatable({}, {__gc = function() outcomes[#outcomes + 1] = pcall(other.lower, other) end})
      other:normalize("NFD")
      other:normalize("NFC")
    end
    collectgarbage(mode)
    collectgarbage()
    assert.equal(("é"):rep(1000), other:string())
    assert.is_true(#outcomes > 0)
    assert.is_nil(other.__gc) -- it frees without asking
  end)

  it("stays valid UTF-8: neither bytes that are not nor cuts within a character come in", function()
    for _, f in ipairs{
      function(text) text:replace(regex "é", "\xf0") end,
      function(text) text:surround(regex "é", "\xc3") end,
      function(text) text:prepend("\xa9") end,
      function(text) text:set_pieces{0, 64, false} end,
      function(text) text:set_pieces{64, 65, false} end,
    } do
      local ok, message = pcall(f, core.text.new(("a"):rep(63) .. "é"))
      assert.is_false(ok)
      assert.is_truthy(message:find("valid UTF-8", 1, true) or message:find("within a character", 1, true), message)
    end
  end)
end)

describe("core.text.regex", function()
  it("says why a pattern does not compile", function()
    assert.same({nil, "missing terminating ] for character class at byte 3"}, {core.text.regex("a[b")})
    assert.same({nil, "it can match the empty string"}, {core.text.regex("a*")})
  end)

  it("finds characters, not bytes, with Unicode classes", function()
    assert.same({2, 5}, {regex("\\p{L}{2}"):find("-éñ")})
    assert.is_nil(regex("^x"):find("ax"))
    assert.has_error(function() regex("a"):find("\xff") end)
  end)

  it("gives up on a match that costs too much", function()
    local text <close> = core.text.new(("a"):rep(60) .. "!")
    local ok, problem = pcall(text.split, text, regex "(?:a|a?a)+\\z", "Removed")
    assert.is_false(ok)
    assert.equal(2, problem.status)
    assert.is_truthy(problem.message:find("match limit exceeded", 1, true))
  end)

  it("refuses a match whose beginning was moved behind its end, or to before the search", function()
    local behind = regex "(?(DEFINE)(?<x>ab\\K))(?=(?&x))a"
    local before = regex "(?(DEFINE)(?<x>\\Kxa))(?<=(?&x))b|a"
    for _, pattern in ipairs{behind, before} do
      local text <close> = core.text.new("xab")
      local ok, problem = pcall(text.split, text, pattern, "Isolated")
      assert.is_false(ok)
      assert.is_truthy(problem.message:find("matches backwards", 1, true))
    end
  end)

  it("matches long runs that need more stack than the compiled pattern has", function()
    local text <close> = core.text.new(("ab"):rep(20000))
    assert.equal(1, #(text:split(regex "(?:(a)|b)+", "Isolated"):pieces()))
  end)
end)
