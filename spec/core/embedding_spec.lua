-- Other programs that use the core: the C programs of the README, compiled as a reader would, and run.
local core = require "spd.core"
local posix = core.posix

local MODULE = "build/release/spd/core.so"
local WARNINGS = "-std=c11 -Wall -Wextra -Werror"

local folder

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

-- Run a command of the shell; returns status, stdout, stderr.
local function shell(...) return posix.run{"sh", "-c", (...):format(select(2, ...))} end

-- The objects that libspd.a is made of.
local function objects()
  local list = {}
  for _, at in ipairs{"core", "core/kernels"} do
    for _, name in ipairs(assert(posix.list_directory("build/release/" .. at))) do
      local source = at .. "/" .. name:gsub("%..*", "") .. ".c"
      if name:find("%.o$") and posix.is_file(source) then list[#list + 1] = ("build/release/%s/%s"):format(at, name) end
    end
  end
  return table.concat(list, " ")
end

local function compile(source, inputs, packages)
  local program = folder .. "/program"
  local status, _, message = shell("${CC:-cc} %s -Icore $(pkg-config --cflags %s) -o %s %s %s $(pkg-config --libs %s) "
    .. "-lm -pthread", WARNINGS, packages, program, source, inputs, packages)
  assert.equal("", message)
  assert.equal(0, status)
  return program
end

describe("embedding", function()
  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(posix.make_directory(folder))
  end)
  after_each(function() posix.run{"rm", "-rf", folder} end)

  it("a C program of under sixty lines trains subcomponents of a matrix from a file", function()
    local source = "spec/fixtures/embedding.c"
    assert.is_true(select(2, read(source):gsub("\n", "")) < 60)
    local program = compile(source, objects(), "openblas jansson")
    local status, text, message = shell("%s spec/fixtures/tms.safetensors in.W.linear2", program)
    assert.equal("", message)
    assert.equal(0, status)
    local faithfulness, reconstruction = text:match("^F32 %[5, 2%]: faithfulness (%S+), reconstruction (%S+), imp")
    assert.is_true(tonumber(faithfulness) < 1e-3)
    assert.is_true(tonumber(reconstruction) < 0.05)
    status, text, message = shell("%s spec/fixtures/tms.safetensors in.W.linear9", program)
    assert.equal(1, status)
    assert.equal("", text)
    assert.equal("embedding: spec/fixtures/tms.safetensors: no matrix 'in.W.linear9'\n", message)
    status, text, message = shell("%s LICENSE in.W", program)
    assert.equal(1, status)
    assert.equal("", text)
    assert.matches("^embedding: LICENSE: [^\n]+\n$", message)
  end)

  it("a C program with a Lua state runs scripts with spd.core in it", function()
    local program = compile("spec/fixtures/embedding_lua.c", MODULE, "lua5.4")
    write(folder .. "/script.lua", [[
      local core = require "spd.core"
      print(core.sum(core.matmul(core.eye(3), core.eye(3))):item(), core.version)]])
    local status, text, message = shell("%s %s/script.lua", program, folder)
    assert.equal("", message)
    assert.equal(0, status)
    assert.equal("3.0\t" .. core.version .. "\n", text)
    write(folder .. "/script.lua", "require('spd.core').safetensors_load('/nowhere')")
    status, text, message = shell("%s %s/script.lua", program, folder)
    assert.equal(1, status)
    assert.equal("", text)
    assert.matches("^embedding_lua: /nowhere: [^\n]+\n$", message)
  end)
end)
