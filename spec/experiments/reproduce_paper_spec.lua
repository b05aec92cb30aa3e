-- reproduce_paper.lua on a small part of its work, in a folder of its own.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local posix = core.posix

describe("reproduce_paper.lua", function()
  local folder, project, host

  before_each(function()
    local _, here = posix.run{"pwd"}
    folder, project = experiment.make_folder(), here:match("[^\n]+")
    host = experiment.host:match("^/") and experiment.host or project .. "/" .. experiment.host
    posix.run{"ln", "-s", project .. "/configs", folder .. "/configs"}
    assert(posix.make_directory(folder .. "/out/targets", true))
    experiment.make_target(folder)
    assert(posix.rename(folder .. "/target", folder .. "/out/targets/tms_5-2"))
  end)
  after_each(function() experiment.remove_folder(folder) end)

  local function reproduce(...)
    return posix.run{"env", "-C", folder, host, project .. "/experiments/reproduce_paper.lua", ...}
  end

  local SMALL = {"--only", "tms_5-2", "--seeds", "0-1", "--fraction", "0.00025"}
  local record = "/out/reproduction/reproduction.json"

  it("makes a run for each seed, records them, and writes the table", function()
    local status, text, err = reproduce("--jobs", "2", "--quiet", table.unpack(SMALL))
    assert.same({0, ""}, {status, err})
    assert.matches("\n|  | MMCS | 1.000 ± 0.000 | %d", text)
    assert.matches("| tms_5%-2 | runs | 40000 steps | 2 seeds; steps 10 %(2 of 2%), %*%*fewer than the paper%*%* |",
      text)
    local page = experiment.read(folder .. "/out/reproduction/reproduction.md")
    assert.is_truthy(page:find(text:match("^(.*\n)table: "), 1, true))
    assert.matches("\n| tms_5%-2 | 1 | 10 | no | ", page)
    local rows = json.decode(experiment.read(folder .. record))["tms_5-2"]
    assert.same({0, 1}, {rows[1].seed, rows[2].seed})
    for seed = 0, 1 do
      local directory = ("%s/out/reproduction/tms_5-2/seed_%d"):format(folder, seed)
      local summary = json.decode(experiment.read(directory .. "/summary.json"))
      assert.equal(summary["loss/total"], rows[seed + 1].losses.total)
    end
  end)

  it("keeps what is finished, does what is missing, and remembers removed runs", function()
    assert.equal(0, (reproduce("--quiet", "--only", "tms_5-2", "--seeds", "1", "--fraction", "0.00025")))
    local kept = folder .. "/out/reproduction/tms_5-2/seed_1"
    local before = experiment.contents(kept)
    local status, _, err = reproduce(table.unpack(SMALL))
    assert.equal(0, status)
    assert.same("tms_5-2, seed 0: 1 of 2, in out/reproduction/tms_5-2/seed_0\ntms_5-2, seed 0: missed\n", err)
    assert.same(before, experiment.contents(kept))
    experiment.remove_folder(kept)
    assert.equal(0, (reproduce("--quiet", "--only", "tms_5-2", "--seeds", "0", "--fraction", "0.00025")))
    assert.equal(2, #json.decode(experiment.read(folder .. record))["tms_5-2"])
  end)

  it("goes on where it was killed, and reports a run that is not finished", function()
    local words = {"--only", "tms_5-2", "--seeds", "0", "--fraction", "0.05", "--quiet"}
    -- the shell interrupts it as soon as its run has logged a step
    local status = posix.run{"env", "-C", folder, "sh", "-c", [[
      "$@" & pid=$!
      until test -s out/reproduction/tms_5-2/seed_0/metrics.jsonl || ! kill -0 $pid; do sleep 0.01; done 2>/dev/null
      kill -INT $pid; wait $pid]], "sh", host, project .. "/experiments/reproduce_paper.lua", table.unpack(words)}
    assert.equal(130, status)
    words[#words + 1] = "--report"
    local text, err
    status, text, err = reproduce(table.unpack(words))
    assert.same({0, ""}, {status, err})
    local steps = tonumber(text:match("1 seed; steps (%d+), %*%*fewer than the paper"))
    assert.is_true(steps > 0 and steps < 2000)
    assert.matches("not finished", text)
    words[#words] = nil
    status, text, err = reproduce(table.unpack(words))
    assert.same({0, ""}, {status, err})
    assert.matches("1 seed; steps 2000, %*%*fewer", text)
  end)

  it("refuses what it cannot do, in one line, and touches nothing", function()
    for _, case in ipairs{
      {"'tms_9' is not a case", "--only", "tms_9"},
      {"%-%-fraction: expected a number in %(0, 1%], found '2'", "--fraction", "2"},
      {"%-%-fraction: expected a number in %(0, 1%], found 'x'", "--fraction", "x"},
      {"%-%-seeds: expected integers", "--seeds", "one"},
      {"configs: is not empty: it holds ", "--out", "configs"},
    } do
      local status, text, err = reproduce(table.unpack(case, 2))
      assert.same({2, ""}, {status, text}, case[1])
      assert.matches("^spdlua: [^\n]*" .. case[1] .. "[^\n]*\n$", err)
    end
    assert.is_false(posix.is_directory(folder .. "/out/reproduction"))
  end)
end)
