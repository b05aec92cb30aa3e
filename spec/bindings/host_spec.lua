-- spdlua as a program: options, where it finds things, exit statuses, what it prints on errors.
local posix = require("spd.core").posix

local host = os.getenv("SPDLUA") or "./spdlua"

--- Run the host with words; stdin from `input`.
local function run(words, input)
  local status, out, err = posix.run({ host, table.unpack(words) }, { stdin = input })
  assert(status, out)
  return status, out, err
end

--- Run the host in an environment of its own: "NAME=value" words before the others.
local function run_with(environment, words)
  return posix.run { "env", environment, host, table.unpack(words) }
end

local function with_file(text, body)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local ok, err = pcall(body, path)
  os.remove(path)
  assert(ok, err)
end

describe("spdlua's command line", function()
  it("runs a script with its arguments in ... and arg", function()
    with_file("io.write(..., '|', arg[0], '|', arg[1], arg[2], #arg, '|', arg[-1])", function(path)
      local status, out = run { path, "one", "two" }
      assert.equal(0, status)
      assert.equal(("one|%s|onetwo2|%s"):format(path, host), (out:gsub("onetwo|", "one|")))
    end)
  end)

  it("runs -e in order, before the script, and gives options negative indices in arg", function()
    with_file("io.write(x, arg[-2], arg[-1])", function(path)
      local _, out = run { "-e", "x = 1", "-ex = x + 1", path }
      assert.equal("2x = 1-ex = x + 1", out)
    end)
  end)

  it("has help in the code of -e, and in no script", function()
    assert.matches("^linear%(x, weight", select(2, run { "-l", "spd", "-e", "help(spd.linear)" }))
    assert.matches("^nothing to explain: the value is nil", select(2, run { "-l", "spd", "-e", "help(spd.liner)" }))
    assert.matches("^spdlua: Stochastic", select(2, run { "-e", "help()" }))
    assert.equal("nil", select(2, run({}, "io.write(type(help))")))
  end)

  it("requires a library with -l, also into a name of one's own", function()
    assert.equal("[1]", select(2, run { "-l", "cjson", "-e", "io.write(cjson.encode {1})" }))
    assert.equal("[1]", select(2, run { "-lj=cjson", "-e", "io.write(j.encode {1})" }))
  end)

  it("runs stdin as a script when it is no terminal, and for -", function()
    assert.equal("in", select(2, run({}, "io.write 'in'")))
    assert.equal("ab", select(2, run({ "-", "a", "b" }, "io.write(...)")))
  end)

  it("takes a word after -- as the script", function()
    local status, _, err = run { "--", "-x.lua" }
    assert.equal(2, status)
    assert.equal("spdlua: cannot open -x.lua: No such file or directory\n", err)
  end)

  it("prints its version with -v and --version, and a short usage with -h and --help", function()
    for _, option in ipairs { "-v", "--version" } do
      assert.matches("^spdlua %d+%.%d+%.%d+ %(Lua 5%.4%.%d+%)\n$", select(2, run { option }))
    end
    for _, option in ipairs { "-h", "--help" } do
      local status, out, err = run { option }
      assert.equal(0, status)
      assert.equal("", err)
      assert.matches("^usage: spdlua ", out)
    end
  end)

  it("names an option that there is not, or that lacks its argument, with exit status 2", function()
    for words, message in pairs {
      [{ "-x" }] = "spdlua: unknown option '-x'\nusage: ",
      [{ "-ix" }] = "spdlua: unknown option '-ix'\nusage: ",
      [{ "-v", "-e" }] = "spdlua: argument needed after '-e'\nusage: ",
      [{ "-l" }] = "spdlua: argument needed after '-l'\nusage: ",
    } do
      local status, out, err = run(words)
      assert.equal(2, status)
      assert.equal("", out)
      assert.equal(message, err:sub(1, #message))
    end
  end)

  it("shows warnings with -W", function()
    assert.equal("", select(3, run { "-e", "warn 'careful'" }))
    assert.equal("Lua warning: careful\n", select(3, run { "-W", "-e", "warn 'careful'" }))
  end)

  it("runs LUA_INIT, unless -E switches the environment off", function()
    assert.equal("init", select(2, run_with("LUA_INIT=io.write 'init'", { "-e", "" })))
    assert.equal("", select(2, run_with("LUA_INIT=io.write 'init'", { "-E", "-e", "" })))
    assert.equal("nil", select(2, run_with("LUA_PATH=/own/?.lua",
      { "-E", "-e", "io.write(tostring(package.path:find('/own/', 1, true)))" })))
  end)
end)

describe("spdlua's libraries", function()
  it("are there from any folder: spd.core in it, the package beside it", function()
    local program = "local spd = require 'spd' io.write(tostring(spd.eye(2).shape[1]), spd.losses and 'ok')"
    local absolute = select(2, run { "-e", "io.write(require('spd.core').posix.executable())" })
    local status, out, err = posix.run { "sh", "-c", 'cd / && exec "$0" -e "$1"', absolute, program }
    assert.equal("", err)
    assert.equal("2ok", out)
    assert.equal(0, status)
  end)

  it("are found through a link to the program", function()
    local link = os.tmpname()
    os.remove(link)
    local absolute = select(2, run { "-e", "io.write(require('spd.core').posix.executable())" })
    assert.equal(0, (posix.run { "ln", "-s", absolute, link }))
    local _, out, err = posix.run { link, "-e", "io.write(type(require 'spd'))" }
    os.remove(link)
    assert.equal("", err)
    assert.equal("table", out)
  end)
end)

describe("spdlua's exit status", function()
  it("is 0 after a script that ends", function() assert.equal(0, (run { "-e", "x = 1" })) end)

  it("is 1 after an error, with a traceback", function()
    local status, out, err = run { "-e", "local function f() error 'broken' end f()" }
    assert.equal(1, status)
    assert.equal("", out)
    assert.matches("^spdlua: %(command line%):1: broken\nstack traceback:\n", err)
    assert.matches("in [%a ]+'f'", err)
  end)

  it("is 1 for a syntax error", function()
    local status, _, err = run({}, "x = = 1")
    assert.equal(1, status)
    assert.equal("spdlua: stdin:1: unexpected symbol near '='\n", err)
  end)

  it("is that of an error object, whose message is one line without a traceback", function()
    local status, _, err = run { "-e", "require('spd.errors').raise(2, 'a.yaml', 'bad', 'try b')" }
    assert.equal(2, status)
    assert.equal("spdlua: a.yaml: bad (try b)\n", err)
    status, _, err = run { "-e", "require('spd.core').yaml_parse('a: [', 'f.yaml')" }
    assert.equal(2, status)
    assert.matches("^spdlua: f.yaml:%d+: [^\n]+\n$", err)
  end)

  it("is 1 for error values of other types, which are named", function()
    local status, _, err = run { "-e", "error {}" }
    assert.equal(1, status)
    assert.matches("^spdlua: %(error object is a table value%)\n", err)
    status, _, err = run { "-e", "error(setmetatable({}, {__tostring = function() return 'own' end}))" }
    assert.equal(1, status)
    assert.equal("spdlua: own\n", err)
    assert.equal(1, (run { "-e", "error()" }))
    assert.equal(1, (run { "-e", "error {status = 0, message = 'zero'}" }))
  end)

  it("is what os.exit gives, the state closed or not", function()
    assert.equal(3, (run { "-e", "os.exit(3)" }))
    local status, out = run { "-e", "x = setmetatable({}, {__gc = function() io.write 'gc' end}) os.exit(4, true)" }
    assert.equal(4, status)
    assert.equal("gc", out)
  end)

  it("is 2 when the script cannot be opened", function()
    local status, _, err = run { "no/such.lua" }
    assert.equal(2, status)
    assert.equal("spdlua: cannot open no/such.lua: No such file or directory\n", err)
  end)

  it("is 130 after SIGINT, which a script sees as an error", function()
    local signal = "local p = require('spd.core').posix local f = io.popen('sleep 0.1; kill -INT ' .. p.pid()) "
    local status, _, err = run { "-e", signal .. "while true do end" }
    assert.equal(130, status)
    assert.equal("spdlua: (command line):1: interrupted!\n", err)
    local out
    status, out = run { "-e", signal .. "io.write(tostring(select(2, pcall(function() while true do end end))))" }
    assert.equal(0, status)
    assert.equal("(command line):1: interrupted!", out)
  end)
end)
