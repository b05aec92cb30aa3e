--- Conditions on runs, as people type them, and as SQL.
--
--     condition   part { or part }
--     part        factor { and factor }
--     factor      not factor | ( condition ) | KEY | KEY operator VALUE
--     operator    =  ==  !=  <>  <  <=  >  >=  ~  like
--     VALUE       a number as in a config, a word, 'text' or "text", null
--
-- KEY alone means KEY = true. ~ compares with a pattern of * and ?, like with one of % and _. A run without the key has
-- none of its values: every comparison but = null is false for it.
local errors = require "spd.errors"
local fields = require "spd.fields"
local yaml = require "spd.yaml"

local condition = {}

-- SQLite has limits of its own, whose errors would not name the condition.
local MOST_TOKENS = 400
local MOST_BRACKETS = 10 -- in each other
local LONGEST_PATTERN = 200
local WORD = "^[%w_./:%%*?%[%]@+-]+"
local OPERATORS = {
  ["="] = "=", ["=="] = "=", ["!="] = "!=", ["<>"] = "!=", ["<"] = "<", ["<="] = "<=", [">"] = ">", [">="] = ">=",
  ["~"] = "GLOB",
}
local BINDS = {["or"] = 1, ["and"] = 2, ["not"] = 3} -- how strongly
local IS_ORDER = {["<"] = true, ["<="] = true, [">"] = true, [">="] = true}

local function fail(text, what, hint)
  errors.raise(2, ("condition '%s'"):format((text:gsub("%c", "?"))), what, hint)
end

-- ---- tokens -------------------------------------------------------------------------------------

-- The token at a position: {kind = "word" | "text" | "operator" | "(" | ")", text =}, and where it ends.
local function token_at(text, at)
  local word = text:match(WORD, at)
  if word then return {kind = "word", text = word}, at + #word end
  local quote = text:match("^['\"]", at)
  if quote then
    local last = text:find(quote, at + 1, true)
    if not last then fail(text, ("the quote %s is not closed"):format(quote)) end
    return {kind = "text", text = text:sub(at + 1, last - 1)}, last + 1
  end
  local bracket = text:match("^[()]", at)
  if bracket then return {kind = bracket, text = bracket}, at + 1 end
  local sign = text:match("^[<>=!]=", at) or text:match("^<>", at) or text:match("^[=<>~]", at)
  if not sign then fail(text, ("unexpected '%s'"):format(text:match(utf8.charpattern, at):gsub("%c", "?"))) end
  return {kind = "operator", text = sign}, at + #sign
end

