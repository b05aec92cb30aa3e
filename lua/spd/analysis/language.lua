--- What is special about a language model: which subcomponents are active at which tokens of a text.
--
-- Subcomponents are numbered from 0, as in a checkpoint's tensors. A subcomponent is active at, or fires on, a token
-- where its causal importance is above a threshold.
local core = require "spd.core"
local errors = require "spd.errors"
local evaluate = require "spd.evaluate"
local language = require "spd.models.language"
local metrics = require "spd.metrics"

local analysis_language = {}

--- analysis_language.threshold: importance above which a subcomponent counts as active, where none is given.
analysis_language.threshold = evaluate.alive_threshold

-- ---- scores ------------------------------------------------------------------------------------

--- analysis_language.scores(subject) -> table
-- Over n_eval_steps evaluation batches: ce_target, ce_unmasked, ce_masked, ce_zero_masked and l0; see
-- evaluate.cross_entropies.
function analysis_language.scores(subject)
  return evaluate.cross_entropies(subject.components, subject.evaluation_data, subject.config)
end

-- ---- prompts ------------------------------------------------------------------------------------

-- How messages name a prompt: by its beginning.
local function named(text)
  local most = 40
  local length = utf8.len(text)
  local shown = length and text:sub(1, (utf8.offset(text, math.min(length, most) + 1) or 1) - 1) or text:sub(1, most)
  return ("prompt '%s%s'"):format(shown:gsub("%c", " "), #shown < #text and "..." or "")
end

--- analysis_language.encode(subject, text) -> list of token ids, without special tokens
-- An empty text, or one that is longer than the model can read, is an error.
function analysis_language.encode(subject, text)
  if not text:find "%S" then errors.raise(2, named(text), "is empty") end
  local ids = subject.tokenizer:encode(text, false) -- as the data of a decomposition
  if #ids == 0 then errors.raise(2, named(text), "has no tokens", "its characters mean nothing to the tokenizer") end
  local target = subject.components.target
  local positions = target.kind == "lm" and language.positions(target) or math.huge
  if #ids > positions then
    errors.raise(2, named(text), ("%d tokens are more than the model's maximum, %d"):format(#ids, positions))
  end
  return ids
end

local function stronger(a, b)
  if a.importance ~= b.importance then return a.importance > b.importance end
  return a.component < b.component
end

-- By token, from importances [1, T, C], the active subcomponents, strongest first.
local function active_by_token(g, threshold)
  local rows, columns, values = g:above(threshold)
  local active = {}
  for t = 1, g:size(2) do active[t] = {} end
  for i, t in ipairs(rows) do
    local list = active[t]
    list[#list + 1] = {component = columns[i] - 1, importance = values[i]}
  end
  for _, list in ipairs(active) do table.sort(list, stronger) end
  return active
end

--- analysis_language.prompt(subject, text [, threshold]) -> {text =, ids =, active =}
-- A text as its token ids, and by matrix and token the active subcomponents: active[name][t] is a list of {component =,
-- importance =}, strongest first. subject: components and tokenizer are used. An empty text, or one that is longer
-- than the model can read, is an error.
function analysis_language.prompt(subject, text, threshold)
  local ids, active = analysis_language.encode(subject, text), {}
  local tape <close> = core.tape()
  local _, inputs = subject.components:run_target(core.tensor({ids}, "int32"))
  for name, g in pairs((subject.components:importances(inputs))) do
    active[name] = active_by_token(g:tensor(), threshold or analysis_language.threshold)
  end
  return {text = text, ids = ids, active = active}
end

-- ---- statistics over batches: tokens ------------------------------------------------------------

-- More different tokens than that are not kept of a subcomponent: then the half on which it fired least is forgotten.
local MOST_TOKENS = 512

-- Keep the heavier half; among equally heavy ones, some.
local function forget_rare_tokens(component)
  local sorted, half = {}, MOST_TOKENS // 2
  for _, mass in pairs(component.mass_of) do sorted[#sorted + 1] = mass end
  table.sort(sorted)
  local left = half
  for id, mass in pairs(component.mass_of) do
    if left > 0 and mass <= sorted[half] then
      component.count_of[id], component.mass_of[id], left = nil, nil, left - 1
    end
  end
  component.kept = MOST_TOKENS - half
end

-- The first firing that is known of a token.
local function add_token(component, id, importance)
  if component.kept == MOST_TOKENS then forget_rare_tokens(component) end
  component.kept = component.kept + 1
  component.count_of[id], component.mass_of[id] = 1, importance
end

local function ids_by_mass(component)
  local ids, mass = {}, component.mass_of
  for id in pairs(mass) do ids[#ids + 1] = id end
  table.sort(ids, function(a, b)
    if mass[a] ~= mass[b] then return mass[a] > mass[b] end
    return a < b
  end)
  return ids
end

local function top_tokens(component, most, occurrences)
  local ids, list = ids_by_mass(component), {}
  for i = 1, math.min(most, #ids) do
    local id = ids[i]
    local count = component.count_of[id]
    list[i] = {
      id = id, count = count, share = count / component.firings, rate = count / occurrences[id],
      mean = component.mass_of[id] / count,
    }
  end
  return list
end

-- ---- statistics over batches: contexts ----------------------------------------------------------

-- Data may repeat itself; the same words again say nothing new.
local function is_known(contexts, new)
  for _, context in ipairs(contexts) do
    if context.at == new.at and context.words == new.words then return true end
  end
  return false
end

-- The tokens around a position, counted over all rows, with the importances of subcomponent c, from upper [C, B T].
local function context_at(batch, upper, c, position, options)
  local before_row = (position - 1) // batch.T * batch.T
  local first = math.max(before_row + 1, position - options.before)
  local last = math.min(before_row + batch.T, position + options.after)
  local context = {at = position - first + 1, ids = table.move(batch.ids, first, last, 1, {}), importances = {}}
  context.words = table.concat(context.ids, " ")
  for k = first, last do
    context.importances[k - first + 1] = math.max(0.0, math.min(1.0, upper:get(c, k)))
  end
  return context
end

local function is_among_strongest(contexts, strength, most)
  return #contexts < most or strength > contexts[most].strength
end

-- Equally strong ones stay in the order in which they came.
local function add_context(contexts, context, strength, most)
  if is_known(contexts, context) then return end
  context.strength = strength
  local place = #contexts + 1
  while place > 1 and contexts[place - 1].strength < strength do place = place - 1 end
  table.insert(contexts, place, context)
  contexts[most + 1] = nil
end

-- ---- statistics over batches --------------------------------------------------------------------

-- Count the firings number first to last, which are those of one subcomponent, at positions of a batch; returns, by
-- batch row, the largest importance and its position. This loop is most of the work.
local function add_firings(component, batch, positions, values, first, last)
  local ids, T, counts, mass, best, best_at = batch.ids, batch.T, component.count_of, component.mass_of, {}, {}
  component.firings = component.firings + last - first + 1
  for i = first, last do
    local position, value = positions[i], values[i]
    local id, importance = ids[position], value < 1 and value or 1.0
    local count = counts[id]
    if count then
      counts[id], mass[id] = count + 1, mass[id] + importance
    else
      add_token(component, id, importance)
    end
    local row = (position - 1) // T + 1
    local so_far = best[row]
    if not so_far or value > so_far then best[row], best_at[row] = value, position end
  end
  return best, best_at
end

-- One matrix, one batch. upper [C, B T] are upper-leaky importances, which between 0 and 1 are the lower-leaky ones,
-- and still tell strong occurrences apart where those are all 1. One subcomponent comes after the other, because the
-- tables of all are too large for the processor's caches.
local function add_batch(components, batch, upper, options)
  local columns, positions, values = upper:above(options.threshold)
  local first = 1
  while first <= #columns do
    local c, last = columns[first], first
    while columns[last + 1] == c do last = last + 1 end
    local component = components[c]
    local best, best_at = add_firings(component, batch, positions, values, first, last)
    for row = 1, batch.B do
      local strength = best[row]
      if strength and is_among_strongest(component.contexts, strength, options.contexts) then
        local context = context_at(batch, upper, c, best_at[row], options)
        add_context(component.contexts, context, strength, options.contexts)
      end
    end
    first = last + 1
  end
end

local function new_component()
  return {firings = 0, mass = 0.0, kept = 0, count_of = {}, mass_of = {}, contexts = {}}
end

local function new_statistics(subject)
  local statistics = {}
  for _, matrix in ipairs(subject.components.matrices) do
    local list = {}
    for c = 1, subject.components.C do list[c] = new_component() end
    statistics[matrix.name] = list
  end
  return statistics
end

local function read_batch(x)
  local batch = {ids = {}, B = x:size(1), T = x:size(2)}
  for _, row in ipairs(x:totable()) do table.move(row, 1, #row, #batch.ids + 1, batch.ids) end
  return batch
end

local function count_occurrences(occurrences, ids)
  for _, id in ipairs(ids) do occurrences[id] = (occurrences[id] or 0) + 1 end
end

-- What is reported of a matrix, in place of what was gathered.
local function summarize(components, tokens, occurrences, options)
  local firings, alive, list = 0, 0, {}
  for c, component in ipairs(components) do
    local rate = component.firings / tokens
    firings, alive = firings + component.firings, alive + (rate > evaluate.alive_rate and 1 or 0)
    for _, context in ipairs(component.contexts) do context.strength, context.words = nil, nil end
    list[c] = {
      firings = component.firings, rate = rate, mean = component.mass / tokens,
      tokens = top_tokens(component, options.tokens, occurrences), contexts = component.contexts,
    }
  end
  return {l0 = firings / tokens, alive = alive, components = list}
end

local DEFAULTS = {tokens = 10, contexts = 10, before = 12, after = 4}

local function with_defaults(options)
  local all = {threshold = analysis_language.threshold}
  for key, value in pairs(DEFAULTS) do all[key] = value end
  for key, value in pairs(options or {}) do all[key] = value end
  return all
end

--- analysis_language.components(subject [, options]) -> {tokens =, threshold =, matrices =}
-- What every subcomponent fires on, over n_eval_steps batches of subject.evaluation_data: `tokens` tokens in all. By
-- matrix name {l0 = active subcomponents per token, alive = how many fire on more than one token in a thousand,
-- components = list in which number c is at c + 1}; each of these has
--
--     firings, rate   on how many tokens it fires, and what part of all tokens that is
--     mean            its mean importance over all tokens (negative ones count as 0)
--     tokens          the tokens that have most of its importance, {id =, count = firings on it, share = of all its
--                     firings, rate = firings per occurrence of the token, mean = importance where it fires}
--     contexts        its strongest occurrences, each from another row, {ids = the tokens around it, importances = of
--                     the subcomponent at each, at = index of the occurrence in them}
--
-- options: threshold (0.1, from 0 to below 1), tokens and contexts (10 each): how many of them; before (12) and after
-- (4): tokens of a context; each_batch(step): called before every batch. Of a subcomponent that fires on more than 512
-- different tokens, the counts of rare ones can be too small.
function analysis_language.components(subject, options)
  options = with_defaults(options)
  local statistics, occurrences, tokens, x = new_statistics(subject), {}, 0, nil
  for step = 0, subject.config.n_eval_steps - 1 do
    if options.each_batch then options.each_batch(step) end
    local tape <close> = core.tape()
    x = subject.evaluation_data:batch(step, x)
    local batch = read_batch(x)
    local _, inputs = subject.components:run_target(x)
    local lower, upper = subject.components:importances(inputs)
    for name, components in pairs(statistics) do
      local sums = core.sum_rows(core.relu(lower[name])):tensor():totable()
      for c, sum in ipairs(sums) do components[c].mass = components[c].mass + sum end
      local by_component = core.transpose(core.reshape(upper[name], #batch.ids, #components))
      local importances <close> = by_component:tensor()
      add_batch(components, batch, importances, options)
    end
    count_occurrences(occurrences, batch.ids)
    tokens = tokens + #batch.ids
  end
  for name, components in pairs(statistics) do
    statistics[name] = summarize(components, tokens, occurrences, options)
  end
  return {tokens = tokens, threshold = options.threshold, matrices = statistics}
end

-- ---- embeddings ---------------------------------------------------------------------------------

--- analysis_language.embedding_importances(components, name [, first, count]) -> tensor [count, C]
-- The causal importances (lower-leaky) of a decomposed embedding, which depend on the token alone, for `count` tokens
-- from id `first` on; of the whole vocabulary by default.
function analysis_language.embedding_importances(components, name, first, count)
  first = first or 0
  local ids = {}
  for i = 1, count or components.by_name[name].weight:size(1) - first do ids[i] = first + i - 1 end
  local tape <close> = core.tape()
  local h = components:inner_activations(name, core.tensor(ids, "int32"))
  return core.lower_leaky(components:pre_sigmoid(name, h)):tensor()
end

local CHUNK = 1024 -- tokens whose importances are in Lua tables at a time
local MOST_ROWS = 1000 -- of the picture

-- Call f(id, importances [C]) for every token.
local function each_token(components, name, f)
  local vocabulary = components.by_name[name].weight:size(1)
  for first = 0, vocabulary - 1, CHUNK do
    local g <close> = analysis_language.embedding_importances(components, name, first,
      math.min(CHUNK, vocabulary - first))
    for i, row in ipairs(g:totable()) do f(first + i - 1, row) end
  end
  return vocabulary
end

-- The order of subcomponents by mass, and by token its strongest subcomponent's place in that order and its importance.
local function strongest_by_token(components, name)
  local mass, best, importance = {}, {}, {}
  for c = 1, components.C do mass[c] = 0.0 end
  each_token(components, name, function(id, row)
    local at, most = 1, -math.huge
    for c, value in ipairs(row) do
      if value > 0 then mass[c] = mass[c] + value end
      if value > most then at, most = c, value end
    end
    best[id + 1], importance[id + 1] = at, most
  end)
  local order, place = metrics.mass_permutation{mass}, {}
  for k, c in ipairs(order) do place[c] = k end
  for i, c in ipairs(best) do
    best[i] = importance[i] > analysis_language.threshold and place[c] or components.C + 1
  end
  return order, best, importance
end

-- By token its place, from 1: those with the same strongest subcomponent together, those with none active last.
local function places_of_tokens(best, importance)
  local tokens, places = {}, {}
  for i = 1, #best do tokens[i] = i end
  table.sort(tokens, function(a, b)
    if best[a] ~= best[b] then return best[a] < best[b] end
    if importance[a] ~= importance[b] then return importance[a] > importance[b] end
    return a < b
  end)
  for place, i in ipairs(tokens) do places[i] = place end
  return places
end

--- analysis_language.embedding_panel(components, name) -> {name =, values =, columns =, count =}
-- A decomposed embedding's importances as figures.embedding_importances draws them: subcomponents by descending mass
-- (columns: their numbers), tokens by their strongest subcomponent, at most 1000 rows, each the maximum of the tokens
-- that it stands for. count: the size of the vocabulary.
function analysis_language.embedding_panel(components, name)
  local order, best, importance = strongest_by_token(components, name)
  local places, columns, values = places_of_tokens(best, importance), {}, {}
  local count = #places
  local height = math.min(count, MOST_ROWS)
  for k, c in ipairs(order) do columns[k] = c - 1 end
  for i = 1, height do
    values[i] = {}
    for k = 1, #order do values[i][k] = 0.0 end
  end
  each_token(components, name, function(id, row)
    local line = values[(places[id + 1] - 1) * height // count + 1]
    for k, c in ipairs(order) do
      if row[c] > line[k] then line[k] = row[c] end
    end
  end)
  return {name = name, values = values, columns = columns, count = count}
end

--- analysis_language.figures(subject) -> list of the names of what analysis_language.draw draws
function analysis_language.figures(subject)
  for _, matrix in ipairs(subject.components.matrices) do
    if matrix.kind == "embedding" then return {"embedding_importances"} end
  end
  return {}
end

--- analysis_language.draw(subject, draw)
-- draw(figure, file, ...) draws with a function of spd.figures: the importances of decomposed embeddings.
function analysis_language.draw(subject, draw)
  local panels = {}
  for _, matrix in ipairs(subject.components.matrices) do
    if matrix.kind == "embedding" then
      panels[#panels + 1] = analysis_language.embedding_panel(subject.components, matrix.name)
    end
  end
  if #panels > 0 then draw("embedding_importances", "embedding_importances", panels) end
end

return analysis_language
