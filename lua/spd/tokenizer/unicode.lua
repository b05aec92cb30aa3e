--- Classes of characters, as the parts of Hugging Face's tokenizers (0.23) see them.
--
-- That library draws on several tables, of Unicode versions from 8 to 17; PCRE2's are of Unicode 14 in Debian 12. The
-- lists below are the differences, found by asking the library about every code point; spec/lua/tokenizer_unicode_spec
-- compares all of them again. (With a newer PCRE2, characters newer than Unicode 14 can differ in the classes with a
-- list of exceptions.)
local unicode = {}

-- Code points in hexadecimal, single or as ranges, as the inside of a bracket expression.
local function members(list)
  return (list:gsub("%s*(%x+)%-?(%x*)%s*", function(first, last)
    return ("\\x{%s}"):format(first) .. (last ~= "" and ("-\\x{%s}"):format(last) or "")
  end))
end

-- Newer than Unicode 14, by general category: what Oniguruma (Unicode 16), and for digits Rust (17), know.
local newer = {
  Lu = "1c89 a7cb-a7cc a7da a7dc 10d50-10d65",
  Ll = "1c8a a7cd a7db 10d70-10d85 1df25-1df2a",
  Lm = "10d4e 10d6f 16d40-16d42 16d6b-16d6c 1e030-1e06d 1e4eb",
  Lo = [[
    105c0-105f3 10d4a-10d4d 10d4f 10ec2-10ec4 1123f-11240 11380-11389 1138b 1138e 11390-113b5 113b7 113d1 113d3
    11bc0-11be0 11f02 11f04-11f10 11f12-11f33 1342f 13441-13446 13460-143fa 16100-1611d 16d43-16d6a 18cff 1b132
    1b155 1e4d0-1e4ea 1e5d0-1e5ed 1e5f0 2b739 2ebf0-2ee5d 31350-323af]],
  Mn = [[
    897 ece 10d69-10d6d 10efc-10eff 11241 113bb-113c0 113ce 113d0 113d2 113e1-113e2 11f00-11f01 11f36-11f3a
    11f40 11f42 11f5a 13440 13447-13455 1611e-16129 1612d-1612f 1e08f 1e4ec-1e4ef 1e5ee-1e5ef]],
  Mc = [[
    cf3 113b8-113ba 113c2 113c5 113c7-113ca 113cc-113cd 113cf 1171e 11f03 11f34-11f35 11f3e-11f3f 11f41
    1612a-1612c]],
  Nd = "10d40-10d49 116d0-116e3 11bf0-11bf9 11f50-11f59 16130-16139 16d70-16d79 1ccf0-1ccf9 1e4f0-1e4f9 1e5f1-1e5fa",
  No = "1d2c0-1d2d3",
  Pd = "10d6e",
  Po = "1b4e-1b4f 1b7f 113d4-113d5 113d7-113d8 11b00-11b09 11be1 11f43-11f4f 16d6d-16d6f 1e5ff",
  Sm = "10d8e-10d8f",
  So = [[
    2427-2429 2ffc-2fff 31e4-31e5 31ef 1cc00-1ccef 1cd00-1ceb3 1f6dc 1f774-1f776 1f77b-1f77f 1f7d9 1f8b2-1f8bb
    1f8c0-1f8c1 1fa75-1fa77 1fa87-1fa89 1fa8f 1faad-1faaf 1fabb-1fabf 1fac6 1face-1facf 1fada-1fadc 1fadf
    1fae8-1fae9 1faf7-1faf8 1fbcb-1fbef]],
  Cf = "13439-1343f",
}

local WORD = members [[
  897 cf3 ece 1c89-1c8a a7cb-a7cd a7da-a7dc 105c0-105f3 10d40-10d65 10d69-10d6d 10d6f-10d85 10ec2-10ec4
  10efc-10eff 1123f-11241 11380-11389 1138b 1138e 11390-113b5 113b7-113c0 113c2 113c5 113c7-113ca 113cc-113d3
  113e1-113e2 116d0-116e3 11bc0-11be0 11bf0-11bf9 11f00-11f10 11f12-11f3a 11f3e-11f42 11f50-11f5a 1342f
  13440-13455 13460-143fa 16100-16139 16d40-16d6c 16d70-16d79 18cff 1b132 1b155 1ccf0-1ccf9 1df25-1df2a
  1e030-1e06d 1e08f 1e4d0-1e4f9 1e5d0-1e5fa 2b739 2ebf0-2ee5d 31350-323af]]

local WHITESPACE = members "9-d 20 85 a0 1680 2000-200a 2028-2029 202f 205f 3000"

-- One character of the class `inside`, unless it is one of the exceptions.
local function except(exceptions, inside) return "(?![" .. members(exceptions) .. "])[" .. inside .. "]" end

