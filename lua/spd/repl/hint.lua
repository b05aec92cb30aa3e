--- What the REPL says beside an error, or in the place of nothing, to somebody who knows other programs better.
local completion = require "spd.repl.completion"
local fields = require "spd.fields"

local hint = {}

--- hint.of_leaving(text) -> a hint for words that leave other programs, where they mean nothing else; or nil
function hint.of_leaving(text)
  local word = text:match("^%s*(%a+)%s*$") or text:match("^%s*(%a+)%s*%(%s*%)%s*$")
  if (word == "exit" or word == "quit") and _G[word] == nil then return "Ctrl-D leaves, and os.exit()" end
  return nil
end

-- What stands before a name that is called or indexed in a text, up to its last . or :
local function before_use(text, name) return text:match("^(.*[.:])%s*" .. name .. "%s*[%({\"'%[.:]") end

-- The name that was probably meant, if one differs by few letters.
local function similar(name, names)
  local nearest, distance = fields.nearest(name, names)
  return nearest and distance <= (#name + 2) // 3 and nearest or nil
end

-- Whether a name that is no global is one of the table spd.
local function is_in_spd(name, globals)
  local spd = rawget(globals, "spd")
  return type(spd) == "table" and rawget(spd, name) ~= nil
end

--- hint.of_error(text, message [, globals = _G]) -> a hint where a text that was typed uses what is not there; or nil
function hint.of_error(text, message, globals)
  local kind, name = message:match("^stdin[^\n]*attempt to %a+ a nil value %((%a+) '([%a_][%w_]*)'%)")
  if not kind then return nil end
  globals = globals or _G
  if kind == "global" and is_in_spd(name, globals) then return "spd." .. name .. " is there" end
  local before = kind == "global" and "" or before_use(text, name)
  if not before then return nil end
  local object, separator = before:match("([%w_.:%[%]]-)([.:]?)$")
  local meant = similar(name, completion.complete(before, "", globals))
  if meant then return ("the nearest one is %s%s%s"):format(object, separator, meant) end
  return object ~= "" and ("help(%s) lists what there is"):format(object) or nil
end

return hint
