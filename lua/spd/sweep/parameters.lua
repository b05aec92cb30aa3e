--- The `parameters` of a sweep file: groups are flattened to dotted keys, every distribution is checked.
local distributions = require "spd.sweep.distributions"
local errors = require "spd.errors"
local fields = require "spd.fields"
local values = require "spd.sweep.values"

local parameters = {}

local KEYS = {
  "distribution", "value", "values", "probabilities", "min", "max", "mu", "sigma", "q", "a", "b", "parameters",
}
local KEY = "^[%a_][%w_.-]*$" -- what a word key=value of a command can begin with
local LARGEST_RANGE = 1 << 62 -- of integers: differences and counts are exact

-- ---- one parameter ------------------------------------------------------------------------------

-- A parameter while it is read: {key =, where =, source =, entries = key -> entry, warn =}.
local function fail(one, entry, what, hint)
  local where = entry and fields.place(entry, one.source) or one.where
  local path = "parameters." .. one.key .. (entry and entry ~= one.entry and "." .. entry.key or "")
  errors.raise(2, where, path .. ": " .. what, hint)
end

local function read_entries(one, node)
  local entries = {}
  for _, entry in ipairs(node) do
    local known = false
    for _, key in ipairs(KEYS) do known = known or entry.key == key end
    if not known then
      local path = ("parameters.%s.%s"):format(one.key, entry.key):gsub("%c", "?")
      errors.raise(2, fields.place(entry, one.source), ("unknown key '%s'"):format(path),
        entry.value.kind == "mapping" and "a group of parameters is written below the key parameters"
        or ("the nearest one is '%s'"):format(fields.nearest(entry.key, KEYS)))
    end
    entries[entry.key] = entry
  end
  return entries
end

local function is_integer(entry)
  local number = entry and values.number(entry.value)
  return math.type(number) == "integer"
end

-- The distribution that is named, or that the other keys mean.
local function distribution_of(one)
  local entries = one.entries
  local named = entries.distribution
  if named then
    local name = named.value.kind == "scalar" and named.value.value or ""
    for _, known in ipairs(distributions.names) do
      if known == name then return name end
    end
    fail(one, named, ("unknown distribution %s"):format(fields.found(named.value)),
      ("the nearest one is '%s'"):format(fields.nearest(tostring(name), distributions.names)))
  end
  if entries.value then return "constant" end
  if entries.values then return entries.probabilities and "categorical_w_probabilities" or "categorical" end
  if entries.min or entries.max then
    return is_integer(entries.min) and is_integer(entries.max) and "int_uniform" or "uniform"
  end
  if entries.mu or entries.sigma then return "normal" end
  fail(one, nil, "expected value, values, min and max, a distribution, or parameters")
end

local function check_keys(one, required, defaults)
  local uses = {distribution = true}
  for _, key in ipairs(required) do
    uses[key] = true
    if not one.entries[key] then
      fail(one, nil, ("%s is missing, which the distribution %s needs"):format(key, one.distribution),
        key == "q" and "values are multiples of q" or nil)
    end
  end
  for key in pairs(defaults) do uses[key] = true end
  for _, key in ipairs(KEYS) do
    if one.entries[key] and not uses[key] then
      fail(one, one.entries[key], ("the distribution %s does not have it"):format(one.distribution))
    end
  end
end

-- ---- numbers ------------------------------------------------------------------------------------

local function positive(x) return x > 0 end

-- What a number must be, by key.
local CHECKS = {
  q = {positive, "a number above 0"}, sigma = {positive, "a number above 0"}, a = {positive, "a number above 0"},
  b = {positive, "a number above 0"},
}

local function read_number(one, key)
  local entry = one.entries[key]
  local number = values.number(entry.value)
  local check = CHECKS[key]
  if key == "min" and one.distribution:find "_values$" then check = CHECKS.q end
  if key == "min" or key == "max" then
    if one.distribution == "int_uniform" then
      number = number and math.tointeger(number)
      if not number then fail(one, entry, "expected an integer, found " .. fields.found(entry.value)) end
    end
  end
  if not number or number ~= number or math.abs(number) == math.huge or check and not check[1](number) then
    fail(one, entry, ("expected %s, found %s"):format(check and check[2] or "a number", fields.found(entry.value)))
  end
  return number
