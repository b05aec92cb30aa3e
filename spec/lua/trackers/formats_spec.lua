--- Protects the bytes that TensorBoard and Weights & Biases read.
local crc = require "spd.trackers.crc"
local event_file = require "spd.trackers.event_file"
local protobuf = require "spd.trackers.protobuf"
local support = require "spec.support.trackers"
local transaction_log = require "spd.trackers.transaction_log"
local wandb_records = require "spd.trackers.wandb_records"

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local function write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes)
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

describe("checksums", function()
  it("are those of the standards, for any number of bytes", function()
    assert.equal(0xe3069283, crc.crc32c("123456789"))
    assert.equal(0xcbf43926, crc.crc32("123456789"))
    assert.equal(0, crc.crc32(""))
    assert.equal(0x8a9136aa, crc.crc32c(("\0"):rep(32)))
    assert.equal(0x190a55ad, crc.crc32(("\0"):rep(32)))
  end)
end)

describe("protobuf", function()
  it("writes and reads integers of any size", function()
    assert.equal("08ac02", hex(protobuf.integer(1, 300)))
    assert.equal("10ffffffffffffffffff01", hex(protobuf.integer(2, -1)))
    for _, n in ipairs{0, 127, 128, 1 << 40, math.maxinteger, math.mininteger, -5} do
      assert.equal(n, protobuf.field(protobuf.bytes(3, "x") .. protobuf.integer(100, n), 100))
    end
  end)

  it("reads what is no message to its first mistake, and never fails", function()
    assert.is_nil(protobuf.field(protobuf.bytes(1, "abcdef"):sub(1, 5), 1))
    assert.is_nil(protobuf.field("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", 1))
    assert.is_nil(protobuf.field(("\xff"):rep(30), 1))
    for seed = 1, 2000 do
      local bytes = {}
      for i = 1, 12 do bytes[i] = string.char(seed * 7919 * i * i // 13 % 256) end
      for _ in protobuf.fields(table.concat(bytes)) do end -- luacheck: ignore
    end
  end)
end)

describe("a TensorBoard event file", function()
  it("has TensorFlow's bytes", function()
    assert.equal("1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a",
      hex(event_file.record(event_file.version(1.0))))
    assert.equal("200000000000000029eda95009000000000000004010072a130a110a0a6c6f73732f746f74616c150000003ff8f5d925",
      hex(event_file.record(event_file.summary(2.0, 7, {event_file.scalar("loss/total", 0.5)}))))
  end)
end)

describe("a transaction log of Weights & Biases", function()
  local BLOCK, path = 32768, nil

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("has the bytes of W&B", function()
    assert.equal("a9209d53030001616263", hex(transaction_log.frame(7, "abc")))
    transaction_log.create(path, {"abc"}):close()
    assert.equal("3a572642e1be00" .. "a9209d53030001616263", hex(read(path)))
  end)

  -- The first record leaves `left` bytes of the first block.
  local function kinds_after(left, size)
    local records = {("a"):rep(BLOCK - 7 - 7 - left), ("b"):rep(size)}
    local log = transaction_log.create(path, {records[1]})
    log:append(records[2])
    log:append("end")
    log:close()
    local kinds = {}
    for i, chunk in ipairs(support.chunks(read(path))) do kinds[i] = chunk.kind end
    table.insert(records, "end")
    assert.same(records, transaction_log.read(path))
    transaction_log.create(path .. "2", records):close() -- the same, written at once
    assert.equal(read(path), read(path .. "2"))
    os.remove(path .. "2")
    return table.concat(kinds)
  end

  it("cuts records at the ends of blocks", function()
    assert.equal("111", kinds_after(100, 93))
    assert.equal("1241", kinds_after(100, 94))
    assert.equal("1241", kinds_after(7, 1)) -- the first chunk is empty
    assert.equal("111", kinds_after(7, 0))
    assert.equal("111", kinds_after(6, 1)) -- zeros up to the next block
    assert.equal("111", kinds_after(0, 1))
    assert.equal("1241", kinds_after(107, 100 + BLOCK - 7)) -- ends with its block
    assert.equal("12341", kinds_after(107, 100 + BLOCK - 6))
    assert.equal("1233341", kinds_after(107, 100 + 3 * (BLOCK - 7) + 5))
  end)

  it("is read up to the first damage, wherever it ends", function()
    local records = {"one", ("two"):rep(20000), "three"}
    transaction_log.create(path, records):close()
    local bytes = read(path)
    for _, cut in ipairs{0, 3, 7, 12, 17, 20, 32768, 32770, 60000, #bytes - 1} do
      write(path, bytes:sub(1, cut))
      local found = transaction_log.read(path)
      assert.is_true(#found < 3)
      for i, record in ipairs(found) do assert.equal(records[i], record) end
    end
    write(path, bytes:sub(1, 40000) .. "\0" .. bytes:sub(40002))
    assert.same({"one"}, transaction_log.read(path))
  end)

  it("has records with the fields' numbers of W&B", function()
    local run = support.fields(wandb_records.run(2, {id = "i", entity = "e", project = "p", config = {a = {b = 1}},
      name = "n", host = "h", start = 3.5, group = "g", job_type = "j", notes = "o", tags = {"x", "y"}}))
    assert.equal(2, run[1][1])
    run = support.fields(run[17][1])
    assert.same({"i", "e", "p", "g", "j", "n", "o", "h"},
      {run[1][1], run[2][1], run[3][1], run[6][1], run[7][1], run[8][1], run[9][1], run[13][1]})
    assert.same({"x", "y"}, run[10])
    assert.same({[1] = {3}, [2] = {500000000}}, support.fields(run[17][1]))
    local item = support.fields(support.fields(run[4][1])[1][1])
    assert.same({[1] = {"a"}, [16] = {'{"b":1}'}}, item)
    local exit = support.fields(support.fields(wandb_records.exit(9, 3, 7.9))[18][1])
    assert.same({[1] = {3}, [2] = {7}}, exit)
  end)

  it("has what is no number as Python writes it", function()
    local step, values = wandb_records.history_of(wandb_records.history(1, 5, {a = 0 / 0, b = math.huge,
      c = -math.huge}))
    assert.equal(5, step)
    assert.same({a = "NaN", b = "Infinity", c = "-Infinity"}, values)
    assert.is_nil(wandb_records.history_of(wandb_records.exit(1, 0, 0)))
    assert.is_nil(wandb_records.history_of("\xff\xff"))
  end)
end)
