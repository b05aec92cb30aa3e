-- The record of a reproduction, and what its table says about rows written by hand.
local errors = require "spd.errors"
local experiment = require "spec.support.experiment"
local reproduction = require "spd.reproduction"

-- A row as seeds.row makes it, of tms_5-2.
local function tms_row(seed, changes)
  local row = {
    seed = seed, steps = 40000, of = 40000, solved = true, names = {"linear1", "linear2"},
    alive = {linear1 = 5, linear2 = 5}, errors = {linear1 = 0, linear2 = 0}, wanted = {linear1 = 5, linear2 = 5},
    losses = {total = 0.001, faithfulness = 0.0002}, mmcs = 1, mmcs_std = 0, ml2r = 0.99, ml2r_std = 0.01,
    ms_per_step = 2,
  }
  for key, value in pairs(changes or {}) do row[key] = value end
  return row
end

local function lines(record)
  local found = {}
  for line in reproduction.table(record):gmatch("[^\n]+") do
    local quantity, paper, measured = line:match("^| [^|]*| ([^|]*) | ([^|]*) | ([^|]*) |$")
    found[quantity] = {paper, measured}
  end
  return found
end

describe("reproduction", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  it("finds cases by name, in the table's order, and refuses others", function()
    local function names(list)
      local found = {}
      for i, case in ipairs(reproduction.find(list)) do found[i] = case.name end
      return found
    end
    assert.same({"tms_5-2", "resid_mlp3"}, names{"resid_mlp3", "tms_5-2"})
    assert.equal(7, #names())
    local ok, err = pcall(reproduction.find, {"tms_5-2", "tms_9"})
    assert.is_false(ok)
    assert.matches("'tms_9' is not a case", err.message)
  end)

  it("keeps a row for each seed, the later one, in order", function()
    local record = {}
    for _, row in ipairs{tms_row(3), tms_row(0), tms_row(3, {mmcs = 0.5})} do
      reproduction.add(record, "tms_5-2", row)
    end
    assert.same({0, 3}, {record["tms_5-2"][1].seed, record["tms_5-2"][2].seed})
    assert.equal(0.5, record["tms_5-2"][2].mmcs)
    assert.is_nil(record["tms_5-2"][3])
  end)

  it("writes a record and reads it back", function()
    local record, path = {["tms_5-2"] = {tms_row(0)}}, folder .. "/record.json"
    assert.same({}, reproduction.read(path))
    reproduction.write(path, record)
    assert.same(record, reproduction.read(path))
  end)

  it("refuses a file that is no record", function()
    for _, text in ipairs{"", "{", "[1]", "3", '{"tms_5-2": 1}', '{"tms_5-2": [1]}', '{"tms_5-2": [{"seed": 0}]}',
      '{"tms_5-2": {"a": 1}}'} do
      experiment.write(folder .. "/record.json", text)
      local ok, err = pcall(reproduction.read, folder .. "/record.json")
      assert.is_false(ok, text)
      assert.is_true(errors.is(err), text)
      assert.equal(2, err.status)
    end
  end)

  it("the table has the paper's values beside the measured ones", function()
    local found = lines{["tms_5-2"] = {tms_row(0, {ml2r = 0.98}), tms_row(1, {ml2r = 1})}}
    assert.same({"40000 steps", "2 seeds; steps 40000 (2 of 2)"}, found.runs)
    assert.same({"0.993 ± 0.002", "0.990 ± 0.010 (0.980 to 1.000 over seeds)"}, found.ML2R)
    assert.same({"5; 0", "5 (2 of 2); 0 (2 of 2)"}, found["linear1: live subcomponents; target CI error"])
    assert.same({"", "2 of 2"}, found["seeds that find the known solution"])
    assert.same({"", "faithfulness 2.00e-04, total 1.00e-03"}, found["last losses, mean over seeds"])
    assert.same({"", "2 ms per step, 80 s per run"}, found["time, median over seeds"])
    assert.is_nil(found["neuron contributions: slope"])
  end)

  it("the table says how many seeds differ from the solution, and how", function()
    local wrong = tms_row(2, {
      solved = false, alive = {linear1 = 4, linear2 = 5}, errors = {linear1 = 2, linear2 = 0},
    })
    local found = lines{["tms_5-2"] = {tms_row(0), tms_row(1), wrong}}
    assert.same({"", "2 of 3"}, found["seeds that find the known solution"])
    assert.same({"", "2 of 3"}, found["seeds with target CI error 0 in all matrices"])
    assert.equal("5 (2 of 3), 4 (1 of 3); 0 (2 of 3), 2 (1 of 3)",
      found["linear1: live subcomponents; target CI error"][2])
  end)

  it("the table has errors with a higher tolerance where all runs have them", function()
    local with = {errors = {linear1 = 2, linear2 = 0}, errors_0p2 = {linear1 = 1, linear2 = 0}}
    local line = "linear1: live subcomponents; target CI error"
    assert.equal("5; 2; with tolerance 0.2: 1", lines{["tms_5-2"] = {tms_row(0, with)}}[line][2])
    assert.equal("5 (2 of 2); 0 (1 of 2), 2 (1 of 2)", lines{["tms_5-2"] = {tms_row(0, with), tms_row(1)}}[line][2])
  end)

  it("the table says when a run is shorter than the paper's", function()
    local found = lines{["tms_5-2"] = {tms_row(0, {steps = 500, ms_per_step = false})}}
    assert.equal("1 seed; steps 500, **fewer than the paper**", found.runs[2])
    assert.equal("not known", found["time, median over seeds"][2])
  end)

  it("the table says how a run that is not finished goes on", function()
    local found = lines{["tms_5-2"] = {tms_row(0), tms_row(1, {steps = 500}), tms_row(4, {steps = 600})}}
    assert.equal("`spdlua experiments/reproduce_paper.lua --only tms_5-2 --seeds 1,4`", found["to be continued by"][2])
    assert.is_nil(lines{["tms_5-2"] = {tms_row(0)}}["to be continued by"])
    local text = reproduction.table({["tms_5-2"] = {tms_row(2, {steps = 5, of = 400})}}, "--out here")
    assert.matches("`spdlua experiments/reproduce_paper.lua --only tms_5-2 --seeds 2 --fraction 0.01 --out here`", text,
      1, true)
  end)

  it("runs of one seed with two targets are two", function()
    local record = {}
    local other = tms_row(0, {target_seed = 2, steps = 500})
    for _, row in ipairs{other, tms_row(0), tms_row(1), tms_row(1)} do
      reproduction.add(record, "tms_5-2", row)
    end
    assert.equal(3, #record["tms_5-2"])
    assert.equal(other, record["tms_5-2"][3])
    local found = lines(record)
    assert.matches("^3 seeds, 1 with another target; steps ", found.runs[2])
    assert.equal("`spdlua experiments/reproduce_paper.lua --only tms_5-2 --seeds 0 --target-seed 2`",
      found["to be continued by"][2])
    reproduction.add(record, "tms_5-2", tms_row(3, {steps = 7}))
    assert.equal("`spdlua experiments/reproduce_paper.lua --only tms_5-2 --seeds 3`, " ..
      "`spdlua experiments/reproduce_paper.lua --only tms_5-2 --seeds 0 --target-seed 2`",
      lines(record)["to be continued by"][2])
    assert.matches("\n| tms_5%-2 | 0 | 2 | 500 | yes |", reproduction.runs(record))
  end)

  it("each run has a line", function()
    local row = tms_row(1, {contribution_slope = 0.5, alive = {linear1 = 4, linear2 = 5}, solved = false})
    local text = reproduction.runs{["tms_5-2"] = {tms_row(0), row}}
    assert.matches("\n| tms_5%-2 | 0 |  | 40000 | yes | 5 / 5 | 0 / 0 | 1.0000 | 0.9900 |  |  | 1.000e%-03 | 2 |", text)
    assert.matches("\n| tms_5%-2 | 1 |  | 40000 | no | 4 / 5 | 0 / 0 | 1.0000 | 0.9900 |  | 0.5000 |", text)
  end)

  it("the table has the contributions of residual MLPs", function()
    local row = tms_row(0, {contribution_correlation = 0.9991, contribution_slope = 1.0142})
    row.mmcs, row.ml2r = nil, nil
    local found = lines{resid_mlp1 = {row}}
    assert.same({"1.000", "0.999"}, found["neuron contributions: correlation"])
    assert.same({"1", "1.014"}, found["neuron contributions: slope"])
    assert.is_nil(found.MMCS)
  end)
end)
