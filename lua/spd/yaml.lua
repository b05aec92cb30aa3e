--- What YAML scalars mean, trees of nodes (see core.yaml_parse), and YAML text from Lua values.
local core = require "spd.core"
local errors = require "spd.errors"

local yaml = {}

local LARGEST_FILE = 1 << 20

-- The words of YAML 1.1, as PyYAML resolves them: each also with a capital first letter, or all in capitals.
local WORDS = {["~"] = {}, [""] = {}}
for word, value in pairs {null = "null", ["true"] = true, yes = true, on = true,
                          ["false"] = false, no = false, off = false} do
  local meaning = value == "null" and {} or {value = value}
  WORDS[word], WORDS[word:upper()] = meaning, meaning
  WORDS[word:sub(1, 1):upper() .. word:sub(2)] = meaning
end

local SPECIAL = {inf = math.huge, infinity = math.huge, nan = 0 / 0}

--- yaml.number(text) -> number, or nil if it is none
-- A number as Python's int() and float() accept it: "40_000", "3e-3", " +1.5 ", "inf", "nan". Text
-- without point and exponent gives an integer (a float if it does not fit).
function yaml.number(text)
  local sign, digits = text:match("^%s*([+-]?)(.-)%s*$")
  local special = SPECIAL[digits:lower()]
  if special then return sign == "-" and -special or special end
  if digits:find("^_") or digits:find("_$") or digits:find("__") or digits:find("_[^%d]") or
      digits:find("[^%d]_") then
    return nil
  end
  digits = digits:gsub("_", "")
  local mantissa = digits:match("^([%d.]+)$") or digits:match("^([%d.]+)[eE][+-]?%d+$")
  if not mantissa or not mantissa:find("%d") then return nil end
  local value = tonumber(digits)
  if value == nil then return nil end
  return sign == "-" and -value or value
end

-- Numbers that only YAML 1.1 knows: 0x1f, 0b11, 017 (octal), .inf, .nan.
local function plain_number(text)
  local sign, rest = text:match("^([+-]?)(.*)$")
  local value
  if rest:find("^0x%x+$") then
    value = tonumber(rest:sub(3), 16)
  elseif rest:find("^0b[01]+$") then
    value = tonumber(rest:sub(3), 2)
  elseif rest:find("^0[0-7]+$") then
    value = tonumber(rest, 8)
  elseif rest:find("^%.[iI][nN][fF]$") or rest:find("^%.[nN][aA][nN]$") then
    value = SPECIAL[rest:sub(2):lower()]
  end
  if value then return sign == "-" and -value or value end
  return nil
end

--- yaml.scalar(node) -> nil, boolean, number or string
-- The meaning of a scalar node: quoted text is a string; plain text may be null, a boolean, or a number
-- as in YAML 1.1 (as PyYAML reads it) or as Python's int() and float() accept it.
function yaml.scalar(node)
  if node.native ~= nil then return node.native end
  if not node.plain then return node.value end
  local word = WORDS[node.value]
  if word then return word.value end
  local number = plain_number(node.value)
  if number then return number end
  if node.value:find("^[+-]?[iInN]") then return node.value end -- inf and nan without a point are words
  return yaml.number(node.value) or node.value
end

--- yaml.read(path) -> node, or nil for a file without content
-- Parse a YAML file. Errors name the file, and the line where there is one.
function yaml.read(path)
  local file, reason = io.open(path, "rb")
  if not file then errors.raise(2, path, "cannot read: " .. reason:gsub("^.*: ", "")) end
  local text, problem = file:read(LARGEST_FILE + 1)
  file:close()
  if problem then errors.raise(2, path, "cannot read: " .. problem) end
  if text and #text > LARGEST_FILE then
    errors.raise(2, path, "expected a YAML file of at most 1 MiB, found a larger one")
  end
  return core.yaml_parse(text or "", path)
end

-- Keys of a Lua table in a fixed order.
local function sorted_keys(t, where)
  local keys = {}
  for key in pairs(t) do
    if type(key) ~= "string" then
      errors.raise(2, where, "expected words as keys, found " .. tostring(key))
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

--- yaml.tree(value, where) -> node
-- The tree for a Lua value, as if it came from a file. Tables that are empty or have entries at 1, 2, ...
-- are lists.
function yaml.tree(value, where, depth)
  depth = depth or 1
  if depth > 32 then errors.raise(2, where, "tables are nested more than 32 levels deep") end
  if type(value) ~= "table" then return {kind = "scalar", native = value, where = where} end
  if #value > 0 or next(value) == nil then
    local node = {kind = "sequence", where = where}
    for i, item in ipairs(value) do node[i] = yaml.tree(item, where, depth + 1) end
    return node
  end
  local node = {kind = "mapping", where = where}
  for i, key in ipairs(sorted_keys(value, where)) do
    node[i] = {key = key, where = where, value = yaml.tree(value[key], where, depth + 1)}
  end
  return node
end

local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r"}

local function format_string(text)
  local plain = text:find("^[%a_./][%w_./*-]*$") and yaml.scalar {value = text, plain = true} == text
    and not yaml.number(text)
  if plain then return text end
  return '"' .. text:gsub('["\\%c]', function(c) return ESCAPES[c] or ("\\x%02x"):format(c:byte()) end) .. '"'
end

local function format_number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if value ~= value then return ".nan" end
  if value == math.huge or value == -math.huge then return value > 0 and ".inf" or "-.inf" end
  local text
  for digits = 15, 17 do
    text = ("%." .. digits .. "g"):format(value)
    if tonumber(text) == value then break end
  end
  if text:find("%.") then return text end
  return text:find("e") and (text:gsub("e", ".0e")) or text .. ".0"
end

--- yaml.format(value) -> text
-- One value (nil, boolean, number, string, or a list of such) as YAML on one line, read back to the same
-- value.
function yaml.format(value)
  if value == nil then return "null" end
  if type(value) == "string" then return format_string(value) end
  if type(value) == "number" then return format_number(value) end
  if type(value) == "boolean" then return tostring(value) end
  local items = {}
  for i, item in ipairs(value) do items[i] = yaml.format(item) end
  return "[" .. table.concat(items, ", ") .. "]"
end

return yaml
