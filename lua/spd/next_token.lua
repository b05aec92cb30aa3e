--- Predicting the next token: the loss of a language model, and n-gram models that know less.
local core = require "spd.core"
local data = require "spd.data"

local next_token = {}

--- next_token.loss(model, ids) -> scalar
-- The mean cross-entropy, in nats, of all tokens of ids but the first of each row, given those before it in the row.
function next_token.loss(model, ids)
  return core.cross_entropy(model:run(ids), data.next_tokens(ids))
end

--- next_token.cross_entropy(model, rows [, batch_size]) -> number
-- The same over a list of rows (lists of ids), all equally long, so many at a time (default 32).
function next_token.cross_entropy(model, rows, batch_size)
  local sum = 0
  batch_size = batch_size or 32
  for first = 1, #rows, batch_size do
    local count = math.min(batch_size, #rows - first + 1)
    local tape <close> = core.tape()
    local ids = core.tensor(table.move(rows, first, first + count - 1, 1, {}), "int32")
    sum = sum + count * next_token.loss(model, ids):item()
  end
  return sum / #rows
end

-- ---- n-grams ------------------------------------------------------------------------------------

local Ngrams = {}
Ngrams.__index = Ngrams

--- next_token.ngrams(vocabulary_size) -> counts, of no text yet
function next_token.ngrams(vocabulary_size)
  return setmetatable({size = vocabulary_size, total = 0, single = {}, before = {}, pair = {}}, Ngrams)
end

--- counts:add(row)
-- Count the tokens of a list of ids, and its pairs of neighbours.
function Ngrams:add(row)
  local single, before, pair, size = self.single, self.before, self.pair, self.size
  self.total = self.total + #row
  for i, id in ipairs(row) do
    single[id] = (single[id] or 0) + 1
    local following = row[i + 1]
    if following then
      before[id] = (before[id] or 0) + 1
      local key = id * size + following
      pair[key] = (pair[key] or 0) + 1
    end
  end
end

-- Probability of a token by itself, as if each had occurred once more.
local function unigram(self, id) return ((self.single[id] or 0) + 1) / (self.total + self.size) end

-- Probability of a token after another one, as if the unigram model had been seen there once.
local function bigram(self, id, following)
  local count = self.pair[id * self.size + following] or 0
  return (count + unigram(self, following)) / ((self.before[id] or 0) + 1)
end

--- counts:cross_entropies(rows) -> unigram, bigram
-- The mean cross-entropies, in nats, of all tokens of a list of rows but the first of each, by the counts of single
-- tokens and of pairs.
function Ngrams:cross_entropies(rows)
  local one, two, count = 0, 0, 0
  for _, row in ipairs(rows) do
    for i = 2, #row do
      one, two = one - math.log(unigram(self, row[i])), two - math.log(bigram(self, row[i - 1], row[i]))
      count = count + 1
    end
  end
  return one / count, two / count
end

return next_token
