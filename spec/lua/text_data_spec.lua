local core = require "spd.core"
local errors = require "spd.errors"
local experiment = require "spec.support.experiment"
local text_data = require "spd.text_data"
local posix = core.posix

-- A stand-in for a tokenizer: the ids are the bytes. Told to add special tokens it would end with -1, which no sample
-- may contain.
local bytes = {}
function bytes.encode(_, text, add_special_tokens)
  local ids = {}
  for at = 1, #text, 1000 do table.move({text:byte(at, at + 999)}, 1, 1000, at, ids) end
  if add_special_tokens ~= false then ids[#ids + 1] = -1 end
  return ids
end

local END = 0

local folder

local function write(name, text)
  experiment.write(folder .. "/" .. name, text)
  return folder .. "/" .. name
end

local function make(name) assert(posix.make_directory(folder .. "/" .. name, true)) end

local function open(path, settings)
  local all = {path = path, column = "text", tokenizer = bytes, end_id = END, max_seq_len = 4, batch_size = 1, seed = 5}
  for name, value in pairs(settings or {}) do all[name] = value end
  if settings and settings.end_id == false then all.end_id = nil end
  return text_data.open(all)
end

-- A sample as text, end tokens as "|".
local function text_of(row)
  for i, id in ipairs(row) do row[i] = id == END and "|" or string.char(id) end
  return table.concat(row)
end

-- The samples of some steps, as texts.
local function samples(dataset, first, last)
  local list = {}
  for step = first, last do
    for _, row in ipairs(dataset:batch(step):totable()) do list[#list + 1] = text_of(row) end
  end
  return list
end

-- The stream of the first `count` ids.
local function stream(path, count, settings)
  local all = {max_seq_len = count}
  for name, value in pairs(settings or {}) do all[name] = value end
  return samples(open(path, all), 0, 0)[1]
end

local function sorted(list)
  table.sort(list)
  return list
end

local function refusal(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  assert.equal(2, err.status)
  assert.is_nil(err.message:find("\n"))
  return err.message
end

-- What is wrong when the first batch is read.
local function first_refusal(path, settings)
  return refusal(function() open(path, settings):batch(0) end)
end

-- State as it comes back from a checkpoint.
local function saved(dataset)
  local path = folder .. "/state.safetensors"
  core.safetensors_save(path, dataset:state())
  local tensors = core.safetensors_load(path)
  os.remove(path)
  return tensors
end

local letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

-- Text with spaces, of a given size.
local function words(size)
  local list = {}
  for i = 1, size // 5 do list[i] = ("%04d"):format(i * 7919 % 10007) end
  return table.concat(list, " ")
end

-- A .npy file of ids as NumPy writes it, or with another header.
local function npy(ids, descr, shape, changes)
  changes = changes or {}
  local formats = {["<u2"] = "<I2", ["<i4"] = "<i4", ["<u4"] = "<I4", ["<i8"] = "<i8"}
  local header = changes.header or ("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }"):format(descr,
    changes.fortran_order or "False", shape or ("(%d,)"):format(#ids))
  header = header .. (" "):rep(-(#header + 11) % 64) .. "\n"
  local data = {}
  for i, id in ipairs(ids) do data[i] = (formats[descr] or "<i4"):pack(id) end
  local version = changes.version or 1
  return "\x93NUMPY" .. string.char(version, 0) .. string.pack(version == 1 and "<s2" or "<s4", header) ..
    table.concat(data)
end

before_each(function() folder = experiment.make_folder() end)
after_each(function() experiment.remove_folder(folder) end)

describe("text_data: a stream of ids", function()
  it("joins the documents of .jsonl by one end token and cuts it to samples", function()
    local path = write("a.jsonl", '{"text": "abc"}\n\n  \r\n{"id": [1], "text": "d\\u00e9\\n"}\r\n{"text": "fg"}')
    assert.same({"abc|", "d\xc3\xa9\n", "|fg|"}, samples(open(path), 0, 2))
    assert.same({4, 4}, open(path, {batch_size = 4}):batch(0).shape)
    assert.equal("int32", open(path):batch(0).dtype)
  end)

  it("joins documents directly without an end token", function()
    local path = write("a.jsonl", '{"text": "abc"}\n{"text": "defgh"}\n')
    assert.equal("abcdefgh", stream(path, 8, {end_id = false}))
  end)

  it("carries what an epoch leaves over into the next one", function()
    local path = write("a.jsonl", '{"text": "abcde"}\n')
    assert.same({"abcd", "e|ab", "cde|", "abcd"}, samples(open(path), 0, 3))
  end)

  it("has no end token for a document without tokens", function()
    assert.equal("ab|cd|", stream(write("a.jsonl", '{"text": "ab"}\n{"text": ""}\n{"text": "cd"}\n'), 6))
    assert.equal("ab|cd|", stream(write("a.txt", "ab\n<|endoftext|>\n\n<|endoftext|>\ncd\n<|endoftext|>\n"), 6))
  end)

  it("splits .txt at lines that are <|endoftext|>, and nowhere else", function()
    local text = "\na\n\nb\n<|endoftext|>\r\nc<|endoftext|>\n<|endoftext|>d\n<|endoftext|>"
    assert.equal("a\n\nb|c<|endoftext|>\n<|endoftext|>d|", stream(write("a.txt", text), 35))
  end)

  it("reads the files of a list one after another", function()
    local paths = {write("b.txt", "b"), write("a.jsonl", '{"text": "a"}'), write("c.npy", npy({99, 100}, "<u2"))}
    assert.same({"b|a|cd", "b|a|cd"}, samples(open(paths, {max_seq_len = 6}), 0, 1))
  end)

  it("tokenizes long documents in pieces that change nothing", function()
    local text = words(200000)
    local longest = 0
    local measured = {encode = function(_, piece, special)
      longest = math.max(longest, #piece)
      assert.matches("^ ?%d", piece)
      assert.matches("%d$", piece)
      return bytes.encode(nil, piece, special)
    end}
    for name, content in pairs{["a.txt"] = text .. "\n", ["a.jsonl"] = '{"text": "' .. text .. '"}'} do
      assert.equal(text .. "|", stream(write(name, content), #text + 1, {tokenizer = measured}))
    end
    assert.is_true(longest <= 65536)
  end)

  it("cuts long text without spaces between characters", function()
    local text = ("\xe4\xbd\xa0"):rep(50000)
    local whole = {encode = function(_, piece, special)
      assert.is_truthy(utf8.len(piece))
      return bytes.encode(nil, piece, special)
    end}
    assert.equal(text .. "|", stream(write("a.txt", text), #text + 1, {tokenizer = whole}))
  end)

  it("finds separators wherever pieces and blocks of reading end", function()
    for _, size in ipairs{65520, 65530, 65535, 65536, 65537, 65540, 262130, 262140, 262144} do
      local text = words(size + 5):sub(1, size - 1):gsub(" $", "x") .. "y"
      assert.equal(text .. "|z|", stream(write("a.txt", text .. "\n<|endoftext|>\nz"), #text + 3), size)
    end
    -- Without spaces pieces have 65536 bytes. The second separator begins in a piece that is in memory to its end, but
    -- not itself in memory to its end.
    local first, second = ("x"):rep(65514), ("y"):rep(196605)
    local path = write("a.txt", first .. "\n<|endoftext|>\n" .. second .. "\n<|endoftext|>\nz")
    assert.equal(first .. "|" .. second .. "|z|", stream(path, #first + #second + 4))
  end)

  it("sees no separator where a piece begins within a line", function()
    local settings, expected = {max_seq_len = 65536}, ("x"):rep(65536)
    local path = write("a.txt", expected .. "<|endoftext|>\n" .. ("y"):rep(65536))
    local dataset, resumed = open(path, settings), open(path, settings)
    assert.equal(expected, samples(dataset, 0, 0)[1])
    resumed:restore(saved(dataset), "here")
    for _, each in ipairs{dataset, resumed} do assert.matches("^<|endoftext|>\ny+$", samples(each, 1, 1)[1]) end
  end)
end)

describe("text_data: .npy", function()
  local function ids_of(...) return open(write("a.npy", npy(...)), {tokenizer = false}):batch(0):totable()[1] end

  it("reads the types and versions of the format", function()
    for _, descr in ipairs{"<u2", "<i4", "<u4", "<i8"} do
      for version = 1, 3 do
        assert.same({7, 65535, 0, 8}, ids_of({7, 65535, 0, 8}, descr, nil, {version = version}))
      end
    end
    assert.same({2 ^ 31 - 1, 1, 2, 3}, ids_of({0x7fffffff, 1, 2, 3}, "<i8"))
    assert.same({1, 2, 3, 4}, ids_of({1, 2, 3, 4}, "<u2", nil, {fortran_order = "True"}))
  end)

  it("takes each row of two dimensions as a sequence", function()
    local path = write("a.npy", npy({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, "<i4", "(2, 5)"))
    local dataset = open(path, {tokenizer = false, batch_size = 3})
    assert.same({{1, 2, 3, 4}, {6, 7, 8, 9}, {1, 2, 3, 4}}, dataset:batch(0):totable())
    assert.matches("text shorter than one sequence: its rows have 5 ids %(max_seq_len = 6%)",
      refusal(open, path, {max_seq_len = 6}))
  end)

  it("reads long streams in order", function()
    local ids = {}
    for i = 1, 5000 do ids[i] = i end
    local dataset = open(write("a.npy", npy(ids, "<u2")), {max_seq_len = 1250, batch_size = 4})
    local found = {}
    for _, row in ipairs(dataset:batch(0):totable()) do table.move(row, 1, 1250, #found + 1, found) end
    assert.same(ids, found)
  end)

  it("refuses ids that are none", function()
    assert.matches("%-1 is not a token id", first_refusal(write("a.npy", npy({1, -1, 2, 3}, "<i8"))))
    assert.matches("2147483648 is not a token id", first_refusal(write("a.npy", npy({1, 2, 3, 2 ^ 31 | 0}, "<u4"))))
  end)

  local damages = {
    {"holds values of type '<f4' %(read are uint16", descr = "<f4"},
    {"holds values of type '>i4'", descr = ">i4"},
    {"holds values of type 3", header = "{'descr': 3, 'fortran_order': False, 'shape': (4,), }"},
    {"no dictionary", header = "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (4,), }"},
    {"is stored column by column %(save it with numpy.ascontiguousarray%)", fortran_order = "True", shape = "(2, 2)"},
    {"announces 20 bytes of ids, and 16 follow", shape = "(5,)"},
    {"announces 12 bytes of ids, and 16 follow", shape = "(3,)"},
    {"announces %d+ bytes of ids", shape = "(999999999999999, 999999999999999)"},
    {"is too large", shape = "(18446744073709551620,)"},
    {"shape %(%), expected one or two sizes", shape = "()"},
    {"shape %(1, 2, 2%)", shape = "(1, 2, 2)"},
    {"shape %(%-4,%)", shape = "(-4,)"},
    {"shape 4, expected", header = "{'descr': '<i4', 'fortran_order': False, 'shape': 4}"},
    {"lacks descr", header = "{'descr': '<i4', 'shape': (4,), }"},
    {"no dictionary", header = "{'descr': '<i4', 'descr': '<i4', 'shape': (4,), }"},
    {"no dictionary", header = "{'descr': '<i4', 'shape': (4,"},
    {"no dictionary", header = ""},
  }
  for _, damage in ipairs(damages) do
    it("refuses a header: " .. damage[1], function()
      local path = write("a.npy", npy({1, 2, 3, 4}, damage.descr or "<i4", damage.shape, damage))
      assert.matches(damage[1], refusal(open, path))
    end)
  end

  it("refuses a file that is cut anywhere", function()
    local whole = npy({1, 2, 3, 4}, "<i4")
    for size = 0, #whole - 1 do
      local message = refusal(open, write("a.npy", whole:sub(1, size)))
      assert.matches("a%.npy: is not a readable %.npy file: ", message)
    end
    local long = "\x93NUMPY\2\0\xff\xff\xff\xff{}"
    assert.matches("a header of 4294967295 bytes", refusal(open, write("a.npy", long)))
  end)
end)

describe("text_data: batches", function()
  local path

  -- 63 ids, which are all different but for the end token: epochs of 15, 16, 16 and 16 samples.
  before_each(function()
    path = write("a.jsonl", ('{"text": "%s"}\n{"text": "%s"}'):format(letters:sub(1, 30), letters:sub(31, 61)))
  end)

  it("are the same whenever a step is asked for", function()
    local all = samples(open(path, {batch_size = 2, buffer_size = 6}), 0, 29)
    local other = open(path, {batch_size = 2, buffer_size = 6})
    for _, step in ipairs{0, 1, 1, 7, 3, 29, 29, 0} do
      assert.same({all[2 * step + 1], all[2 * step + 2]}, samples(other, step, step))
    end
  end)

  it("overwrite the tensor that is given, and nothing else", function()
    local dataset = open(path, {keep = 1})
    local first = dataset:batch(0)
    assert.equal(first, dataset:batch(1, first))
    assert.equal("efgh", text_of(first:totable()[1]))
    assert.same({"efgh"}, samples(dataset, 1, 1))
    assert.same({"abcd"}, samples(dataset, 0, 0))
  end)

  it("are shuffled within each epoch: each of its samples comes once", function()
    for _, buffer_size in ipairs{2, 5, 16, 1000} do
      local plain, shuffled = open(path), open(path, {buffer_size = buffer_size})
      for epoch = 0, 3 do
        local first, last = math.max(16 * epoch - 1, 0), 16 * epoch + 14
        local expected, found = samples(plain, first, last), samples(shuffled, first, last)
        assert.are_not.same(expected, found)
        assert.same(sorted(expected), sorted(found))
      end
    end
  end)

  it("are shuffled otherwise by another seed or purpose", function()
    local function order(seed, purpose)
      return table.concat(samples(open(path, {buffer_size = 16, seed = seed, purpose = purpose}), 0, 15), " ")
    end
    assert.equal(order(1), order(1, "data"))
    assert.are_not.equal(order(1), order(2))
    assert.are_not.equal(order(1), order(1, "evaluation"))
  end)

  it("have every sample of the buffer with the same frequency", function()
    local npy_path, counts = write("b.npy", npy({0, 1, 2, 3}, "<u2")), {[0] = 0, 0, 0, 0}
    for seed = 1, 400 do
      local id = open(npy_path, {max_seq_len = 1, buffer_size = 4, seed = seed}):batch(0):item()
      counts[id] = counts[id] + 1
    end
    -- 400 draws with probability 1/4: standard deviation 8.7
    for id = 0, 3 do assert.is_near(100, counts[id], 44) end
  end)

  it("that are kept are read once", function()
    local dataset = open(path, {keep = 2, buffer_size = 4})
    local expected = samples(dataset, 0, 5)
    os.remove(path)
    assert.same({expected[1], expected[2]}, samples(dataset, 0, 1))
    assert.matches("No such file", refusal(dataset.batch, dataset, 2))
  end)
end)

describe("text_data: a position", function()
  local paths

  before_each(function()
    paths = {
      write("a.jsonl", '{"text": "abcdefghij"}\n\n{"text": "klm"}\n'),
      write("b.txt", "nopq\n<|endoftext|>\nrst\n"),
      write("c.npy", npy({65, 66, 67, 68, 69}, "<u2")),
      write("d.npy", npy({70, 71, 72, 73, 74, 75, 76, 77}, "<i4", "(2, 4)")),
      write("e.txt", "uvw"),
    }
  end)

  it("restored at any step goes on with the same batches", function()
    for _, buffer_size in ipairs{0, 3, 100} do
      local settings = {buffer_size = buffer_size, batch_size = 2, max_seq_len = 3}
      local all, dataset = samples(open(paths, settings), 0, 24), open(paths, settings)
      for step = 0, 20 do
        local resumed = open(paths, settings)
        resumed:restore(saved(dataset), "here")
        local expected = table.move(all, 2 * step + 1, 2 * step + 8, 1, {})
        assert.same(expected, samples(resumed, step, step + 3), ("buffer %d, step %d"):format(buffer_size, step))
        dataset:batch(step)
      end
    end
  end)

  it("keeps the last batch, so that a step whose batch was read can be done again", function()
    local dataset = open(paths, {batch_size = 2, max_seq_len = 3})
    local last = samples(dataset, 4, 4)
    local resumed = open(paths, {batch_size = 2, max_seq_len = 3})
    resumed:restore(saved(dataset), "here")
    os.remove(paths[1]) -- nothing of the text is read again
    assert.same(last, samples(resumed, 4, 4))
  end)

  it("refuses ids that the model does not have", function()
    local dataset = open({paths[3]}, {batch_size = 1, max_seq_len = 5, vocabulary = 69})
    assert.matches("c%.npy: holds the token id 69, the model has a vocabulary of 69",
      refusal(dataset.batch, dataset, 0))
  end)

  it("inside a long document is restored too", function()
    local text = words(300000)
    local contents = {
      ["l.txt"] = text .. "\n<|endoftext|>\nend", ["l.jsonl"] = '\n{"text": "' .. text .. '"}\n{"x": 1}',
    }
    for name, content in pairs(contents) do
      local path, settings = write(name, content), {max_seq_len = 20000}
      local dataset, whole = open(path, settings), open(path, settings)
      local early
      for step = 0, 13 do
        local resumed, state = open(path, settings), saved(dataset)
        resumed:restore(state, "here")
        early = step == 5 and state or early
        assert.same(samples(whole, step, step), samples(resumed, step, step))
        dataset:batch(step)
      end
      if name == "l.jsonl" then
        local resumed = open(path, settings)
        resumed:restore(early, "here")
        assert.matches("l%.jsonl:3: has no column 'text' %(it has x%)", refusal(resumed.batch, resumed, 16))
      end
    end
  end)

  it("is restored in a new process", function()
    local dataset = open(paths, {buffer_size = 3})
    samples(dataset, 0, 6)
    core.safetensors_save(folder .. "/state", dataset:state())
    local program = [[
      local bytes = {encode = function(_, text) return {text:byte(1, -1)} end}
      local dataset = require("spd.text_data").open{path = {table.unpack(arg, 2)}, column = "text", tokenizer = bytes,
        end_id = 0, max_seq_len = 4, batch_size = 1, seed = 5, buffer_size = 3}
      dataset:restore(require("spd.core").safetensors_load(arg[1]), arg[1])
      for step = 7, 20 do io.write(table.concat(dataset:batch(step):totable()[1], ","), "\n") end
    ]]
    local script = write("resume.lua", program)
    local status, out, err = experiment.run{experiment.host, script, folder .. "/state", table.unpack(paths)}
    assert.equal("", err)
    assert.equal(0, status)
    local expected = {}
    for step = 7, 20 do expected[#expected + 1] = table.concat(dataset:batch(step):totable()[1], ",") .. "\n" end
    assert.equal(table.concat(expected), out)
  end)

  it("needs none of the text before it", function()
    local text = words(400000)
    local path = write("l.txt", text)
    local dataset = open(path, {max_seq_len = 100000})
    samples(dataset, 0, 1)
    local state = saved(dataset)
    write("l.txt", ("\0"):rep(200000) .. text:sub(200001))
    local resumed = open(path, {max_seq_len = 100000})
    resumed:restore(state, "here")
    assert.same({text:sub(200001, 300000)}, samples(resumed, 2, 2))
  end)

  it("keeps numbers beyond 2^31", function()
    local checkpoint = require "spd.text_data.checkpoint"
    local settings = {paths = {}, batch_size = 1, max_seq_len = 4, buffer_size = 0}
    local position = {step = 2 ^ 31 | 5, draining = 0, epoch = 1, epoch_tokens = 2 ^ 40 | 3, file = 1, offset = 0,
      inside = 0, line = 2 ^ 33 | 0}
    local path = write("sparse.txt", "x")
    settings.paths[1] = path
    local restored = checkpoint.load(settings, checkpoint.save(settings, position, {}, {}), "here")
    assert.same(position, restored)
  end)

  it("is refused if a file has changed, and says which", function()
    local state = saved(open(paths))
    write("b.txt", "nopq\n<|endoftext|>\nrst\nmore\n")
    assert.matches("b%.txt: has changed since the checkpoint was written: 23 bytes then, 28 now %(.*STATE%)",
      refusal(function() open(paths):restore(state, "STATE") end))
    local other = {paths[1], paths[3], paths[4]}
    assert.matches("c%.npy: is not the file that the run read", refusal(function() open(other):restore(state, "S") end))
    assert.matches("S: the run read 5 files of text, and 1 are there now",
      refusal(function() open{paths[1]}:restore(state, "S") end))
    assert.matches("e%.txt: is not the file",
      refusal(function() open(paths):restore(saved(open{table.unpack(paths, 1, 4)}), "S") end))
  end)

  it("is refused with other settings", function()
    local state = saved(open(paths))
    for name, value in pairs{max_seq_len = 3, batch_size = 2, buffer_size = 9, end_id = 1} do
      assert.matches("^S: " .. name .. " was %d and is " .. value .. " now",
        refusal(function() open(paths, {[name] = value}):restore(state, "S") end))
    end
  end)

  it("is refused if it is damaged", function()
    local dataset = open(paths, {buffer_size = 3})
    samples(dataset, 0, 2)
    local function damaged(name, tensor)
      local state = saved(dataset)
      state[name] = tensor
      return refusal(function() open(paths, {buffer_size = 3}):restore(state, "S") end)
    end
    for name in pairs(dataset:state()) do
      assert.matches("^S: tensor '" .. name .. "' is missing", damaged(name, nil))
      assert.matches("^S: tensor '" .. name .. "' has a wrong shape or type", damaged(name, core.zeros(2, 3, 4)))
    end
    local function position(...)
      local rows = dataset:state()["data.position"]
      for _, change in ipairs{...} do rows:set(table.unpack(change)) end
      return damaged("data.position", rows)
    end
    assert.matches("holds no valid offset", position{-1, 6, 1})
    assert.matches("is no position in the text", position{0, 5, 1})
    assert.matches("is no position in the text", position{6, 5, 1})
    assert.matches("is no position in the text", position{1, 6, 2})
    assert.matches("a%.jsonl: has changed since", position({1, 5, 1}, {0, 6, 1}, {99, 7, 1}))
    assert.matches("c%.npy: has changed since", position({3, 5, 1}, {3, 6, 1}))
    assert.matches("%-2 is not a token id", damaged("data.ids", core.tensor({-2}, "int32")))
    assert.matches("%-2 is not a token id", damaged("data.buffer", core.tensor({{1, 2, 3, -2}}, "int32")))
  end)
end)

describe("text_data: memory #long", function()
  -- An id for each 64 bytes.
  local coarse = {encode = function(_, text)
    local ids = {}
    for at = 1, #text, 64 do ids[#ids + 1] = text:byte(at) end
    return ids
  end}

  -- The most memory that Lua needs, in MB, garbage aside, while one epoch is read: looked at every 40 batches.
  local function peak(path, line, megabytes)
    local file = assert(io.open(path, "wb"))
    for _ = 1, megabytes do file:write(line) end
    file:close()
    collectgarbage()
    local before, most, step = collectgarbage "count", 0, 0
    local dataset = open(path, {tokenizer = coarse, max_seq_len = 512, buffer_size = 10})
    while dataset.stream.epoch == 0 do
      dataset:batch(step)
      step = step + 1
      if step % 40 == 1 then
        collectgarbage()
        most = math.max(most, collectgarbage "count")
      end
    end
    os.remove(path)
    return (most - before) / 1024
  end

  local sentence = "the quick brown fox jumps over the lazy dog and then on "
  local cases = {
    ["a.jsonl"] = ('{"text": "' .. sentence:rep(18) .. '"}\n'):rep(980),
    ["a.txt"] = sentence:rep(18000),
    ["b.txt"] = ("x"):rep(1 << 20),
  }
  for name, line in pairs(cases) do
    it("does not grow with a file: " .. name, function()
      local small, large = peak(folder .. "/" .. name, line, 2), peak(folder .. "/" .. name, line, 15)
      assert.is_true(large < small + 2, ("%.1f MB for 2 MB, %.1f MB for 15 MB"):format(small, large))
    end)
  end
end)

describe("text_data: bad input", function()
  it("names the file, the line and what is there", function()
    local function message(text) return first_refusal(write("a.jsonl", text), {max_seq_len = 100}) end
    assert.matches("/a%.jsonl:2: is not a JSON object %(Expected", message('{"text": "abcdefgh"}\n{"text": 3'))
    assert.matches("/a%.jsonl:3: is not a JSON object$", message('\n\n["text"]\n'))
    assert.matches("/a%.jsonl:1: is not a JSON object$", message('"text"'))
    assert.matches("/a%.jsonl:1: has no column 'text' %(it has id, story%)", message('{"story": "abc", "id": 3}'))
    assert.matches("/a%.jsonl:1: has no column 'text' %(it is empty%)", message('{}'))
    assert.matches("/a%.jsonl:1: has no column 'text'", message('{"text": null}'))
    assert.matches("/a%.jsonl:1: column 'text' is a number, not text", message('{"text": 3}'))
  end)

  it("refuses lines beyond 64 MB without reading them", function()
    local path = folder .. "/a.jsonl"
    local file <close> = assert(io.open(path, "wb"))
    file:write('{"text": "abcdefgh"}\n')
    file:seek("set", 100 << 20)
    file:write("\n")
    file:flush()
    assert.matches("/a%.jsonl:2: is longer than 64 MB", first_refusal(path, {max_seq_len = 10}))
  end)

  it("refuses text that is shorter than one sequence", function()
    assert.matches("text shorter than one sequence: 6 tokens in all %(max_seq_len = 7%)",
      first_refusal(write("a.jsonl", '{"text": "ab"}\n{"text": "cd"}\n'), {max_seq_len = 7}))
    local empty = {["a.jsonl"] = "\n \n", ["a.txt"] = "\n<|endoftext|>\n", ["b.txt"] = "", ["a.npy"] = npy({}, "<u2")}
    for name, text in pairs(empty) do
      assert.matches("there is no text", first_refusal(write(name, text)))
    end
  end)

  it("refuses text without a tokenizer, and columns without a name", function()
    assert.matches("is text, and there is no tokenizer", refusal(open, write("a.txt", "abc"), {tokenizer = false}))
    assert.matches("has columns", refusal(open, write("a.jsonl", "{}"), {column = false}))
  end)

  it("refuses Parquet with the command that converts it, and names what is read", function()
    local path = write("train.parquet", "PAR1")
    local message = refusal(text_data.find, path, "train")
    assert.matches("train%.parquet: Parquet is not read %(convert it: python3 %-c", message)
    assert.is_truthy(message:find(("read_parquet('%s').to_json('%s/train.jsonl', orient='records', lines=True)"):format(
      path, folder), 1, true))
    assert.equal(message, refusal(text_data.find, folder, "train"))
    write("train-2.parquet", "PAR1")
    os.rename(path, folder .. "/train-1.parquet")
    message = refusal(text_data.find, folder, "train")
    assert.is_truthy(message:find(("glob.glob('%s/*.parquet')"):format(folder), 1, true))
    assert.matches("a%.csv: is not a file of text %(read are %.jsonl, %.txt and %.npy%)",
      refusal(text_data.find, write("a.csv", ""), "train"))
    make "empty"
    assert.matches("empty: holds no file of text", refusal(text_data.find, folder .. "/empty", "train"))
  end)
end)

describe("text_data.find", function()
  -- The names that are found, without the folder's.
  local function found(split, name)
    local list = text_data.find(name or folder, split)
    for i, path in ipairs(list) do list[i] = path:sub(#folder + 2) end
    return list
  end

  it("has one file, or a folder without splits, for every split", function()
    local path = write("b.txt", "")
    assert.same({path}, text_data.find(path, "anything"))
    write("a.jsonl", "")
    write("README.md", "")
    write(".hidden.txt", "")
    make "more"
    write("more/c.npy", "")
    assert.same({"a.jsonl", "b.txt", "more/c.npy"}, found "train")
    assert.same({"a.jsonl", "b.txt", "more/c.npy"}, found("test", folder .. "/"))
  end)

  it("finds SPLIT.*, SPLIT-* and SPLIT/ in a folder or in data/ in it", function()
    write("train.jsonl", "")
    write("test-00001.txt", "")
    write("test-00000.txt", "")
    write("training.txt", "")
    make "validation"
    write("validation/2.npy", "")
    write("validation/1.jsonl", "")
    assert.same({"train.jsonl"}, found "train")
    assert.same({"test-00000.txt", "test-00001.txt"}, found "test")
    assert.same({"validation/1.jsonl", "validation/2.npy"}, found "validation")
    make "set/data"
    write("set/data/train-00000.jsonl", "")
    assert.same({"set/data/train-00000.jsonl"}, found("train", folder .. "/set"))
    assert.same({"set/data/train-00000.jsonl"}, found(nil, folder .. "/set"))
  end)

  it("refuses a split that is not there, and one that is there twice", function()
    write("train.jsonl", "")
    write("test.jsonl", "")
    assert.matches("has no split 'validation' %(it has train, test%)", refusal(found, "validation"))
    write("train-0.jsonl", "")
    assert.matches("split 'train' is both train%-%* and train%.%* %(keep one of them%)", refusal(found, "train"))
  end)

  -- find in a process with this environment: what it prints.
  local function find_with(environment, name)
    local program = write("find.lua", [[
      local ok, found = pcall(require("spd.text_data").find, arg[1], "train")
      io.write(ok and table.concat(found, "\n") or tostring(found))
    ]])
    local words_ = {"env", "-u", "HF_HUB_CACHE", "-u", "HF_HOME", "-u", "XDG_CACHE_HOME"}
    for key, value in pairs(environment) do words_[#words_ + 1] = key .. "=" .. value end
    table.move({experiment.host, program, name}, 1, 3, #words_ + 1, words_)
    local _, out, err = experiment.run(words_)
    assert.equal("", err)
    return out
  end

  it("looks into the Hugging Face cache", function()
    local commit = "cache/hub/datasets--org--stories/snapshots/0123abc"
    make(commit .. "/data")
    make "blobs"
    write("blobs/1", "")
    local path = folder .. "/" .. commit .. "/data/train-00000.jsonl"
    assert.equal(0, (posix.run{"ln", "-s", folder .. "/blobs/1", path}))
    for _, environment in ipairs{
      {HF_HOME = folder .. "/cache"}, {HF_HUB_CACHE = folder .. "/cache/hub"},
      {HF_HUB_CACHE = folder .. "/cache/hub", HF_HOME = "/nowhere"},
    } do
      assert.equal(path, find_with(environment, "org/stories"))
    end
    make "home/.cache"
    assert.equal(0, (posix.run{"ln", "-s", folder .. "/cache", folder .. "/home/.cache/huggingface"}))
    assert.equal(folder .. "/home/.cache/huggingface" .. path:sub(#folder + #"/cache" + 1),
      find_with({HOME = folder .. "/home"}, "org/stories"))

    make "cache/hub/datasets--org--stories/snapshots/fff"
    assert.matches("holds several snapshots", find_with({HF_HOME = folder .. "/cache"}, "org/stories"))
    make "cache/hub/datasets--org--stories/refs"
    write("cache/hub/datasets--org--stories/refs/main", "0123abc")
    assert.equal(path, find_with({HF_HOME = folder .. "/cache"}, "org/stories"))
  end)

  it("gives the command that downloads what is not there", function()
    local expected = "org/stories: is no file or folder, and not in the cache %s/hub (download it: hf download " ..
      "--repo-type dataset org/stories --local-dir stories, then name that folder)"
    assert.equal(expected:format(folder), find_with({HF_HOME = folder}, "org/stories"))
    local missing = ": does not exist %(expected a path, or the name of a dataset at Hugging Face%)$"
    assert.matches("/no/such/folder" .. missing, find_with({}, "/no/such/folder"))
    assert.matches("%.%./x" .. missing, find_with({}, "../x"))
  end)
end)
