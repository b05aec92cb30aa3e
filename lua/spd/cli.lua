--- Command lines of scripts, from a description of what each accepts.
--
--     local options = cli.parse(arg, {
--       script = "experiments/analyse.lua",
--       summary = "Score and draw a checkpoint of a run again.",
--       arguments = {{name = "DIR", key = "directory", help = "a run's folder"}},
--       options = {{name = "step", value = "N", kind = "count", least = 0, help = "that checkpoint"}},
--     })
--     if not options then return end -- --help was asked for and printed
local errors = require "spd.errors"

local cli = {}

-- ---- values -------------------------------------------------------------------------------------

-- kind -> function(text, option) -> value, or nil and what was expected
local read = {}

function read.text(text)
  if text == "" then return nil, "something" end
  return text
end

read.words = read.text -- for another program, whose options they may be

function read.count(text, option)
  local least, most = option.least or 1, option.most or math.maxinteger
  local number = text:match("^%d+$") and math.tointeger(tonumber(text))
  if number and number >= least and number <= most then return number end
  if option.most then return nil, ("an integer from %d to %d"):format(least, most) end
  return nil, ("an integer, at least %d"):format(least)
end

function read.list(text)
  local list = {}
  for item in (text .. ","):gmatch("([^,]*),") do
    if item == "" then return nil, "names with commas between them" end
    list[#list + 1] = item
  end
  return list
end

-- ---- the usage text -----------------------------------------------------------------------------

local function option_form(option)
  return "--" .. option.name .. (option.value and " " .. option.value or "")
end

local function synopsis(usage)
  local words, alone = {usage.script}, {}
  for _, argument in ipairs(usage.arguments or {}) do
    words[#words + 1] = argument.many and argument.name .. " ..." or argument.name
  end
  if usage.overrides then words[#words + 1] = "[key=value ...]" end
  for _, option in ipairs(usage.options or {}) do
    if option.instead then
      alone[#alone + 1] = usage.script .. " " .. option_form(option)
    else
      words[#words + 1] = (option.required and "%s" or "[%s]"):format(option_form(option))
    end
  end
  for i, line in ipairs(alone) do
    for _, option in ipairs(usage.options) do
      if option.with_instead then line = line .. " [" .. option_form(option) .. "]" end
    end
    alone[i] = line
  end
  return "usage: spdlua " .. table.concat({table.concat(words, " "), table.unpack(alone)}, "\n       spdlua ")
end

--- cli.help(usage) -> text
-- The usage text of a script: how it is called, what it does, every argument and option.
function cli.help(usage)
  local rows, width = {}, 0
  local function add(form, help)
    rows[#rows + 1] = {form, help}
    width = math.max(width, #form)
  end
  for _, argument in ipairs(usage.arguments or {}) do add(argument.name, argument.help) end
  if usage.overrides then
    add("key=value", "a value for a config key, in YAML: task_config.feature_probability=0.1")
  end
  for _, option in ipairs(usage.options or {}) do add(option_form(option), option.help) end
  add("-h, --help", "this text")
  local lines = {synopsis(usage), "", usage.summary, ""}
  for _, row in ipairs(rows) do lines[#lines + 1] = ("  %-" .. width .. "s  %s"):format(row[1], row[2]) end
  return table.concat(lines, "\n")
end

-- ---- parsing ------------------------------------------------------------------------------------

local function see_help(usage) return ("spdlua %s --help explains"):format(usage.script) end

local function option_named(usage, name)
  for _, option in ipairs(usage.options or {}) do
    if option.name == name then return option end
  end
end

local function unknown_option(usage, word)
  local forms = {}
  for _, option in ipairs(usage.options or {}) do forms[#forms + 1] = "--" .. option.name end
  forms[#forms + 1] = "--help"
  local hint = "there is " .. table.concat(forms, ", ")
  if usage.overrides then hint = hint .. "; a key of the config is set by " .. word:gsub("^%-+", "") .. "=VALUE" end
  errors.raise(2, word, "unknown option", hint)
end

local function set_option(result, option, text)
  local where = "--" .. option.name
  if result[option.name] ~= nil then errors.raise(2, where, "given twice") end
  local value, expected = read[option.kind or "text"](text, option)
  if value == nil then errors.raise(2, where, ("expected %s, found '%s'"):format(expected, text)) end
  result[option.name] = value
end

-- An option at words[i]; returns the index of the last word that belongs to it.
local function parse_option(result, usage, words, i)
  local name, value = words[i]:match("^%-%-([^=]+)=(.*)$")
  local option = option_named(usage, name or words[i]:match("^%-%-(.+)$"))
  if not option then
    if not (value and usage.overrides) then unknown_option(usage, (words[i]:gsub("=.*", ""))) end
    table.insert(result.overrides, name .. "=" .. value)
  elseif not option.value then
    if value then errors.raise(2, "--" .. option.name, ("takes no value, found '%s'"):format(value)) end
    result[option.name] = true
  elseif value then
    set_option(result, option, value)
  else
    i = i + 1
    if not words[i] or (words[i]:match("^%-%-") and option.kind ~= "words") then
      errors.raise(2, "--" .. option.name, ("expected %s after it, found %s"):format(option.value,
        words[i] and "'" .. words[i] .. "'" or "nothing"))
    end
    set_option(result, option, words[i])
  end
  return i
end

local function set_arguments(result, usage, words)
  local arguments, taken = usage.arguments or {}, 0
  for _, argument in ipairs(arguments) do
    if argument.many then
      result[argument.key] = table.move(words, taken + 1, #words, 1, {})
      taken = #words
    elseif taken < #words then
      taken = taken + 1
      result[argument.key] = words[taken]
    end
  end
  if taken < #words then
    errors.raise(2, "'" .. words[taken + 1] .. "'", "unexpected argument", see_help(usage))
  end
end

local function given(result, key)
  local value = result[key]
  return value ~= nil and (type(value) ~= "table" or #value > 0)
end

-- Either the arguments, or an option that stands instead of them.
local function check_complete(result, usage)
  local instead
  for _, option in ipairs(usage.options or {}) do
    if option.instead and result[option.name] then instead = option end
  end
  for _, argument in ipairs(usage.arguments or {}) do
    local present = given(result, argument.key)
    if instead and present then
      errors.raise(2, "--" .. instead.name, ("together with %s"):format(argument.name), instead.instead)
    elseif not instead and not present and not argument.optional then
      errors.raise(2, "command line", argument.name .. " is missing", see_help(usage))
    end
  end
  for _, option in ipairs(usage.options or {}) do
    if option.required and not result[option.name] then
      errors.raise(2, "command line", option_form(option) .. " is missing", see_help(usage))
    end
  end
  if not instead then return end
  if #result.overrides > 0 then
    errors.raise(2, "--" .. instead.name, ("together with %s"):format(result.overrides[1]), instead.instead)
  end
  for _, option in ipairs(usage.options) do
    if option ~= instead and not option.with_instead and result[option.name] then
      errors.raise(2, "--" .. instead.name, ("together with --%s"):format(option.name), instead.instead)
    end
  end
end

local KEY = "^[%a_][%w_.%-]*="

--- cli.parse(words, usage) -> table, or nil after printing the usage text for -h or --help
-- Read a command line (the global `arg`). usage: {script =, summary =, arguments =, overrides =, options =}.
--
--     arguments   {name = "FILE", key = "files", many = true, optional = true, help =}, in their order
--     overrides   true: words key=value and --key=value are collected in the result's list `overrides`
--     options     {name = "threads", value = "N", kind = "text" | "words" | "count" | "list", least =, most =,
--                 help =}; without `value` a flag. "words" are for another program: what follows is taken even if
--                 it begins with --. `instead = WHY` marks one that stands instead of all arguments; others may go
--                 with it only with `with_instead = true`
--
-- The result has the arguments by key, the options by name, and `overrides`. Whatever is wrong is an error
-- of status 2 that names the word.
function cli.parse(words, usage)
  local result, positional, only_arguments = {overrides = {}}, {}, false
  local i = 1
  while words[i] do
    local word = words[i]
    if only_arguments or word == "-" or not word:match("^%-") then
      local target = usage.overrides and word:match(KEY) and result.overrides or positional
      target[#target + 1] = word
    elseif word == "--" then
      only_arguments = true
    elseif word == "-h" or word == "--help" then
      print(cli.help(usage))
      return nil
    elseif word:match("^%-%-") then
      i = parse_option(result, usage, words, i)
    else
      unknown_option(usage, word)
    end
    i = i + 1
  end
  set_arguments(result, usage, positional)
  check_complete(result, usage)
  return result
end

cli.most_threads = 1024

--- cli.threads: the option --threads, for a script's description.
cli.threads = {
  name = "threads", value = "N", kind = "count", least = 1, most = cli.most_threads, with_instead = true,
  help = "threads to use (default: the cores this process may use); no result depends on it",
}

local function run_options()
  return {
    {name = "out", value = "DIR", help = "the run's own folder (default: a fresh one under out/)"},
    {
      name = "resume", value = "DIR", instead = "a resumed run has its config in its folder",
      help = "go on with the run in that folder, with its config",
    },
    cli.threads,
    {name = "quiet", with_instead = true, help = "print errors and the last line only"},
  }
end

--- cli.experiment(script, summary) -> usage
-- The command line of every experiment: CONFIG.yaml [key=value ...] [--out DIR], or --resume DIR; --threads
-- N, --quiet. The result of cli.parse then has config, overrides, out, resume, threads, quiet.
function cli.experiment(script, summary)
  return {
    script = script, summary = summary, overrides = true, options = run_options(),
    arguments = {{name = "CONFIG.yaml", key = "config", help = "the settings; see configs/"}},
  }
end

--- cli.target_training(script, summary) -> usage
-- The same without --resume, for scripts that train a target.
function cli.target_training(script, summary)
  local usage = cli.experiment(script, summary)
  for i, option in ipairs(usage.options) do
    if option.name == "resume" then table.remove(usage.options, i) break end
  end
  return usage
end

--- cli.own_experiment(script, summary) -> usage
-- The same without CONFIG.yaml, for a script that brings its own settings.
function cli.own_experiment(script, summary)
  return {script = script, summary = summary, overrides = true, options = run_options()}
end

return cli
