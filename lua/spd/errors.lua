--- Errors that a user can cause: one line, and the exit status it stands for. Warnings.
local errors = {}

local Error = {__name = "spd.error"}
Error.__index = Error
Error.__tostring = function(self) return self.message end

--- errors.raise(status, where, what [, hint])
-- Raise an error object whose text is "WHERE: WHAT (HINT)". status 2: bad usage, config or input file;
-- 1: a failure while running. Control characters, such as those of names that somebody made up, become question marks:
-- the text is a line. The host prints the text and exits with the status; in Lua,
-- tostring(error) is the text.
function errors.raise(status, where, what, hint)
  local message = where .. ": " .. what
  if hint then message = message .. " (" .. hint .. ")" end
  error(setmetatable({status = status, message = (message:gsub("%c", "?"))}, Error), 0)
end

--- errors.warn(text)
-- A line on stderr about what is not as it should be, but stops nothing. Control characters as in errors.raise.
function errors.warn(text) io.stderr:write("spdlua: warning: ", (text:gsub("%c", "?")), "\n") end

--- errors.is(value) -> true if value is such an error object, raised from Lua or from C.
function errors.is(value)
  return type(value) == "table" and math.type(value.status) == "integer" and type(value.message) == "string"
end

return errors
