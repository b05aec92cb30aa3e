--- Pre-tokenizers of a tokenizer.json: each is a function that cuts a core.text into words.
local regex = require "spd.tokenizer.regex"
local unicode = require "spd.tokenizer.unicode"

local pre_tokenizers = {}

local BUILD = {}

local BEHAVIORS = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}
local GPT2 = [['s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+]]

function BUILD.Sequence(self)
  self:only("type", "pretokenizers")
  local steps = {}
  for i, item in ipairs(self:list("pretokenizers")) do steps[i] = item:build(BUILD) end
  return function(text)
    for _, step in ipairs(steps) do step(text) end
  end
end

function BUILD.ByteLevel(self)
  self:only("type", "add_prefix_space", "trim_offsets", "use_regex")
  local add_prefix_space = self:boolean("add_prefix_space")
  local words = self:boolean("use_regex", true) and assert(regex.compile(GPT2))
  return function(text)
    if add_prefix_space then text:prepend(" ", " ") end
    if words then text:split(words, "Isolated") end
    text:byte_level()
  end
end

-- Cut at characters of a class.
local function cut(pattern, behavior)
  local compiled = regex.class(pattern)
  return function(text) text:split(compiled, behavior) end
end

function BUILD.Whitespace(self)
  self:only("type")
  local words = regex.class(unicode.word .. "+|[^" .. unicode.word:sub(2, -2) .. unicode.whitespace .. "]+")
  return function(text) text:split(words, "Removed", true) end
end

function BUILD.WhitespaceSplit(self)
  self:only("type")
  return cut(unicode.space, "Removed")
end

function BUILD.BertPreTokenizer(self)
  self:only("type")
  local spaces, punctuation = cut(unicode.space, "Removed"), cut(unicode.punctuation, "Isolated")
  return function(text)
    spaces(text)
    punctuation(text)
  end
end

function BUILD.Punctuation(self)
  self:only("type", "behavior")
  return cut(unicode.punctuation, self:choice("behavior", BEHAVIORS, "Isolated"))
end

function BUILD.Digits(self)
  self:only("type", "individual_digits")
  return cut(unicode.number, self:boolean("individual_digits") and "Isolated" or "Contiguous")
end

function BUILD.CharDelimiterSplit(self)
  self:only("type", "delimiter")
  local delimiter = assert(regex.literal(self:character("delimiter")))
  return function(text) text:split(delimiter, "Removed") end
end

function BUILD.Split(self)
  self:only("type", "pattern", "behavior", "invert")
  local pattern, behavior = self:pattern("pattern"), self:choice("behavior", BEHAVIORS)
  local invert = self:boolean("invert")
  return function(text) text:split(pattern, behavior, invert) end
end

--- pre_tokenizers.metaspace(section) -> replacement, scheme, split
-- The settings of Metaspace, which is a pre-tokenizer and a decoder: "always", "first" or "never" prepend the
-- replacement. Files before 2024 have add_prefix_space instead.
function pre_tokenizers.metaspace(section)
  section:only("type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep")
  local scheme = section:choice("prepend_scheme", {"always", "first", "never"}, "always")
  if not section:boolean("add_prefix_space", true) then
    if scheme ~= "never" and section.value.prepend_scheme then
      section:fail("add_prefix_space is false, but prepend_scheme is %s", scheme)
    end
    scheme = "never"
  end
  return section:character("replacement"), scheme, section:boolean("split", true)
end

function BUILD.Metaspace(self)
  local replacement, scheme, split = pre_tokenizers.metaspace(self)
  local space, delimiter = regex.literal(" "), assert(regex.literal(replacement))
  return function(text)
    text:replace(space, replacement)
    if scheme ~= "never" then text:prepend(replacement, replacement, scheme == "first") end
    if split then text:split(delimiter, "MergedWithNext") end
  end
end

--- pre_tokenizers.build(section) -> function(text), which cuts a core.text in place
-- section: see spd.tokenizer.section; nil for a file without pre-tokenizer. Errors name what is not supported.
function pre_tokenizers.build(section)
  if not section then return function() end end
  return section:build(BUILD)
end

return pre_tokenizers
