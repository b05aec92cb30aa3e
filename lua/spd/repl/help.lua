--- What help() prints in the REPL: an overview, and the documentation of functions, modules and objects.
local config_help = require "spd.repl.config_help"
local core = require "spd.core"
local pretty = require "spd.repl.pretty"
local spd = require "spd"

local help = {}

local WIDTH, SUMMARY_INDENT = 100, 40

--- help.entered: texts of chunks that were typed, by their names ("=stdin[1]"), so that functions in them have help.
help.entered = {}

-- Headings of the overview, with functions of spd. Those that are not named here are listed as "more".
local groups = {
  { "tensors", [[tensor zeros eye uniform normal fill_sparse_features safetensors_load safetensors_open
    safetensors_save]] },
  { "operators", [[add subtract multiply affine power absolute greater add_bias relu gelu gelu_tanh silu matmul linear
    embedding rms_norm layer_norm rotary columns attention transpose reshape sum sum_rows sum_columns rows]] },
  { "losses", "mse squared_error softmax_kl" },
  { "components", "gate_mlp gate_linear lower_leaky upper_leaky stochastic_mask" },
  { "training", "tape adamw compact" },
  { "runs", "open" },
  { "this process", "threads instruction_set live_bytes release_buffers" },
}

local introduction = [[
spdlua: Stochastic Parameter Decomposition, at a Lua prompt. `spd` holds everything.

  x = spd.uniform({4, 3}, {seed = 0})         a tensor: values print with their shape
  n = x:size(1)                               its sizes: x.shape; its elements: x:totable()
  y = spd.relu(spd.matmul(x, spd.eye(3)))     operators compute at once outside of a tape
  spd.losses.<TAB>                            completion of fields and methods

  help(spd.linear)     help "linear"          a function's own documentation; of your functions too:
                                              the --- comment above them
  help(spd.losses)     help "losses"          a module; help(x): the methods of an object
]]

-- ---- texts -------------------------------------------------------------------------------------

local function first_line(text) return (text:match("^[^\n]*")) end

