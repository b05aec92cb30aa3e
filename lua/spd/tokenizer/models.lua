--- Models of a tokenizer.json: how a word becomes tokens.
local heap = require "spd.tokenizer.heap"

local models = {}

local BUILD = {}

-- One character, in text that is valid UTF-8.
local CHARACTER = "()[\0-\127\194-\244][\128-\191]*()"

-- ids: token -> id; tokens: id -> token.
local function read_vocabulary(self)
  local vocabulary = self:child("vocab")
  local ids, tokens = vocabulary.value, {}
  for token in pairs(ids) do
    if type(token) ~= "string" then self:fail("'vocab' is a list, expected an object") end
    local id = vocabulary:count(token)
    if tokens[id] then vocabulary:fail("'%s' and '%s' both have id %d", tokens[id], token, id) end
    tokens[id] = token
  end
  return ids, tokens
end

local function unknown_id(self, ids, token)
  return ids[token] or self:fail("a word is unknown, and unk_token '%s' is not in the vocabulary", token)
end

-- ---- byte-pair encoding -----------------------------------------------------------------------

-- The parts of a merge: "a b" or ["a", "b"].
local function parts_of(merges, i, merge)
  local a, b
  if type(merge) == "string" then
    a, b = merge:match("^([^ ]*) ([^ ]*)$")
  elseif type(merge) == "table" and #merge == 2 then
    a, b = merge[1], merge[2]
  end
  if type(a) ~= "string" or type(b) ~= "string" then merges:fail("merge %d is not a pair of tokens", i - 1) end
  return a, b
end

