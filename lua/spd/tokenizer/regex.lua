--- Regular expressions of a tokenizer.json: written for Oniguruma, matched by PCRE2.
--
-- The two agree on most of the language and differ in corners (what \s and \w hold, \h, options, nested brackets). A
-- pattern is read construct by construct; what both have is copied, what can be said in PCRE2 is translated, everything
-- else is refused by name, so that no text is ever cut in another way than the file means.
local text = require("spd.core").text
local unicode = require "spd.tokenizer.unicode"

local regex = {}

local GROUPS = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}
local CONTROLS = {t = "\\t", n = "\\n", r = "\\r", f = "\\f", v = "\\x{0b}", e = "\\x{1b}", a = "\\x{07}"}
-- Two letters that some character stands for when case does not matter (ss for the German sharp s): Oniguruma matches
-- that character too, PCRE2 does not.
local FOLDED_PAIRS = {"ss", "ff", "fi", "fl", "st"}

local function refuse(construct) error({construct = construct}, 0) end

-- Sets of characters by their escape: the inside of a bracket expression. Outside of brackets, Oniguruma's \w has
-- fractions and superscripts of Latin-1.
local function set_of(letter, in_brackets)
  if letter == "s" then return unicode.whitespace end
  if letter == "d" then return unicode.category("Nd") end
  if letter == "w" then return (in_brackets and "" or [[\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}]]) .. unicode.oniguruma_word end
end

-- A property at i, after the backslash: its inside, whether it is negated, and where it ends.
local function property(pattern, i)
  local letter, caret, name, past = pattern:match("^([pP]){(%^?)([^}]*)}()", i)
  local inside = letter and unicode.category(name)
  if not inside then refuse(pattern:match("^[pP]{[^}]*}", i) and "\\" .. pattern:match("^[pP]{[^}]*}", i) or "\\p") end
  return inside, (letter == "P") ~= (caret == "^"), past
end

-- A character given by its number at i, after the backslash.
local function numbered(pattern, i)
  local digits, past = pattern:match("^x{(%x+)}()", i)
  if not digits then digits, past = pattern:match("^u(%x%x%x%x)()", i) end
  if not digits then
    digits, past = pattern:match("^x(%x%x)()", i)
    if digits and tonumber(digits, 16) > 0x7f then refuse("\\x" .. digits) end -- a byte, not a character
  end
  if digits then return ("\\x{%s}"):format(digits), past end
end

-- The escape at i (the backslash): what it becomes, where it ends, and whether it is a set. In brackets, sets are given
-- as insides, and negated ones are refused.
local function escape(pattern, i, in_brackets)
  local letter = pattern:match("^[%z\1-\127\194-\244][\128-\191]*", i + 1)
  if not letter then refuse("a backslash at the end") end
  if CONTROLS[letter] then return CONTROLS[letter], i + 2, false end
  local inside, negated, past = set_of(letter:lower(), in_brackets), letter:find("%u") ~= nil, i + 2
  if letter == "p" or letter == "P" then inside, negated, past = property(pattern, i + 1) end
  if inside then
    if in_brackets and negated then refuse(pattern:sub(i, past - 1) .. " in brackets") end
    return in_brackets and inside or (negated and "[^" or "[") .. inside .. "]", past, true
  end
  local character, behind = numbered(pattern, i + 1)
  if character then return character, behind, false end
  if not in_brackets and (letter == "A" or letter == "z") then return "\\" .. letter, i + 2, false end
  if letter:find("%w") then refuse("\\" .. letter) end
  return (#letter > 1 and letter or "\\" .. letter), i + 1 + #letter, false
end

-- The bracket expression at i: what it becomes, and where it ends.
local function brackets(pattern, i)
  local out = {pattern:match("^%[%^?", i)}
  i = i + #out[1]
  if pattern:sub(i, i) == "]" then refuse("] first in brackets") end
  while true do
    local c = pattern:sub(i, i)
    if c == "" then refuse("[ without ]") end
    if c == "]" then return table.concat(out) .. "]", i + 1 end
    if c == "[" then refuse("[ in brackets") end
    if pattern:find("^&&", i) then refuse("&& in brackets") end
    if c == "\\" then
      local became, past, is_set = escape(pattern, i, true)
      if is_set and pattern:find("^%-[^%]]", past) then refuse("a range that begins with a set") end
      if is_set and out[#out] == "-" and #out > 2 then refuse("a range that ends with a set") end
      out[#out + 1], i = became, past
    else
      out[#out + 1], i = c, i + 1
    end
  end
end

-- The quantifier in braces at i, or a literal brace.
local function braces(pattern, i)
  local quantifier, past = pattern:match("^({%d+,?%d*})()", i)
  if not quantifier then
    if pattern:find("^{,%d+}", i) then refuse(pattern:match("^{,%d+}", i)) end
    return "\\{", i + 1
  end
  local suffix = pattern:match("^[+?*]", past)
  if suffix and not (suffix == "?" and quantifier:find(",")) then refuse(quantifier .. suffix) end
  return quantifier, past
end

local function group(pattern, i)
  if not pattern:find("^%(%?", i) then
    if pattern:find("^%(%*", i) then refuse("(*") end
    return "(", i + 1
  end
  for _, opening in ipairs(GROUPS) do
    if pattern:sub(i, i + #opening - 1) == opening then return opening, i + #opening end
  end
  refuse(pattern:match("^%(%?<?[^%w]?%w*", i))
end

local READERS = {["\\"] = escape, ["["] = brackets, ["{"] = braces, ["("] = group}

local function check_case(pattern)
  if not pattern:find("(?i:", 1, true) then return end
  if pattern:find("[\128-\255]") then refuse("(?i: with characters beyond ASCII") end
  for _, pair in ipairs(FOLDED_PAIRS) do
    if pattern:lower():find(pair, 1, true) then refuse(("(?i: with '%s'"):format(pair)) end
  end
end

local function translate(pattern)
  check_case(pattern)
  local out, i = {"(*LF)"}, 1
  while i <= #pattern do
    local reader = READERS[pattern:sub(i, i)]
    if reader then
      out[#out + 1], i = reader(pattern, i)
    else
      out[#out + 1], i = pattern:sub(i, i), i + 1
    end
  end
  return table.concat(out)
end

--- regex.compile(pattern) -> regex (see core.text.regex), or nil and what is wrong with the pattern
function regex.compile(pattern)
  local ok, translated = pcall(translate, pattern)
  if not ok then
    if type(translated) ~= "table" then error(translated, 0) end
    return nil, ("'%s' in a pattern is not supported"):format(translated.construct)
  end
  local compiled, problem = text.regex(translated)
  if not compiled then return nil, "a pattern does not compile: " .. problem end
  return compiled
end

--- regex.literal(string) -> regex that matches just this string, or nil and what is wrong
function regex.literal(string)
  local escaped = string:gsub("[^%w\128-\255]", function(c) return ("\\x{%x}"):format(c:byte()) end)
  local compiled, problem = text.regex(escaped)
  if not compiled then return nil, "a pattern does not compile: " .. problem end
  return compiled
end

--- regex.class(pattern) -> regex for a pattern of spd.tokenizer.unicode, or one put together from them
function regex.class(pattern) return assert(text.regex(pattern)) end

return regex
