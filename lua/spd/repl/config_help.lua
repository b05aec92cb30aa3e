--- Help about the keys of configs: type, default and description of each, from the tables of spd.schema.
local pretty = require "spd.repl.pretty"

local config_help = {}

local WIDTH, INDENT = 100, 36

local type_names = {
  string = "text", boolean = "true or false", strings = "list of words", integer_lists = "list of lists of integers",
  group = "group of keys",
}

local function range_of(field)
  if field.type == "integer_lists" then return "" end
  local up_to = field.max and (", up to %g"):format(field.max) or ""
  if field.above then return (" above %g"):format(field.above) .. up_to end
  if field.min and field.max and field.max <= 1 then return (" from %g to %g"):format(field.min, field.max) end
  return field.min and (", %g or more"):format(field.min) or ""
end

local function type_of(field)
  if field.choices then return (#field.choices > 1 and "one of " or "") .. table.concat(field.choices, ", ") end
  return (type_names[field.type] or field.type) .. range_of(field) .. (field.optional and ", or null" or "")
end

local function default_of(field)
  if field.required then return "must be given" end
  if field.default == nil then return nil end
  return "default " .. (field.type == "string" and ("%q"):format(field.default) or tostring(field.default))
end

local function add_field(lines, field, path)
  local default = default_of(field)
  local text = type_of(field) .. (default and "; " .. default or "") .. ". " .. field.description
  lines[#lines + 1] = pretty.entry(path .. field.key, text, INDENT, WIDTH)
end

local function add_fields(lines, list, path)
  for _, field in ipairs(list) do
    add_field(lines, field, path)
    local inner = path .. field.key .. "."
    if field.fields then add_fields(lines, field.fields, inner) end
    local names = {}
    for name in pairs(field.variants or {}) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      lines[#lines + 1] = ("  with %s%s: %s"):format(inner, field.tag, name)
      add_fields(lines, field.variants[name], inner)
    end
  end
end

--- config_help.is_fields(t) -> true if t is a list of fields as in spd.schema.
function config_help.is_fields(t)
  local first = rawget(t, 1)
  return type(first) == "table" and type(rawget(first, "key")) == "string" and rawget(first, "type") ~= nil
end

--- config_help.of_fields(list) -> text: a key, its type, default and description per line.
function config_help.of_fields(list)
  local lines = {}
  add_fields(lines, list, "")
  return table.concat(lines, "\n")
end

-- The list among `others` that has all fields of `list`, and the keys that it has beyond them.
local function larger_list(list, schema, names)
  for _, name in ipairs(names) do
    local left, missing = {}, #list
    for _, field in ipairs(schema[name]) do left[field] = true end
    for _, field in ipairs(list) do
      if left[field] then missing, left[field] = missing - 1, nil end
    end
    if missing == 0 and #list < #schema[name] then
      local keys = {}
      for field in pairs(left) do keys[#keys + 1] = field.key end
      table.sort(keys)
      return name, table.concat(keys, ", ")
    end
  end
  return nil
end

--- config_help.of_schema(schema) -> text: the keys of every kind of config.
function config_help.of_schema(schema)
  local names, parts = {}, {}
  for name, list in next, schema do
    if type(list) == "table" and config_help.is_fields(list) then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local larger, keys = larger_list(schema[name], schema, names)
    local text = larger and pretty.wrapped(("those of %s without %s"):format(larger, keys), "  ", WIDTH)
      or config_help.of_fields(schema[name])
    parts[i] = ("Keys of schema.%s:\n%s"):format(name, text)
  end
  return table.concat(parts, "\n\n")
end

return config_help
