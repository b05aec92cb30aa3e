local json = require "spd.json"

describe("json.encode", function()
  it("sorts keys", function()
    assert.equal('{"a":1,"b":[true,"x"],"c":{"d":{}}}', json.encode{c = {d = {}}, b = {true, "x"}, a = 1})
  end)

  it("keeps every bit of a number and no digit too many", function()
    assert.equal("0.1", json.encode(0.1))
    assert.equal("3", json.encode(3.0))
    assert.equal("9007199254740993", json.encode(9007199254740993))
    for _, x in ipairs{0.1 + 0.2, 1 / 3, 2 ^ -1074, 1.7976931348623157e308, -1e-300, 123456789.123456789} do
      assert.equal(x, tonumber(json.encode(x)))
      assert.equal(x, json.decode(json.encode{x})[1])
    end
  end)

  it("writes NaN and infinities as null", function()
    assert.equal("[null,null,null]", json.encode{0 / 0, math.huge, -math.huge})
  end)

  it("escapes what must be escaped, and no slash", function()
    assert.equal([["a/b \"c\" \\ \n"]], json.encode('a/b "c" \\ \n'))
  end)

  it("has an empty array beside the empty object", function()
    assert.equal('{"a":[],"b":{}}', json.encode{a = json.empty_list, b = {}})
    assert.equal("[]\n", json.encode_pretty(json.empty_list))
  end)

  it("refuses keys that are not strings, and functions", function()
    assert.error_matches(function() json.encode{[2] = 1} end, "not a string")
    assert.error_matches(function() json.encode{f = print} end, "cannot write a function")
  end)

  it("pretty: one entry per line", function()
    assert.equal('{\n  "a": [\n    1,\n    2\n  ],\n  "b": {}\n}\n', json.encode_pretty{a = {1, 2}, b = {}})
  end)
end)

describe("json.decode", function()
  it("has integers for whole numbers and leaves nulls out", function()
    local value = json.decode('{"a": 3, "b": 2.5, "c": null, "d": [1e300]}')
    assert.same({a = 3, b = 2.5, d = {1e300}}, value)
    assert.equal("integer", math.type(value.a))
  end)

  it("gives nil and a reason for what is not JSON", function()
    local value, reason = json.decode('{"a": 1')
    assert.is_nil(value)
    assert.matches("^Expected", reason)
  end)
end)
