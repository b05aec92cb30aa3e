--- Post-processors of a tokenizer.json: they add special tokens, and cut spaces off offsets.
--
-- An encoding is {ids =, spans =, values =, original =}: ids, the bytes {first, last} of the original text they stand
-- for (see spd.tokenizer), and texts of those tokens whose text in the input is not the model's.
local unicode = require "spd.tokenizer.unicode"

local post_processors = {}

local BUILD = {}

-- ---- special tokens ---------------------------------------------------------------------------

-- Put lists of ids before and after an encoding.
local function surround(encoding, before, after)
  local ids, spans, values = {}, {}, {}
  local function add(list)
    for _, id in ipairs(list) do
      ids[#ids + 1] = id
      spans[#spans + 1] = {1, 0}
    end
  end
  add(before)
  local shift = #ids
  table.move(encoding.ids, 1, #encoding.ids, shift + 1, ids)
  table.move(encoding.spans, 1, #encoding.spans, shift + 1, spans)
  for i, value in pairs(encoding.values) do values[shift + i] = value end
  add(after)
  encoding.ids, encoding.spans, encoding.values = ids, spans, values
end

-- A [token, id] pair below a key: its id.
local function pair_id(self, key)
  local pair = self:child(key)
  if type(pair.value[1]) ~= "string" then pair:fail("is not a pair of a token and its id") end
  return pair:count(2)
end

local function adds(before, after)
  return function(encoding, add_special_tokens)
    if add_special_tokens then surround(encoding, before, after) end
  end
end

function BUILD.BertProcessing(self)
  self:only("type", "sep", "cls")
  return adds({pair_id(self, "cls")}, {pair_id(self, "sep")}), true
end

-- The ids of the special token `name`.
local function template_ids(self, name)
  local known = self:child("special_tokens")
  if not known.value[name] then known:fail("'%s' is missing", name) end
  local ids = {}
  local token = known:child(name)
  local list = token:child("ids")
  for i in ipairs(list.value) do ids[i] = list:count(i) end
  if #ids == 0 then token:fail("has no ids") end
  return ids
end

function BUILD.TemplateProcessing(self)
  self:only("type", "single", "pair", "special_tokens")
  local before, after, seen = {}, {}, false
  for _, item in ipairs(self:list("single")) do
    local kind, value = next(item.value)
    if kind == "Sequence" and item:child(kind).value.id == "A" and not seen then
      seen = true
    elseif kind == "SpecialToken" then
      local ids, to = template_ids(self, item:child(kind):string("id")), seen and after or before
      table.move(ids, 1, #ids, #to + 1, to)
    else
      item:fail("a template with %s is not supported", kind == "Sequence" and value and "another sequence" or kind)
    end
  end
  if not seen then self:fail("a template without the sequence A is not supported") end
  return adds(before, after), true
end

-- ---- spaces -----------------------------------------------------------------------------------

-- U+0120, what a space becomes in GPT-2's alphabet, and what Unicode has as white space.
local SPACES = {["\u{120}"] = true}
for character in pairs(unicode.spaces) do SPACES[character] = true end

-- How many spaces a text begins and ends with.
local function count_spaces(text)
  local leading, trailing, only = 0, 0, true
  for character in text:gmatch(utf8.charpattern) do
    local is_space = SPACES[character]
    only = only and is_space
    leading = only and leading + 1 or leading
    trailing = is_space and trailing + 1 or 0
  end
  return leading, trailing
end

local function is_continuation(byte) return byte ~= nil and byte & 0xc0 == 0x80 end

-- Whether there are at least `count` characters in the first `last` bytes.
local function has_characters(original, last, count)
  return last >= 4 * count or select(2, original:sub(1, last):gsub("[^\128-\191]", "")) >= count
end

-- The span of a token without its spaces; `place`: its place in the encoding.
local function trim(span, leading, trailing, place, original, add_prefix_space)
  local first, past = span[1], span[2] + 1
  -- One space at the start is the one that was added.
  if (place == 1 or first == 1) and add_prefix_space and leading == 1 then leading = 0 end
  for _ = 1, leading do
    if first >= past then break end
    first = first + 1
    while first < past and is_continuation(original:byte(first)) do first = first + 1 end
  end
  if trailing > 0 and not has_characters(original, past - 1, trailing) then trailing = 0 end
  for _ = 1, trailing do
    if first >= past then break end
    past = past - 1
    while past > first and is_continuation(original:byte(past)) do past = past - 1 end
  end
  return {first, past - 1}
end

-- A function that trims the spans of all tokens. What the model's own begin and end with is counted once.
local function trimmer(add_prefix_space, tokens)
  local at_start, at_end = {}, {}
  return function(encoding)
    for i, id in ipairs(encoding.ids) do
      local value = encoding.values[i]
      if not value and not at_start[id] then at_start[id], at_end[id] = count_spaces(tokens[id]) end
      local leading, trailing = at_start[id], at_end[id]
      if value then leading, trailing = count_spaces(value) end
      if leading > 0 or trailing > 0 then
        encoding.spans[i] = trim(encoding.spans[i], leading, trailing, i, encoding.original, add_prefix_space)
      end
    end
  end
end

function BUILD.ByteLevel(self, tokens)
  self:only("type", "add_prefix_space", "trim_offsets", "use_regex")
  local add_prefix_space = self:boolean("add_prefix_space")
  if not self:boolean("trim_offsets") then return function() end end
  return trimmer(add_prefix_space, tokens)
end

function BUILD.RobertaProcessing(self, tokens)
  self:only("type", "sep", "cls", "trim_offsets", "add_prefix_space")
  local add = adds({pair_id(self, "cls")}, {pair_id(self, "sep")})
  local trims = self:boolean("trim_offsets") and trimmer(self:boolean("add_prefix_space"), tokens)
  return function(encoding, add_special_tokens)
    if trims then trims(encoding) end
    add(encoding, add_special_tokens)
  end, true
end

-- ---- all of them ------------------------------------------------------------------------------

function BUILD.Sequence(self, tokens)
  self:only("type", "processors")
  local steps, adds_tokens = {}, false
  for i, item in ipairs(self:list("processors")) do
    -- The reference treats what a step added as texts of their own.
    if adds_tokens then item:fail("a step after one that adds tokens is not supported") end
    steps[i], adds_tokens = item:build(BUILD, tokens)
  end
  return function(encoding, add_special_tokens)
    for _, step in ipairs(steps) do step(encoding, add_special_tokens) end
  end, adds_tokens
end

--- post_processors.build(section, tokens) -> function(encoding, add_special_tokens), which changes an encoding
-- section: see spd.tokenizer.section; nil for a file without post-processor. tokens: id -> text of the model's tokens.
-- Errors name what is not supported.
function post_processors.build(section, tokens)
  if not section then return function() end end
  return (section:build(BUILD, tokens))
end

return post_processors
