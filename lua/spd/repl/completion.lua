--- Completion of names in the REPL. Nothing that is completed is called: fields are read raw, and of metatables only
-- tables are followed.
local posix = require("spd.core").posix
local pretty = require "spd.repl.pretty"

local completion = {}

-- Fields that objects of spd.core compute, by the names of their types.
local computed_fields = {
  ["spd.core.tensor"] = { "shape", "dtype", "gradient" },
  ["spd.core.value"] = { "shape" },
}

local MAX_CHAIN = 10 -- tables behind tables that are looked through

--- The tables in which the fields of a value are found: itself, then what its metatables name.
local function tables_of(value)
  local tables, seen = {}, {}
  local function add(t)
    if type(t) == "table" and not seen[t] and #tables < MAX_CHAIN then
      seen[t] = true
      tables[#tables + 1] = t
      return true
    end
    return false
  end
  add(value)
  while #tables < MAX_CHAIN do
    local meta = debug.getmetatable(value)
    if type(meta) ~= "table" then break end
    add(rawget(meta, "methods")) -- objects of spd.core, whose __index is a function
    value = rawget(meta, "__index")
    if not add(value) then break end
  end
  return tables
end

--- Modules of the package `spd`, which are loaded when first used.
local function lazy_modules(value)
  local spd = package.loaded.spd
  return value ~= nil and value == spd and rawget(spd, "modules") or {}
end

--- Names of fields that are in no table: computed, or modules not yet loaded.
local function other_fields(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and computed_fields[rawget(meta, "__name")] or lazy_modules(value)
end

local function field(value, name)
  for _, t in ipairs(tables_of(value)) do
    local found = rawget(t, name)
    if found ~= nil then return found end
  end
  for _, module in ipairs(lazy_modules(value)) do
    if module == name then
      local ok, loaded = pcall(require, "spd." .. name)
      return ok and loaded or nil
    end
  end
  return nil
end

--- The value that the end of `before` names, up to its last . or :, and that separator. With nothing to complete in:
-- the globals.
local function resolve(before, globals)
  local path, separator = before:match("([%a_][%w_%.:%[%]]*)%s*([.:])$")
  if not path then
    if before:find("%.%.$") then return globals, "" end -- an operand of ..
    if before:find("[\"']%)?:$") then return "", ":" end -- a string
    return not before:find("[.:]$") and globals or nil, ""
  end
  local first, rest = path:match("^([%a_][%w_]*)(.*)$")
  local value = field(globals, first)
  while rest ~= "" and value ~= nil do
    local name, index
    name, rest = rest:match("^%.([%a_][%w_]*)(.*)$"), rest
    if name then
      rest = rest:sub(#name + 2)
      value = field(value, name)
    else
      index = rest:match("^%[(%d+)%]")
      if not index then return nil, separator end
      rest = rest:sub(#index + 3)
      value = type(value) == "table" and rawget(value, tonumber(index)) or nil
    end
  end
  return value, separator
end

local function add_matches(found, t, word, methods_only)
  for name, value in next, t do
    if pretty.is_name(name) and name:sub(1, #word) == word and (not methods_only or type(value) == "function") then
      found[name] = true
    end
  end
end

local function in_string(before)
  local quote
  for c in before:gsub("\\.", ""):gmatch("[\"']") do
    if not quote then quote = c elseif quote == c then quote = nil end
  end
  return quote ~= nil
end

--- Folders that may stand for the end of a path that is being typed to spd.open, from the word on.
local function folders(before, word)
  local path = before:match("%f[%w_]spd%.open%s*%(?%s*[\"']([^\"']*)$")
  if not path then return {} end
  local folder, start = (path .. word):match("^(.*/)([^/]*)$")
  folder, start = folder or "", start or path .. word
  local list = {}
  for _, name in ipairs(posix.list_directory(folder == "" and "." or folder) or {}) do
    local found = folder .. name
    if name:sub(1, #start) == start and name:sub(1, 1) ~= "." and posix.is_directory(found) then
      local is_run = posix.is_file(found .. "/final_config.yaml")
      list[#list + 1] = found:sub(#path + 1) .. (is_run and "" or "/")
    end
  end
  table.sort(list)
  return list
end

--- completion.complete(before, word [, globals = _G]) -> sorted names that may stand for word
-- before is the line up to the word: after `name.` or `name:` the fields or methods of what is there, through
-- metatables, in spd.open "..." folders, otherwise globals and keywords.
function completion.complete(before, word, globals)
  local found, list = {}, {}
  if in_string(before) then return folders(before, word) end
  local value, separator = resolve(before, globals or _G)
  if value ~= nil then
    for _, t in ipairs(tables_of(value)) do add_matches(found, t, word, separator == ":") end
    for _, name in ipairs(separator == "." and other_fields(value) or {}) do
      if name:sub(1, #word) == word then found[name] = true end
    end
  end
  if separator == "" and word ~= "" then
    for keyword in pairs(pretty.keywords) do
      if keyword:sub(1, #word) == word then found[keyword] = true end
    end
  end
  for name in pairs(found) do list[#list + 1] = name end
  table.sort(list)
  return list
end

return completion
