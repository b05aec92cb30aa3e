--- Nested tables as one table of short keys, as trackers show them.
local json = require "spd.json"

local flat = {}

local function put(into, prefix, group)
  for key, value in pairs(group) do
    if type(value) == "table" and #value == 0 then
      put(into, prefix .. key .. ".", value)
    else
      into[prefix .. key] = type(value) == "table" and json.encode(value) or value
    end
  end
end

--- flat.config(config) -> key -> number, boolean or text
-- A config's settings: "group.key", lists as JSON.
function flat.config(config)
  local values = {}
  put(values, "", config)
  return values
end

--- flat.summary(summary) -> key -> number
-- The numbers of a run's summary; what it has of each matrix is "MATRIX/key".
function flat.summary(summary)
  local numbers = {}
  for key, value in pairs(summary) do
    if type(value) == "number" then numbers[key] = value end
    for matrix, number in pairs(type(value) == "table" and value or {}) do numbers[matrix .. "/" .. key] = number end
  end
  return numbers
end

return flat
