--- Normalizers of a tokenizer.json: each is a function that changes a core.text.
local regex = require "spd.tokenizer.regex"
local unicode = require "spd.tokenizer.unicode"

local normalizers = {}

local BUILD = {}

local function form(name)
  BUILD[name] = function(self)
    self:only("type")
    return function(text) text:normalize(name) end
  end
end
form "NFC"
form "NFD"
form "NFKC"
form "NFKD"

function BUILD.Sequence(self)
  self:only("type", "normalizers")
  local steps = {}
  for i, item in ipairs(self:list("normalizers")) do steps[i] = item:build(BUILD) end
  return function(text)
    for _, step in ipairs(steps) do step(text) end
  end
end

function BUILD.Lowercase(self)
  self:only("type")
  return function(text) text:lower() end
end

function BUILD.Strip(self)
  self:only("type", "strip_left", "strip_right")
  local left = self:boolean("strip_left") and regex.class("\\A" .. unicode.space .. "+")
  local right = self:boolean("strip_right") and regex.class(unicode.space .. "+\\z")
  return function(text)
    if left then text:replace(left, "") end
    if right then text:replace(right, "") end
  end
end

function BUILD.StripAccents(self)
  self:only("type")
  local mark = regex.class(unicode.mark)
  return function(text) text:replace(mark, "") end
end

function BUILD.Replace(self)
  self:only("type", "pattern", "content")
  local pattern, content = self:pattern("pattern"), self:string("content")
  return function(text) text:replace(pattern, content) end
end

function BUILD.Prepend(self)
  self:only("type", "prepend")
  local content = self:string("prepend")
  return function(text) text:prepend(content) end
end

function BUILD.ByteLevel(self)
  self:only("type")
  return function(text) text:byte_level() end
end

function BUILD.BertNormalizer(self)
  self:only("type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
  local clean, chinese = self:boolean("clean_text"), self:boolean("handle_chinese_chars")
  local lowercase = self:boolean("lowercase")
  local strip = self:boolean("strip_accents", lowercase)
  local control, space = regex.class(unicode.control), regex.class(unicode.space)
  local ideograph, nonspacing = regex.class(unicode.chinese), regex.class(unicode.nonspacing)
  return function(text)
    if clean then text:replace(control, ""):replace(space, " ") end
    if chinese then text:surround(ideograph, " ") end
    if strip then text:normalize("NFD"):replace(nonspacing, "") end
    if lowercase then text:lower() end
  end
end

--- normalizers.build(section) -> function(text), which normalizes a core.text in place
-- section: see spd.tokenizer.section; nil for a file without normalizer. Errors name what is not supported.
function normalizers.build(section)
  if not section then return function() end end
  return section:build(BUILD)
end

return normalizers
