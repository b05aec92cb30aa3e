-- Lua code that runs in the middle of a call of ours: finalizers and metamethods must not reach freed memory.
local core = require "spd.core"
local experiment = require "spec.support.experiment"

local ENOUGH = 5

-- Call f again and again until finalizers, which any allocation may run, have called `action` a few times.
local function with_finalizers(action, f)
  local armed, calls = true, 0
  local function arm()
    setmetatable({}, {__gc = function()
      if not armed then return end
      calls = calls + 1
      action()
      arm()
    end})
  end
  arm()
  local ok, message = true, nil
  collectgarbage("incremental", 1, 1000) -- one cycle after the other, so that there are many finalizers
  for _ = 1, 100000 do
    if calls >= ENOUGH or not ok then break end
    ok, message = pcall(f)
  end
  collectgarbage("incremental", 200, 100)
  armed = false
  collectgarbage()
  assert(ok, message)
  assert.is_true(calls >= ENOUGH, "finalizers hardly ran")
end

describe("a finalizer that runs within a call", function()
  it("may compute and release buffers", function()
    local x = core.uniform({3, 4}, {seed = 1})
    local expected = core.relu(x):totable()
    with_finalizers(function()
      core.gelu(core.zeros(2))
      core.release_buffers()
    end, function()
      assert.same(expected, core.relu(x):totable())
    end)
  end)

  it("may close the tensor that is worked on", function()
    local x
    with_finalizers(function() if x then x:close() end end, function()
      x = core.zeros(2, 3):parameter()
      pcall(function()
        return x.gradient, x:clone(), tostring(x), x:totable()
      end)
    end)
  end)

  it("may close the file that is listed or read", function()
    local file
    with_finalizers(function() if file then file:close() end end, function()
      file = core.safetensors_open("spec/fixtures/tms.safetensors")
      pcall(function()
        return file:list(), file:read("in.x"), file:list()
      end)
    end)
  end)

  it("may change the table that is saved", function()
    local tensors = {a = core.zeros(1)}
    local n = 0
    with_finalizers(function()
      n = n + 1
      tensors["b" .. n % 50] = n % 100 < 50 and core.zeros(1) or nil
    end, function()
      -- the lists are made before the folder turns out to be missing
      local _, message = pcall(core.safetensors_save, "/nowhere/x.safetensors", tensors)
      assert.matches("changed by a finalizer", tostring(message):gsub("^/nowhere.*", "changed by a finalizer"))
    end)
  end)

  it("may use the module while the Lua state closes", function()
    local status, out, err = experiment.run{experiment.host, "-e", [[
      local first <const> = setmetatable({}, {__gc = function() if Y then Y:close() end end})
      spd = require "spd"
      optimizer = spd.adamw()
      second = setmetatable({}, {__gc = function() Y = spd.zeros(2) end})
      keep = first]]}
    assert.same({0, "", ""}, {status, out, err})
  end)
end)

describe("a metamethod of an argument", function()
  it("cannot close the tensor that is filled", function()
    local x = core.zeros(2, 3)
    local settings = setmetatable({probability = 0.5}, {__index = function() x:close() end})
    assert.error_matches(function() core.fill_sparse_features(x, settings, {seed = 1}) end, "the tensor is closed")
    local y, group = core.zeros(2, 3), core.tensor({0, 1, 2}, "int32")
    local draw = setmetatable({}, {__index = function() group:close() end})
    assert.error_matches(function() core.fill_sparse_features(y, {probability = 0.5, group = group}, draw) end, "group")
  end)

  it("cannot be one of ours: metatables are not handed out", function()
    local tape <close> = core.tape()
    for _, object in ipairs{core.zeros(1), tape, core.relu(core.zeros(1)), core.adamw()} do
      assert.is_false(getmetatable(object))
    end
  end)
end)
