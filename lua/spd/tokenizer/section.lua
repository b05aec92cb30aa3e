--- A part of a tokenizer.json with its place in the file, so that whatever is wrong with it is said with its name.
local errors = require "spd.errors"
local regex = require "spd.tokenizer.regex"

local section = {}

local Section = {}
Section.__index = Section

--- section.new(file, place, value) -> section
-- place: keys from the top of the file to the value, as in "model.vocab"; "" for the whole.
function section.new(file, place, value) return setmetatable({file = file, place = place, value = value}, Section) end

-- Text of a file for a message: on one line, shortened.
local function quoted(value)
  if type(value) == "table" then return "a list or an object" end
  local text = tostring(value):gsub("%c", "?")
  return #text > 120 and text:sub(1, utf8.offset(text, 0, 121) - 1) .. "..." or text
end

function Section:fail(what, ...)
  local arguments = table.pack(...)
  for i = 1, arguments.n do arguments[i] = quoted(arguments[i]) end
  local place = self.place == "" and "" or self.place .. ": "
  errors.raise(2, self.file, place .. what:format(table.unpack(arguments, 1, arguments.n)))
end

-- The value of a key if it has the type; the default (not nil) stands for one that is missing.
local function get(self, key, kind, is_kind, default)
  local value = self.value[key]
  if value == nil and default ~= nil then return default end
  if value == nil then self:fail("'%s' is missing", key) end
  if not is_kind(value) then self:fail("'%s' is %s, expected %s", key, value, kind) end
  return value
end

local function is_string(value) return type(value) == "string" end
local function is_boolean(value) return type(value) == "boolean" end
local function is_count(value) return math.type(value) == "integer" and value >= 0 and value < 2 ^ 31 end
local function is_table(value) return type(value) == "table" end

function Section:string(key, default) return get(self, key, "a text", is_string, default) end
function Section:boolean(key, default) return get(self, key, "true or false", is_boolean, default) end
function Section:count(key, default) return get(self, key, "a whole number", is_count, default) end

-- A text of one character.
function Section:character(key)
  local value = self:string(key)
  if utf8.len(value) ~= 1 then self:fail("'%s' is %s, expected one character", key, value) end
  return value
end

-- One of the words of a list.
function Section:choice(key, words, default)
  local value = self:string(key, default)
  for _, word in ipairs(words) do
    if value == word then return value end
  end
  self:fail("%s '%s' is not supported", key, value)
end

local function join(place, key) return place == "" and key or place .. "." .. key end

-- The section below a key; nil if there is none and it may be missing.
function Section:child(key, may_be_missing)
  if self.value[key] == nil and may_be_missing then return nil end
  return section.new(self.file, join(self.place, key), get(self, key, "a list or an object", is_table))
end

-- The sections of the list below a key.
function Section:list(key)
  local values, sections = get(self, key, "a list", is_table), {}
  for i, value in ipairs(values) do
    local item = section.new(self.file, ("%s[%d]"):format(join(self.place, key), i - 1), value)
    if type(value) ~= "table" then item:fail("is %s, expected a list or an object", value) end
    sections[i] = item
  end
  section.new(self.file, join(self.place, key), values):check_list()
  return sections
end

function Section:check_list()
  local count = #self.value
  if next(self.value, count > 0 and count or nil) ~= nil then self:fail("is not a list") end
end

-- Refuse keys other than these: what is not known could change the tokens.
function Section:only(...)
  local known = {}
  for i = 1, select("#", ...) do known[select(i, ...)] = true end
  for key in pairs(self.value) do
    if not known[key] then self:fail("'%s' is not supported", key) end
  end
end

-- The regex of {"String": text} or {"Regex": pattern} below a key.
function Section:pattern(key)
  local pattern = self:child(key)
  pattern:only("String", "Regex")
  local compiled, problem
  if pattern.value.Regex ~= nil then
    compiled, problem = regex.compile(pattern:string("Regex"))
  else
    compiled, problem = regex.literal(pattern:string("String"))
  end
  if not compiled then pattern:fail("%s", problem) end
  return compiled
end

-- Call the builder for the section's type, from a table TYPE -> function(section, ...).
function Section:build(builders, ...)
  local kind = self:string("type")
  if not builders[kind] then self:fail("type '%s' is not supported", kind) end
  return builders[kind](self, ...)
end

return section