local function tokens_of(text)
  if not utf8.len(text) then fail(text:gsub("[\x80-\xff]", "?"), "expected text in UTF-8") end
  local list, at = {}, text:find "%S"
  while at do
    local token, after = token_at(text, at)
    list[#list + 1] = token
    if #list > MOST_TOKENS then fail(text:sub(1, 40) .. "...", "is too long") end
    at = text:find("%S", after)
  end
  return list
end

-- ---- the tree -----------------------------------------------------------------------------------

-- A state is {text =, tokens =, at = number of the next token, depth = number of open brackets}.
local function next_token(state) return state.tokens[state.at] end

local function accept_word(state, word)
  local token = next_token(state)
  if not token or token.kind ~= "word" or token.text:lower() ~= word then return false end
  state.at = state.at + 1
  return true
end

local function expect(state, kinds, what)
  local token = next_token(state)
  if not token or not kinds[token.kind] then
    fail(state.text, ("expected %s, found %s"):format(what, token and "'" .. token.text .. "'" or "its end"))
  end
  state.at = state.at + 1
  return token
end

local parse_condition

-- The value of a comparison: number or text; nil for null.
local function value_of(token)
  if token.kind == "text" then return token.text end
  if token.text == "null" then return nil end
  return yaml.number(token.text) or token.text
end

local function parse_comparison(state)
  local key = expect(state, {word = true, text = true}, "a key").text
  local token = next_token(state)
  local operator
  if accept_word(state, "like") then
    operator = "LIKE"
  elseif token and token.kind == "operator" then
    operator = OPERATORS[token.text]
    state.at = state.at + 1
  else
    return {key = key, operator = "=", value = "true", text = "true"}
  end
  local value_token = expect(state, {word = true, text = true}, "a value after '" .. token.text .. "'")
  local value = value_of(value_token)
  if value == nil and operator ~= "=" and operator ~= "!=" then
    fail(state.text, "null can only be compared by = and !=")
  elseif type(value) ~= "string" and operator == "GLOB" or operator == "LIKE" then
    value = value_token.text
  end
  if (operator == "GLOB" or operator == "LIKE") and #value > LONGEST_PATTERN then
    local beginning = state.text:sub(1, 40):gsub("[\x80-\xff]", "?") .. "..."
    fail(beginning, ("a pattern is longer than %d bytes"):format(LONGEST_PATTERN))
  end
  return {key = key, operator = operator, value = value, text = value_token.text}
end

local function parse_brackets(state)
  local token = next_token(state)
  if not token or token.kind ~= "(" then return parse_comparison(state) end
  state.at, state.depth = state.at + 1, state.depth + 1
  if state.depth > MOST_BRACKETS then
    fail(state.text, ("has more than %d brackets in each other"):format(MOST_BRACKETS))
  end
  local inner = parse_condition(state)
  expect(state, {[")"] = true}, "')'")
  state.depth = state.depth - 1
  return inner
end

local function parse_factor(state)
  local negated = false
  while accept_word(state, "not") do negated = not negated end
  local inner = parse_brackets(state)
  return negated and {operator = "not", inner} or inner
end

-- One or more parts with a word between them.
local function parse_chain(state, word, parse_part)
  local node = {operator = word, parse_part(state)}
  while accept_word(state, word) do node[#node + 1] = parse_part(state) end
  return #node > 1 and node or node[1]
end

local function parse_part(state) return parse_chain(state, "and", parse_factor) end
function parse_condition(state) return parse_chain(state, "or", parse_part) end

--- condition.parse(text) -> tree
-- Nodes are {operator = "and" | "or" | "not", ...}, or {key =, operator = of SQL, value = number or text, or nil for
-- null, text = the value as it was typed}.
function condition.parse(text)
  local state = {text = text, tokens = tokens_of(text), at = 1, depth = 0}
  local tree = parse_condition(state)
  local rest = next_token(state)
  if rest then fail(text, ("expected 'and' or 'or', found '%s'"):format(rest.text)) end
  return tree
end

-- ---- SQL ----------------------------------------------------------------------------------------

--- condition.check_key(key, known)
-- Raise an error that names the nearest of the known keys, a list, if the key is none of them.
function condition.check_key(key, known)
  for _, one in ipairs(known) do
    if one == key then return end
  end
  errors.raise(2, "key '" .. key:gsub("%c", "?") .. "'", "no run has it",
    #known > 0 and ("the nearest one is '%s'"):format((fields.nearest(key, known):gsub("%c", "?"))) or nil)
end

-- The SQL of a comparison with the expression of a value.
local function comparison(node, expression, value, values)
  if value == nil then return ("%s IS %sNULL"):format(expression, node.operator == "=" and "" or "NOT ") end
  values[#values + 1] = value
  local test = ("%s %s ?"):format(expression, node.operator)
  -- SQLite orders any text after all numbers
  if not IS_ORDER[node.operator] then return test end
  return ("typeof(%s) %s 'text' AND %s"):format(expression, type(value) == "string" and "=" or "!=", test)
end

local function leaf(node, keys, columns, values)
  if columns[node.key] then
    return "coalesce(" .. comparison(node, columns[node.key], node.value and node.text, values) .. ", 0)"
  end
  local is_null = node.value == nil and node.operator == "="
  values[#values + 1] = keys[node.key]
  local test = node.value == nil and "value IS NOT NULL" or comparison(node, "value", node.value, values)
  return ("runs.id %sIN (SELECT run FROM entries WHERE key = ? AND %s)"):format(is_null and "NOT " or "", test)
end

--- condition.sql(tree, keys, columns, values) -> text
-- The condition in SQL over the tables of spd.runs.index. keys: name -> number; columns: name -> SQL, of what is in the
-- table runs itself; values: a list to which those are appended that are to be bound.
function condition.sql(tree, keys, columns, values)
  if tree.key then return leaf(tree, keys, columns, values) end
  local parts = {}
  for i, part in ipairs(tree) do
    local text = condition.sql(part, keys, columns, values)
    -- each bracket counts for the depth that SQLite allows
    parts[i] = not part.key and BINDS[part.operator] < BINDS[tree.operator] and "(" .. text .. ")" or text
  end
  if tree.operator == "not" then return "NOT " .. parts[1] end
  return table.concat(parts, tree.operator == "and" and " AND " or " OR ")
end

--- condition.keys(tree, found) -> list
-- Append the keys that a condition names to a list.
function condition.keys(tree, found)
  if tree.key then found[#found + 1] = tree.key end
  for _, part in ipairs(tree) do condition.keys(part, found) end
  return found
end

return condition
