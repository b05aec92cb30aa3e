--- A single subcomponent of an opened run: its vectors, how often it is important, and for what.
local analysis_language = require "spd.analysis.language"
local component_text = require "spd.opened_run.component_text"
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local progress = require "spd.progress"
local shape = require "spd.shape"

local component = {}

local EXAMPLES, TOKENS, CONTEXTS = 5, 10, 5 -- that are kept

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

-- Shown on a terminal while batches are gone through.
local function new_display(batches)
  return progress.new{title = "batch", steps = batches, quiet = not core.posix.is_terminal(1)}
end

-- ---- examples of the evaluation data ------------------------------------------------------------

-- Causal importances (lower-leaky) and inner activations of one subcomponent for a batch, as lists.
local function activity_of(components, matrix, c, x)
  local tape <close> = core.tape()
  local _, inputs = components:run_target(x)
  local h = components:inner_activations(matrix, inputs[matrix])
  local g = core.lower_leaky(components:pre_sigmoid(matrix, h))
  return column_of(g, c):totable(), column_of(h, c):totable()
end

-- Most important first; of those with importance 1 the one that it reads most from.
local function is_stronger(a, b)
  if a.importance ~= b.importance then return a.importance > b.importance end
  return math.abs(a.activation) > math.abs(b.activation)
end

-- Keep the strongest ones, the first of equally strong ones.
local function add_example(list, example)
  local place = #list + 1
  while place > 1 and is_stronger(example, list[place - 1]) do place = place - 1 end
  table.insert(list, place, example)
  list[EXAMPLES + 1] = nil
end

-- One row of a batch, as a list.
local function row_of(x, r)
  local row = {}
  for j = 1, x:size(2) do row[j] = x:get(r, j) end
  return row
end

-- Add the batch of a step to the sums {count =, mass =, above =, list = the strongest examples so far}.
local function add_batch(sums, self, subject, step, x)
  local importances, activations = activity_of(subject.components, self.matrix, self.number, x)
  for r, importance in ipairs(importances) do
    sums.mass, sums.count = sums.mass + math.max(0.0, importance), sums.count + 1
    if importance > evaluate.alive_threshold then
      sums.above = sums.above + 1
      add_example(sums.list, {
        example = sums.count - 1, importance = importance, activation = activations[r], step = step, row = r,
      })
    end
  end
end

local function add_examples(self, subject)
  local data, batches, x = subject.evaluation_data, subject.config.n_eval_steps, nil
  local sums = {count = 0, mass = 0.0, above = 0, list = {}}
  do
    local display <close> = new_display(batches)
    for step = 0, batches - 1 do
      display:update(step)
      x = data:batch(step, x)
      add_batch(sums, self, subject, step, x)
    end
    display:update(batches)
  end
  for _, one in ipairs(sums.list) do
    x = data:batch(one.step, x)
    one.x = #x.shape == 2 and row_of(x, one.row) or nil
    one.step, one.row = nil, nil
  end
  self.mean, self.rate, self.count = sums.mass / sums.count, sums.above / sums.count, sums.count
  self.examples = sums.list
end

-- Features whose one-hot input makes the subcomponent important, strongest first.
local function add_features(self, subject)
  if not subject.n_features then return end
  local x, list = core.eye(subject.n_features), {}
  for f = 1, subject.n_features do x:set(evaluate.magnitude, f, f) end
  for f, importance in ipairs((activity_of(subject.components, self.matrix, self.number, x))) do
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
    local display <close> = new_display(batches)
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

-- ---- the object ----------------------------------------------------------------------------------

--- component.new(subject, matrix, c) -> object, printed as a text
-- matrix: name; c: number of a subcomponent, from 0. Fields as run:component of spd.opened_run documents them.
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
    __tostring = component_text.text, C = subject.components.C, tokenizer = subject.tokenizer,
    is_embedding = subject.components.by_name[matrix].kind == "embedding",
  })
end

return component
