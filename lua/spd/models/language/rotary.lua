--- Rotary position embeddings: the frequencies of the library's rope types, and tables of cosines and sines.
--
-- Pair i of a head's d dimensions turns by position * f_i, with f_i = theta^(-2i/d) (Su et al. 2021). The types
-- change the frequencies to stretch the context: "linear" divides them by a factor; "llama3" divides those of
-- wavelengths that are long beside the original context, and blends between long and short ones.
-- Two spellings: rope_theta beside rope_scaling {rope_type or type, factor, ...}, or all in rope_parameters.
local core = require "spd.core"
local settings_module = require "spd.models.language.settings"

local rotary = {}

local TYPES = {"default", "linear", "llama3"}

local function positive(key) return {key = key, type = "number", above = 0} end

-- Fields of a type beside rope_theta.
local FIELDS = {
  default = {},
  linear = {positive "factor"},
  llama3 = {positive "factor", positive "low_freq_factor", positive "high_freq_factor",
    {key = "original_max_position_embeddings", type = "size"}},
}

local function is_filled(value) return type(value) == "table" and next(value) ~= nil end

-- The table with the parameters and its key; rope_scaling comes first where both are there.
local function spelling(settings, where)
  for _, key in ipairs{"rope_scaling", "rope_parameters"} do
    local value = settings[key]
    if value ~= nil and type(value) ~= "table" then settings_module.refuse(where, key, "an object or null", value) end
    if is_filled(value) then return value, key end
  end
  return {}, "rope_parameters"
end

-- Parameters that are tables belong to layers of one kind each, which no architecture here has.
local function check_flat(parameters, key, where)
  for name, value in pairs(parameters) do
    if type(value) == "table" then
      settings_module.refuse(where, ("%s.%s"):format(key, name), "a number or a word", value)
    end
  end
end

--- rotary.parameters(settings, where) -> {type =, theta = [, factor =, ...]}
-- The rope parameters of settings, whichever way they are spelled. An unsupported type is an error that names it.
function rotary.parameters(settings, where)
  local given, key = spelling(settings, where)
  local function read(field, value)
    return settings_module.value(setmetatable({key = key .. "." .. field.key}, {__index = field}), value, where)
  end
  local kind = given.rope_type or given.type or "default"
  local result = {type = read({key = "rope_type", type = "choice", choices = TYPES}, kind)}
  check_flat(given, key, where)
  result.theta = given.rope_theta and read(positive "rope_theta", given.rope_theta)
    or settings_module.value(positive "rope_theta", settings.rope_theta or 10000, where)
  for _, part in ipairs{settings.partial_rotary_factor or 1, given.partial_rotary_factor or 1} do
    if part ~= 1 then settings_module.refuse(where, "partial_rotary_factor", {1}, part) end
  end
  local original = settings.original_max_position_embeddings or given.original_max_position_embeddings
    or settings.max_position_embeddings
  for _, field in ipairs(FIELDS[kind]) do
    result[field.key] = read(field, field.type == "size" and original or given[field.key])
  end
  if kind == "llama3" and result.high_freq_factor <= result.low_freq_factor then
    settings_module.refuse(where, key .. ".high_freq_factor", ("a number above low_freq_factor %g"):format(
      result.low_freq_factor), result.high_freq_factor)
  end
  return result
end

-- Of the llama3 type: frequencies with more than high_freq_factor turns in the original context stay, those with fewer
-- than low_freq_factor are divided, and what is between is blended.
local function llama3(frequency, parameters)
  local turns = parameters.original_max_position_embeddings * frequency / (2 * math.pi)
  local low, high = parameters.low_freq_factor, parameters.high_freq_factor
  local kept = math.min(math.max((turns - low) / (high - low), 0), 1)
  return (1 - kept) * frequency / parameters.factor + kept * frequency
end

-- A number as single precision holds it: the library computes frequencies and angles so, and far from the start of a
-- text the difference is seen.
local function single(x) return (string.unpack("f", string.pack("f", x))) end

--- rotary.frequencies(parameters, d) -> list of d / 2 numbers, radians per position
function rotary.frequencies(parameters, d)
  local list = {}
  for i = 0, d // 2 - 1 do
    local frequency = single(1 / single(parameters.theta ^ (2 * i / d)))
    if parameters.type == "linear" then frequency = single(frequency / parameters.factor) end
    if parameters.type == "llama3" then frequency = single(llama3(frequency, parameters)) end
    list[i + 1] = frequency
  end
  return list
end

--- rotary.tables(self, length, d) -> cosine, sine [P, d / 2], P >= length
-- Made from the model's settings when a longer text than before is seen, and kept in the model.
function rotary.tables(self, length, d)
  local kept = self.kept_rotary
  if kept and kept.length >= length then return kept.cosine, kept.sine end
  local frequencies = rotary.frequencies(rotary.parameters(self.settings, "config.json"), d)
  local cosine, sine = {}, {}
  for position = 0, length - 1 do
    local cosines, sines = {}, {}
    for i, frequency in ipairs(frequencies) do
      local angle = single(position * frequency)
      cosines[i], sines[i] = math.cos(angle), math.sin(angle)
    end
    cosine[position + 1], sine[position + 1] = cosines, sines
  end
  kept = {length = length, cosine = core.tensor(cosine), sine = core.tensor(sine)}
  self.kept_rotary = kept
  return kept.cosine, kept.sine
end

return rotary