--- unicode.whitespace, unicode.oniguruma_word: the insides of bracket expressions.
unicode.whitespace = WHITESPACE
unicode.oniguruma_word = [[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]] .. WORD

--- unicode.CLASS: a pattern for one character of it, where CLASS is a space, word (a character of words), number,
-- punctuation, mark (a combining mark), nonspacing (a mark of category Mn), control (what BERT drops) or chinese (what
-- BERT takes for a Chinese character).
unicode.space = "[" .. WHITESPACE .. "]"
unicode.word = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}" .. WORD .. "]"
unicode.number = "[\\p{N}" .. members [[
  10d40-10d49 116d0-116e3 11bf0-11bf9 11de0-11de9 11f50-11f59 16130-16139 16d70-16d79 16ff4-16ff6 1ccf0-1ccf9
  1d2c0-1d2d3 1e4f0-1e4f9 1e5f1-1e5fa]] .. "]"
unicode.punctuation = except([[
  61d 9fd a76 c77 c84 1b7d-1b7e 2e43-2e4f 2e52-2e5d 10ead 10f55-10f59 10f86-10f89 1144b-1144f 1145a-1145b
  1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46 11a9a-11a9c 11a9e-11aa2 11c41-11c45 11c70-11c71
  11ef7-11ef8 11fff 12ff1-12ff2 16e97-16e9a 16fe2 1e95e-1e95f]], "!-/:-@\\[-`{-~\\p{P}\\x{166d}\\x{111c9}")
unicode.mark = except([[
  7fd 898-89f 8ca-8d3 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba 1715 180f 1abf-1ace 1cf7 1df6-1dfa a82c a8ff
  10d24-10d27 10eab-10eac 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 11145-11146 111c9 111ce-111cf 1133b
  1145e 1182c-1183a 11930-11935 11937-11938 1193b-1193e 11940 11942-11943 119d1-119d7 119da-119e0 119e4
  11a01-11a0a 11a33-11a39 11a3b-11a3e 11a47 11a51-11a5b 11a8a-11a99 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45
  11d47 11d8a-11d8e 11d90-11d91 11d93-11d97 11ef3-11ef6 16f4f 16f7f-16f87 16fe4 16ff0-16ff1 1cf00-1cf2d
  1cf30-1cf46 1e130-1e136 1e2ae 1e2ec-1e2ef]], "\\p{M}\\x{1cf2}\\x{1cf3}")
unicode.nonspacing = except([[
  7fd 898-89f 8ca-8e1 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba 180f 1885-1886 1abf-1ace 1df6-1dfb a82c a8c5
  a8ff a9bd 10d24-10d27 10eab-10eac 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 111c9 111cf 1123e 1133b
  11438-1143f 11442-11444 11446 1145e 1182f-11837 11839-1183a 1193b-1193c 1193e 11943 119d4-119d7 119da-119db
  119e0 11a01-11a0a 11a33-11a38 11a3b-11a3e 11a47 11a51-11a56 11a59-11a5b 11a8a-11a96 11a98-11a99 11c30-11c36
  11c38-11c3d 11c3f 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45
  11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 16f4f 16fe4 1cf00-1cf2d 1cf30-1cf46 1e000-1e006 1e008-1e018
  1e01b-1e021 1e023-1e024 1e026-1e02a 1e130-1e136 1e2ae 1e2ec-1e2ef 1e944-1e94a]], "\\p{Mn}\\x{1734}")
unicode.control = except("9-a d 890-891 8e2 110cd 13430-13438", "\\p{Cc}\\p{Cf}\\p{Co}\\x{fffd}")
unicode.chinese = "[" .. members "3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2b81f 2b920-2ceaf 2f800-2fa1f" .. "]"

--- unicode.spaces: the set of these spaces, character -> true.
unicode.spaces = {}
for first, last in ("9-d 20-20 85-85 a0-a0 1680-1680 2000-200a 2028-2029 202f-202f 205f-205f 3000-3000"):gmatch(
  "(%x+)%-(%x+)") do
  for code_point = tonumber(first, 16), tonumber(last, 16) do unicode.spaces[utf8.char(code_point)] = true end
end

local CATEGORIES = {}
for name in ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf"):gmatch("%a+") do
  local group = name:sub(1, 1)
  local inside = "\\p{" .. name .. "}" .. members(newer[name] or "")
  CATEGORIES[name] = inside
  if group ~= "C" then CATEGORIES[group] = (CATEGORIES[group] or "") .. members(newer[name] or "") end
end
for group in ("LMNPSZ"):gmatch(".") do CATEGORIES[group] = "\\p{" .. group .. "}" .. CATEGORIES[group] end

--- unicode.category(name) -> the inside of a bracket expression for a general category such as L or Nd, as Oniguruma
-- has it; nil if there is none. (C and its parts that newer versions fill, Cn, Co and Cs, are not offered.)
function unicode.category(name) return CATEGORIES[name] end

return unicode
