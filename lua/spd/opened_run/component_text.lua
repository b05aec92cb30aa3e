--- What a single subcomponent of an opened run prints.
local aligned = require "spd.aligned"
local evaluate = require "spd.evaluate"
local pretty = require "spd.repl.pretty"
local text = require "spd.opened_run.text"

local component_text = {}

local ENTRIES, SHOWN_INPUTS, FEATURES = 8, 3, 20 -- that are shown of a vector, of an example, and of features

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
  return text.listed(first, #items > 0 and text.first_of(items, FEATURES) or {"none"}, ", ")
end

local function example_lines(self)
  if #self.examples == 0 then return {} end
  local rows = {{"example", "importance", "activation", "features that are on"}}
  for _, one in ipairs(self.examples) do
    local on = one.x and table.concat(largest_entries(one.x, SHOWN_INPUTS), "  ") or ""
    rows[#rows + 1] = {tostring(one.example), text.importance(one.importance), text.number(one.activation), on}
  end
  return aligned.lines(rows, {true, true, true})
end

local function token_lines(self, tokenizer)
  if #self.tokens == 0 then return {} end
  local rows = {{"token", "id", "fires on", "of its occurrences", "importance"}}
  for _, one in ipairs(self.tokens) do
    rows[#rows + 1] = {
      text.token(tokenizer, one.id), tostring(one.id), tostring(one.count), ("%.0f %%"):format(100 * one.rate),
      text.importance(one.mean),
    }
  end
  return aligned.lines(rows, {[2] = true, [3] = true, [4] = true, [5] = true})
end

-- The text of token ids, with the one at a place in brackets. Where a tokenizer's texts do not simply follow each
-- other, its tokens with blanks between them.
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

--- component_text.text(self) -> text
function component_text.text(self)
  local meta = getmetatable(self)
  local lines = {
    ("%s, subcomponent %d (of 0 to %d), norm %s"):format(self.matrix, self.number, meta.C - 1, text.number(self.norm)),
  }
  if self.count then
    lines[2] = ("importance %s on average, above %g on %.3g %% of %d %s"):format(text.importance(self.mean),
      evaluate.alive_threshold, 100 * self.rate, self.count, self.tokens and "tokens" or "examples")
  end
  local label = meta.is_embedding and function(id) return (text.token(meta.tokenizer, id):gsub("^ ", "")) end
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

return component_text
