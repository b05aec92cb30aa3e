local core = require "spd.core"

local function parse(text) return core.yaml_parse(text, "x.yaml") end

local function error_of(text)
  local ok, problem = pcall(parse, text)
  assert.is_false(ok)
  assert.equal(2, problem.status)
  assert.is_nil(tostring(problem):find("%c"))
  return tostring(problem)
end

describe("core.yaml_parse", function()
  it("keeps the order of keys, lines, and how scalars were written", function()
    assert.same({
      kind = "mapping", line = 2,
      {key = "b", line = 2, value = {kind = "scalar", line = 2, value = "1", plain = true}},
      {key = "a", line = 3, value = {kind = "sequence", line = 4,
        {kind = "scalar", line = 4, value = "x", plain = false},
        {kind = "scalar", line = 5, value = "", plain = true},
      }},
      {key = "c", line = 6, value = {kind = "mapping", line = 7,
        {key = "d", line = 7, value = {kind = "scalar", line = 7, value = "two\nlines", plain = false}},
      }},
    }, parse '# comment\nb: 1\na:\n  - "x"\n  -\nc:\n  d: "two\\nlines" # more\n')
  end)

  it("gives nothing for text without a document", function()
    for _, text in ipairs {"", "\n\n", "# only a comment\n"} do assert.is_nil(parse(text)) end
  end)

  it("ignores a byte order mark", function() assert.equal("a", parse("\xef\xbb\xbfa: 1")[1].key) end)

  it("expands aliases", function()
    local tree = parse "a: &x {v: 1}\nb: *x\n"
    assert.same(tree[1].value, tree[2].value)
    assert.equal("v", tree[2].value[1].key)
  end)

  it("the source has a default", function()
    local ok, problem = pcall(core.yaml_parse, "a: [")
    assert.is_false(ok)
    assert.equal("YAML:", tostring(problem):sub(1, 5))
  end)

  for title, case in pairs {
    ["an open bracket"] = {"a: 1\nb: [1, 2\n", "x.yaml:3: did not find expected ',' or ']'"},
    ["an open quote"] = {"a: 1\nb: 'x", "x.yaml:2: found unexpected end of stream"},
    ["a tab"] = {"a:\n\tb: 1", "x.yaml:2: found character that cannot start any token"},
    ["a key given twice"] = {"a: 1\nb: 2\na: 3", "x.yaml:3: key 'a' is given twice (first in line 1)"},
    ["a key given twice further down"] = {"t:\n  a: 1\n  a: 3",
      "x.yaml:3: key 'a' is given twice (first in line 2)"},
    ["a key with a line break given twice"] = {'"a\\nb": 1\n"a\\nb": 2',
      "x.yaml:2: key 'a?b' is given twice"},
    ["a second document"] = {"a: 1\n---\nb: 2\n", "x.yaml:2: expected one document, found a second one"},
    ["a list as key"] = {"[a]: 1", "x.yaml:1: expected a word as key"},
    ["a zero byte in a key"] = {'"a\\0b": 1', "x.yaml:1: a key contains a zero byte"},
    ["a tag"] = {"a: 1\nb: !!python/none x",
      "x.yaml:2: the tag tag:yaml.org,2002:python/none is not supported"},
    ["an unknown alias"] = {"a: *x", "x.yaml:1: found undefined alias"},
    ["a zero byte"] = {"a: 1\n\0", "x.yaml:2: expected text in UTF-8"},
    ["text in Latin-1"] = {"a: 1\nb: 2\nc: caf\xe9\n", "x.yaml:3: expected text in UTF-8"},
    ["UTF-16"] = {"\xfe\xff\0a", "x.yaml:1: expected text in UTF-8"},
    ["a cycle"] = {"a: &x [*x]", "x.yaml:1: nested more than 32 levels deep"},
    ["too many levels"] = {("["):rep(33) .. ("]"):rep(33), "x.yaml:1: nested more than 32 levels deep"},
  } do
    it(title .. " is an error with its line", function()
      local text = error_of(case[1])
      assert.equal(case[2], text:sub(1, #case[2]))
    end)
  end

  it("an expansion that grows exponentially is an error", function()
    local lines = {"a: &a [x, x, x, x, x, x, x, x]"}
    for byte = ("b"):byte(), ("k"):byte() do
      lines[#lines + 1] = ("%c: &%c [%s]"):format(byte, byte, ("*%c, "):format(byte - 1):rep(8))
    end
    assert.truthy(error_of(table.concat(lines, "\n")):find("more than 100000 values", 1, true))
  end)

  it("damaged text never does harm", function()
    local text = "a: 1\nb: [x, 'y', {c: &k 3}]\nd: |\n  text\n  more\ne: *k\n"
    math.randomseed(11)
    for length = 0, #text do pcall(parse, text:sub(1, length)) end
    for _ = 1, 3000 do
      local bytes = {text:byte(1, -1)}
      for _ = 1, math.random(1, 5) do bytes[math.random(#bytes)] = math.random(0, 255) end
      local ok, problem = pcall(parse, string.char(table.unpack(bytes)))
      if not ok then
        assert.equal(2, problem.status)
        assert.is_nil(tostring(problem):find("%c"), tostring(problem))
      end
    end
  end)
end)
