local hint = require "spd.repl.hint"

describe("a hint", function()
  local globals = {
    spd = {uniform = print, zeros = print, losses = {faithfulness = print}},
    x = setmetatable({}, {__index = {size = print, totable = print}}), threads = print,
  }

  local function after(text, kind, name)
    local message = "stdin:1: attempt to call a nil value (%s '%s')\nstack traceback:\n\tstdin:1: ..."
    return hint.of_error(text, message:format(kind, name), globals)
  end

  it("names what was probably meant by a name that is not there", function()
    assert.equal("the nearest one is spd.uniform", after("y = spd.unifrom({2})", "field", "unifrom"))
    assert.equal("the nearest one is spd.losses.faithfulness",
      after("spd.losses.faithfulnes (x)", "field", "faithfulnes"))
    assert.equal("the nearest one is x:size", after("print(x:totable(), x:szie(1))", "method", "szie"))
    assert.equal("the nearest one is spd.zeros", after("spd.zeors{2}", "field", "zeors"))
    assert.equal("the nearest one is threads", after("thread(2)", "global", "thread"))
  end)

  it("also where the name is not called", function()
    local message = "stdin:1: attempt to index a nil value (field 'loses')"
    assert.equal("the nearest one is spd.losses", hint.of_error("spd.loses.faithfulness(1)", message, globals))
  end)

  it("says where to look if nothing is near", function()
    assert.equal("help(x) lists what there is", after("x:mean()", "method", "mean"))
    assert.equal("help(spd) lists what there is", after("a = spd.mean(x)", "field", "mean"))
    assert.equal("spd.zeros is there", after("zeros(3)", "global", "zeros"))
  end)

  it("is not given where there is nothing to say, or the mistake is not in what was typed", function()
    assert.is_nil(after("foo(3)", "global", "foo"))
    assert.is_nil(after("local f; f(3)", "local", "f"))
    assert.is_nil(after("x[1].y.mean()", "field", "gone"))
    assert.is_nil(hint.of_error("f()", "lua/a.lua:3: attempt to call a nil value (field 'unifrom')", globals))
    assert.is_nil(hint.of_error("y + 1", "stdin:1: attempt to perform arithmetic on a nil value (global 'y')", globals))
  end)

  it("tells how to leave", function()
    assert.equal("Ctrl-D leaves, and os.exit()", hint.of_leaving " exit() ")
    assert.equal("Ctrl-D leaves, and os.exit()", hint.of_leaving "quit")
    assert.is_nil(hint.of_leaving "exit(1)")
  end)
end)
