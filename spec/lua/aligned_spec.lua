local aligned = require "spd.aligned"

describe("aligned columns", function()
  it("are two spaces apart, each as wide as its widest cell, some of them ending at the right", function()
    local rows = {{"name", "steps", "state"}, {"a", "40000", "finished"}, {"longer", "7", ""}}
    assert.same({
      "name    steps  state",
      "a       40000  finished",
      "longer      7",
    }, aligned.lines(rows, {[2] = true}))
    assert.same({" a  bb", "aa   b"}, aligned.lines({{"a", "bb"}, {"aa", "b"}}, {true, true}))
  end)

  it("count characters, not bytes, but bytes of what is no UTF-8", function()
    local rows = {{"ä", "1"}, {"aaa", "2"}, {"\xff\xff\xff", "3"}}
    assert.same({"ä    1", "aaa  2", "\xff\xff\xff  3"}, aligned.lines(rows, {}))
    assert.same({"  ä|", "aaa|"}, {aligned.padded("ä", 3, true) .. "|", aligned.padded("aaa", 3, true) .. "|"})
  end)

  it("may hold bytes that are zero", function()
    assert.same({"a\0  1", "b   2"}, aligned.lines({{"a\0", "1"}, {"b", "2"}}, {}))
  end)

  it("can be wider than string.format can fill up to", function()
    local long = ("x"):rep(120)
    assert.same({long .. "  1", "a" .. (" "):rep(121) .. "2"}, aligned.lines({{long, "1"}, {"a", "2"}}, {}))
  end)
end)
