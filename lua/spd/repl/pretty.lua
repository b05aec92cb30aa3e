--- Values as text for people: tables with sorted keys, cut where they are deep or long.
local pretty = {}

local MAX_DEPTH, MAX_STRING = 4, 200
local MAX_ITEMS, MAX_INNER_ITEMS = 50, 10 -- of the table itself, of each in it
local MAX_TOTAL = 400 -- items in all

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch("%a+") do
  keywords[word] = true
end

--- pretty.is_name(text) -> true if text can be written as a name: t.text, text = 1.
function pretty.is_name(text)
  return type(text) == "string" and text:find("^[%a_][%w_]*$") ~= nil and not keywords[text]
end

--- pretty.keywords: the set of Lua's reserved words.
pretty.keywords = keywords

local function quoted(text)
  local cut = #text > MAX_STRING and "..." or ""
  return (("%q"):format(text:sub(1, MAX_STRING)):gsub("\\\n", "\\n")) .. cut
end

--- pretty.module_name(t) -> the name under which a table is loaded as a module; nil if it is none, or the globals.
function pretty.module_name(t)
  for name, loaded in pairs(package.loaded) do
    if rawequal(loaded, t) and name ~= "_G" then return name end
  end
  return nil
end

-- ---- text ---------------------------------------------------------------------------------------

--- pretty.wrapped(text, indent, width) -> its words in lines of at most `width` characters, each after `indent`.
function pretty.wrapped(text, indent, width)
  local lines, line = {}, indent
  for word in text:gmatch("%S+") do
    if #line + #word > width and line ~= indent then
      lines[#lines + 1] = line
      line = indent
    end
    line = line .. word .. " "
  end
  lines[#lines + 1] = line
  return (table.concat(lines, "\n"):gsub(" +\n", "\n"):gsub(" +$", ""))
end

--- pretty.entry(name, text, indent, width) -> two columns: a name, and text from column `indent` on. The text of a long
-- name begins below it.
function pretty.entry(name, text, indent, width)
  if text == "" then return "  " .. name end
  local right = pretty.wrapped(text, (" "):rep(indent), width)
  if #name + 4 > indent then return "  " .. name .. "\n" .. right end
  return "  " .. name .. right:sub(#name + 3)
end

-- ---- values -------------------------------------------------------------------------------------

--- The value on one line, unless it is a table to be taken apart.
local function leaf(value)
  if type(value) == "string" then return quoted(value) end
  if type(value) == "function" then return "function" end
  if value ~= value then return "nan" end -- whatever its sign
  if type(value) ~= "table" then return (tostring(value):match("^[^\n]*")) end
  local meta = debug.getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") then return (tostring(value):match("^[^\n]*")) end
  return nil
end

local order = { number = 1, string = 2 }

local function before(a, b)
  local first, second = order[type(a)] or 3, order[type(b)] or 3
  if first ~= second then return first < second end
  if first == 3 then return tostring(a) < tostring(b) end
  return a < b
end

--- Keys outside of 1..n, sorted.
local function other_keys(value, n)
  local keys = {}
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  return keys
end

local render

--- Items as text, in order: 1..n without keys, then the others with them.
local function items_of(value, state, indent)
  local items, n = {}, rawlen(value)
  local keys = other_keys(value, n)
  local most = math.min(state.depth == 1 and MAX_ITEMS or MAX_INNER_ITEMS, MAX_TOTAL - state.items)
  state.items = state.items + math.min(most, n + #keys)
  for i = 1, math.min(n, most) do items[i] = render(rawget(value, i), state, indent, 0) end
  for i = 1, math.min(#keys, most - #items) do
    local key = keys[i]
    local name = pretty.is_name(key) and key
      or "[" .. (type(key) ~= "function" and leaf(key) or tostring(key)) .. "]"
    name = name .. " = "
    items[#items + 1] = name .. render(rawget(value, key), state, indent, #name)
  end
  local left = n + #keys - #items
  if left > 0 then items[#items + 1] = ("... %d more"):format(left) end
  return items
end

--- before_it: columns that stand before the value on its first line, after the indent.
function render(value, state, indent, before_it)
  local text = leaf(value)
  if text then return text end
  if state.open[value] then return "<cycle>" end
  if next(value) == nil then return "{}" end
  local module = state.depth > 0 and pretty.module_name(value)
  if module then return "module " .. module end
  if state.depth == MAX_DEPTH or state.items >= MAX_TOTAL then return "{...}" end
  state.open[value], state.depth = true, state.depth + 1
  local items = items_of(value, state, indent .. "  ")
  state.open[value], state.depth = nil, state.depth - 1
  local line = "{ " .. table.concat(items, ", ") .. " }"
  if #indent + before_it + #line <= state.width and not line:find("\n") then return line end
  return "{\n  " .. indent .. table.concat(items, ",\n  " .. indent) .. "\n" .. indent .. "}"
end

--- The names in a module by what they are; of modules also those that the package `spd` has not loaded yet.
local function contents(module)
  local names = { functions = {}, modules = {}, fields = {} }
  for name, value in next, module do
    local group = type(value) == "function" and "functions" or pretty.module_name(value) and "modules" or "fields"
    if pretty.is_name(name) then table.insert(names[group], name) end
  end
  for _, name in ipairs(module == package.loaded.spd and module.modules or {}) do
    if rawget(module, name) == nil then table.insert(names.modules, name) end
  end
  return names
end

--- The names of the functions and modules in a module; nil if the value is none.
local function module_text(value, width)
  local module = pretty.module_name(value)
  local names = module and contents(value)
  if not module or #names.functions == 0 then return nil end
  local lines = { "module " .. module }
  for _, group in ipairs { "functions", "modules", "fields" } do
    table.sort(names[group])
    local text = table.concat(names[group], " ")
    if text ~= "" then lines[#lines + 1] = pretty.entry(group, text, 14, width) end
  end
  return table.concat(lines, "\n")
end

--- pretty.show(value [, width = 80]) -> text
-- A string as it is, a tensor and other objects by their tostring, a module by the names in it, a table taken apart:
-- fields are read raw, keys sorted, strings quoted, modules named; 50 items, and of tables in it, to a depth of 4, 10
-- items each.
function pretty.show(value, width)
  if value ~= value then return "nan" end
  if type(value) ~= "table" or leaf(value) then return tostring(value) end
  local text = module_text(value, width or 80)
  if text then return text end
  return render(value, { open = {}, depth = 0, items = 0, width = width or 80 }, "", 0)
end

return pretty
