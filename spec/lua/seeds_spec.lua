-- What a table of seeds says about finished runs: folders written by hand.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local seeds = require "spd.seeds"

describe("seeds", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  -- A run of configs/tms.yaml: five features in two dimensions, with a hidden layer between. The solution has five live
  -- subcomponents in linear1 and linear2 and two in hidden_layers.0, and no error in the first two.
  local function row_of(seed, changes)
    local directory = ("%s/seed_%d"):format(folder, seed)
    assert(core.posix.make_directory(directory .. "/target", true))
    experiment.write(directory .. "/final_config.yaml", experiment.read "configs/tms.yaml")
    experiment.write(directory .. "/target/target_config.yaml", experiment.read "configs/targets/tms_5-2-id.yaml")
    local summary = {
      seed = seed, steps = 40000, wall_s = 1.5, mmcs = 0.99, ml2r = 0.9, ["loss/total"] = 0.25,
      n_alive = {linear1 = 5, linear2 = 5, ["hidden_layers.0"] = 2},
      target_ci_error = {linear1 = 0, linear2 = 0, ["hidden_layers.0"] = 0},
    }
    for key, change in pairs(changes or {}) do
      if type(change) == "table" then
        for name, value in pairs(change) do summary[key][name] = value end
      else
        summary[key] = change
      end
    end
    experiment.write(directory .. "/summary.json", json.encode(summary))
    assert(core.posix.make_directory(directory .. "/checkpoints", true))
    experiment.write(directory .. "/checkpoints/step_40000.safetensors", "")
    return seeds.row(directory)
  end

  it("a run is solved with as many live subcomponents as the solution and no error", function()
    local row = row_of(4)
    assert.is_true(row.solved)
    assert.same({4, 0.99, 0.9}, {row.seed, row.mmcs, row.ml2r})
    assert.same({"hidden_layers.0", "linear1", "linear2"}, row.names)
  end)

  for name, wrong in pairs{linear1 = {4, 6}, linear2 = {4, 6, 0}, ["hidden_layers.0"] = {1, 3, 5}} do
    it("a run is not solved with more or fewer live subcomponents in " .. name, function()
      for _, alive in ipairs(wrong) do
        assert.is_false(row_of(0, {n_alive = {[name] = alive}}).solved, alive)
      end
    end)
  end

  it("a run is not solved with one wrong importance in linear1 or linear2", function()
    assert.is_false(row_of(0, {target_ci_error = {linear1 = 1}}).solved)
    assert.is_false(row_of(0, {target_ci_error = {linear2 = 1}}).solved)
  end)

  it("the row says what should be live, how many steps were made, and the losses", function()
    local row = row_of(0)
    assert.same({linear1 = 5, linear2 = 5, ["hidden_layers.0"] = 2}, row.wanted)
    assert.same({40000, 40000, {total = 0.25}}, {row.steps, row.of, row.losses})
  end)

  it("a run that is not finished has the scores of its latest checkpoint, and the losses before it", function()
    local target, run = experiment.make_target(folder), folder .. "/run"
    local words = {"configs/tms_5-2.yaml", "steps=20", "n_eval_steps=2", "batch_size=64", "save_freq=10",
      "print_freq=5", "image_freq=null", "image_on_first_step=false", "pretrained_model_path=" .. target, "--out", run,
      "--quiet"}
    local status, _, message = experiment.decompose(table.unpack(words))
    assert.same({0, ""}, {status, message})
    local whole = seeds.row(run)
    os.remove(run .. "/summary.json")
    local row = seeds.row(run)
    assert.same({whole.alive, whole.errors, whole.mmcs}, {row.alive, row.errors, row.mmcs})
    os.remove(run .. "/checkpoints/step_20.safetensors")
    row = seeds.row(run)
    assert.same({10, 20}, {row.steps, row.of})
    local losses = {}
    for line in experiment.read(run .. "/metrics.jsonl"):gmatch("[^\n]+") do
      local logged = json.decode(line)
      losses[logged.step] = logged["loss/total"]
    end
    assert.equal(losses[10], row.losses.total)
    assert.not_equal(losses[20], row.losses.total)
  end)

  it("a run without a checkpoint is refused", function()
    local target, run = experiment.make_target(folder), folder .. "/run"
    experiment.decompose("configs/tms_5-2.yaml", "steps=1", "n_eval_steps=1", "image_freq=null",
      "image_on_first_step=false", "pretrained_model_path=" .. target, "--out", run, "--quiet")
    os.remove(run .. "/summary.json")
    experiment.remove_folder(run .. "/checkpoints")
    local ok, err = pcall(seeds.row, run)
    assert.is_false(ok)
    assert.same({2, run .. ": has no checkpoint yet"}, {err.status, err.message})
  end)

  it("the table has a row per seed, and sums up those that are solved", function()
    local text = seeds.table{
      row_of(0, {mmcs = 0.98, ml2r = 0.7}), row_of(1, {mmcs = 0.5, ml2r = 0.1, n_alive = {linear1 = 7}}),
      row_of(12, {mmcs = 1, ml2r = 0.9}),
    }
    assert.matches("\n| 0 | yes |[^\n]* 0%.9800 | 0%.7000 |\n", text)
    assert.matches("\n| 1 | no |[^\n]* 7 [^\n]* 0%.5000 | 0%.1000 |\n", text)
    assert.matches("\n| 12 | yes |[^\n]* 1%.0000 | 0%.9000 |\n", text)
    assert.matches("\n2 of 3 solved", text)
    assert.matches("MMCS 0%.9900 and ML2R 0%.8000", text)
    assert.matches("hidden_layers%.0, linear1, linear2", text)
  end)

  it("the table says that none is solved", function()
    assert.matches("\n0 of 1 solved", seeds.table{row_of(0, {target_ci_error = {linear2 = 3}})})
  end)
end)
