local core = require "spd.core"
local yaml = require "spd.yaml"

describe("spd.yaml", function()
  it("number accepts what Python's int() and float() accept, and nothing else", function()
    for text, value in pairs {["1"] = 1, ["-40_000"] = -40000, ["3e-3"] = 3e-3, ["+1.5"] = 1.5, [".5"] = 0.5,
                              ["5."] = 5.0, ["1E+2"] = 100.0, [" 7 "] = 7, ["007"] = 7, ["1_0.0_1"] = 10.01,
                              ["inf"] = math.huge, ["-Infinity"] = -math.huge} do
      assert.equal(value, yaml.number(text), text)
    end
    local nan = yaml.number "NaN"
    assert.is_true(nan ~= nan)
    for _, text in ipairs {"", "-", ".", "e3", "1e", "1__0", "_1", "1_", "1_.0", "0x10", "1 2", "1,5", "--1",
      "1.2.3",
                           "1e1.5", "abc", "1e_3"} do
      assert.is_nil(yaml.number(text), text)
    end
  end)

  it("scalar resolves plain words as YAML 1.1", function()
    local function scalar(text) return yaml.scalar {value = text, plain = true} end
    for _, text in ipairs {"", "~", "null", "Null", "NULL"} do assert.is_nil(scalar(text)) end
    for _, text in ipairs {"true", "True", "YES", "on"} do assert.is_true(scalar(text)) end
    for _, text in ipairs {"false", "Off", "NO"} do assert.is_false(scalar(text)) end
    for text, value in pairs {["0x1F"] = 31, ["-0b101"] = -5, ["017"] = 15, [".inf"] = math.huge,
      ["1e3"] = 1000.0,
                              inf = "inf", nan = "nan", ["nULL"] = "nULL", ["1:30"] = "1:30"} do
      assert.equal(value, scalar(text), text)
    end
    assert.equal("1", yaml.scalar {value = "1", plain = false})
  end)

  it("format gives text that reads back the same", function()
    local values = {1, -7, 0.1, 1e-5, 1 / 3, 1e300, 5.0, true, false, "plain", "a b", "yes", "null", "", "12", "1e5",
                    "~", "a: b", "#", "é\n\t\"\\", "inf", "-", "*x", "a*", {"x", "1"}, {{1, 2}, {}}}
    for _, value in ipairs(values) do
      local node = core.yaml_parse("v: " .. yaml.format(value))[1].value
      local function read(n)
        if n.kind == "scalar" then return yaml.scalar(n) end
        local list = {}
        for i, item in ipairs(n) do list[i] = read(item) end
        return list
      end
      local found = read(node)
      assert.same(value, found)
      assert.equal(math.type(value), math.type(found))
    end
    assert.is_nil(yaml.scalar(core.yaml_parse("v: " .. yaml.format(nil))[1].value))
    assert.equal("1.0e-05", yaml.format(1e-5)) -- with a point: YAML 1.1 takes it as a number
  end)
end)
