-- The REPL as a user meets it: keys into a pseudo-terminal (made by script(1)), and what stands on it then.
local posix = require("spd.core").posix

local host = os.getenv("SPDLUA") or "./spdlua"
local TAB, INTERRUPT, END_OF_INPUT, UP = "\t", "\3", "\4", "\27[A"

describe("the REPL", function()
  local base, home, transcript, keys

  local function read(path)
    local file <close> = io.open(path, "rb")
    return file and file:read("a") or ""
  end

  --- Where on the terminal the text stands, after `from`; waits for it.
  local function wait_for(text, from)
    local limit = posix.monotonic_time() + 20
    while posix.monotonic_time() < limit do
      local _, last = read(transcript):find(text, from or 1, true)
      if last then return last end
      posix.sleep(0.01)
    end
    error(("no '%s' on the terminal:\n%s"):format(text, read(transcript)), 2)
  end

  local function start(options)
    os.remove(transcript)
    local program = ("stty cols 100; exec %s %s"):format(host, options or "")
    local environment = ("HOME='%s' XDG_STATE_HOME= TERM=dumb"):format(home)
    keys = assert(io.popen(("env %s timeout 60 script -qfc '%s' %s >/dev/null 2>&1"):format(environment, program,
      transcript), "w"))
    keys:setvbuf("no")
    return wait_for("\n> ")
  end

  --- Type, and wait until `text` stands on the terminal after what stood there before. Returns what was added.
  local function type_and_see(typed, text)
    local before = #read(transcript)
    keys:write(typed)
    local last = wait_for(text, before + 1)
    return read(transcript):sub(before + 1, last)
  end

  --- Ends the session, and returns its status. Ctrl-D does so on an empty line.
  local function leave()
    keys:write(INTERRUPT, END_OF_INPUT)
    local ok, how, status = keys:close()
    keys = nil
    return ok and how == "exit" and status or 0
  end

  before_each(function()
    base = os.tmpname()
    os.remove(base)
    home, transcript = base .. "/home", base .. "/transcript"
    assert(posix.make_directory(home, true))
  end)

  after_each(function()
    if keys then leave() end
    assert.equal(0, (posix.run { "rm", "-rf", base }))
  end)

  it("prints what expressions return, tensors with shape and values", function()
    start()
    type_and_see("6 * 7\n", "\n42\r\n> ")
    type_and_see("'a', nil, true\n", "\na\tnil\ttrue\r\n> ")
    type_and_see("{1, b = {2}}\n", "\n{ 1, b = { 2 } }\r\n> ")
    local seen = type_and_see("spd.eye(2)\n", "\n> ")
    assert.matches("tensor %[2, 2%]\r?\n%s+1.0*%s+0.*\n%s+0.*%s+1", seen)
    type_and_see("x = 5\n", "x = 5\r\n> ")
  end)

  it("takes a chunk on several lines", function()
    start()
    type_and_see("for i = 1, 2 do\n", "\n>> ")
    type_and_see("print('line ' .. i)\n", "\n>> ")
    type_and_see("end\n", "\nline 1\r\nline 2\r\n> ")
    type_and_see("1 +\n", "\n>> ")
    type_and_see("41\n", "\n42\r\n> ")
  end)

  it("completes globals, fields, methods and keywords", function()
    start()
    type_and_see("some_global = 41\n", "\n> ")
    type_and_see("some_gl" .. TAB .. " + 1\n", "\n42\r\n> ")
    type_and_see("spd.posix.monoton" .. TAB .. "() > 0\n", "\ntrue\r\n> ")
    type_and_see("t = spd.eye(3)\n", "\n> ")
    type_and_see("#t:tota" .. TAB .. "()\n", "\n3\r\n> ")
    type_and_see("('x'):upp" .. TAB .. "()\n", "\nX\r\n> ")
    type_and_see("ret" .. TAB .. " 7\n", "\n7\r\n> ")
    type_and_see("spd.squared" .. TAB .. "\n", "spd.squared_error\r\nfunction")
  end)

  it("completes the folder of a run", function()
    assert(posix.make_directory(base .. "/tms_seed0_2026-1", true))
    assert(posix.write_file(base .. "/tms_seed0_2026-1/final_config.yaml", "a: b\n"))
    start()
    type_and_see("spd.open \"" .. base .. "/tms" .. TAB .. "\"\n", base .. "/tms_seed0_2026-1: has no checkpoint yet")
  end)

  it("goes on after an error, with a traceback of the user's own code", function()
    start()
    local seen = type_and_see("local function f() error('broken') end f()\n", "\n> ")
    assert.matches("stdin:1: broken\r\nstack traceback:\r\n", seen)
    assert.matches("in [%a ]+'f'", seen)
    assert.is_nil(seen:find("repl.lua", 1, true))
    seen = type_and_see("require('spd.errors').raise(2, 'key', 'bad')\n", "\n> ")
    assert.matches("\nkey: bad\r\n> $", seen)
    type_and_see("x = = 1\n", "stdin:1: unexpected symbol near '='\r\n> ")
    type_and_see("1 + 1\n", "\n2\r\n> ")
  end)

  it("drops the line, and all lines of a chunk, at Ctrl-C", function()
    start()
    type_and_see("error('never run')", "never run")
    type_and_see(INTERRUPT, "\n> ")
    type_and_see("do\n", "\n>> ")
    type_and_see(INTERRUPT, "\n> ")
    type_and_see("1 + 1\n", "\n2\r\n> ")
  end)

  it("stops running code at Ctrl-C and goes on", function()
    start()
    type_and_see("print 'go' while true do end\n", "\ngo\r\n")
    type_and_see(INTERRUPT, "interrupted!")
    type_and_see("1 + 1\n", "\n2\r\n> ")
    type_and_see("print 'go' while true do end\n", "\ngo\r\n")
    type_and_see(INTERRUPT, "interrupted!")
    type_and_see("1 + 1\n", "\n2\r\n> ")
  end)

  it("leaves at Ctrl-D with status 0", function()
    start()
    assert.equal(0, leave())
    assert.matches("\n> \r\n", read(transcript))
  end)

  it("keeps the history in the user's home, with chunks of several lines as one entry", function()
    start()
    type_and_see("first_entry = 1\n", "\n> ")
    type_and_see("do\n", "\n>> ")
    type_and_see("print('in a block')\n", "\n>> ")
    type_and_see("end\n", "\nin a block\r\n> ")
    leave()
    assert.matches("first_entry = 1\n#%d+\ndo\nprint%('in a block'%)\nend\n$",
      read(home .. "/.local/state/spdlua/history"))
    start()
    type_and_see(UP .. "\n", "\nin a block\r\n> ")
    type_and_see(UP .. UP .. " print(first_entry + 41)\n", "\n42\r\n> ")
  end)

  it("works without a place for the history", function()
    assert.equal(0, (posix.run { "rm", "-rf", home }))
    local file <close> = assert(io.open(home, "w"))
    file:write("no folder")
    start()
    type_and_see("1 + 1\n", "\n2\r\n> ")
  end)

  it("shows help, and the documentation of functions", function()
    start()
    type_and_see("help()\n", "Modules, spd.NAME:")
    local seen = type_and_see("help(spd.linear)\n", "y = x weight^T + bias")
    assert.matches("\nlinear%(x, weight %[, bias%]%) %-> y\r\n", seen)
    type_and_see("help\n", "help() shows what there is")
  end)

  it("has help for functions that were typed, with comments above them", function()
    start()
    type_and_see("--- Doubles x.\n", "\n> ")
    type_and_see("function dbl(x) return 2*x end\n", "\n> ")
    type_and_see("dbl(21)\n", "\n42\r\n> ")
    type_and_see("help(dbl)\n", "\nDoubles x.\r\n(stdin[")
    type_and_see("help(dlb)\n", "\nnothing to explain: the value is nil")
  end)

  it("runs lines of comments alone, and drops them at Ctrl-C", function()
    start()
    type_and_see("-- a note\n", "\n> ")
    type_and_see("1 + 1\n", "\n2\r\n> ")
    type_and_see("--- Of nothing.\n", "\n> ")
    type_and_see(INTERRUPT, "\n> ")
    type_and_see("function f() end help(f)\n", "\nno help: defined at stdin:1")
    type_and_see("--- Too far away.\n", "\n> ")
    type_and_see("\n", "\n> ")
    type_and_see("function f() end help(f)\n", "\nno help: defined at stdin:1")
  end)

  it("takes a long comment on several lines", function()
    start()
    type_and_see("--[[ one\n", "\n>> ")
    type_and_see("two ]] 6 * 7\n", "\n42\r\n> ")
  end)

  it("tells those who type exit or quit how to leave, unless these are names of theirs", function()
    start()
    type_and_see("exit\n", "\nCtrl-D leaves")
    type_and_see("quit()\n", "\nCtrl-D leaves")
    type_and_see("exit = 6 * 7\n", "\n> ")
    type_and_see("exit\n", "\n42\r\n> ")
  end)

  it("follows a script with -i, and sees its globals", function()
    start("-e \"from_script = 40\" -i")
    type_and_see("from_script + 2\n", "\n42\r\n> ")
  end)

  it("reads plain lines with -i when stdin is no terminal", function()
    local status, out, err = posix.run({ host, "-i" }, { stdin = "x = 6\nx * 7\nfor i = 1, 1 do\nprint('in')\nend\n" })
    assert.equal(0, status)
    assert.equal("", err)
    assert.matches("\n> > 42\n> >> >> in\n> \n$", out)
  end)
end)
