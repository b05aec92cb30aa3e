local completion = require "spd.repl.completion"
local core = require "spd.core"
local spd = require "spd"

local function fail() error "called" end

describe("spd.repl.completion", function()
  local globals = {
    count = 1,
    counter = { value = 1, nested = { deep = 1 }, run = fail, ["no name"] = 1, [1] = 1 },
    list = { { inside = 1 } },
    object = setmetatable({ own = 1 }, { __index = setmetatable({ inherited = fail }, { __index = { far = fail } }) }),
    dynamic = setmetatable({ own = 1 }, { __index = fail }),
    text = "x",
    spd = spd,
  }

  local function complete(before, word) return completion.complete(before, word, globals) end

  it("gives globals and keywords, sorted", function()
    assert.same({ "count", "counter" }, complete("", "co"))
    assert.same({ "count", "counter" }, complete("print(1 + ", "coun"))
    assert.same({ "repeat", "return" }, complete("", "re"))
    assert.same({ "count" }, { complete("x = 'a' ..", "co")[1] })
    assert.same({}, complete("", "zzz"))
  end)

  it("gives fields after a dot, names only", function()
    assert.same({ "nested", "run", "value" }, complete("counter.", ""))
    assert.same({ "deep" }, complete("f(counter.nested.", "d"))
    assert.same({ "inside" }, complete("list[1].", ""))
    assert.same({}, complete("counter.none.", ""))
    assert.same({}, complete("count.", ""))
    assert.same({}, complete("f().", ""))
  end)

  it("gives methods after a colon: functions only", function()
    assert.same({ "run" }, complete("counter:", ""))
    assert.same({ "upper" }, complete("text:", "up"))
    assert.same({ "upper" }, complete("('x'):", "up"))
    assert.same({ "rep", "reverse" }, complete('"x":', "re"))
  end)

  it("follows tables behind tables, and calls nothing", function()
    assert.same({ "far", "inherited", "own" }, complete("object.", ""))
    assert.same({ "far", "inherited" }, complete("object:", ""))
    assert.same({ "own" }, complete("dynamic.", ""))
    assert.same({}, complete("dynamic.unknown.", ""))
  end)

  it("ends where metatables form a circle", function()
    local t = {}
    globals.circle = setmetatable(t, { __index = t })
    assert.same({}, complete("circle.", ""))
    globals.circle = nil
  end)

  it("knows methods and fields of tensors", function()
    local x <close> = core.eye(1)
    globals.x = x
    assert.same({ "relu", "reshape" }, complete("x:", "re"))
    assert.same({ "shape" }, complete("x.", "sh"))
    assert.same({}, complete("x:", "sh"))
    for _, name in ipairs { "shape", "dtype" } do assert.is_not_nil(x[name]) end
    globals.x = nil
  end)

  it("knows modules of spd that were not used yet", function()
    assert.same({ "errors" }, complete("spd.", "err"))
    assert.same({ "raise" }, complete("spd.errors.", "ra"))
  end)

  it("gives folders within spd.open, from the last point where a word begins", function()
    local base = os.tmpname()
    os.remove(base)
    for _, name in ipairs { "/tms_seed0-1", "/tms_seed0-2/target", "/seeds", "/.hidden" } do
      assert(core.posix.make_directory(base .. name, true))
    end
    for _, path in ipairs { "/tms_seed0-1/final_config.yaml", "/tms_file" } do
      assert(core.posix.write_file(base .. path, ""))
    end
    assert.same({ "seeds/", "tms_seed0-1", "tms_seed0-2/" }, complete('run = spd.open "' .. base .. "/", ""))
    assert.same({ "1", "2/" }, complete('run = spd.open("' .. base .. "/tms_seed0-", ""))
    assert.same({ "1" }, complete("f(spd.open'" .. base .. "/tms_seed0-", "1"))
    assert.same({ "target/" }, complete('spd.open "' .. base .. "/tms_seed0-2/", "t"))
    assert.same({}, complete('spd.open "' .. base .. "/none/", "t"))
    assert.same({}, complete('spd.load "' .. base .. "/", "t"))
    assert.equal(0, (core.posix.run { "rm", "-rf", base }))
  end)

  it("gives nothing within a string", function()
    assert.same({}, complete("x = 'a ", "co"))
    assert.same({}, complete([[x = "it's ]], "co"))
    assert.same({ "count", "counter" }, complete([[x = "it's" .. ]], "co"))
  end)
end)
