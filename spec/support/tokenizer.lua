--- Comparing a tokenizer with what Hugging Face's library makes of awkward lines (see spec/peer/make_tokenizers.py).
local json = require "spd.json"
local tokenizer = require "spd.tokenizer"

local support = {}

local FOLDER = "spec/fixtures/tokenizers/"
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
local SIMPLE_STORIES = "spec/fixtures/simplestories-4096.json"

support.names = {
  "bert", "gpt2", "gpt_neo", "llama2", "llama3", "metaspace", "o200k", "openai_gpt", "roberta", "simplestories",
  "words",
}

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return assert(json.decode(file:read("a")))
end

function support.lines() return read(FOLDER .. "lines.json") end
function support.expected(name) return read(FOLDER .. name .. ".expected.json") end
function support.path(name) return name == "simplestories" and SIMPLE_STORIES or FOLDER .. name .. ".json" end
function support.load(name) return tokenizer.load(support.path(name)) end

-- Fowler, Noll and Vo's hash (1a), of numbers, of pairs of numbers, and of bytes.
function support.hash(numbers, h)
  h = h or 0xcbf29ce484222325
  for i = 1, #numbers do h = (h ~ numbers[i]) * 0x100000001b3 end
  return h
end

local function hash_pairs(spans, h)
  h = h or 0xcbf29ce484222325
  for i = 1, #spans do h = ((h ~ spans[i][1]) * 0x100000001b3 ~ spans[i][2]) * 0x100000001b3 end
  return h
end

function support.hash_bytes(text, h)
  for i = 1, #text do h = (h ~ text:byte(i)) * 0x100000001b3 end
  return h
end

local function two_characters(h)
  h = h ~ (h >> 32)
  h = h ~ (h >> 12)
  local a, b = (h & 63) + 1, (h >> 6 & 63) + 1
  return DIGITS:sub(a, a) .. DIGITS:sub(b, b)
end

--- What the tokenizer makes of a line: its ids, their spans, the text of the ids, and that without special tokens.
function support.all_of(t, line)
  local ids, spans = t:encode(line)
  return ids, spans, t:decode(ids), t:decode(ids, true)
end

--- Hashes of all that: of the ids, and of the rest.
function support.hashes(t, line)
  local ids, spans, decoded, bare = support.all_of(t, line)
  return support.hash(ids), support.hash_bytes(bare, support.hash_bytes(decoded, hash_pairs(spans)))
end

--- The lines first, first + step, ... whose ids, or whose spans or texts, differ; and the hash of everything.
function support.differences(t, lines, marks, first, step)
  local ids_differ, rest_differs, total = {}, {}, nil
  for i = first, #lines, step do
    local of_ids, of_rest = support.hashes(t, lines[i])
    total = support.hash({of_ids, of_rest}, total)
    if two_characters(of_ids) ~= marks:sub(4 * i - 3, 4 * i - 2) then
      ids_differ[#ids_differ + 1] = i
    elseif two_characters(of_rest) ~= marks:sub(4 * i - 1, 4 * i) then
      rest_differs[#rest_differs + 1] = i
    end
  end
  return ids_differ, rest_differs, ("%016x"):format(total)
end

return support
