--- Added tokens of a tokenizer.json: found in the text before anything else looks at it.
local core = require "spd.core"
local regex = require "spd.tokenizer.regex"
local unicode = require "spd.tokenizer.unicode"

local added_tokens = {}

-- ---- finding one of many strings --------------------------------------------------------------

local Matcher = {}
Matcher.__index = Matcher

-- A matcher of texts -> tokens: it finds the leftmost place where one begins, and the longest that begins there.
local function new_matcher(by_text)
  local lengths, first_bytes = {}, {}
  for text in pairs(by_text) do
    local byte = text:sub(1, 1)
    if not lengths[byte] then
      lengths[byte] = {}
      first_bytes[#first_bytes + 1] = byte:find("^%p") and "%" .. byte or byte
    end
    lengths[byte][#text] = true
  end
  for byte, seen in pairs(lengths) do
    local list = {}
    for length in pairs(seen) do list[#list + 1] = length end
    table.sort(list, function(a, b) return a > b end)
    lengths[byte] = list
  end
  local any = #first_bytes > 0 and "[" .. table.concat(first_bytes) .. "]"
  return setmetatable({by_text = by_text, lengths = lengths, any = any}, Matcher)
end

-- The next match from byte `from` on: first byte, last byte, token.
function Matcher:find(text, from)
  local first = text:find(self.any, from)
  while first do
    for _, length in ipairs(self.lengths[text:sub(first, first)]) do
      local last = math.min(first + length - 1, #text)
      local token = self.by_text[text:sub(first, last)]
      if token then return first, last, token end
    end
    first = text:find(self.any, first + 1)
  end
end

-- ---- cutting a text at them -------------------------------------------------------------------

-- The character that ends before byte `past`, or begins at byte `first`; "" at the ends of the text.
local function character_before(text, past)
  return past > 1 and text:sub(utf8.offset(text, -1, past), past - 1) or ""
end

local function character_at(text, first) return text:match("^" .. utf8.charpattern, first) or "" end

-- Whether what is beside a match lets the token stand.
local function stands(token, text, first, last, word)
  if not token.single_word then return true end
  return not word:find(character_before(text, first)) and not word:find(character_at(text, last + 1))
end

-- The first and last byte of a match with the spaces that it takes in; `done`: bytes that belong to others.
local function with_spaces(token, text, first, last, done)
  if token.rstrip then
    while unicode.spaces[character_at(text, last + 1)] do last = last + #character_at(text, last + 1) end
  end
  if token.lstrip then
    while unicode.spaces[character_before(text, first)] do first = first - #character_before(text, first) end
    first = math.min(math.max(first, done + 1), last + 1)
  end
  return first, last
end

-- Add to `pieces` (see text:set_pieces) what the matches make of one piece that begins at place `place`.
local function cut(matcher, pieces, place, text, word)
  local done, from = 0, 1
  local function add(first, last, id)
    if id or first <= last then
      local n = #pieces
      pieces[n + 1], pieces[n + 2], pieces[n + 3] = place + first - 1, place + last, id
    end
  end
  while true do
    local first, last, token = matcher:find(text, from)
    if not first then break end
    from = last + 1
    if stands(token, text, first, last, word) then
      first, last = with_spaces(token, text, first, last, done)
      add(done + 1, first - 1, false)
      add(first, last, token.id)
      done = last
    end
  end
  add(done + 1, #text, false)
end

-- A function that cuts a core.text at the tokens of the matcher.
local function cutter(by_text)
  if next(by_text) == nil then return function() end end
  local matcher, word = new_matcher(by_text), regex.class(unicode.word)
  return function(text)
    local strings, places, tokens = text:pieces()
    local pieces = {}
    for i, string in ipairs(strings) do
      if tokens[i] then
        local n = #pieces
        pieces[n + 1], pieces[n + 2], pieces[n + 3] = places[i], places[i] + #string, tokens[i]
      else
        cut(matcher, pieces, places[i], string, word)
      end
    end
    text:set_pieces(pieces)
  end
end

-- ---- reading ----------------------------------------------------------------------------------

local function read(self)
  self:only("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
  local token = {id = self:count("id"), content = self:string("content")}
  for _, key in ipairs{"single_word", "lstrip", "rstrip", "normalized", "special"} do token[key] = self:boolean(key) end
  if token.content == "" then self:fail("'content' is empty") end
  return token
end

local function normalized(content, normalize)
  local text <close> = core.text.new(content)
  normalize(text)
  return text:string()
end

-- Ids as the reference gives them: the model's own, else numbers after the model's. A file that says otherwise means
-- something that no program does.
local function check_id(self, token, model, next_id)
  local id = model.ids[token.content] or next_id
  if token.id ~= id then self:fail("'%s' has id %d, expected %d", token.content, token.id, id) end
  return id == next_id and not model.ids[token.content] and next_id + 1 or next_id
end

local function count(table)
  local n = 0
  for _ in pairs(table) do n = n + 1 end
  return n
end

--- added_tokens.build(sections, model, normalize) -> added
-- sections: one for each token (see spd.tokenizer.section); normalize: function(text), the file's normalizer.
-- added.cut_raw(text), added.cut_normalized(text): cut a core.text at tokens as they are written, before the normalizer
-- ran, and at normalized ones, after it. added.ids: content -> id; added.tokens: id -> what stands for the token in
-- decoding; added.special: a set of contents.
function added_tokens.build(sections, model, normalize)
  local added = {ids = {}, tokens = {}, special = {}}
  local raw, after, next_id = {}, {}, count(model.ids)
  for _, self in ipairs(sections) do
    local token = read(self)
    next_id = check_id(self, token, model, next_id)
    local found, set = token.content, raw
    if token.normalized then found, set = normalized(token.content, normalize), after end
    if added.ids[token.content] or set[found] or found == "" then
      self:fail("'%s' cannot be told from %s", token.content, found == "" and "nothing" or "another added token")
    end
    set[found], added.ids[token.content], added.tokens[token.id] = token, token.id, found
    if token.special then added.special[token.content] = true end
  end
  added.cut_raw, added.cut_normalized = cutter(raw), cutter(after)
  return added
end

return added_tokens
