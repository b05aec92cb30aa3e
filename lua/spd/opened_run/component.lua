--- A single subcomponent of an opened run: its vectors, how often it is important, and for what.
local analysis_language = require "spd.analysis.language"
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local pretty = require "spd.repl.pretty"
local progress = require "spd.progress"
local shape = require "spd.shape"
local text = require "spd.opened_run.text"

local component = {}

local EXAMPLES, TOKENS, CONTEXTS = 5, 10, 5 -- that are kept
local ENTRIES, SHOWN_INPUTS = 8, 3 -- that are shown of a vector, and of an example

-- ---- vectors ------------------------------------------------------------------------------------

-- Row c of x [C, n], counted from 0, as a list.
local function column_of(x, c)
  return core.reshape(core.columns(x, c, 1), shape.rows(x)):tensor()
end

local function norm(vector) return math.sqrt(core.sum(vector * vector):item()) end

local function add_vectors(self, components)
  local tape <close> = core.tape()
  self.V = column_of(components:V(self.matrix), self.number)
  self.U = column_of(core.transpose(components:U(self.matrix)), self.number)
  self.norm = norm(self.V) * norm(self.U)
end

-- ---- examples of the evaluation data ------------------------------------------------------------

-- Upper-leaky importances of one subcomponent for a batch, as a list. Between 0 and 1 they are the lower-leaky ones,
-- and they tell strong examples apart where those are all 1.
local function importances_of(components, matrix, c, x)
  local tape <close> = core.tape()
  local _, inputs = components:run_target(x)
  local h = components:inner_activations(matrix, inputs[matrix])
  return column_of(core.upper_leaky(components:pre_sigmoid(matrix, h)), c):totable()
end

-- Keep the strongest ones, the first of equally strong ones.
local function add_example(list, example)
  local place = #list + 1
  while place > 1 and list[place - 1].strength < example.strength do place = place - 1 end
  if place > EXAMPLES then return end
  table.insert(list, place, example)
  list[EXAMPLES + 1] = nil
end

-- One row of a batch, as a list.
local function row_of(x, r)
  local row = {}
  for j = 1, x:size(2) do row[j] = x:get(r, j) end
  return row
end

local function add_examples(self, subject)
  local data, count, mass, above, list, x = subject.evaluation_data, 0, 0.0, 0, {}, nil
  for step = 0, subject.config.n_eval_steps - 1 do
    x = data:batch(step, x)
    for r, strength in ipairs(importances_of(subject.components, self.matrix, self.number, x)) do
      local importance = math.max(0.0, math.min(1.0, strength))
      mass, count = mass + importance, count + 1
      if importance > evaluate.alive_threshold then
        above = above + 1
        add_example(list, {example = count - 1, importance = importance, strength = strength, step = step, row = r})
      end
    end
  end
  for _, one in ipairs(list) do
    x = data:batch(one.step, x)
    one.x = #x.shape == 2 and row_of(x, one.row) or nil
    one.step, one.row, one.strength = nil, nil, nil
  end
  self.mean, self.rate, self.count, self.examples = mass / count, above / count, count, list
end

