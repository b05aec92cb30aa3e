--- Reading a tree of YAML nodes by a table of fields (see spd.schema): what a config error says is decided
-- here.
local errors = require "spd.errors"
local yaml = require "spd.yaml"

local fields = {}

-- ---- places ---------------------------------------------------------------------------------

--- fields.place(node, source) -> text
-- Where a node or an entry of a mapping was written: an override, a line of the file, or just the source.
function fields.place(node, source)
  return node.where or (node.line and source .. ":" .. node.line) or source
end

local place = fields.place

local function join_path(path, key) return path == "" and key or path .. "." .. key end

-- ---- unknown keys ---------------------------------------------------------------------------

-- Number of single-character edits that turn a into b (Levenshtein 1966).
local function edit_distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal
    diagonal, row[0] = row[0], i
    for j = 1, #b do
      local changed = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      diagonal, row[j] = row[j], math.min(changed, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

--- fields.nearest(word, words) -> the one of words that differs least from word, and by how many letters
-- Of a word with points its last part may be meant.
function fields.nearest(word, words)
  local best, least
  for _, candidate in ipairs(words) do
    local given, whole = word:lower():sub(1, 100), candidate:lower()
    local distance = math.min(edit_distance(given, whole), edit_distance(given, whole:match("[^.]*$")))
    if not least or distance < least then best, least = candidate, distance end
  end
  return best, least
end

local function printable(text)
  if #text > 80 then text = text:sub(1, utf8.offset(text, 0, 80) - 1) .. "..." end
  return (text:gsub("%c", "?"))
end

local function entry_of(node, key)
  for i = #node, 1, -1 do
    if node[i].key == key then return node[i] end
  end
  return nil
end

-- The fields of a group; of one with variants those of the variant that its tag names, else nil.
local function group_fields(field, node)
  if field.fields then return field.fields end
  local tag = entry_of(node, field.tag)
  return tag and tag.value.kind == "scalar" and field.variants[yaml.scalar(tag.value)] or nil
end

-- The fields of all variants, for a group whose tag is missing or wrong.
local function all_fields(field)
  local all, names = {}, {}
  for name in pairs(field.variants) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    table.move(field.variants[name], 1, #field.variants[name], #all + 1, all)
  end
  return all
end

local function check_keys(node, list, source, path)
  local by_key, keys = {}, {}
  for _, field in ipairs(list) do
    by_key[field.key] = field
    keys[#keys + 1] = field.key
  end
  for _, entry in ipairs(node) do
    local field = by_key[entry.key]
    if not field then
      errors.raise(2, place(entry, source), ("unknown key '%s'"):format(printable(join_path(path, entry.key))),
        ("the nearest one is '%s'"):format(join_path(path, fields.nearest(entry.key, keys))))
    end
    if field.type == "group" and entry.value.kind == "mapping" then
      local inner = group_fields(field, entry.value) or all_fields(field)
      check_keys(entry.value, inner, source, join_path(path, entry.key))
    end
  end
end

-- ---- values ---------------------------------------------------------------------------------

local function describe_range(field, noun, value)
  if field.above and field.max then return ("%s in (%g, %g]"):format(noun, field.above, field.max) end
  if field.above then return ("%s above %g"):format(noun, field.above) end
  if field.min and field.max and field.max < 1000 then
    return ("%s in [%g, %g]"):format(noun, field.min, field.max)
  end
  if field.max and type(value) == "number" and value > field.max then
    return ("%s of at most %d"):format(noun, field.max)
  end
  return field.min and ("%s of %g or more"):format(noun, field.min) or noun
end

local function in_range(field, value)
  return value == value and value ~= math.huge and value ~= -math.huge and value >= (field.min or value)
    and value <= (field.max or value) and not (field.above and value <= field.above)
end

local function number_of(node)
  local value = yaml.scalar(node)
  if type(value) == "string" then value = yaml.number(value) or value end
  return value
end

-- For each type: describe(field, value) says what is expected; read(field, node) gives the value, or nil
-- if the node does not have one.
local types = {}

types.number = {
  describe = function(field, value) return describe_range(field, "a number", value) end,
  read = function(field, node)
    local value = number_of(node)
    return type(value) == "number" and in_range(field, value) and value + 0.0 or nil
  end,
}

types.integer = {
  describe = function(field, value) return describe_range(field, "an integer", value) end,
  read = function(field, node)
    local value = number_of(node)
    local integer = type(value) == "number" and math.tointeger(value)
    return integer and in_range(field, integer) and integer or nil
  end,
}

types.boolean = {
  describe = function() return "true or false" end,
  read = function(_, node)
    local value = yaml.scalar(node)
    if type(value) == "string" then value = yaml.scalar {value = value, plain = true} end
    if type(value) == "boolean" then return value end
    return nil
  end,
}

types.string = {
  describe = function() return "text (in quotes where it looks like something else)" end,
  read = function(_, node)
    local value = yaml.scalar(node)
    return type(value) == "string" and value or nil
  end,
}

types.choice = {
  describe = function(field)
    return (#field.choices > 1 and "one of " or "") .. table.concat(field.choices, ", ")
  end,
  read = function(field, node)
    local value = yaml.scalar(node)
    for _, choice in ipairs(field.choices) do
      if value == choice then return value end
    end
    return nil
  end,
}

local function read_list(node, read_item)
  if node.kind ~= "sequence" then return nil end
  local list = {}
  for i, item in ipairs(node) do
    list[i] = read_item(item)
    if not list[i] then return nil end
  end
  return list
end

types.strings = {
  describe = function() return "a list of words" end,
  read = function(field, node)
    local list = read_list(node, function(item)
      return item.kind == "scalar" and types.string.read(field, item)
    end)
    return list and #list > 0 and list or nil
  end,
}

types.integer_lists = {
  describe = function() return "a list of lists of integers of 0 or more" end,
  read = function(field, node)
    return read_list(node, function(inner)
      return read_list(inner, function(item)
        return item.kind == "scalar" and types.integer.read(field, item)
      end)
    end)
  end,
}

local IS_LIST = {strings = true, integer_lists = true}

--- fields.found(node) -> text
-- What an error says was found: "an empty group", "[1, 2]", "null", "'text'", "3".
function fields.found(node)
  if node.kind == "mapping" then return #node == 0 and "an empty group" or "a group of keys" end
  if node.kind == "sequence" then
    local items = {}
    for i, item in ipairs(node) do
      if i > 4 then items[i] = "..." break end
      items[i] = fields.found(item)
    end
    return "[" .. table.concat(items, ", ") .. "]"
  end
  local value = yaml.scalar(node)
  if value == nil then return "null" end
  if type(value) == "string" then return "'" .. printable(value) .. "'" end
  return node.value and printable(node.value) or tostring(value)
end

-- ---- groups ---------------------------------------------------------------------------------

local read_group

local function wrong_value(field, node, where, path)
  local expected = field.type == "group" and "a group of keys"
    or types[field.type].describe(field, node.kind == "scalar" and number_of(node))
  if field.optional then expected = expected .. ", or null" end
  errors.raise(2, where, ("%s: expected %s, found %s"):format(path, expected, fields.found(node)))
end

local function read_value(field, entry, context, path)
  local node, where = entry.value, place(entry, context.source)
  context.places[path] = where
  if field.optional and node.kind == "scalar" and yaml.scalar(node) == nil then return nil end
  local value
  if field.type == "node" then
    value = node
  elseif field.type == "group" then
    if node.kind == "mapping" then value = read_group(field, node, context, path) end
  elseif (node.kind == "scalar") ~= (IS_LIST[field.type] or false) then
    value = types[field.type].read(field, node)
  end
  if value == nil then wrong_value(field, node, where, path) end
  return value
end

local function read_fields(node, list, context, path)
  local result, by_key = {}, {}
  for _, field in ipairs(list) do by_key[field.key] = field end
  for _, entry in ipairs(node) do
    result[entry.key] = read_value(by_key[entry.key], entry, context, join_path(path, entry.key))
  end
  for _, field in ipairs(list) do
    if not entry_of(node, field.key) then result[field.key] = field.default end
  end
  return result
end

function read_group(field, node, context, path)
  local list = group_fields(field, node)
  if list then return read_fields(node, list, context, path) end
  local names = {}
  for name in pairs(field.variants) do names[#names + 1] = name end
  table.sort(names)
  local tag = entry_of(node, field.tag)
  local where, found = place(node, context.source), "nothing"
  if tag then where, found = place(tag, context.source), fields.found(tag.value) end
  return errors.raise(2, where, ("%s: expected one of %s, found %s"):format(join_path(path, field.tag),
    table.concat(names, ", "), found))
end

-- Paths of the keys that must be given but are not, in the order of the fields.
local function missing_keys(node, list, path, missing)
  for _, field in ipairs(list) do
    local entry = entry_of(node, field.key)
    if entry and field.type == "group" then
      missing_keys(entry.value, group_fields(field, entry.value), join_path(path, field.key), missing)
    elseif not entry and field.required then
      missing[#missing + 1] = join_path(path, field.key)
    end
  end
  return missing
end

--- fields.read(node, list, source) -> table, places
-- Read the mapping node by the list of fields: a plain table with all defaults filled in, and where each
-- key was given (key path -> "file:line"). Errors, the first of: a key that is unknown, a value that is
-- wrong, keys that are missing. A field of the type "node" is what was given as a tree, to be read by others.
function fields.read(node, list, source)
  if node == nil then errors.raise(2, source, "expected keys and values, found an empty file") end
  if node.kind ~= "mapping" then
    errors.raise(2, place(node, source), "expected keys and values, found " .. fields.found(node))
  end
  check_keys(node, list, source, "")
  local context = {source = source, places = {}}
  local result = read_fields(node, list, context, "")
  local missing = missing_keys(node, list, "", {})
  if #missing > 0 then
    errors.raise(2, source, (#missing > 1 and "missing keys: " or "missing key: ") .. table.concat(missing,
      ", "))
  end
  return result, context.places
end

return fields