end

local function check_range(one, parameter)
  local low, high = parameter.min, parameter.max
  if low > high then
    fail(one, one.entries.min, ("expected at most max, which is %s, found %s"):format(values.word(high),
      values.word(low)))
  end
  if one.distribution == "int_uniform" and (high - low < 0 or high - low >= LARGEST_RANGE) then
    fail(one, one.entries.max, "expected at most 2^62 above min, found " .. values.word(high))
  end
  local least, largest = distributions.exponents(parameter)
  if not least then return end
  if math.exp(least) == 0 or math.exp(largest) == math.huge then
    fail(one, one.entries.max, "expected exponents of e whose powers are numbers",
      one.distribution .. "_values takes the values themselves")
  elseif not one.distribution:find "_values$" and low > 0 and high <= 1 then
    one.warn(("%s: parameters.%s: min and max are exponents of e: values lie between %.4g and %.4g (%s takes the " ..
      "values themselves)"):format(one.where, one.key, math.exp(least), math.exp(largest),
      one.distribution .. "_values"))
  end
end

-- ---- lists --------------------------------------------------------------------------------------

local function list_of(one, key)
  local entry = one.entries[key]
  if entry.value.kind ~= "sequence" then fail(one, entry, "expected a list, found " .. fields.found(entry.value)) end
  if #entry.value == 0 then fail(one, entry, "expected at least one value, found an empty list") end
  return entry.value
end

local function same_choice(choices, value)
  for i, choice in ipairs(choices) do
    if values.equal(choice.value, value) then return i end
  end
end

