--- The macros that a sweep's command may hold, such as ${program}.
local fields = require "spd.fields"

local macros = {}

local MACRO = "%${([^}]*)}"
local VARIABLE = "^envvar:([%a_][%w_]*)$"

--- macros.names: those that are not ${envvar:NAME}.
macros.names = {
  "env", "interpreter", "program", "args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_json",
  "args_json_file", "args_append_hydra", "args_override_hydra",
}

local is_macro = {}
for _, name in ipairs(macros.names) do is_macro[name] = true end

--- macros.default_command() -> list of words
-- The command of a sweep that has none.
function macros.default_command() return {"${env}", "${interpreter}", "${program}", "${args}"} end

--- macros.unknown(word) -> macro, nearest; or nil
-- The first macro in a word that there is not, and the one that it is most like.
function macros.unknown(word)
  for name in word:gmatch(MACRO) do
    if not is_macro[name] and not name:find(VARIABLE) then
      local nearest = name:find "^env.*:" and "envvar:NAME" or fields.nearest(name, macros.names)
      return "${" .. name .. "}", "${" .. nearest .. "}"
    end
  end
end

--- macros.used(words) -> table by name of the macros in a list of words
function macros.used(words)
  local used = {}
  for _, word in ipairs(words) do
    for name in word:gmatch(MACRO) do used[name] = true end
  end
  return used
end

--- macros.expand(word, lists) -> list of words
-- lists: name -> list of words that a macro stands for. A word that is one macro becomes its words; in a longer word
-- they stand with blanks between them. ${envvar:NAME} is that variable of the environment, or NAME if there is none.
function macros.expand(word, lists)
  local alone = word:match("^" .. MACRO .. "$")
  if alone and lists[alone] then return lists[alone] end
  return {(word:gsub(MACRO, function(name)
    local variable = name:match(VARIABLE)
    if variable then return os.getenv(variable) or variable end
    return table.concat(lists[name], " ")
  end))}
end

return macros
