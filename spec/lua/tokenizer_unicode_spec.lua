-- The classes and forms of characters, for every code point, against hashes of Hugging Face's library (see
-- spec/peer/make_tokenizers.py): those of PCRE2 and utf8proc are of other versions of Unicode.
local core = require "spd.core"
local regex = require "spd.tokenizer.regex"
local support = require "spec.support.tokenizer"
local unicode = require "spd.tokenizer.unicode"

-- All of Unicode but planes without characters and most of the planes for private use, in parts.
local PARTS = {{1, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x1ffff}, {0x20000, 0x2ffff}, {0x30000, 0x3ffff},
  {0xe0000, 0xeffff}, {0xf0000, 0xf0fff}}

-- The code points of a part, each after `before` and on a line.
local function lines_of(part, before)
  local list = {}
  for code_point = part[1], part[2] do
    if code_point ~= 10 then list[#list + 1] = utf8.char(code_point) end
  end
  return before .. table.concat(list, "\n" .. before) .. "\n"
end

local plain = {}
for i, part in ipairs(PARTS) do plain[i] = lines_of(part, "") end

-- The hash of the code points that a pattern matches, without the line break.
local function members(pattern)
  local hash
  for _, lines in ipairs(plain) do
    local text <close>, code_points = core.text.new(lines), {}
    for _, character in ipairs((text:split(pattern, "Removed", true):pieces())) do
      if character ~= "\n" then code_points[#code_points + 1] = utf8.codepoint(character) end
    end
    hash = support.hash(code_points, hash)
  end
  return ("%016x"):format(hash)
end

-- The hash of what becomes of the lines.
local function mapped(change, list)
  local hash = support.hash{}
  for _, lines in ipairs(list) do
    local text <close> = core.text.new(lines)
    change(text)
    hash = support.hash_bytes(text:string(), hash)
  end
  return ("%016x"):format(hash)
end

describe("every code point #long", function()
  local expected = support.expected("unicode")

  it("is in the classes that Rust has it in", function()
    for _, name in ipairs{"space", "word", "number", "punctuation"} do
      assert.equal(expected[name], members(regex.class(unicode[name])), name)
    end
  end)

  it("is in the general categories that Oniguruma has it in", function()
    local count = 0
    for name in pairs(expected) do
      if unicode.category(name) then
        count = count + 1
        assert.equal(expected[name], members(assert(regex.compile("\\p{" .. name .. "}"))), name)
      end
    end
    assert.equal(31, count)
  end)

  it("has the forms and the lower case of the library", function()
    for _, form in ipairs{"NFC", "NFD", "NFKC", "NFKD"} do
      assert.equal(expected[form], mapped(function(text) text:normalize(form) end, plain), form)
    end
    local after = {}
    for i, part in ipairs(PARTS) do after[i] = lines_of(part, "\u{345}") end
    assert.equal(expected.lower, mapped(function(text) text:lower() end, plain))
    assert.equal(expected.NFD_after, mapped(function(text) text:normalize("NFD") end, after))
  end)

  it("is a mark, or something that BERT drops or surrounds, where the library has it so", function()
    local mark, control, space = regex.class(unicode.mark), regex.class(unicode.control), regex.class(unicode.space)
    local chinese, nonspacing = regex.class(unicode.chinese), regex.class(unicode.nonspacing)
    assert.equal(expected.mark, mapped(function(text) text:replace(mark, "") end, plain))
    assert.equal(expected.chinese, mapped(function(text) text:surround(chinese, " ") end, plain))
    assert.equal(expected.accents, mapped(function(text) text:normalize("NFD"):replace(nonspacing, "") end, plain))
    assert.equal(expected.clean, mapped(function(text) text:replace(control, ""):replace(space, " ") end, plain))
  end)
end)