-- Lists of {value =}, since a value may be nil. One that is given twice is one value.
local function read_choices(one, parameter)
  local choices, probabilities = {}, parameter.probabilities and {}
  for i, node in ipairs(list_of(one, "values")) do
    local where = ("%s: parameters.%s.values"):format(fields.place(node, one.source), one.key)
    local value = values.read(node, where)
    local same = same_choice(choices, value)
    if not same then
      choices[#choices + 1] = {value = value}
    else
      one.warn(("%s: %s is given twice and counts as one value"):format(where, values.word(value)))
    end
    if probabilities then
      local at = same or #choices
      probabilities[at] = (probabilities[at] or 0) + parameter.probabilities[i]
    end
  end
  parameter.choices, parameter.probabilities = choices, probabilities
end

local function read_probabilities(one, parameter)
  local entry, list, sum = one.entries.probabilities, {}, 0.0
  for i, node in ipairs(list_of(one, "probabilities")) do
    local number = values.number(node)
    if not number or not (number >= 0 and number <= 1) then
      fail(one, entry, "expected numbers from 0 to 1, found " .. fields.found(node))
    end
    list[i], sum = number, sum + number
  end
  local count = #list_of(one, "values")
  if #list ~= count then fail(one, entry, ("expected %d, one for each value, found %d"):format(count, #list)) end
  if math.abs(sum - 1) > 1e-6 then fail(one, entry, ("expected a sum of 1, found %g"):format(sum)) end
  parameter.probabilities = list
end

-- ---- all ----------------------------------------------------------------------------------------

local function add(context, parameter, one)
  for _, other in ipairs(context.list) do
    local short, long = other.key, parameter.key
    if #short > #long then short, long = long, short end
    if short == long then
      fail(one, nil, "is given twice", "first at " .. other.where)
    elseif long:sub(1, #short + 1) == short .. "." then
      fail(one, nil, ("'%s' lies within '%s', which has a value of its own"):format(long, short))
    end
  end
  table.insert(context.list, parameter)
end

-- A constant that is a group stands for its entries.
local function add_constant(context, one, path)
  local entry = one.entries.value
  if entry.value.kind ~= "mapping" then
    local value = values.read(entry.value, ("%s: parameters.%s.value"):format(fields.place(entry, one.source), one.key))
    add(context, {key = one.key, path = path, where = one.where, distribution = "constant", value = value}, one)
    return
  end
  if #entry.value == 0 then fail(one, entry, "expected a value, found an empty group") end
  for _, inner in ipairs(entry.value) do
    local inner_path = table.move(path, 1, #path, 1, {})
    inner_path[#inner_path + 1] = inner.key
    add_constant(context, {
      key = one.key .. "." .. inner.key, where = fields.place(inner, one.source), source = one.source, entry = inner,
      entries = {value = inner}, warn = one.warn,
    }, inner_path)
  end
end

local function add_parameter(context, one, path)
  one.distribution = distribution_of(one)
  local required, defaults = distributions.keys(one.distribution)
  check_keys(one, required, defaults)
  if one.distribution == "constant" then return add_constant(context, one, path) end
  local parameter = {key = one.key, path = path, where = one.where, distribution = one.distribution}
  for key, default in pairs(defaults) do
    parameter[key] = one.entries[key] and read_number(one, key) or default
  end
  for _, key in ipairs(required) do
    if key ~= "values" and key ~= "probabilities" then parameter[key] = read_number(one, key) end
  end
  if parameter.min then check_range(one, parameter) end
  if one.entries.probabilities then read_probabilities(one, parameter) end
  if one.entries.values then read_choices(one, parameter) end
  add(context, parameter, one)
end

-- The entries of a mapping by key, as W&B orders them.
local function sorted(node)
  local entries = table.move(node, 1, #node, 1, {})
  table.sort(entries, function(a, b) return a.key < b.key end)
  return entries
end

local function read_group(context, node, prefix, path)
  for _, entry in ipairs(sorted(node)) do
    local one = {
      key = prefix .. entry.key, where = fields.place(entry, context.source), source = context.source, entry = entry,
      warn = context.warn,
    }
    if not entry.key:find(KEY) or entry.key:find "%.%." or entry.key:find "%.$" then
      errors.raise(2, one.where, ("parameters: expected the key of a config, found '%s'"):format(
        entry.key:gsub("%c", "?")))
    end
    local inner = table.move(path, 1, #path, 1, {})
    inner[#inner + 1] = entry.key
    if entry.value.kind ~= "mapping" then
      fail(one, nil, ("expected a group such as {value: %s}, found %s"):format(
        entry.value.kind == "scalar" and entry.value.value ~= "" and fields.found(entry.value) or "1",
        fields.found(entry.value)))
    end
    one.entries = read_entries(one, entry.value)
    if one.entries.parameters and not one.entries.distribution then
      parameters.check_group(one, entry.value)
      read_group(context, one.entries.parameters.value, one.key .. ".", inner)
    else
      add_parameter(context, one, inner)
    end
  end
end

--- parameters.check_group(one, node)
-- Raise an error unless a nested group holds `parameters`, not empty, and nothing else.
function parameters.check_group(one, node)
  local entry = one.entries.parameters
  if #node > 1 then
    for _, other in ipairs(node) do
      if other ~= entry then fail(one, other, "a group of parameters does not have it") end
    end
  end
  if entry.value.kind ~= "mapping" or #entry.value == 0 then
    fail(one, entry, "expected at least one parameter, found " .. fields.found(entry.value))
  end
end

--- parameters.read(node, source, where, warn) -> list of parameters
-- Read the mapping below the key `parameters`, which stands at `where` in the file called source. Each parameter has
-- key (dotted), path (the keys of the groups that it lies in, and its own), where ("FILE:LINE"), distribution, and the
-- numbers of that: value; choices = list of {value =}, with probabilities; min, max, q; mu, sigma; a, b. Their order is
-- that of W&B: by key, level by level. warn(text) is told what may mislead.
function parameters.read(node, source, where, warn)
  if node.kind ~= "mapping" or #node == 0 then
    errors.raise(2, where, "parameters: expected at least one parameter, found " .. fields.found(node))
  end
  local context = {source = source, list = {}, warn = warn}
  read_group(context, node, "", {})
  return context.list
end

return parameters
