local core = require "spd.core"
local lfs = require "lfs"

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

local EMPTY = bytes "08 00 00 00 00 00 00 00 7b 7d 20 20 20 20 20 20"
local ONE_TENSOR = bytes [[3800000000000000
  7b2261223a7b226474797065223a22463332222c227368617065223a5b325d
  2c22646174615f6f666673657473223a5b302c385d7d7d2020
  0000803f 00000040]]

local folder, path

local function write(content)
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
end

local function read()
  local file = assert(io.open(path, "rb"))
  local content = file:read("a")
  file:close()
  return content
end

local function file_of(header, data) return string.pack("<I8", #header) .. header .. (data or "") end

local function entry(dtype, shape, first, last)
  return ('{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}'):format(dtype, shape, first, last)
end

local function load(content)
  write(content)
  return core.safetensors_load(path)
end

local function error_of(content)
  local ok, problem = pcall(load, content)
  assert.is_false(ok)
  assert.equal(2, problem.status)
  assert.equal(path .. ": ", tostring(problem):sub(1, #path + 2))
  assert.is_nil(tostring(problem):find("%c"))
  return tostring(problem):sub(#path + 3)
end

-- Loading any bytes gives tensors or a clean error.
local function survives(content)
  local ok, problem = pcall(load, content)
  if not ok then
    assert.equal(2, problem.status)
    assert.is_nil(tostring(problem):find("%c"))
  end
  return ok
end

local function files_in(name)
  local names = {}
  for file in lfs.dir(name) do
    if file ~= "." and file ~= ".." then names[#names + 1] = file end
  end
  table.sort(names)
  return names
end

describe("core.safetensors", function()
  local live

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
    path = folder .. "/a.safetensors"
    collectgarbage()
    collectgarbage()
    live = core.live_bytes()
  end)

  after_each(function()
    collectgarbage()
    collectgarbage()
    assert.equal(live, core.live_bytes())
    for _, name in ipairs(files_in(folder)) do os.remove(folder .. "/" .. name) end
    lfs.rmdir(folder)
  end)

  describe("reading", function()
    it("an empty file has no tensors and no metadata", function()
      local tensors, metadata = load(EMPTY)
      assert.is_nil(next(tensors))
      assert.is_nil(next(metadata))
    end)

    it("takes shape, values and metadata", function()
      local header = '{"__metadata__":{"format":"pt"},"w":' .. entry("F32", "2,1", 0, 8) .. "}"
      local tensors, metadata = load(file_of(header, string.pack("<ff", 1.5, -2)))
      assert.same({{1.5}, {-2.0}}, tensors.w:totable())
      assert.same({format = "pt"}, metadata)
    end)

    it("takes a scalar and a tensor without elements", function()
      local header = '{"s":' .. entry("F32", "", 0, 4) .. ',"z":' .. entry("F32", "3,0", 4, 4) .. "}"
      local tensors = load(file_of(header, string.pack("<f", 7)))
      assert.same({}, tensors.s.shape)
      assert.equal(7.0, tensors.s:item())
      assert.same({3, 0}, tensors.z.shape)
    end)

    it("does not care about the order of the header", function()
      local header = '{"b":' .. entry("F32", "1", 4, 8) .. ',"a":' .. entry("F32", "1", 0, 4) .. "}"
      local tensors = load(file_of(header, string.pack("<ff", 1, 2)))
      assert.equal(1.0, tensors.a:item())
      assert.equal(2.0, tensors.b:item())
    end)

    for _, case in ipairs {
      {"F64", "<d", {0.5, -3}, {0.5, -3}},
      {"F16", "<I2", {0x3c00, 0xc000, 0x0001, 0x8000, 0x7c00, 0x7bff, 0x03ff},
        {1, -2, 2.0 ^ -24, -0.0, math.huge, 65504, 1023 * 2.0 ^ -24}},
      {"BF16", "<I2", {0x3f80, 0xc040, 0x7f80, 0x0080}, {1, -3, math.huge, 2.0 ^ -126}},
      {"I64", "<i8", {-5, 2147483647}, {-5, 2147483647}},
      {"I32", "<i4", {-2147483648, 1}, {-2147483648, 1}},
      {"I16", "<i2", {-32768, 2}, {-32768, 2}},
      {"I8", "<i1", {-128, 127}, {-128, 127}},
      {"U8", "<I1", {255}, {255}},
      {"U16", "<I2", {65535}, {65535}},
      {"U32", "<I4", {2147483647}, {2147483647}},
      {"U64", "<I8", {12}, {12}},
      {"BOOL", "<I1", {1, 0}, {1, 0}},
    } do
      local dtype, format, stored, expected = table.unpack(case)
      it("converts " .. dtype, function()
        local data = {}
        for i, value in ipairs(stored) do data[i] = string.pack(format, value) end
        data = table.concat(data)
        local tensors = load(file_of('{"x":' .. entry(dtype, #stored, 0, #data) .. "}", data))
        assert.same(expected, tensors.x:totable())
        assert.equal(dtype:find("F") and "real" or "int32", tensors.x.dtype)
      end)
    end

    it("a NaN in F16 and BF16 stays one", function()
      local header = '{"a":' .. entry("F16", "1", 0, 2) .. ',"b":' .. entry("BF16", "1", 2, 4) .. "}"
      local tensors = load(file_of(header, bytes "017e c17f"))
      assert.is_true(tensors.a:item() ~= tensors.a:item())
      assert.is_true(tensors.b:item() ~= tensors.b:item())
    end)
  end)

  describe("a bad file is an error that names it:", function()
    local zeros = ("\0"):rep(8)
    for title, case in pairs {
      ["no bytes"] = {"", "expected a safetensors file, found only 0 bytes"},
      ["a header past the end"] = {string.pack("<I8", 9) .. "{}",
        "its header should have 9 bytes, but only 2 follow"},
      ["a header length of 2^64 - 1"] = {("\255"):rep(8) .. "{}",
        "not a safetensors file (its first 8 bytes are no header length from 1 to 100000000)"},
      ["text"] = {"# A heading and more text", "not a safetensors file"},
      ["a header of no bytes"] = {zeros .. "{}", "not a safetensors file"},
      ["a header without brace"] = {file_of(" {}"), "expected a header that starts with '{'"},
      ["no JSON"] = {file_of("{]"), "its header is not valid"},
      ["bytes after the JSON"] = {file_of("{}x"), "its header is not valid"},
      ["a name given twice"] = {file_of('{"a":' .. entry("F32", "", 0, 4) .. ',"a":' .. entry("F32", "", 4,
        8) .. "}",
        zeros), "duplicate object key"},
      ["text that is not UTF-8"] = {file_of('{"\255":1}'), "its header is not valid"},
      ["metadata that is a list"] = {file_of('{"__metadata__":[]}'),
        "expected an object as \"__metadata__\""},
      ["metadata with a number"] = {file_of('{"__metadata__":{"n":1}}'), "metadata 'n': expected a string"},
      ["a tensor that is a number"] = {file_of('{"a":1}'),
        "tensor 'a': expected an object in the header, found an int"},
      ["a name with line breaks"] = {file_of('{"a\\nb":1}'), "tensor 'a?b': "},
      ["no dtype"] = {file_of('{"a":{}}'), "tensor 'a': expected a string as \"dtype\""},
      ["an unknown dtype"] = {file_of('{"a":' .. entry("F4", "1", 0, 4) .. "}", "xxxx"), "found 'F4'"},
      ["a dtype that is not read"] = {file_of('{"a":' .. entry("F8_E5M2", "1", 0, 1) .. "}", "x"),
        "dtype F8_E5M2"},
      ["a negative size"] = {file_of('{"a":' .. entry("F32", "-1", 0, 4) .. "}", "xxxx"),
        "expected sizes of 0 or more"},
      ["a broken size"] = {file_of('{"a":' .. entry("F32", "1.0", 0, 4) .. "}", "xxxx"),
        "expected sizes of 0 or more"},
      ["five dimensions"] = {file_of('{"a":' .. entry("F32", "1,1,1,1,1", 0, 4) .. "}", "xxxx"),
        "tensor 'a': expected at most 4 dimensions, found 5"},
      ["a shape that overflows"] = {file_of('{"a":' .. entry("F32", "4294967296,4294967296", 0, 0) .. "}"),
        "too large for any memory"},
      ["an integer that overflows"] = {file_of('{"a":' .. entry("F32", "99999999999999999999", 0, 0) .. "}"),
        "its header is not valid"},
      ["too few bytes for the shape"] = {file_of('{"a":' .. entry("F32", "2", 0, 4) .. "}", "xxxx"),
        "expected 8 bytes of data from its shape and dtype, found 4"},
      ["data past the end"] = {file_of('{"a":' .. entry("F32", "2", 0, 8) .. "}", "xxxx"),
        "tensor 'a': its data ends at byte 8, but the file holds 4 bytes"},
      ["reversed offsets"] = {file_of('{"a":' .. entry("F32", "1", 8, 4) .. "}", zeros),
        "expected [begin, end]"},
      ["negative offsets"] = {file_of('{"a":' .. entry("F32", "1", -4, 0) .. "}", zeros),
        "expected [begin, end]"},
      ["a hole"] = {file_of('{"a":' .. entry("F32", "1", 4, 8) .. "}", zeros), "there is a hole before it"},
      ["an overlap"] = {file_of('{"a":' .. entry("F32", "1", 0, 4) .. ',"b":' .. entry("F32", "1", 0, 4)
        .. "}", "xxxx"),
        "it overlaps another tensor"},
      ["data after the last tensor"] = {file_of('{"a":' .. entry("F32", "1", 0, 4) .. "}", zeros),
        "expected 4 bytes of data for its tensors, found 8"},
      ["an integer beyond 32 bits"] = {file_of('{"a":' .. entry("I64", "1", 0, 8) .. "}", string.pack("<i8",
        1 << 31)),
        "tensor 'a': expected integers of 32 bits, found 2147483648"},
    } do
      it(title, function()
        local text = error_of(case[1])
        assert.truthy(text:find(case[2], 1, true), text)
      end)
    end

    it("no file, and a folder", function()
      local ok, problem = pcall(core.safetensors_load, path)
      assert.is_false(ok)
      assert.equal(path .. ": cannot open: No such file or directory", tostring(problem))
      ok, problem = pcall(core.safetensors_load, folder)
      assert.is_false(ok)
      assert.truthy(tostring(problem):find("something that is not a file", 1, true))
    end)
  end)

  describe("a damaged file never does harm:", function()
    local function sample()
      core.safetensors_save(path, {w = core.tensor {{1, 2}, {3, 4}}, i = core.tensor({1, 2, 3}, "int32")},
        {step = "10", note = "é"})
      return read()
    end

    it("cut at every byte it is an error", function()
      local content = sample()
      for length = 0, #content - 1 do assert.is_false(survives(content:sub(1, length)), length) end
      assert.is_true(survives(content))
    end)

    it("every byte replaced by a few others", function()
      local content = sample()
      for at = 1, #content do
        for _, byte in ipairs {"\255", "9", '"'} do
          survives(content:sub(1, at - 1) .. byte .. content:sub(at + 1))
        end
      end
    end)

    it("random bytes replaced", function()
      local content = sample()
      math.randomseed(7)
      for _ = 1, 500 do
        local damaged = {content:byte(1, -1)}
        for _ = 1, math.random(1, 6) do damaged[math.random(#damaged)] = math.random(0, 255) end
        survives(string.char(table.unpack(damaged)))
      end
    end)
  end)

  describe("writing", function()
    it("gives the bytes of the reference writer", function()
      core.safetensors_save(path, {a = core.tensor {1, 2}})
      assert.equal(ONE_TENSOR, read())
      core.safetensors_save(path, {})
      assert.equal(EMPTY, read())
    end)

    it("reads back the same, also shapes without dimensions or elements", function()
      local tensors = {m = core.tensor {{1, -2.5}, {1e-30, 3}}, scalar = core.zeros(), empty = core.zeros(2,
        0),
        ids = core.tensor({-1, 7}, "int32")}
      core.safetensors_save(path, tensors, {a = "x\n", b = ""})
      local found, metadata = core.safetensors_load(path)
      for name, tensor in pairs(tensors) do
        assert.same(tensor:totable(), found[name]:totable())
        assert.same(tensor.shape, found[name].shape)
        assert.equal(tensor.dtype, found[name].dtype)
      end
      assert.same({a = "x\n", b = ""}, metadata)
    end)

    it("sorts reals before integers, then by name, and pads the header to 8 bytes", function()
      core.safetensors_save(path, {c = core.zeros(1), b = core.zeros(1), a = core.tensor({1}, "int32")},
        {k2 = "v", k4 = "v", k1 = "v", k3 = "v", k5 = "v"})
      local content = read()
      local length = string.unpack("<I8", content)
      local header = content:sub(9, 8 + length)
      assert.equal(0, length % 8)
      local places = {}
      for _, text in ipairs {'"__metadata__":{"k1":"v","k2":"v","k3":"v","k4":"v","k5":"v"}',
                            '"b":{', '"c":{', '"a":{'} do
        places[#places + 1] = assert(header:find(text, 1, true), text)
      end
      for i = 2, #places do assert.is_true(places[i - 1] < places[i]) end
    end)

    it("a failure names the path and the reason, and leaves nothing behind", function()
      local missing = folder .. "/none/a.safetensors"
      local ok, problem = pcall(core.safetensors_save, missing, {a = core.zeros(1)})
      assert.is_false(ok)
      assert.equal(1, problem.status)
      assert.equal(missing .. ": cannot write: No such file or directory", tostring(problem))
      assert(lfs.mkdir(path))
      ok, problem = pcall(core.safetensors_save, path, {a = core.zeros(1)})
      assert.is_false(ok)
      assert.equal(path .. ": cannot write: Is a directory", tostring(problem))
      assert.same({"a.safetensors"}, files_in(folder))
      lfs.rmdir(path)
    end)

    it("a name that cannot be written leaves the old file alone", function()
      core.safetensors_save(path, {a = core.tensor {1, 2}})
      local before = read()
      assert.is_false((pcall(core.safetensors_save, path, {["\255"] = core.zeros(1)})))
      assert.is_false((pcall(core.safetensors_save, path, {__metadata__ = core.zeros(1)})))
      assert.equal(before, read())
      assert.same({"a.safetensors"}, files_in(folder))
    end)

    it("refuses what is not a table of tensors by name", function()
      for _, arguments in ipairs {{path, {core.zeros(1)}}, {path, {a = 1}}, {path, {}, {a = 1}}, {path, {},
        {"x"}},
                                  {path, {["a\0b"] = core.zeros(1)}}, {path, 3}} do
        assert.is_false((pcall(core.safetensors_save, table.unpack(arguments))))
      end
      assert.same({}, files_in(folder))
    end)
  end)

  describe("open", function()
    it("lists what is in the file, and reads tensors one by one as load does", function()
      core.safetensors_save(path, {a = core.tensor {1, 2, 3}, ids = core.tensor({{4}}, "int32"), s = core.tensor(5)})
      local file <close> = core.safetensors_open(path)
      assert.same({a = {dtype = "F32", shape = {3}}, ids = {dtype = "I32", shape = {1, 1}}, s = {dtype = "F32",
        shape = {}}}, file:list())
      local a = file:read "a"
      file:close()
      assert.same({1, 2, 3}, a:totable())
      a:close()
      for _, method in ipairs {"list", "read"} do
        local ok, problem = pcall(file[method], file, "a")
        assert.is_false(ok)
        assert.matches("the file is closed", problem)
      end
    end)

    it("holds no tensor in memory, and frees the file when it is closed or collected", function()
      core.safetensors_save(path, {a = core.zeros(100000)})
      collectgarbage()
      local file = core.safetensors_open(path)
      assert.is_true(core.live_bytes() - live < 10000)
      file:close()
      file:close()
      assert.equal(live, core.live_bytes())
      core.safetensors_open(path)
      collectgarbage()
      assert.equal(live, core.live_bytes())
    end)

    it("refuses damaged files as load does, tensors that are not there, and other objects", function()
      write(EMPTY .. "x")
      local ok, problem = pcall(core.safetensors_open, path)
      assert.is_false(ok)
      assert.equal(2, problem.status)
      write(EMPTY)
      local file <close> = core.safetensors_open(path)
      assert.same({}, file:list())
      ok, problem = pcall(file.read, file, "a")
      assert.is_false(ok)
      assert.matches("no such tensor", problem)
      for _, method in ipairs {"list", "read", "close"} do
        assert.is_false((pcall(file[method], core.zeros(1), "a")))
      end
    end)
  end)

  it("an allocation that fails is a clean error, whichever it is", function()
    local tensors = {a = core.zeros(3), b = core.zeros(2, 2)}
    local function exercise()
      core.safetensors_save(path, tensors, {k = "v"})
      local file <close> = core.safetensors_open(path)
      file:read("a"):close()
      local loaded = core.safetensors_load(path)
      loaded.a:close()
      loaded.b:close()
    end
    local failures = 0
    for n = 1, 100 do
      core.fail_allocation(n)
      local ok, problem = pcall(exercise)
      core.fail_allocation(0)
      if ok then break end
      failures = failures + 1
      assert.truthy(tostring(problem):find("not enough memory", 1, true), tostring(problem))
      collectgarbage()
      for _, name in ipairs(files_in(folder)) do assert.equal("a.safetensors", name) end
    end
    assert.is_true(failures >= 10)
  end)
end)
