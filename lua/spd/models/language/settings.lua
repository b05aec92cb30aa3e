--- The settings of a language model: what config.json says, checked, with the library's defaults for the rest.
--
-- A field is {key =, type =, default =} with
--   type       "size" (an integer of 1 or more), "number", "boolean" or "choice"
--   max, min, above   limits of a size or a number: at most, at least, more than
--   choices    the words that a "choice" may be
--   also       another name of the key
-- An architecture refuses what it does not compute by a field {key =, type = "only", value =}: the key may be null or
-- that value.
local errors = require "spd.errors"
local json = require "spd.json"

local settings = {}

local LARGEST_SIZE, LARGEST_NUMBER = (1 << 31) - 1, 1e30

--- settings.quote(value) -> text
-- A value as JSON on one line, cut where it is long, for messages.
function settings.quote(value)
  local text = json.encode(value):gsub("%c", "?")
  return #text > 80 and text:sub(1, utf8.offset(text, 0, 80) - 1) .. "..." or text
end

-- "a", "b" or "c"
local function alternatives(words)
  local list = {}
  for i, word in ipairs(words) do list[i] = settings.quote(word) end
  local last = table.remove(list)
  return #list > 0 and table.concat(list, ", ") .. " or " .. last or last
end

--- settings.refuse(where, key, expected, found)
-- Raise the error of a key with a wrong value. expected: what it should have been, in words, or a list of values.
function settings.refuse(where, key, expected, found)
  if type(expected) == "table" then expected = alternatives(expected) end
  errors.raise(2, where, ("%s: expected %s, found %s"):format(key, expected, settings.quote(found)))
end

local function in_limits(field, value, most)
  return value <= (field.max or most) and value >= (field.min or -most) and not (field.above and value <= field.above)
end

local function limits(field)
  local words = {}
  if field.above then words[#words + 1] = ("above %g"):format(field.above) end
  if field.min then words[#words + 1] = ("of %g or more"):format(field.min) end
  if field.max then words[#words + 1] = ("of at most %g"):format(field.max) end
  return table.concat(words, ", ")
end

-- For each type: the value if it is right, else nil and what is expected.
local read = {}

function read.size(field, value)
  local size = math.tointeger(type(value) == "number" and value)
  local most = field.max or LARGEST_SIZE
  if size and size >= 1 and size <= most then return size end
  return nil, ("an integer from 1 to %d"):format(most)
end

function read.number(field, value)
  if type(value) == "number" and in_limits(field, value, LARGEST_NUMBER) then return value + 0.0 end
  return nil, ("a number %s"):format(limits(field)):gsub(" $", "")
end

function read.boolean(_, value)
  if type(value) == "boolean" then return value end
  return nil, "true or false"
end

function read.choice(field, value)
  for _, choice in ipairs(field.choices) do
    if value == choice then return value end
  end
  return nil, field.choices
end

function read.only(field, value)
  if value == field.value then return value end
  return nil, settings.quote(field.value) .. ", as nothing else is supported"
end

--- settings.value(field, value, where) -> the value of a field, or an error
function settings.value(field, value, where)
  local found, expected = read[field.type](field, value)
  if found == nil then settings.refuse(where, field.key, expected, value) end
  return found
end

-- The value that a config has under a field's key or its other name.
local function given(field, config, where)
  local value, other = config[field.key], field.also and config[field.also]
  if other == nil then return value end
  if value ~= nil and value ~= other then settings.refuse(where, field.also, {value}, other) end
  return other
end

--- settings.read(config, fields, where) -> settings
-- A copy of a decoded config.json with all fields checked and their defaults filled in; keys without a field are kept
-- as they are. where: the file, for errors.
function settings.read(config, fields, where)
  local result = {}
  for key, value in pairs(config) do result[key] = value end
  for _, field in ipairs(fields) do
    local value = given(field, config, where)
    if value == nil then
      result[field.key] = field.default
    else
      result[field.key] = settings.value(field, value, where)
    end
    if field.also then result[field.also] = nil end
  end
  return result
end

--- settings.common: fields of all architectures.
settings.common = {
  {key = "vocab_size", type = "size"},
  {key = "initializer_range", type = "number", min = 0, max = 1000, default = 0.02},
  {key = "tie_word_embeddings", type = "boolean"},
  {key = "is_encoder_decoder", type = "only", value = false},
  {key = "add_cross_attention", type = "only", value = false},
}

--- settings.with_common(fields, defaults) -> list of fields
-- The fields of an architecture and the common ones. defaults: its defaults of common fields, by key.
function settings.with_common(fields, defaults)
  local list = table.move(fields, 1, #fields, 1, {})
  for _, field in ipairs(settings.common) do
    local copy = {}
    for key, value in pairs(field) do copy[key] = value end
    if defaults[field.key] ~= nil then copy.default = defaults[field.key] end
    list[#list + 1] = copy
  end
  return list
end

--- settings.check_common(config, where)
-- Refuse what no architecture computes.
function settings.check_common(config, where)
  if config.quantization_config ~= nil then
    errors.raise(2, where, "quantization_config: quantized weights are not supported", "use the original model")
  end
  local pruned = config.pruned_heads
  if pruned ~= nil and (type(pruned) ~= "table" or next(pruned) ~= nil) then
    settings.refuse(where, "pruned_heads", {{}}, pruned)
  end
end

return settings
