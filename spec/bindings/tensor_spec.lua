local core = require "spd.core"

describe("tensor:above", function()
  it("lists the elements above a threshold by row and column", function()
    local x = core.tensor{{{0.5, -1}, {0.25, 2}}, {{0, 0}, {3, 0.75}}}
    local rows, columns, values = x:above(0.25)
    assert.same({{1, 2, 4, 4}, {1, 2, 1, 2}, {0.5, 2, 3, 0.75}}, {rows, columns, values})
    assert.equal("integer", math.type(rows[1]))
  end)

  it("compares as core.greater does, in the precision of the tensor", function()
    local x = core.tensor{0.1, 0.3}
    assert.same({0, 1}, core.greater(x, 0.1):totable())
    assert.same({2}, (select(2, x:above(0.1))))
  end)

  it("finds no NaN, and nothing where there is nothing", function()
    assert.same({{}, {}, {}}, {core.tensor{{0 / 0, 1}}:above(1)})
    assert.same({{}, {}, {}}, {core.zeros(0, 3):above(-1)})
    assert.same({{1}, {1}, {4}}, {core.tensor(4):above(3)})
  end)

  it("refuses integers, and what is no number", function()
    assert.error_matches(function() core.zeros({2}, "int32"):above(0) end, "expected a tensor of reals")
    assert.error_matches(function() core.zeros(2):above "a" end, "expected a number, found string")
  end)
end)