--- The first sentence, without its full stop.
local function first_sentence(text)
  local words = {}
  for word in text:gmatch("%S+") do
    words[#words + 1] = word:gsub("%.$", "")
    if word:sub(-1) == "." then break end
  end
  return table.concat(words, " ")
end

--- Where the call with which a text begins, f(a, b) -> c, ends: before a line's end or a colon outside of brackets.
local function end_of_signature(text)
  local depth = 0
  for i = 1, #text do
    local c = text:sub(i, i)
    if c:find("[%(%[{]") then depth = depth + 1 end
    if c:find("[%)%]}]") then depth = depth - 1 end
    if depth == 0 and (c == "\n" or text:find("^: ", i) or text:find("^:\n", i)) then return i - 1 end
  end
  return #text
end

--- A line of a list: how a function is called, and the first sentence of its documentation, if it has some.
local function summary(name, text)
  if not text then return "  " .. name end
  local first = text:match("^([%w_.:]*)%s?[%({]")
  local call, rest = name, text
  if first and first:match("[%w_]*$") == name then
    local last = end_of_signature(text)
    call, rest = text:sub(1, last):gsub("%s+", " "), text:sub(last + 1):gsub("^:", "")
  end
  return pretty.entry(call, first_sentence(rest), SUMMARY_INDENT, WIDTH)
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  return lines
end

local function read_lines(path)
  local file <close> = io.open(path, "r")
  if not file then return nil end
  local lines = {}
  for line in file:lines() do lines[#lines + 1] = line end
  return lines
end

local function uncommented(lines, first, last)
  local text = {}
  for i = first, last do text[#text + 1] = lines[i]:gsub("^%s*%-%-%-?%s?", "", 1) end
  return table.concat(text, "\n")
end

--- The --- comment block that ends at line `last`; nil if there is none.
local function block_above(lines, last)
  local first
  for i = last, 1, -1 do
    if not lines[i]:find("^%s*%-%-") then break end
    if lines[i]:find("^%s*%-%-%-[^%-]") then first = i end
  end
  return first and uncommented(lines, first, last)
end

--- The comment block that begins the file of a module; nil if there is none.
local function block_of_file(path)
  local lines = read_lines(path)
  if not lines or not lines[1] or not lines[1]:find("^%-%-%-") then return nil end
  local last = 1
  while lines[last + 1] and lines[last + 1]:find("^%-%-") do last = last + 1 end
  return uncommented(lines, 1, last)
end

-- ---- functions ---------------------------------------------------------------------------------

--- The documentation of a function, and where it is defined if it is written in Lua; or nil and why there is none.
local function documentation_of(f)
  if core.documentation[f] then return core.documentation[f], "" end
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return nil, "a C function without documentation" end
  local where = ("%s:%d"):format(info.short_src, info.linedefined)
  local entered = help.entered[info.source]
  local lines = entered and lines_of(entered) or info.source:sub(1, 1) == "@" and read_lines(info.source:sub(2))
  local text = lines and block_above(lines, info.linedefined - 1)
  if text then return text, "\n(" .. where .. ")" end
  return nil, "defined at " .. where .. ", without a --- comment above it"
end

local function of_function(f)
  local text, where = documentation_of(f)
  if text then return text .. where end
  return nil, where
end

--- The functions in a table, sorted: a call and a sentence each.
local function listed(t)
  local lines = {}
  for name, value in next, t do
    if type(name) == "string" and type(value) == "function" and not name:find("^__") then
      lines[#lines + 1] = summary(name, (documentation_of(value)))
    end
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

-- ---- modules and objects -----------------------------------------------------------------------

local function names_of(t)
  local names = {}
  for name, value in next, t do
    if type(name) == "string" and type(value) ~= "function" then names[#names + 1] = name end
  end
  table.sort(names)
  return table.concat(names, " ")
end

--- A table whose methods are behind it, such as a model or a run.
local function of_instance(t, methods)
  local list = listed(methods)
  if list == "" then return nil end
  local text, own = "an object with the methods\n" .. list, listed(t)
  if own ~= "" then text = text .. "\n\nits own functions\n" .. own end
  local fields = names_of(t)
  return fields == "" and text or text .. "\n\nand the fields\n" .. pretty.wrapped(fields, "  ", WIDTH)
end

local function of_module(t, name)
  local path = package.searchpath(name, package.path)
  local text, functions = path and block_of_file(path), listed(t)
  if text and t == package.loaded["spd.schema"] then return text .. "\n\n" .. config_help.of_schema(t) end
  return (text or name) .. (functions ~= "" and "\n\n" .. functions or "")
end

local function of_table(t)
  local name, meta = pretty.module_name(t), debug.getmetatable(t)
  if name then return of_module(t, name) end
  if config_help.is_fields(t) then return config_help.of_fields(t) end
  local methods = type(meta) == "table" and rawget(meta, "__index")
  local text = type(methods) == "table" and of_instance(t, methods)
  if text then return text end
  local functions = listed(t)
  if functions == "" then return nil, "a table without functions" end
  return "a table with these functions:\n\n" .. functions
end

--- The first line of an object as text, or its type where the text is an address or cannot be had: a value of a closed
-- tape has none.
local function title(value, meta)
  local ok, text = pcall(tostring, value)
  if ok and rawget(meta, "__tostring") then return first_line(text) end
  return tostring(rawget(meta, "__name") or type(value)):match("[^.]*$")
end

local function of_object(value)
  local meta = debug.getmetatable(value)
  local methods = type(meta) == "table" and (rawget(meta, "methods") or rawget(meta, "__index"))
  if type(methods) ~= "table" then return nil, "a " .. type(value) end
  local own, operators = {}, {}
  for name, method in next, methods do
    if rawequal(rawget(core, name), method) then operators[#operators + 1] = name else own[name] = method end
  end
  table.sort(operators)
  local text = title(value, meta) .. "\n\n" .. listed(own)
  if #operators == 0 then return text end
  return text .. "\n\nFunctions of spd as methods, t:relu() for spd.relu(t):\n" ..
    pretty.wrapped(table.concat(operators, " "), "  ", WIDTH)
end

local function of_modules()
  local lines = {}
  for _, name in ipairs(spd.modules) do
    local path = package.searchpath("spd." .. name, package.path)
    local text = path and block_of_file(path)
    if text then lines[#lines + 1] = pretty.entry(name, first_sentence(text), 20, WIDTH) end
  end
  return table.concat(lines, "\n")
end

-- ---- overview ----------------------------------------------------------------------------------

local function of_groups()
  local lines, listed_names = {}, {}
  for _, group in ipairs(groups) do
    for name in group[2]:gmatch("%S+") do listed_names[name] = true end
    lines[#lines + 1] = pretty.entry(group[1], group[2], 16, WIDTH)
  end
  local more = {}
  for name, value in next, spd do
    if type(value) == "function" and not listed_names[name] then more[#more + 1] = name end
  end
  table.sort(more)
  if #more > 0 then lines[#lines + 1] = pretty.entry("more", table.concat(more, " "), 16, WIDTH) end
  return table.concat(lines, "\n")
end

local function overview()
  return introduction .. "\nFunctions of spd:\n" .. of_groups() ..
    "\n  spd.posix     files, locks, programs, the terminal: help(spd.posix)" ..
    "\n  spd.sqlite    databases: help(spd.sqlite)" ..
    "\n\nModules, spd.NAME:\n" .. of_modules()
end

-- ---- by name -----------------------------------------------------------------------------------

local function follow(value, path)
  for name in path:gmatch("[^.:]+") do
    if type(value) ~= "table" then return nil end
    value = value[name]
  end
  return value
end

--- All documented C functions whose text begins with a name that contains `part`, or is `part` if exact.
local function documented(part, exact)
  local texts = {}
  for _, text in pairs(core.documentation) do
    local name = text:match("^[%w_.:]*"):match("[%w_]*$")
    if name == part or (not exact and name:find(part, 1, true)) then texts[#texts + 1] = text end
  end
  table.sort(texts)
  return texts
end

local function of_name(name)
  local value = name:find("^[%a_][%w_.:]*$") and (follow(spd, (name:gsub("^spd[.:]", ""))) or follow(_G, name))
  if value ~= nil and value ~= false then return help.text(value) end
  local texts = documented(name:match("[%w_]*$"), true)
  if #texts > 0 then return table.concat(texts, "\n\n") end
  local near = name:find("%w") and documented(name, false) or {}
  for i, text in ipairs(near) do near[i] = "  " .. first_line(text) end
  return nil, #near > 0 and "but:\n" .. table.concat(near, "\n") or "help() lists what there is"
end

--- help.text([topic]) -> text
-- Without a topic the overview; otherwise the documentation of a function, a module, a table of functions, an object,
-- or of what a string names ("linear", "losses", "spd.losses.terms").
function help.text(...)
  if select("#", ...) == 0 then return overview() end
  local topic = ...
  if topic == nil then return "nothing to explain: the value is nil (is its name right? help() lists what there is)" end
  local kind = type(topic)
  local text, reason
  if kind == "string" then
    text, reason = of_name(topic)
    if not text then return ("no help for '%s'; %s"):format(topic, reason) end
  elseif kind == "function" then
    text, reason = of_function(topic)
  elseif kind == "table" then
    text, reason = of_table(topic)
  else
    text, reason = of_object(topic)
  end
  return text or ("no help: %s"):format(reason)
end

--- help.command: the global `help`. help([topic]) prints the text; its name alone says so.
help.command = setmetatable({}, {
  __call = function(self, ...)
    local topic = ...
    io.write(topic == self and help.text() or help.text(...), "\n")
  end,
  __tostring = function()
    return "help() shows what there is, help(spd.linear) the documentation of a function"
  end,
})

return help
