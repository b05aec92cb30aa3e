--- The REPL: reads lines, runs them, prints what they return.
--
-- The terminal is given by the host (bindings/repl.c, bindings/readline.c):
--   read(prompt) -> line; nil at the end of input; false if Ctrl-C cancelled it
--   call(f, ...) -> true and results, or false and the error; Ctrl-C is the error "interrupted!"
--   set_completer(f), load_history(path), add_history(text [, path])
local completion = require "spd.repl.completion"
local core = require "spd.core"
local help = require "spd.repl.help"
local hint = require "spd.repl.hint"
local pretty = require "spd.repl.pretty"

local repl = {}

--- The file that keeps the history, its folder made; nil if there is no place for it.
local function history_path()
  local home = os.getenv("HOME")
  local state = os.getenv("XDG_STATE_HOME")
  if not state or state == "" then state = home and home ~= "" and home .. "/.local/state" end
  if not state or not core.posix.make_directory(state .. "/spdlua", true) then return nil end
  return state .. "/spdlua/history"
end

--- A chunk that returns the values if the text is an expression; or nil, the message, and whether more lines may
-- complete it.
local function compile(text, name)
  local chunk, message = load("return " .. text, name, "t")
  if chunk then return chunk end
  local statement, reason = load(text, name, "t")
  if statement then return statement end
  return nil, reason, message:find("<eof>$") ~= nil or reason:find("<eof>$") ~= nil
end

local function print_results(...)
  local texts, separator = table.pack(...), "\t"
  for i = 1, texts.n do
    texts[i] = pretty.show(texts[i], core.posix.terminal_width())
    if texts[i]:find("\n") then separator = "\n" end
  end
  if texts.n > 0 then io.write(table.concat(texts, separator), "\n") end
end

--- The message without the part of the traceback that is the REPL's own.
local function error_text(err)
  if type(err) ~= "string" then return tostring(err.message) end
  return (err:gsub("\n\t%[C%]: in [^\n]*\n\t[^\n]*spd/repl%.lua:.*$", ""))
end

local function run_chunk(terminal, chunk, text)
  local results = table.pack(terminal.call(chunk))
  local ok, err = results[1], results[2]
  if ok then ok, err = terminal.call(print_results, table.unpack(results, 2, results.n)) end
  io.stdout:flush()
  if ok then return end
  local message = error_text(err)
  local more = hint.of_error(text, message)
  io.stderr:write(message, "\n", more and "(" .. more .. ")\n" or "")
end

--- Whether the text is lines of comments, and no blank line, which would part them from what follows, ends it.
local function only_comments(text)
  for line in text:gmatch("[^\n]+") do
    if not line:find("^%s*%-%-") or line:find("^%s*%-%-%[=*%[") then return false end
  end
  return text:find("%S") ~= nil and not text:find("\n$")
end

--- A chunk with a --- comment gets a name of its own, by which help() finds its text.
local function chunk_name(text, number) return text:find("%-%-%-") and ("=stdin[%d]"):format(number) or "=stdin" end

--- Lines until they are a chunk: the chunk and its text; nil at the end of input. A chunk that
-- does not compile is the message instead. Comments belong to what follows them.
local function read_chunk(read, number)
  local text
  while true do
    local line = read(text and not only_comments(text) and ">> " or "> ")
    if line == nil then return nil end
    if line == false then
      text = nil
    else
      text = text and text .. "\n" .. line or line
      local name = chunk_name(text, number)
      local chunk, message, incomplete = compile(text, name)
      if chunk and name ~= "=stdin" then help.entered[name] = text end
      if chunk and not only_comments(text) or not chunk and not incomplete then return chunk or message, text end
    end
  end
end

--- read(prompt) for a stdin that is no terminal.
local function plain_read(prompt)
  io.write(prompt)
  io.stdout:flush()
  return io.read()
end

--- repl.run(terminal, is_terminal)
-- Run until the end of input. Globals `spd` and `help` are set. With is_terminal, lines are edited, completed and
-- kept in the user's history; otherwise they are read as they come.
function repl.run(terminal, is_terminal)
  _G.spd, _G.help = require "spd", help.command
  io.write(("spdlua %s (%s)   help() shows what there is, Ctrl-D leaves\n"):format(core.version, _VERSION))
  local read, history = plain_read, nil
  if is_terminal then
    read, history = terminal.read, history_path()
    terminal.set_completer(completion.complete)
    if history then terminal.load_history(history) end
  end
  for number = 1, math.huge do
    local chunk, text = read_chunk(read, number)
    if chunk == nil then return io.write("\n") end
    if is_terminal and text:find("%S") then terminal.add_history(text, history) end
    local leaving = hint.of_leaving(text)
    if leaving then
      io.write(leaving, "\n")
    elseif type(chunk) == "string" then
      io.stderr:write(chunk, "\n")
    else
      run_chunk(terminal, chunk, text)
    end
  end
end

return repl
