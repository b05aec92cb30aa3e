-- Several processes side by side: how many run at once, what is handed over, and that none is left behind.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local processes = require "spd.processes"
local posix = core.posix

local function shell(text, ...) return {"sh", "-c", text, "sh", ...} end

describe("processes.run", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  it("runs each command once and hands over its status and messages", function()
    local ended = {}
    processes.run(5, 2, function(i) return shell("echo $1 >&2; exit $1", tostring(i)) end, function(i, status, message)
      assert.is_nil(ended[i])
      ended[i] = {status, message}
    end)
    assert.same({{1, "1\n"}, {2, "2\n"}, {3, "3\n"}, {4, "4\n"}, {5, "5\n"}}, ended)
  end)

  it("leaves out what has no command", function()
    local ended = {}
    local function command(i) return i % 2 == 0 and shell "true" or nil end
    processes.run(4, 3, command, function(i) ended[#ended + 1] = i end)
    table.sort(ended)
    assert.same({2, 4}, ended)
  end)

  it("runs as many at the same time as it may, and no more", function()
    local count, most = 0, 0
    processes.run(6, 3, function()
      count = count + 1
      most = math.max(most, count)
      return shell "sleep 0.1"
    end, function() count = count - 1 end)
    assert.equal(3, most)
    assert.equal(0, count)
  end)

  it("ends those that run when one of the functions raises", function()
    local before = posix.monotonic_time()
    local ok, message = pcall(processes.run, 2, 2, function(i)
      return i == 1 and shell "exit 3" or shell("trap 'touch $1/ended; exit' TERM; sleep 20 & wait", folder)
    end, function(i, status)
      posix.sleep(0.2) -- until the trap is set
      error(("%d ended with %d"):format(i, status), 0)
    end)
    assert.same({false, "1 ended with 3"}, {ok, message})
    assert.is_true(posix.monotonic_time() - before < 10)
    assert.is_true(posix.is_file(folder .. "/ended"))
  end)

  it("says which program is not there", function()
    assert.error_matches(function() processes.run(1, 1, function() return {"no-such-program"} end, print) end,
      "no%-such%-program: No such file")
  end)
end)

describe("core.posix.start", function()
  local function wait(program)
    while true do
      local status, out, err = program:poll()
      if status then return status, out, err end
      posix.sleep(0.01)
    end
  end

  it("gives both streams, more than pipes hold, and the status", function()
    local status, out, err = wait(posix.start(shell "head -c 300000 /dev/zero; echo oh >&2; exit 4"))
    assert.same({4, 300000, "oh\n"}, {status, #out, err})
  end)

  it("gives no input", function()
    local status, out = wait(posix.start{"cat"})
    assert.same({0, ""}, {status, out})
  end)

  it("tells a signal by 128 + its number, and ends a program that is told to", function()
    local program = posix.start{"sleep", "20"}
    assert.is_nil(program:poll())
    program:terminate()
    assert.equal(128 + 15, (wait(program)))
  end)

  -- A second signal of one kind ends an spdlua at once, and a terminal or a batch system signals parent and child.
  it("asks with another signal than the one that ended this process", function()
    for signal, expected in pairs{[""] = "TERM", INT = "TERM", TERM = "INT"} do
      local status, out = posix.run({experiment.host, "-", signal}, {stdin = [[
        local posix = require("spd.core").posix
        posix.catch_interrupt(true)
        local program = posix.start{"sh", "-c",
          "trap 'echo INT; exit' INT; trap 'echo TERM; exit' TERM; echo ready; while :; do sleep 0.05; done"}
        posix.sleep(0.3)
        if arg[1] ~= "" then posix.run{"kill", "-" .. arg[1], tostring(posix.pid())} end
        program:terminate()
        local text
        repeat
          posix.sleep(0.02)
          local ended, output = program:poll()
          text = output
        until ended
        io.write(text)
      ]]})
      assert.same({0, "ready\n" .. expected .. "\n"}, {status, out})
    end
  end)

  it("ends a program that is closed", function()
    local pid
    do
      local program <close> = posix.start(shell "echo $$; exec sleep 20")
      while not pid do
        posix.sleep(0.05)
        assert.is_nil(program:poll())
        local _, list = posix.run{"pgrep", "-P", tostring(posix.pid()), "sleep"}
        pid = list:match("%d+")
      end
    end
    posix.sleep(0.1)
    local _, state = posix.run{"ps", "-o", "state=", "-p", pid}
    assert.is_true(state == "" or state:match("^Z") ~= nil, state)
  end)

  it("gives the result once", function()
    local program = posix.start{"true"}
    wait(program)
    assert.error_matches(function() program:poll() end, "has ended")
  end)

  it("gives the reason when there is no such program", function()
    local program, reason = posix.start{"no-such-program"}
    assert.is_nil(program)
    assert.matches("No such file", reason)
  end)
end)

describe("processes.start_bound", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  local function is_running(pid)
    local _, state = posix.run{"ps", "-o", "state=", "-p", pid}
    return state ~= "" and not state:match("^Z")
  end

  it("starts a program with variables, and keeps what it prints in a file", function()
    local program = processes.start_bound{
      words = shell('echo "$A $1"; echo oh >&2; exit 3', "b c"), log = folder .. "/log",
      environment = {A = 'x "y" $HOME'},
    }
    posix.wait({program}, 20)
    local status, out, err = program:poll()
    assert.same({3, "", ""}, {status, out, err})
    assert.equal('x "y" $HOME b c\noh\n', experiment.read(folder .. "/log"))
  end)

  it("starts one that is killed with this process", function()
    local pid_file = folder .. "/pid"
    local status = posix.run({experiment.host, "-", folder}, {stdin = [[
      local posix = require("spd.core").posix
      require("spd.processes").start_bound{
        words = {"/usr/bin/env", "sh", "-c", "echo $$ > $0/new; mv $0/new $0/pid; exec sleep 30", arg[1]},
        log = arg[1] .. "/log", environment = {}}
      while not posix.is_file(arg[1] .. "/pid") do posix.sleep(0.01) end
      posix.run{"kill", "-9", tostring(posix.pid())}
    ]]})
    assert.equal(128 + 9, status)
    local pid = experiment.read(pid_file):match("%d+")
    for _ = 1, 100 do
      if not is_running(pid) then return end
      posix.sleep(0.02)
    end
    error "the program lives on"
  end)
end)

describe("core.posix.wait", function()
  it("returns when one of the programs ends, not later", function()
    local slow <close>, quick = posix.start{"sleep", "20"}, posix.start{"true"}
    local before = posix.monotonic_time()
    posix.wait({slow, quick}, 10)
    assert.is_true(posix.monotonic_time() - before < 5)
    assert.equal(0, (quick:poll()))
    assert.is_nil(slow:poll())
  end)

  it("returns after so many seconds", function()
    local slow <close> = posix.start{"sleep", "20"}
    local before = posix.monotonic_time()
    posix.wait({slow}, 0.05)
    posix.wait({}, 0.05)
    local passed = posix.monotonic_time() - before
    assert.is_true(passed >= 0.1 and passed < 5, passed)
  end)

  it("refuses what it cannot wait for", function()
    local ended = posix.start{"true"}
    posix.wait({ended}, 10)
    ended:poll()
    assert.error_matches(function() posix.wait({ended}, 1) end, "program 1 has ended")
    assert.error_matches(function() posix.wait({"x"}, 1) end, "item 1 is a string, not a program")
    assert.error_matches(function() posix.wait({}, 0 / 0) end, "expected 0 to 1e6 seconds")
  end)
end)
