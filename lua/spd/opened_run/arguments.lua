--- What a user gives to the methods of an opened run, checked: options, names, numbers, inputs.
--
-- where: how errors name the method, such as "run:forward".
local analysis_language = require "spd.analysis.language"
local core = require "spd.core"
local errors = require "spd.errors"
local fields = require "spd.fields"
local language = require "spd.models.language"
local memory = require "spd.memory"
local shape = require "spd.shape"

local arguments = {}

-- ---- values in messages -------------------------------------------------------------------------

local function type_name(x)
  local meta = type(x) == "userdata" and debug.getmetatable(x)
  local name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and name:match "[^.]*$" or type(x)
end

local function is_tensor(x) return type_name(x) == "tensor" end

local function sizes(x) return ("[%s]"):format(table.concat(x.shape, ", ")) end

--- arguments.shown(value) -> how messages name what was found
function arguments.shown(value)
  if type(value) == "string" then
    local start = value:sub(1, 40):gsub("[^%g ]", "?")
    return ("'%s%s'"):format(start, #value > 40 and "..." or "")
  end
  if value ~= value then return "nan" end -- whatever its sign
  if type(value) == "number" or type(value) == "boolean" or value == nil then return tostring(value) end
  if is_tensor(value) then
    return ("a tensor %s%s"):format(sizes(value), value.dtype == "int32" and " of int32" or "")
  end
  return "a " .. type_name(value)
end

local function nearest(word, words)
  if #words == 0 then return nil end
  return ("the nearest one is '%s'"):format(fields.nearest(word, words))
end

-- ---- options, names, numbers --------------------------------------------------------------------

--- arguments.options(where, options, known) -> table
-- Options by name, none where they are nil; one that is not among the known names is an error.
function arguments.options(where, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" or debug.getmetatable(options) then
    errors.raise(2, where, "expected options such as {" .. known[1] .. " = ...}, found " .. arguments.shown(options))
  end
  for name in next, options do arguments.word(where, "option", name, known) end
  return options
end

--- arguments.word(where, what, word, words) -> the word, if it is one of them
function arguments.word(where, what, word, words)
  for _, known in ipairs(words) do
    if rawequal(word, known) then return word end
  end
  local is_text = type(word) == "string"
  errors.raise(2, where, (is_text and "unknown %s %s" or "expected the name of a %s, found %s"):format(what,
    arguments.shown(word)), is_text and nearest(word, words) or "there is " .. table.concat(words, ", "))
end

--- arguments.matrix(where, run, name) -> the decomposed matrix of that name
function arguments.matrix(where, run, name)
  return run.components.by_name[arguments.word(where, "matrix", name, run.matrices)]
end

--- arguments.integer(where, what, value, least, most) -> integer
-- A whole number in that range; without most, from least on.
function arguments.integer(where, what, value, least, most)
  local integer = type(value) == "number" and math.tointeger(value)
  if not integer or integer < least or integer > (most or math.maxinteger) then
    errors.raise(2, where, ("%s: expected %s, found %s"):format(what,
      most and ("a whole number from %d to %d"):format(least, most) or ("a whole number of %d or more"):format(least),
      arguments.shown(value)))
  end
  return integer
end

--- arguments.number(where, what, value) -> the value, if it is a finite number
function arguments.number(where, what, value)
  if type(value) ~= "number" or value ~= value or math.abs(value) == math.huge then
    errors.raise(2, where, ("%s: expected a finite number, found %s"):format(what, arguments.shown(value)))
  end
  return value
end

--- arguments.component(where, run, matrix, c) -> the number of a subcomponent, counted from 0
function arguments.component(where, run, matrix, c)
  return arguments.integer(where, "subcomponent of " .. matrix.name, c, 0, run.components.C - 1)
end

-- ---- numbers in tables --------------------------------------------------------------------------

local function check_entry(where, what, value)
  if type(value) ~= "number" then
    errors.raise(2, where, ("%s: expected numbers, found %s among them"):format(what, arguments.shown(value)))
  end
  arguments.number(where, what, value)
end

--- arguments.rows(where, what, x) -> rows
-- A list of finite numbers as one row, or a list of such lists of one length, none of them empty.
function arguments.rows(where, what, x)
  local rows = type(x[1]) == "table" and x or {x}
  for i = 1, #rows do
    local row = rows[i]
    if type(row) ~= "table" or #row == 0 then
      errors.raise(2, where, ("%s: expected numbers, found %s"):format(what, type(row) == "table" and "an empty table"
        or arguments.shown(row)))
    end
    if #row ~= #rows[1] then
      errors.raise(2, where, ("%s: expected rows of one length, found %d and %d numbers"):format(what, #rows[1], #row))
    end
    for j = 1, #row do check_entry(where, what, row[j]) end
  end
  return rows
end

-- ---- inputs -------------------------------------------------------------------------------------

local function expected(run)
  if run.kind == "lm" then return "a text, token ids, or an int32 tensor [rows, tokens]" end
  local n = run.n_features
  return n and ("%d numbers, rows of %d numbers, or a tensor [..., %d]"):format(n, n, n)
    or "numbers, rows of numbers, or a tensor"
end

local function wrong(where, run, found)
  errors.raise(2, where, ("x: expected %s, found %s"):format(expected(run), found))
end

local function ids_of_text(where, run, text)
  if run.kind ~= "lm" then wrong(where, run, "text") end
  if not run.subject.tokenizer then errors.raise(2, where, "x: the run has no tokenizer", "give token ids") end
  return core.tensor({analysis_language.encode(run.subject, text)}, "int32")
end

local function check_ids(where, run, x)
  local vocabulary, positions = run.target.settings.vocab_size, language.positions(run.target)
  if x.dtype ~= "int32" or #x.shape ~= 2 then wrong(where, run, arguments.shown(x)) end
  if x:size(2) > positions then
    errors.raise(2, where, ("x: %d tokens are more than the model's maximum, %d"):format(x:size(2), positions))
  end
  for _, row in ipairs(x:totable()) do
    for _, id in ipairs(row) do arguments.integer(where, "x: a token id", id, 0, vocabulary - 1) end
  end
end

local function check_features(where, run, x)
  local sizes_of_x = x.shape
  if x.dtype ~= "real" or sizes_of_x[#sizes_of_x] ~= run.n_features then wrong(where, run, arguments.shown(x)) end
end

local function tensor_of_table(where, run, x)
  local rows = arguments.rows(where, "x", x)
  if run.kind ~= "lm" then
    if run.n_features and #rows[1] ~= run.n_features then wrong(where, run, ("%d numbers"):format(#rows[1])) end
    return core.tensor(rows)
  end
  for _, row in ipairs(rows) do
    for _, id in ipairs(row) do
      arguments.integer(where, "x: a token id", id, 0, run.target.settings.vocab_size - 1)
    end
  end
  return core.tensor(rows, "int32")
end

-- What takes more memory than there is is refused before it is computed.
local function check_size(where, run, x)
  if shape.count(x) == 0 then wrong(where, run, arguments.shown(x)) end
  if x.dtype == "real" and not x:is_finite() then errors.raise(2, where, "x: has entries that are NaN or infinite") end
  local rows = run.kind == "lm" and shape.count(x) or shape.rows(x)
  memory.require(memory.estimate(run.components.matrices, run.config, rows, run.target), where, "fewer rows")
end

--- arguments.input(where, run, x) -> tensor
-- What goes into a run's target: of a toy model a tensor [..., n_features], a list of numbers or a list of such rows;
-- of a language model a text, a list of token ids or of such rows, or an int32 tensor. One row is a batch of one.
function arguments.input(where, run, x)
  if type_name(x) == "value" then x = x:tensor() end
  local tensor = type(x) == "string" and ids_of_text(where, run, x)
    or type(x) == "table" and tensor_of_table(where, run, x) or is_tensor(x) and x
  if not tensor then wrong(where, run, arguments.shown(x)) end
  if #tensor.shape == 0 then wrong(where, run, "one number") end
  if #tensor.shape == 1 and run.kind ~= "own_model" then tensor = core.tensor({tensor:totable()}, tensor.dtype) end
  check_size(where, run, tensor)
  if run.kind == "lm" then check_ids(where, run, tensor) end
  if run.n_features then check_features(where, run, tensor) end
  return tensor
end

--- arguments.is_tensor(x) -> true if it is a tensor of spd.core
arguments.is_tensor = is_tensor

return arguments
