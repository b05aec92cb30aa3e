--- JSON with sorted keys and numbers that read back exactly.
--
-- lua-cjson reads, and writes strings; it cannot sort keys, and keeps only 14 digits of a number.
local cjson = require "cjson"

local json = {}

--- json.empty_list: an empty array; any other empty table is an object.
json.empty_list = setmetatable({}, {__name = "json.empty_list"})

--- json.null: null as an entry of an object or a list that is written, where nil would be none.
json.null = cjson.null

local function number_text(x)
  if x ~= x or x == math.huge or x == -math.huge then return "null" end
  if math.type(x) == "integer" then return ("%d"):format(x) end
  for digits = 15, 17 do
    local text = ("%." .. digits .. "g"):format(x)
    if tonumber(text) == x then return text end
  end
end

local function string_text(text)
  return (cjson.encode(text):gsub("\\/", "/"))
end

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do
    assert(type(key) == "string", "json: a key of an object is not a string")
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local encode

-- The entries of a table as "KEY: VALUE" or "VALUE", and its brackets.
local function entries(value, newline)
  local list = {}
  if #value > 0 then
    for i, item in ipairs(value) do list[i] = encode(item, newline) end
    return list, "[", "]"
  end
  for i, key in ipairs(sorted_keys(value)) do
    list[i] = string_text(key) .. (newline and ": " or ":") .. encode(value[key], newline)
  end
  return list, "{", "}"
end

-- newline: what to break lines with, indentation included; nil for one line.
function encode(value, newline)
  if value == cjson.null or value == nil then return "null" end
  if type(value) == "number" then return number_text(value) end
  if type(value) == "string" then return string_text(value) end
  if type(value) == "boolean" then return tostring(value) end
  if value == json.empty_list then return "[]" end
  assert(type(value) == "table", "json: cannot write a " .. type(value))
  local deeper = newline and newline .. "  "
  local list, open, close = entries(value, deeper)
  if #list == 0 or not newline then return open .. table.concat(list, ",") .. close end
  return open .. deeper .. table.concat(list, "," .. deeper) .. newline .. close
end

--- json.encode(value) -> text on one line
-- Tables with entries at 1, 2, ... are arrays, all others objects, with their keys sorted; json.empty_list is an array
-- without entries. Numbers keep all their digits; NaN and infinities are null.
function json.encode(value) return encode(value) end

--- json.encode_pretty(value) -> the same on indented lines, with a newline at the end.
function json.encode_pretty(value) return encode(value, "\n") .. "\n" end

-- cjson has floats for all numbers, and a value of its own for null.
local function plain(value)
  if value == cjson.null then return nil end
  if type(value) == "number" then return math.abs(value) < 2 ^ 53 and math.tointeger(value) or value end
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, item in pairs(value) do copy[key] = plain(item) end
  return copy
end

--- json.decode(text) -> value, or nil and what is wrong
-- Whole numbers below 2^53 are integers. What is null is left out of its table.
function json.decode(text)
  local ok, value = pcall(cjson.decode, text)
  if not ok then return nil, (value:gsub("^.-:%d+: ", "")) end
  return plain(value)
end

return json
