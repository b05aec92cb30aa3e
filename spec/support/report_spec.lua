-- Runs the runner on a spec file made here, in a process of its own.
local host = os.getenv("SPDLUA") or "./spdlua"

--- The output of the runner on a file with this body and these options, and whether it succeeded.
local function run(body, options)
  local reserved = os.tmpname()
  local path = reserved .. "_spec.lua"
  do
    local file <close> = assert(io.open(path, "w"))
    file:write('local core = require "spd.core"\ndescribe("made", function()\n', body, "\nend)\n")
  end
  local pipe = assert(io.popen(("%s spec/run.lua %s %s 2>&1"):format(host, options or "", path)))
  local output = pipe:read("a")
  local succeeded = pipe:close()
  os.remove(path)
  os.remove(reserved)
  return output, succeeded == true
end

local function last_line(output) return output:match("([^\n]*)\n$") end

describe("spec/run.lua", function()
  it("counts what passes and ends with one line", function()
    local output, succeeded = run 'it("a", function() assert.equal(1, #core.zeros(1)) end)'
    assert.equal("1 passed, 0 failed", last_line(output))
    assert.is_true(succeeded)
  end)

  it("fails with a spec that fails, and names it", function()
    local output, succeeded = run 'it("a", function() end) it("b", function() assert.equal(1, 2) end)'
    assert.equal("1 passed, 1 failed", last_line(output))
    assert.matches("made b", output)
    assert.is_false(succeeded)
  end)

  it("fails a spec that leaves a tensor behind", function()
    local output, succeeded = run 'local kept it("a", function() kept = core.zeros(16) end)'
    assert.matches("leak: %d+ bytes", output)
    assert.equal("0 passed, 1 failed", last_line(output))
    assert.is_false(succeeded)
  end)

  it("lets an after_each tidy up first", function()
    local output = run 'local kept it("a", function() kept = core.zeros(16) end) after_each(function() kept = nil end)'
    assert.equal("1 passed, 0 failed", last_line(output))
  end)

  it("fails a spec that writes a global variable", function()
    local output = run 'it("a", function() rawset(_G, "forgotten", 1) end)'
    assert.matches("global variable 'forgotten'", output)
    assert.equal("0 passed, 1 failed", last_line(output))
  end)

  it("fails when a file does not load", function()
    local output, succeeded = run "it("
    assert.equal("0 passed, 1 failed", last_line(output))
    assert.is_false(succeeded)
  end)

  it("leaves slow specs out, and fails when nothing ran", function()
    local output, succeeded = run 'it("a #slow", function() end)'
    assert.matches("no spec ran", output)
    assert.is_false(succeeded)
  end)

  it("runs slow specs when asked, also in processes of their own", function()
    for _, options in ipairs { "--run-slow", "--jobs 1 --run-slow" } do
      assert.equal("1 passed, 0 failed", last_line((run('it("a #slow", function() end)', options))))
    end
  end)

  it("says why a spec is pending", function()
    local output = run 'it("a", function() pending "no cluster here" end)'
    assert.matches("pending [^\n]+\n  made a\n [^\n]*no cluster here\n", output)
  end)
end)
