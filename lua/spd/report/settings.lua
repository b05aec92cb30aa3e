--- The configs of several runs side by side: all keys, what is a default, and in which keys the runs differ.
local json = require "spd.json"
local schema = require "spd.schema"
local yaml = require "spd.yaml"

local settings = {}

-- Call f(path, field, value) for every key of a config.
local function each_key(values, fields, prefix, f)
  for _, field in ipairs(fields) do
    local value = values[field.key]
    if field.type == "group" then
      each_key(value, field.fields or field.variants[value[field.tag]], prefix .. field.key .. ".", f)
    else
      f(prefix .. field.key, field, value)
    end
  end
end

local function fields_of(config) return config.task_config and schema.decomposition or schema.own_model end

-- The text of a value as in YAML, but a number as itself and a string without quotes.
local function shown(value)
  if type(value) == "string" or type(value) == "number" then return value end
  return yaml.format(value)
end

-- All keys of the configs in the order of the schema, as {path =, default =, description =}; and key path -> place.
local function keys_of(configs)
  local keys, places = {}, {}
  for _, config in ipairs(configs) do
    each_key(config, fields_of(config), "", function(path, field)
      if not places[path] then
        local has_default = field.default ~= nil or field.optional and not field.required
        keys[#keys + 1] = {
          path = path, description = field.description, default = has_default and shown(field.default) or nil,
        }
        places[path] = #keys
      end
    end)
  end
  return keys, places
end

local function differing(keys, rows)
  local list = {}
  for k, key in ipairs(keys) do
    for i = 2, #rows do
      if rows[i][k] ~= rows[1][k] then
        list[#list + 1] = key.path
        break
      end
    end
  end
  return #list > 0 and list or json.empty_list
end

--- settings.data(configs) -> {keys =, swept =, rows =}
-- keys: all keys of the configs, as {path =, default = where there is one, description =}. rows: by config the values
-- of these keys, numbers or texts; json.null for a key that it does not have. swept: the paths of the keys in which the
-- configs differ.
function settings.data(configs)
  local keys, places = keys_of(configs)
  local rows = {}
  for i, config in ipairs(configs) do
    rows[i] = {}
    for k = 1, #keys do rows[i][k] = json.null end
    each_key(config, fields_of(config), "", function(path, _, value) rows[i][places[path]] = shown(value) end)
  end
  return {keys = keys, swept = differing(keys, rows), rows = rows}
end

return settings
