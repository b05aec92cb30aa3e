local core = require "spd.core"
local posix = core.posix

local host = os.getenv("SPDLUA") or "./spdlua"

--- A Lua program in a process of its own: status, stdout, stderr.
local function lua(program, ...) return posix.run({ host, "-", ... }, { stdin = program }) end

describe("core.posix", function()
  local base

  before_each(function()
    base = os.tmpname()
    os.remove(base)
    assert(posix.make_directory(base))
  end)

  after_each(function() assert.equal(0, (posix.run { "rm", "-rf", base })) end)

  local function write(name, text)
    local file <close> = assert(io.open(base .. "/" .. name, "wb"))
    file:write(text)
  end

  local function read(name)
    local file <close> = assert(io.open(base .. "/" .. name, "rb"))
    return file:read("a")
  end

  describe("files", function()
    it("tells files, folders and nothing apart", function()
      write("file", "x")
      assert.is_true(posix.is_file(base .. "/file"))
      assert.is_false(posix.is_directory(base .. "/file"))
      assert.is_true(posix.is_directory(base))
      assert.is_false(posix.is_file(base))
      assert.is_false(posix.is_file(base .. "/none"))
    end)

    it("knows when a file was changed", function()
      local before = os.time()
      write("file", "x")
      local changed = posix.modified(base .. "/file")
      assert.is_true(changed >= before - 1 and changed <= os.time())
      assert.equal(0, (posix.run { "touch", "-d", "@981000000", base .. "/file" }))
      assert.equal(981000000, posix.modified(base .. "/file"))
      assert.same({ nil, "No such file or directory" }, { posix.modified(base .. "/none") })
    end)

    it("lists names without . and ..", function()
      write("b", "")
      write(".a", "")
      local names = posix.list_directory(base)
      table.sort(names)
      assert.same({ ".a", "b" }, names)
      assert.same({ nil, "No such file or directory" }, { posix.list_directory(base .. "/none") })
      assert.same({ nil, "Not a directory" }, { posix.list_directory(base .. "/b") })
    end)

    it("makes folders, with parents only when asked", function()
      assert.same({ nil, "No such file or directory" }, { posix.make_directory(base .. "/a/b") })
      assert.is_true(posix.make_directory(base .. "/a/b/", true))
      assert.is_true(posix.is_directory(base .. "/a/b"))
      assert.is_true(posix.make_directory(base .. "/a/b", true))
      assert.same({ nil, "File exists" }, { posix.make_directory(base .. "/a/b") })
    end)

    it("does not take a file for a folder", function()
      write("file", "")
      assert.same({ nil, "File exists" }, { posix.make_directory(base .. "/file", true) })
      assert.is_nil((posix.make_directory(base .. "/file/below", true)))
      assert.same({ nil, "No such file or directory" }, { posix.make_directory("", true) })
    end)

    it("renames and removes", function()
      write("a", "text")
      assert.is_true(posix.rename(base .. "/a", base .. "/b"))
      assert.equal("text", read("b"))
      assert.is_true(posix.remove(base .. "/b"))
      assert.same({ nil, "No such file or directory" }, { posix.remove(base .. "/b") })
      assert(posix.write_file(base .. "/c", "mine"))
      assert.same({ nil, "Not a directory" }, { posix.remove_directory(base .. "/c") })
      assert.is_true(posix.is_file(base .. "/c"))
      assert.is_true(posix.make_directory(base .. "/d"))
      assert.is_true(posix.remove_directory(base .. "/d"))
      assert.is_nil((posix.rename(base .. "/b", base .. "/c")))
    end)

    it("writes a file whole, in place of the old one, leaving nothing else", function()
      write("f", "old, and longer than the new text")
      assert.is_true(posix.write_file(base .. "/f", "new\0text"))
      assert.equal("new\0text", read("f"))
      assert.same({ "f" }, posix.list_directory(base))
    end)

    it("keeps the old file when the new one cannot be written", function()
      write("f", "old")
      local status, out = posix.run { "sh", "-c", [[ulimit -f 1; trap '' XFSZ; exec "$0" -e "$1"]], host,
        ("io.write(select(2, require('spd.core').posix.write_file(%q, ('x'):rep(100000))))"):format(base .. "/f") }
      assert.equal(0, status)
      assert.equal("File too large", out)
      assert.equal("old", read("f"))
      assert.same({ "f" }, posix.list_directory(base))
    end)

    it("says why it cannot write", function()
      assert.same({ nil, "No such file or directory" }, { posix.write_file(base .. "/none/f", "x") })
      assert.is_nil((posix.write_file(base, "x")))
      assert.same({}, posix.list_directory(base))
    end)
  end)

  describe("paths", function()
    it("tell links, whole paths and times", function()
      assert(posix.write_file(base .. "/f", "x"))
      posix.run{"ln", "-s", base .. "/f", base .. "/link"}
      posix.run{"ln", "-s", base .. "/none", base .. "/broken"}
      assert.is_true(posix.is_link(base .. "/link"))
      assert.is_true(posix.is_link(base .. "/broken"))
      assert.is_false(posix.is_link(base .. "/f"))
      assert.is_false(posix.is_link(base .. "/none"))
      assert.equal(posix.real_path(base .. "/f"), posix.real_path(base .. "/./link"))
      assert.same({nil, "No such file or directory"}, {posix.real_path(base .. "/broken")})
      assert.is_true(math.abs(posix.modified(base .. "/link") - os.time()) < 100)
      assert.same({nil, "No such file or directory"}, {posix.modified(base .. "/none")})
    end)
  end)

  describe("lock", function()
    it("is held by one holder until it is closed", function()
      local path = base .. "/lock"
      do
        local lock <close> = assert(posix.lock(path))
        assert.is_userdata(lock)
        assert.is_nil(posix.try_lock(path))
      end
      local lock = assert(posix.try_lock(path))
      assert.is_nil(posix.try_lock(path))
      lock:close()
      lock:close()
      local held <close> = assert(posix.lock(path))
      assert.is_userdata(held)
    end)

    it("is seen by others, who do not take it", function()
      local path = base .. "/lock"
      assert.is_false(posix.is_locked(path))
      assert.is_false(posix.is_file(path))
      do
        local lock <close> = assert(posix.lock(path))
        assert.is_userdata(lock)
        assert.is_true(posix.is_locked(path))
      end
      assert.is_false(posix.is_locked(path))
      assert.is_userdata(posix.try_lock(path))
    end)

    it("is none where the file is a pipe", function()
      posix.run{"mkfifo", base .. "/pipe"}
      assert.is_false(posix.is_locked(base .. "/pipe"))
    end)

    it("waits for another process, whose end frees it", function()
      local path = base .. "/lock"
      local program = "p = require('spd.core').posix l = p.lock('" .. path .. "') print('held') io.flush() p.sleep(0.3)"
      local other = assert(io.popen(("%s -e %q"):format(host, program)))
      assert.equal("held", other:read())
      assert.is_nil(posix.try_lock(path))
      local held <close> = assert(posix.lock(path))
      assert.is_userdata(held)
      other:close()
    end)

    -- Those of SQLite, which hold between the nodes of a cluster that share a file system.
    it("is one of fcntl's, which belongs to the open file", function()
      local path = base .. "/lock"
      local held <close> = assert(posix.lock(path))
      assert.is_userdata(held)
      local _, inode = posix.run { "stat", "--format=%i", path }
      local file <close> = assert(io.open("/proc/locks"))
      assert.matches("OFDLCK +ADVISORY +WRITE[^\n]*:" .. inode:match("%d+") .. " 0 EOF", file:read("a"))
    end)

    it("does not wait on after a signal", function()
      local path = base .. "/lock"
      local held <close> = assert(posix.lock(path))
      assert.is_userdata(held)
      local status, _, err = lua(
        "local p = require('spd.core').posix; io.popen('sleep 0.1; kill -INT ' .. p.pid()); p.lock(arg[1])", path)
      assert.equal(130, status)
      assert.matches("interrupted!\n$", err)
    end)

    it("gives the reason when the file cannot be made", function()
      assert.same({ nil, "No such file or directory" }, { posix.lock(base .. "/none/lock") })
      assert.same({ nil, "No such file or directory" }, { posix.try_lock(base .. "/none/lock") })
    end)
  end)
end)

