local core = require "spd.core"
local pretty = require "spd.repl.pretty"

describe("spd.repl.pretty", function()
  it("shows values other than tables by tostring, strings as they are", function()
    assert.equal("nil", pretty.show(nil))
    assert.equal("1.5", pretty.show(1.5))
    assert.equal("a\nb", pretty.show("a\nb"))
    local x <close> = core.eye(1)
    assert.equal(tostring(x), pretty.show(x))
  end)

  it("shows a list, then sorted keys, on a line that is wide enough", function()
    assert.equal("{}", pretty.show {})
    assert.equal("{ 1, 2, [2.5] = 3, a = 4, b = { c = 5 } }", pretty.show { 1, 2, b = { c = 5 }, a = 4, [2.5] = 3 })
    assert.equal("{\n  1,\n  b = { 2 }\n}", pretty.show({ 1, b = { 2 } }, 12))
    assert.equal("{\n  b = {\n    2,\n    3\n  }\n}", pretty.show({ b = { 2, 3 } }, 11))
  end)

  it("quotes strings in tables, and keys that are no names", function()
    assert.equal([[{ "a\n\"b\"", ["end"] = 1, ["x y"] = 2 }]], pretty.show { 'a\n"b"', ["x y"] = 2, ["end"] = 1 })
    assert.equal('{ "' .. ("x"):rep(200) .. '"... }', pretty.show({ ("x"):rep(201) }, 300))
  end)

  it("names functions and modules, and shows the first line of objects", function()
    local x <close> = core.eye(2)
    assert.equal("{ f = function, m = module spd.core, x = tensor [2, 2] }", pretty.show { f = print, m = core, x = x })
  end)

  it("shows a module by the names in it, sorted; of spd also modules that were not used yet", function()
    local module, data = { second = print, first = print, text = "x", errors = require "spd.errors" }, { 1 }
    package.loaded["this spec"], package.loaded["data of this spec"] = module, data
    finally(function() package.loaded["this spec"], package.loaded["data of this spec"] = nil, nil end)
    assert.equal("module this spec\n  functions   first second\n  modules     errors\n  fields      text",
      pretty.show(module))
    assert.equal("{ 1 }", pretty.show(data))
    local text = pretty.show((require "spd"))
    assert.matches("^module spd\n  functions   absolute ", text)
    for _, name in ipairs(require("spd").modules) do assert.matches("%f[%w_]" .. name .. "%f[^%w_]", text) end
    assert.is_nil(text:find("0x", 1, true))
  end)

  it("shows what is not a number without a sign", function()
    assert.equal("nan", pretty.show(0 / 0))
    assert.equal("{ nan, nan }", pretty.show { 0 / 0, -(0 / 0) })
  end)

  it("cuts what is deep, long or a cycle", function()
    local cycle = {}
    cycle.again = cycle
    assert.equal("{ again = <cycle> }", pretty.show(cycle))
    assert.equal("{ { { { {...} } } } }", pretty.show { { { { { 1 } } } } })
    local list = {}
    for i = 1, 60 do list[i] = i end
    assert.matches("50,%s+%.%.%. 10 more%s+}$", pretty.show(list))
    assert.matches("10,%s+%.%.%. 50 more%s+}%s+}$", pretty.show { list })
    local large = {}
    for i = 1, 50 do
      large[i] = {}
      for j = 1, 10 do large[i][j] = { i, j } end
    end
    assert.is_true(select(2, pretty.show(large):gsub("\n", "\n")) < 1000)
  end)

  it("calls no metamethods but __tostring", function()
    local function fail() error "called" end
    local t = setmetatable({ 1, nil, 3 }, { __index = fail, __len = fail, __pairs = fail })
    assert.equal("{ 1, nil, 3 }", pretty.show(t))
    assert.equal("own", pretty.show(setmetatable({}, { __tostring = function() return "own" end })))
  end)
end)
