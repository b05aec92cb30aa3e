--- Values of swept parameters: read from YAML, written as words of a command, as overrides of a config, as JSON.
--
-- A value is nil (null), a boolean, a number, a string, a list of values or a group (a table by key). An empty table is
-- an empty list: there are no empty groups, and no null inside a list or a group, so that a value survives JSON.
local core = require "spd.core"
local errors = require "spd.errors"
local json = require "spd.json"
local yaml = require "spd.yaml"

local values = {}

local function is_group(value) return type(value) == "table" and #value == 0 and next(value) ~= nil end

local function sorted_keys(group)
  local keys = {}
  for key in pairs(group) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- ---- reading ------------------------------------------------------------------------------------

--- values.number(node) -> number, or nil if the node has none
-- Quoted or not, as Python's int() and float() accept it.
function values.number(node)
  if node.kind ~= "scalar" then return nil end
  local value = yaml.scalar(node)
  if type(value) == "string" then value = yaml.number(value) end
  return type(value) == "number" and value or nil
end

local function inner_value(node, where)
  local value = values.read(node, where)
  if value == nil then errors.raise(2, where, "expected no null inside a list or a group") end
  return value
end

--- values.read(node, where) -> value
-- The value of a YAML node. where: the beginning of an error, "FILE:LINE: KEY".
function values.read(node, where)
  if node.kind == "scalar" then return yaml.scalar(node) end
  local value = {}
  if node.kind == "sequence" then
    for i, item in ipairs(node) do value[i] = inner_value(item, where) end
    return value
  end
  if #node == 0 then errors.raise(2, where, "expected a value, found an empty group") end
  for _, entry in ipairs(node) do value[entry.key] = inner_value(entry.value, where) end
  return value
end

--- values.equal(a, b) -> boolean
-- Whether two values are the same: 1 and 1.0 are, and lists and groups with the same content.
function values.equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, item in pairs(a) do
    if not values.equal(item, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- values.leaves(key, value) -> list of {key =, value =}
-- A group as its entries under dotted keys, so that what it does not name keeps its value; else the value itself.
function values.leaves(key, value, found)
  found = found or {}
  if not is_group(value) then
    found[#found + 1] = {key = key, value = value}
    return found
  end
  for _, inner in ipairs(sorted_keys(value)) do values.leaves(key .. "." .. inner, value[inner], found) end
  return found
end

-- ---- writing ------------------------------------------------------------------------------------

--- values.yaml(value) -> text
-- YAML on one line, read back to the same value.
function values.yaml(value)
  if type(value) ~= "table" then return yaml.format(value) end
  local items = {}
  if not is_group(value) then
    for i, item in ipairs(value) do items[i] = values.yaml(item) end
    return "[" .. table.concat(items, ", ") .. "]"
  end
  for i, key in ipairs(sorted_keys(value)) do items[i] = yaml.format(key) .. ": " .. values.yaml(value[key]) end
  return "{" .. table.concat(items, ", ") .. "}"
end

-- A float as Python prints it: as few digits as name it, an exponent below 1e-4 and from 1e16 on.
local function python_float(x)
  if x ~= x then return "nan" end
  if x == math.huge or x == -math.huge then return x > 0 and "inf" or "-inf" end
  local text
  for digits = 1, 17 do
    text = ("%." .. digits .. "g"):format(x)
    if tonumber(text) == x then break end
  end
  if math.abs(x) >= 1e-4 and math.abs(x) < 1e16 and text:find("e") then text = ("%.0f"):format(x) end
  return text:find("[.e]") and text or text .. ".0"
end

-- Whether a config reads the text, unquoted, as the same text.
local function reads_as_itself(text)
  local ok, node = pcall(core.yaml_parse, text, "value")
  return ok and node ~= nil and node.kind == "scalar" and node.plain and yaml.scalar(node) == text
end

--- values.word(value) -> text
-- A value in a command as W&B prints it there, which is Python's str(): True, 1e-05, 3.0, text without quotes. Where
-- the config of a script of ours would read that as something else it is YAML instead: null for None, quotes around
-- text that looks like a number, lists and groups.
function values.word(value)
  if type(value) == "boolean" then return value and "True" or "False" end
  if math.type(value) == "float" then return python_float(value) end
  if type(value) == "string" and reads_as_itself(value) then return value end
  return values.yaml(value)
end

--- values.json(value) -> value
-- The same for json.encode, which tells lists from objects and nothing from null.
function values.json(value)
  if value == nil then return json.null end
  if type(value) ~= "table" then return value end
  if next(value) == nil then return json.empty_list end
  local copy = {}
  for key, item in pairs(value) do copy[key] = values.json(item) end
  return copy
end

return values