-- Features whose one-hot input makes the subcomponent important, strongest first.
local function add_features(self, subject)
  if not subject.n_features then return end
  local rows, list = evaluate.one_hot_importances(subject.components, subject.n_features)[self.matrix], {}
  for f, row in ipairs(rows) do
    local importance = row[self.number + 1]
    if importance > evaluate.alive_threshold then list[#list + 1] = {feature = f - 1, importance = importance} end
  end
  table.sort(list, function(a, b)
    if a.importance ~= b.importance then return a.importance > b.importance end
    return a.feature < b.feature
  end)
  self.features = list
end

-- ---- tokens of the evaluation data --------------------------------------------------------------

-- Statistics of all subcomponents by subject, which are computed at once.
local statistics_of = setmetatable({}, {__mode = "k"})

local function language_statistics(subject)
  if not statistics_of[subject] then
    local batches = subject.config.n_eval_steps
    local display <close> = progress.new{
      title = "batch", steps = batches, quiet = not core.posix.is_terminal(1),
    }
    statistics_of[subject] = analysis_language.components(subject, {
      tokens = TOKENS, contexts = CONTEXTS, each_batch = function(done) display:update(done) end,
    })
    display:update(batches)
  end
  return statistics_of[subject]
end

local function add_tokens(self, subject)
  local statistics = language_statistics(subject)
  local found = statistics.matrices[self.matrix].components[self.number + 1]
  self.mean, self.rate, self.count = found.mean, found.rate, statistics.tokens
  self.tokens, self.contexts = found.tokens, found.contexts
end

-- ---- text ---------------------------------------------------------------------------------------

-- The entries of a list of largest size, none that is 0, with their numbers from 0 or what label(number) calls them.
local function largest_entries(values, most, label)
  local list, items = {}, {}
  for i, value in ipairs(values) do
    local size = value == value and math.abs(value) or math.huge
    if size > 0 then list[#list + 1] = {number = i - 1, value = value, size = size} end
  end
  table.sort(list, function(a, b)
    if a.size ~= b.size then return a.size > b.size end
    return a.number < b.number
  end)
  for i = 1, math.min(#list, most) do
    local one = list[i]
    items[i] = ("%s: %s"):format(label and label(one.number) or one.number, text.number(one.value))
  end
  if #list > most then items[most + 1] = ("... %d more"):format(#list - most) end
  return #items > 0 and items or {"nothing but zeros"}
end

local function add_all(lines, more) table.move(more, 1, #more, #lines + 1, lines) end

local function feature_lines(self)
  local items = {}
  for i, one in ipairs(self.features) do
    items[i] = ("%d (%s)"):format(one.feature, text.importance(one.importance))
  end
  local first = ("one-hot inputs of %g that need it: "):format(evaluate.magnitude)
  return text.listed(first, #items > 0 and text.first_of(items, 20) or {"none"}, ", ")
end

local function example_lines(self)
  if #self.examples == 0 then return {} end
  local rows = {{"example", "importance", "features that are on"}}
  for _, one in ipairs(self.examples) do
    rows[#rows + 1] = {tostring(one.example), text.importance(one.importance), one.x and table.concat(largest_entries(one.x, SHOWN_INPUTS), "  ") or ""}
  end
  return text.lines(rows, {true, true})
end

local function token_lines(self, tokenizer)
  if #self.tokens == 0 then return {} end
  local rows = {{"token", "id", "fires on", "of its occurrences", "importance"}}
  for _, one in ipairs(self.tokens) do
    rows[#rows + 1] = {text.token(tokenizer, one.id), tostring(one.id), tostring(one.count),
      ("%.0f %%"):format(100 * one.rate), text.importance(one.mean)}
  end
  return text.lines(rows, {[2] = true, [3] = true, [4] = true, [5] = true})
end

-- The text of token ids, with the one at a place in brackets. Where a tokenizer's texts do not simply follow each other,
-- its tokens with blanks between them.
local function bracketed(tokenizer, ids, at)
  local words = {}
  for i, id in ipairs(ids) do words[i] = text.token(tokenizer, id) end
  local upto = tokenizer and tokenizer:decode(table.move(ids, 1, at, 1, {})) or ""
  local before = tokenizer and at > 1 and tokenizer:decode(table.move(ids, 1, at - 1, 1, {})) or ""
  local whole = tokenizer and tokenizer:decode(ids) or ""
  if #before < #upto and upto:sub(1, #before) == before and whole:sub(1, #upto) == upto then
    local blank, token = upto:sub(#before + 1):match "^(%s*)(.*)$"
    return before .. blank .. "[" .. token .. "]" .. whole:sub(#upto + 1)
  end
  words[at] = "[" .. words[at] .. "]"
  return table.concat(words, " ")
end

-- The strongest contexts, with the token it fires on in brackets.
local function context_lines(self, tokenizer)
  local lines = {#self.contexts > 0 and "strongest contexts" or nil}
  for _, context in ipairs(self.contexts) do
    local line = bracketed(tokenizer, context.ids, context.at):gsub("%s", " "):gsub("%c", "?")
    lines[#lines + 1] = pretty.wrapped(line, "  ", text.width())
  end
  return lines
end

local function describe(self)
  local meta = getmetatable(self)
  local lines = {
    ("%s, subcomponent %d (of 0 to %d), norm %s"):format(self.matrix, self.number, meta.C - 1, text.number(self.norm)),
  }
  if self.count then
    lines[2] = ("importance %s on average, above %g on %.3g %% of %d %s"):format(text.importance(self.mean),
      evaluate.alive_threshold, 100 * self.rate, self.count, self.tokens and "tokens" or "examples")
  end
  local label = meta.is_embedding and function(id) return text.token(meta.tokenizer, id) end
  add_all(lines, text.listed("V reads   ", largest_entries(self.V:totable(), ENTRIES, label), "  "))
  add_all(lines, text.listed("U writes  ", largest_entries(self.U:totable(), ENTRIES), "  "))
  if self.features then add_all(lines, feature_lines(self)) end
  if self.examples then add_all(lines, example_lines(self)) end
  if self.tokens then
    add_all(lines, token_lines(self, meta.tokenizer))
    add_all(lines, context_lines(self, meta.tokenizer))
  end
  return table.concat(lines, "\n")
end

--- component.new(subject, matrix, c) -> object, printed as a text
-- matrix: name; c: number of a subcomponent, from 0. Fields as run:component documents them.
function component.new(subject, matrix, c)
  local self = {matrix = matrix, number = c}
  add_vectors(self, subject.components)
  if subject.kind == "lm" then
    add_tokens(self, subject)
  elseif subject.evaluation_data then
    add_examples(self, subject)
    add_features(self, subject)
  end
  return setmetatable(self, {
    __tostring = describe, C = subject.components.C, tokenizer = subject.tokenizer,
    is_embedding = subject.components.by_name[matrix].kind == "embedding",
  })
end

return component
