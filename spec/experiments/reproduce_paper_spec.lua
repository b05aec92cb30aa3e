-- reproduce_paper.lua on a small part of its work, in a folder of its own.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local posix = core.posix

describe("reproduce_paper.lua #long", function()
  local folder, project, host

  before_each(function()
    local _, here = posix.run{"pwd"}
    folder, project = experiment.make_folder(), here:match("[^\n]+")
    host = experiment.host:match("^/") and experiment.host or project .. "/" .. experiment.host
    posix.run{"cp", "-r", project .. "/configs", folder .. "/configs"}
    assert(posix.make_directory(folder .. "/out/targets", true))
    local config = folder .. "/configs/targets/tms_5-2.yaml" -- a target that takes no time
    experiment.write(config, (experiment.read(config):gsub("steps: 10_000", "steps: 200")))
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
    assert.matches("\n| tms_5%-2 | 1 |  | 10 | no | ", page)
    local rows = json.decode(experiment.read(folder .. record))["tms_5-2"]
    assert.same({0, 1}, {rows[1].seed, rows[2].seed})
    for seed = 0, 1 do
      local directory = ("%s/out/reproduction/tms_5-2/seed_%d"):format(folder, seed)
      local summary = json.decode(experiment.read(directory .. "/summary.json"))
      assert.equal(summary["loss/total"], rows[seed + 1].losses.total)
    end
  end)

  it("trains a target of another seed once, and has its runs beside the others", function()
    local one = {"--quiet", "--only", "tms_5-2", "--seeds", "1", "--fraction", "0.00025"}
    assert.equal(0, (reproduce(table.unpack(one))))
    one[#one + 1], one[#one + 2] = "--target-seed", "3"
    local status, _, err = reproduce(table.unpack(one))
    assert.same({0, ""}, {status, err})
    local weights = folder .. "/out/targets/tms_5-2_seed_3/target.safetensors"
    local before = experiment.read(weights)
    assert.not_equal(experiment.read(folder .. "/out/targets/tms_5-2/target.safetensors"), before)
    assert.equal(before,
      experiment.read(folder .. "/out/reproduction/tms_5-2/seed_1_target_3/target/target.safetensors"))
    one[5] = "2"
    assert.equal(0, (reproduce(table.unpack(one))))
    assert.equal(before, experiment.read(weights))
    local rows = json.decode(experiment.read(folder .. record))["tms_5-2"]
    local found = {}
    for i, row in ipairs(rows) do found[i] = {row.seed, row.target_seed or "its own"} end
    assert.same({{1, "its own"}, {1, 3}, {2, 3}}, found)
    assert.not_equal(rows[1].losses.total, rows[2].losses.total)
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
    local words = {"--only", "tms_5-2", "--seeds", "0", "--fraction", "0.02", "--quiet"}
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
    assert.is_true(steps > 0 and steps < 800)
    assert.matches("to be continued by", text)
    words[#words] = nil
    status, text, err = reproduce(table.unpack(words))
    assert.same({0, ""}, {status, err})
    assert.matches("1 seed; steps 800, %*%*fewer", text)
  end)

  it("two at once in one folder keep each other's rows", function()
    local status = posix.run{"env", "-C", folder, "sh", "-c", [[
      "$@" --seeds 0 & "$@" --seeds 1 && wait $!]], "sh", host, project .. "/experiments/reproduce_paper.lua",
      "--only", "tms_5-2", "--fraction", "0.00025", "--quiet"}
    assert.equal(0, status)
    assert.equal(2, #json.decode(experiment.read(folder .. record))["tms_5-2"])
  end)

  it("takes no run and no target with other settings for the paper's", function()
    assert.equal(0, (reproduce("--quiet", table.unpack(SMALL))))
    local status, _, err = reproduce("--only", "tms_5-2", "--seeds", "0", "--fraction", "0.0005", "--quiet")
    assert.equal(2, status)
    assert.matches("^spdlua: [^\n]*seed_0: was started with 'steps: 10', not 'steps: 20' [^\n]*\n$", err)
    experiment.write(folder .. "/configs/targets/tms_5-2.yaml",
      (experiment.read(folder .. "/configs/targets/tms_5-2.yaml"):gsub("steps: 200", "steps: 300")))
    status, _, err = reproduce("--only", "tms_5-2", "--seeds", "7", "--fraction", "0.00025", "--quiet")
    assert.equal(2, status)
    assert.matches("^spdlua: out/targets/tms_5%-2/target_config.yaml: the target was not trained with the settings " ..
      "of configs/targets/tms_5%-2.yaml", err)
    status, _, err = reproduce("--report", "--quiet", table.unpack(SMALL))
    assert.equal(2, status)
    assert.matches("^spdlua: out/reproduction/tms_5%-2/seed_0/target/target_config.yaml: the target was not", err)
  end)

  it("makes the other runs when one fails, and says which did", function()
    local broken = folder .. "/out/reproduction/tms_5-2/seed_0"
    assert(posix.make_directory(broken, true))
    experiment.write(broken .. "/stray", "")
    local status, text, err = reproduce("--quiet", table.unpack(SMALL))
    assert.equal(1, status)
    assert.matches("1 of 2 runs failed, the first: [^\n]*seed_0: is not empty[^\n]*\n$", err)
    assert.matches("1 seed; steps 10", text)
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
