local core = require "spd.core"
local json = require "spd.json"
local posix = core.posix

local host = os.getenv("SPDLUA") or "./spdlua"

local function run(...) return posix.run{host, ...} end

local function remove_tree(path)
  posix.run{"rm", "-rf", path}
end

describe("scripts", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(posix.make_directory(folder))
  end)
  after_each(function() remove_tree(folder) end)

  it("train_tms.lua trains a target, draws it, and overwrites none", function()
    local out = folder .. "/target"
    local words = {"experiments/train_tms.lua", "configs/targets/tms_5-2-id.yaml", "steps=30", "--out", out, "--quiet"}
    local status, text, message = run(table.unpack(words))
    assert.equal("", message)
    assert.equal(0, status)
    assert.equal("target: " .. out .. "/target.safetensors\n", text)
    assert.is_true(posix.is_file(out .. "/target_config.yaml"))
    assert.is_true(posix.is_file(out .. "/target.png"))
    local tensors, metadata = core.safetensors_load(out .. "/target.safetensors")
    assert.same({2, 5}, tensors["linear1.weight"].shape)
    assert.is_nil(tensors["linear2.weight"])
    assert.equal("linear1.weight:T", metadata["tied:linear2.weight"])
    status, text, message = run(table.unpack(words))
    assert.equal("", text)
    assert.equal(2, status)
    assert.matches("holds a trained target", message)
  end)

  it("analyse.lua scores and draws any checkpoint of a run", function()
    local out = folder .. "/run"
    local status, text, message = run("experiments/tms_decomposition.lua", "configs/tms.yaml", "steps=20",
      "batch_size=64", "n_eval_steps=2", "save_freq=10", "image_on_first_step=false", "--out", out, "--quiet",
      "pretrained_model_path=" .. folder .. "/target.safetensors")
    assert.equal("", message)
    assert.equal(0, status)
    assert.equal("run: " .. out .. "\n", text)
    assert(posix.remove(out .. "/figures/tms_diagram.png"))
    status, text, message = run("experiments/analyse.lua", out)
    assert.equal("", message)
    assert.equal(0, status)
    assert.matches("^step 20\n", text)
    assert.matches("linear1 +%d+ +%d+\n", text)
    assert.matches("run: " .. out:gsub("%W", "%%%0") .. "\n$", text)
    for _, name in ipairs{"tms_diagram", "causal_importances", "causal_importances_upper_leaky", "subcomponents",
      "importance_histograms", "activation_rates", "mean_importances", "hidden_layers", "training_curves"} do
      assert.is_true(posix.is_file(("%s/figures/%s.png"):format(out, name)), name)
    end
    assert.equal(0, (run("experiments/analyse.lua", out, "--step", "10")))
    assert.is_true(posix.is_file(out .. "/figures/causal_importances_step_10.png"))
    status, text, message = run("experiments/analyse.lua", out, "--step", "7")
    assert.equal("", text)
    assert.equal(2, status)
    assert.matches("no checkpoint of step 7", message)
  end)

  it("benchmark.lua prints a JSON line per case and nothing else", function()
    local status, text = run("experiments/benchmark.lua", "--cases", "tms_5-2,tms_5-2-id", "--steps", "3",
      "--threads", "2")
    assert.equal(0, status)
    local names = {}
    for line in text:gmatch("[^\n]+") do
      local row = json.decode(line)
      names[#names + 1] = row.case
      assert.equal(3, row.steps)
      assert.equal(2, row.threads)
      assert.is_true(row.ms_per_step > 0 and row.peak_mb > 1)
    end
    assert.same({"tms_5-2", "tms_5-2-id"}, names)
    status, text = run("experiments/benchmark.lua", "--cases", "tms_40-10", "--steps", "3", "--products")
    assert.equal(0, status)
    local row = json.decode(text)
    assert.is_true(row.gflop > 0 and row.products_ms > 0)
    local message
    status, text, message = run("experiments/benchmark.lua", "--cases", "tms_9")
    assert.equal("", text)
    assert.equal(2, status)
    assert.matches("no case 'tms_9'", message)
  end)

  it("oracle_check.lua fails where a result differs", function()
    local path = "spec/fixtures/tms_lineargate.safetensors"
    local status, text = run("experiments/oracle_check.lua", path)
    assert.equal(0, status)
    assert.matches("\n%d+ passed, 0 failed\n$", text)
    local tensors, metadata = core.safetensors_load(path)
    tensors["out.loss.faithfulness"]:set(tensors["out.loss.faithfulness"]:item() * 1.001, 1)
    core.safetensors_save(folder .. "/changed.safetensors", tensors, metadata)
    status, text = run("experiments/oracle_check.lua", folder .. "/changed.safetensors")
    assert.equal(1, status)
    assert.matches("out.loss.faithfulness +%S+ +FAILED", text)
    assert.matches("\n%d+ passed, 1 failed\n$", text)
  end)
end)
