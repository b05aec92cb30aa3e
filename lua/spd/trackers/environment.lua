--- Settings from the environment, and from a file .env in the working directory, as the public SPD code has one.
local posix = require("spd.core").posix

local environment = {}

local LARGEST_FILE = 1 << 20

local ESCAPES = {n = "\n", r = "\r", t = "\t"}

-- The value of a line KEY=VALUE: quoted, or up to a comment.
local function value_of(text)
  local single = text:match("^'([^']*)'")
  if single then return single end
  local double = text:match('^"(.*)')
  if double then
    local value = double:gsub("\\(.)", function(c) return c == '"' and "\0" or ESCAPES[c] or c end):match('^[^"]*')
    return (value:gsub("%z", '"'))
  end
  return text:gsub("%s#.*$", ""):gsub("^#.*$", ""):match("^.*%S") or ""
end

--- environment.parse(text) -> key -> value
-- The lines KEY=VALUE of a .env file, with or without `export` and quotes. Others are comments.
function environment.parse(text)
  local values = {}
  for line in text:gmatch("[^\r\n]+") do
    local name, value = line:gsub("^%s*export%s+", ""):match("^%s*([%a_][%w_]*)%s*=%s*(.*)$")
    if name then values[name] = value_of(value) end
  end
  return values
end

--- environment.read([path]) -> function(name) -> value, or nil
-- Look variables up: those of the environment win over those of the file (default ".env"), which need not be there. An
-- empty one is nil.
function environment.read(path)
  path = path or ".env"
  local file <close> = posix.is_file(path) and io.open(path, "rb") or nil
  local values = environment.parse(file and file:read(LARGEST_FILE) or "")
  return function(name)
    local value = os.getenv(name) or values[name]
    return value ~= "" and value or nil
  end
end

return environment