describe("core.posix.run", function()
  it("passes words as they are and returns both streams and the status", function()
    local status, out, err = posix.run { "sh", "-c", 'printf "%s" "$1"; echo bad >&2; exit 7', "sh", "a b $HOME *" }
    assert.equal(7, status)
    assert.equal("a b $HOME *", out)
    assert.equal("bad\n", err)
  end)

  it("moves more than pipes hold, in both directions at once", function()
    local text = ("0123456789abcdef"):rep(200000)
    local status, out = posix.run({ "cat" }, { stdin = text })
    assert.equal(0, status)
    assert.is_true(out == text)
    local _, _, err = posix.run({ "sh", "-c", "cat >&2" }, { stdin = text })
    assert.is_true(err == text)
  end)

  it("survives a program that does not read its input", function()
    assert.equal(0, (posix.run({ "true" }, { stdin = ("x"):rep(1000000) })))
  end)

  it("gives a program an empty stdin, and no files of ours", function()
    local file <close> = assert(io.open("Makefile"))
    assert.is_truthy(file:read())
    local _, out = posix.run { "sh", "-c", "cat; ls /proc/self/fd" }
    assert.equal("0\n1\n2\n3\n", out) -- 3: ls itself reads the folder
  end)

  it("tells a signal by 128 + its number", function() assert.equal(137, (posix.run { "sh", "-c", "kill -9 $$" })) end)

  it("gives the reason when there is no such program", function()
    assert.same({ nil, "No such file or directory" }, { posix.run { "no-such-program" } })
  end)

  it("takes thousands of words, and gives the reason for more", function()
    local words = { "true" }
    for i = 2, 4096 do words[i] = "x" end
    assert.equal(0, posix.run(words))
    words[4097] = "x"
    assert.same({ nil, "Argument list too long" }, { posix.run(words) })
    assert.same({ nil, "Argument list too long" }, { posix.start(words) })
  end)

  it("refuses words that are no strings", function()
    assert.has_error(function() posix.run { "echo", {} } end, "word 2 is a table, not a string")
    assert.has_error(function() posix.run({ "cat" }, { stdin = {} }) end, "run: stdin is a table, not a string")
    assert.has_error(function() posix.run {} end)
  end)

  it("leaves no file open", function()
    local before = #posix.list_directory("/proc/self/fd")
    for _ = 1, 20 do
      posix.run { "true" }
      posix.run { "no-such-program" }
    end
    assert.equal(before, #posix.list_directory("/proc/self/fd"))
  end)
end)

describe("core.posix about this process", function()
  it("knows the time of day, the computer's name and where it works", function()
    assert.near(os.time(), posix.wall_time(), 2)
    local _, name = posix.run{"uname", "-n"}
    local _, here = posix.run{"pwd", "-P"}
    assert.same({name, here}, {posix.host_name() .. "\n", posix.working_directory() .. "\n"})
  end)

  it("knows times", function()
    local start = posix.monotonic_time()
    posix.sleep(0.05)
    local passed = posix.monotonic_time() - start
    assert.is_true(passed >= 0.05 and passed < 5, tostring(passed))
    assert.has_error(function() posix.sleep(-1) end)
    assert.has_error(function() posix.sleep(0 / 0) end)
  end)

  it("knows its number and its program", function()
    local _, out = posix.run { "readlink", "/proc/" .. posix.pid() .. "/exe" }
    assert.equal(out, posix.executable() .. "\n")
  end)

  it("measures the peak of its own memory, not of the one that started it", function()
    local peak = posix.peak_memory_mb()
    local large = ("x"):rep(200 << 20)
    assert.is_true(posix.peak_memory_mb() >= 200, "peak " .. peak .. " MiB, holding " .. #large)
    local _, out = lua("print(require('spd.core').posix.peak_memory_mb())")
    assert.is_true(tonumber(out) < 190, out)
  end)

  it("finds less memory available under a limit of address space", function()
    local free = posix.memory_available_bytes()
    assert.is_true(free > 1 << 20, tostring(free))
    if host:find("asan") then return end -- the sanitizer reserves terabytes of address space
    local _, out = posix.run { "sh", "-c", [[ulimit -v 2000000; exec "$0" -e "$1"]], host,
      "print(require('spd.core').posix.memory_available_bytes())" }
    local limited = tonumber(out)
    assert.is_true(limited > 0 and limited < 2000000 * 1024, out)
  end)

  it("knows that a pipe is no terminal", function()
    local _, out = lua("p = require('spd.core').posix print(p.is_terminal(1), p.is_terminal(0), p.terminal_width())")
    assert.equal("false\tfalse\t80\n", out)
  end)
end)

describe("core.posix.catch_interrupt", function()
  local start = "p = require('spd.core').posix function kill(s) os.execute('kill -' .. s .. ' ' .. p.pid()) end "

  -- os.execute ignores SIGINT while it waits, io.popen does not.
  local later = "function int() io.popen('kill -INT ' .. p.pid()):close() end "

  it("notes SIGTERM and SIGINT instead of ending", function()
    local status, out = lua(start .. "p.catch_interrupt(true) io.write(tostring(p.interrupted())) kill 'TERM' "
      .. "io.write(tostring(p.interrupted()))")
    assert.equal(0, status)
    assert.equal("falsetrue", out)
    status, out = lua(start .. later .. "p.catch_interrupt(true) int() io.write(tostring(p.interrupted()))")
    assert.equal(0, status)
    assert.equal("true", out)
  end)

  it("ends the process at the second signal", function()
    local status = lua(start .. "p.catch_interrupt(true) kill 'TERM' kill 'TERM'")
    assert.equal(128 + 15, status)
  end)

  it("starts with nothing noted", function()
    local _, out = lua(start .. "p.catch_interrupt(true) kill 'TERM' p.catch_interrupt(true) "
      .. "io.write(tostring(p.interrupted()))")
    assert.equal("false", out)
  end)

  it("puts back what was before", function()
    local status, _, err = lua(start .. later .. "p.catch_interrupt(true) p.catch_interrupt(false) int() "
      .. "while true do end")
    assert.equal(130, status)
    assert.matches("interrupted!", err)
    assert.equal(128 + 15, (lua(start .. "p.catch_interrupt(true) p.catch_interrupt(false) kill 'TERM'")))
  end)
end)
