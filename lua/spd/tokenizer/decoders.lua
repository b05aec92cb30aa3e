--- Decoders of a tokenizer.json: each makes a list of texts from a list of texts, which are joined at the end.
local core = require "spd.core"
local pre_tokenizers = require "spd.tokenizer.pre_tokenizers"

local decoders = {}

local BUILD = {}

-- A decoder that treats every text alone.
local function each(change)
  return function(list)
    for i, text in ipairs(list) do list[i] = change(text, i, #list) end
    return list
  end
end

-- Replace a text by another wherever it occurs; nothing is special in either.
local function replace(text, from, to)
  return (text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%"))))
end

-- What is not valid UTF-8 becomes U+FFFD.
local function repaired(bytes)
  if utf8.len(bytes) then return bytes end
  local text <close> = core.text.new(bytes)
  return text:string()
end

function BUILD.Sequence(self)
  self:only("type", "decoders")
  local steps = {}
  for i, item in ipairs(self:list("decoders")) do steps[i] = item:build(BUILD) end
  return function(list)
    for _, step in ipairs(steps) do list = step(list) end
    return list
  end
end

function BUILD.Fuse(self)
  self:only("type")
  return function(list) return {table.concat(list)} end
end

-- character -> byte, for GPT-2's alphabet (see text:byte_level in core.text).
local function byte_alphabet()
  local bytes, number = {}, 0x100
  for byte = 0, 255 do
    local printable = (byte > 0x20 and byte < 0x7f) or (byte > 0xa0 and byte ~= 0xad)
    bytes[utf8.char(printable and byte or number)] = string.char(byte)
    if not printable then number = number + 1 end
  end
  return bytes
end

function BUILD.ByteLevel(self)
  self:only("type", "add_prefix_space", "trim_offsets", "use_regex")
  local bytes = byte_alphabet()
  -- A token with a character that is not of the alphabet stands for itself.
  local function decode(token)
    local whole = true
    local decoded = token:gsub(utf8.charpattern, function(character)
      whole = whole and bytes[character] ~= nil
      return bytes[character]
    end)
    return whole and decoded or token
  end
  return function(list) return {repaired(table.concat(each(decode)(list)))} end
end

-- Spaces that English does not have: before punctuation, and inside short forms.
local CLEANED = {
  {" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
  {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}

function BUILD.WordPiece(self)
  self:only("type", "prefix", "cleanup")
  local prefix, cleanup = self:string("prefix"), self:boolean("cleanup")
  return each(function(token, i)
    if i > 1 then
      token = token:sub(1, #prefix) == prefix and token:sub(#prefix + 1) or " " .. token
    end
    if not cleanup or not token:find(" [.?!,'nd]") then return token end
    for _, pair in ipairs(CLEANED) do token = replace(token, pair[1], pair[2]) end
    return token
  end)
end

function BUILD.BPEDecoder(self)
  self:only("type", "suffix")
  local suffix = self:string("suffix")
  if suffix == "" then self:fail("an empty suffix is not supported") end
  return each(function(token, i, count) return replace(token, suffix, i == count and "" or " ") end)
end

function BUILD.Metaspace(self)
  local replacement, scheme = pre_tokenizers.metaspace(self)
  return each(function(token, i) return replace(token, replacement, i == 1 and scheme ~= "never" and "" or " ") end)
end

function BUILD.Replace(self)
  self:only("type", "pattern", "content")
  local pattern, content = self:pattern("pattern"), self:string("content")
  return each(function(token)
    local text <close> = core.text.new(token)
    return text:replace(pattern, content):string()
  end)
end

-- Take at most `start` and `stop` characters like `content` off the ends.
function BUILD.Strip(self)
  self:only("type", "content", "start", "stop")
  local content, start, stop = self:character("content"), self:count("start"), self:count("stop")
  return each(function(token)
    local first, last = 1, #token
    for _ = 1, start do
      if token:sub(first, first + #content - 1) ~= content then break end
      first = first + #content
    end
    for _ = 1, stop do
      if last - #content + 1 < first or token:sub(last - #content + 1, last) ~= content then break end
      last = last - #content
    end
    return token:sub(first, last)
  end)
end

-- The text of a run of bytes; each byte is U+FFFD if the run as a whole is not valid UTF-8.
local function text_of_bytes(bytes)
  local whole = table.concat(bytes)
  return utf8.len(whole) and whole or ("\u{FFFD}"):rep(#bytes)
end

function BUILD.ByteFallback(self)
  self:only("type")
  return function(list)
    local decoded, bytes = {}, {}
    local function flush()
      if #bytes > 0 then decoded[#decoded + 1] = text_of_bytes(bytes) end
      bytes = {}
    end
    for _, token in ipairs(list) do
      local hexadecimal = token:match("^<0x(%x%x)>$")
      if hexadecimal then
        bytes[#bytes + 1] = string.char(tonumber(hexadecimal, 16))
      else
        flush()
        decoded[#decoded + 1] = token
      end
    end
    flush()
    return decoded
  end
end

--- decoders.build(section) -> function(list of tokens) -> text
-- section: see spd.tokenizer.section; nil for a file without decoder. Errors name what is not supported.
function decoders.build(section)
  if not section then return function(list) return table.concat(list, " ") end end
  local decode = section:build(BUILD)
  return function(list) return table.concat(decode(list)) end
end

return decoders