-- ranks: pair of ids -> rank of the merge; merged: rank -> id. A pair is one integer.
local function read_merges(self, ids, prefix)
  local merges = self:child("merges")
  local ranks, merged = {}, {}
  for i, merge in ipairs(merges.value) do
    local a, b = parts_of(merges, i, merge)
    if b:sub(1, #prefix) ~= prefix then merges:fail("merge %d: '%s' lacks the prefix '%s'", i - 1, b, prefix) end
    local whole = a .. b:sub(#prefix + 1)
    for _, token in ipairs{a, b, whole} do
      if not ids[token] then merges:fail("merge %d: '%s' is not in the vocabulary", i - 1, token) end
    end
    ranks[ids[a] << 32 | ids[b]], merged[i] = i, ids[whole]
  end
  merges:check_list()
  return ranks, merged
end

-- Merge neighbours, the lowest rank first and the leftmost of equal ones: the list {id, length, id, length, ...} of a
-- word becomes what is left of it.
local function merge_all(list, ranks, merged)
  local count, queue = #list // 2, {}
  local before, after = {}, {}
  for i = 1, count do before[i], after[i] = i - 1, i + 1 end
  local function offer(i)
    local rank = after[i] <= count and ranks[list[2 * i - 1] << 32 | list[2 * after[i] - 1]]
    if rank then heap.push(queue, rank << 32 | i) end
  end
  for i = 1, count do offer(i) end
  while #queue > 0 do
    local top = heap.pop(queue)
    local i, j = top & 0xffffffff, after[top & 0xffffffff]
    -- What was offered may have been merged with something else since.
    local rank = list[2 * i] > 0 and j <= count and ranks[list[2 * i - 1] << 32 | list[2 * j - 1]]
    if rank and merged[rank] == merged[top >> 32] then
      list[2 * i - 1], list[2 * i], list[2 * j] = merged[rank], list[2 * i] + list[2 * j], 0
      after[i] = after[j]
      if after[i] <= count then before[after[i]] = i end
      if before[i] > 0 then offer(before[i]) end
      offer(i)
    end
  end
  local kept = {}
  for i = 1, count do
    if list[2 * i] > 0 then
      kept[#kept + 1] = list[2 * i - 1]
      kept[#kept + 1] = list[2 * i]
    end
  end
  return kept
end

-- The ids of <0x00> to <0xFF> by byte.
local function byte_ids(ids)
  local list = {}
  for byte = 0, 255 do list[byte] = ids[("<0x%02X>"):format(byte)] end
  return list
end

-- Append the ids of a character's bytes; false if one of them has none.
local function append_bytes(list, character, of_byte)
  for i = 1, #character do
    if not of_byte[character:byte(i)] then return false end
  end
  for i = 1, #character do
    list[#list + 1] = of_byte[character:byte(i)]
    list[#list + 1] = 1
  end
  return true
end

local function read_bpe_settings(self)
  local dropout = self.value.dropout
  if dropout and dropout ~= 0 then self:fail("dropout %s is not supported", dropout) end
  local settings = {
    unknown = self.value.unk_token and self:string("unk_token"), fuses = self:boolean("fuse_unk", false),
    prefix = self:string("continuing_subword_prefix", ""), suffix = self:string("end_of_word_suffix", ""),
    falls_back = self:boolean("byte_fallback", false), ignores_merges = self:boolean("ignore_merges", false),
  }
  if settings.falls_back and settings.prefix .. settings.suffix ~= "" then
    self:fail("byte_fallback with continuing_subword_prefix or end_of_word_suffix is not supported")
  end
  return settings
end

-- The tokens of the characters of a word, as {id, length, id, length, ...}. Unknown characters wait, so that they can
-- be fused; bytes that stand for a character overtake those that wait, as they do in the reference.
local function characters_of(self, word, ids, settings, of_byte)
  local list, waiting = {}, 0
  local function flush()
    if waiting == 0 then return end
    list[#list + 1] = unknown_id(self, ids, settings.unknown)
    list[#list + 1] = waiting
    waiting = 0
  end
  for first, past in word:gmatch(CHARACTER) do
    local character = word:sub(first, past - 1)
    local token = (first > 1 and settings.prefix or "") .. character .. (past > #word and settings.suffix or "")
    if ids[token] then
      flush()
      list[#list + 1] = ids[token]
      list[#list + 1] = past - first
    elseif not (of_byte and append_bytes(list, character, of_byte)) and settings.unknown then
      if not settings.fuses then flush() end
      waiting = waiting + past - first
    end
  end
  flush()
  return list
end

function BUILD.BPE(self)
  self:only("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
    "byte_fallback", "ignore_merges", "vocab", "merges")
  local settings = read_bpe_settings(self)
  local ids, tokens = read_vocabulary(self)
  local ranks, merged = read_merges(self, ids, settings.prefix)
  local of_byte = settings.falls_back and byte_ids(ids)
  local function encode(word)
    if settings.ignores_merges and ids[word] then return {ids[word], #word} end
    return merge_all(characters_of(self, word, ids, settings, of_byte), ranks, merged)
  end
  return {ids = ids, tokens = tokens, encode = encode}
end

-- ---- word pieces and words --------------------------------------------------------------------

function BUILD.WordPiece(self)
  self:only("type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
  local ids, tokens = read_vocabulary(self)
  local unknown, prefix = self:string("unk_token"), self:string("continuing_subword_prefix")
  local most = self:count("max_input_chars_per_word")
  local longest = 0
  for token in pairs(ids) do longest = math.max(longest, #token) end

  -- The longest token that begins at byte `first`: its id and where it ends.
  local function piece(word, first)
    local last = math.min(#word, first + longest - 1)
    while last >= first do
      local id = (word:byte(last + 1) or 0) & 0xc0 ~= 0x80 -- between two characters
        and ids[(first > 1 and prefix or "") .. word:sub(first, last)]
      if id then return id, last end
      last = last - 1
    end
  end

  local function encode(word)
    local list, first = {}, 1
    if utf8.len(word) > most then return {unknown_id(self, ids, unknown), #word} end
    while first <= #word do
      local id, last = piece(word, first)
      if not id then return {unknown_id(self, ids, unknown), #word} end
      list[#list + 1], list[#list + 2] = id, last - first + 1
      first = last + 1
    end
    return list
  end
  return {ids = ids, tokens = tokens, encode = encode}
end

function BUILD.WordLevel(self)
  self:only("type", "unk_token", "vocab")
  local ids, tokens = read_vocabulary(self)
  local unknown = self:string("unk_token")
  local function encode(word) return {ids[word] or unknown_id(self, ids, unknown), #word} end
  return {ids = ids, tokens = tokens, encode = encode}
end

-- ---- all models -------------------------------------------------------------------------------

-- Words are found again often. What was kept is thrown away when there is too much of it.
local MOST_KEPT, LONGEST_KEPT = 50000, 200

local function cached(encode)
  local kept, count = {}, 0
  return function(word)
    local list = kept[word]
    if list then return list end
    list = encode(word)
    if #word > LONGEST_KEPT then return list end
    if count == MOST_KEPT then kept, count = {}, 0 end
    kept[word], count = list, count + 1
    return list
  end
end

--- models.build(section) -> model
-- section: see spd.tokenizer.section. model.ids: token -> id; model.tokens: id -> token; model.encode(word) -> the list
-- {id, length, id, length, ...} with lengths in bytes, which must not be changed. Errors name what is not supported.
function models.build(section)
  -- Old files have no type.
  if section.value.type == nil then
    local keys = section.value
    section.value.type = keys.merges and "BPE" or keys.max_input_chars_per_word and "WordPiece" or "WordLevel"
  end
  local model = section:build(BUILD)
  model.encode = cached(model.encode)
  return model
end

return models
