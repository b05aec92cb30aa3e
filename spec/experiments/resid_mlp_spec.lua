-- Decomposing residual MLPs, as processes: results, figures, and that nothing changes the bits.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local posix = core.posix

local host, run, read = experiment.host, experiment.run, experiment.read

local STEPS = 400

describe("resid_mlp_decomposition.lua", function()
  local folder, settings, reference

  local function decompose(...) return run{host, "experiments/resid_mlp_decomposition.lua", ...} end

  local function words(out, ...)
    local list = {"configs/resid_mlp2.yaml", "--out", out, "--quiet"}
    table.move(settings, 1, #settings, #list + 1, list)
    for _, word in ipairs{...} do list[#list + 1] = word end
    return table.unpack(list)
  end

  local function results(out)
    return {
      checkpoint = read(("%s/checkpoints/step_%d.safetensors"):format(out, STEPS)),
      metrics = read(out .. "/metrics.jsonl"),
    }
  end

  setup(function()
    folder = experiment.make_folder()
    local status, _, err = run{host, "experiments/train_resid_mlp.lua", "configs/targets/resid_mlp2.yaml", "steps=60",
      "resid_mlp_config.n_features=9", "resid_mlp_config.d_embed=300", "resid_mlp_config.d_mlp=4",
      "feature_probability=0.1", "--out", folder .. "/target", "--quiet"}
    assert.same({0, ""}, {status, err})
    settings = {"pretrained_model_path=" .. folder .. "/target/target.safetensors", "C=14", "batch_size=100",
      "steps=" .. STEPS, "print_freq=100", "n_eval_steps=2", "task_config.feature_probability=0.1",
      "image_freq=null", "image_on_first_step=false", "checkpoint_seconds=0.02"}
    local text
    status, text, err = decompose(words(folder .. "/reference", "--threads", "2"))
    assert.same({0, ("run: %s/reference\n"):format(folder), ""}, {status, text, err})
    reference = results(folder .. "/reference")
  end)
  teardown(function() experiment.remove_folder(folder) end)

  it("trained a target that is drawn", function()
    assert.is_true(posix.is_file(folder .. "/target/target.png"))
    local tensors = core.safetensors_load(folder .. "/target/target.safetensors")
    assert.same({9, 300}, tensors.W_E.shape)
    assert.same({9}, tensors.label_coeffs.shape)
    assert.same({300, 4}, tensors["layers.1.mlp_out.weight"].shape)
  end)

  it("scores neuron contributions and every matrix", function()
    local summary = json.decode(read(folder .. "/reference/summary.json"))
    assert.is_true(summary.contribution_correlation > 0 and summary.contribution_correlation <= 1)
    assert.is_number(summary.contribution_slope)
    for _, name in ipairs{"layers.0.mlp_in", "layers.0.mlp_out", "layers.1.mlp_in", "layers.1.mlp_out"} do
      assert.equal("integer", math.type(summary.n_alive[name]))
      assert.equal("integer", math.type(summary.target_ci_error[name]))
    end
  end)

  it("draws what only a residual MLP has", function()
    for _, name in ipairs{"neuron_contributions", "contribution_pairs", "feature_responses", "causal_importances"} do
      assert.is_true(posix.is_file(("%s/reference/figures/%s.png"):format(folder, name)), name)
    end
  end)

  it("has the same bits with one thread, and when killed again and again and resumed", function()
    local out, killed = folder .. "/killed", 0
    for attempt = 1, 6 do
      local begun = posix.is_file(out .. "/final_config.yaml")
      local arguments = begun and {"--resume", out, "--quiet"} or {words(out, "--threads", "1")}
      local status, _, err = run{"timeout", "--preserve-status", "-s", "KILL", ("%.2f"):format(0.1 + 0.07 * attempt),
        host, "experiments/resid_mlp_decomposition.lua", table.unpack(arguments)}
      if status == 0 then break end
      assert.same({137, ""}, {status, err})
      killed = killed + 1
    end
    assert.is_true(killed >= 2, "the run was over before it could be killed")
    local status, _, err = decompose("--resume", out, "--quiet", "--threads", "1")
    assert.same({0, ""}, {status, err})
    local found = results(out)
    assert.is_true(reference.checkpoint == found.checkpoint, "another last checkpoint")
    assert.equal(reference.metrics, found.metrics)
  end)

  it("refuses a TMS, as the TMS's script refuses a residual MLP", function()
    local status, _, err = decompose("configs/tms_5-2.yaml")
    assert.equal(2, status)
    assert.matches("^spdlua: configs/tms_5%-2.yaml: task_config.task_name: expected residual_mlp .*, found tms\n$", err)
    status, _, err = experiment.decompose("configs/resid_mlp1.yaml")
    assert.equal(2, status)
    assert.matches("expected tms for this experiment, found residual_mlp\n$", err)
  end)

  describe("and resid_mlp_interp.lua", function()
    local function interpret(...) return run{host, "experiments/resid_mlp_interp.lua", ...} end

    it("draws a run, and several side by side", function()
      local out = folder .. "/other"
      assert.equal(0, (decompose(words(out, "steps=20", "importance_minimality_coeff=1e-3"))))
      os.remove(folder .. "/reference/figures/contribution_pairs.png")
      local status, text, err = interpret(folder .. "/reference")
      assert.same({0, ""}, {status, err})
      assert.matches("neuron contributions: correlation 0%.%d+, slope", text)
      assert.is_true(posix.is_file(folder .. "/reference/figures/contribution_pairs.png"))
      status, text, err = interpret(folder .. "/reference", out, "--out", folder .. "/comparison")
      assert.same({0, ""}, {status, err})
      assert.matches("figure: " .. folder .. "/comparison", text, 1, true)
      assert.is_true(posix.is_file(folder .. "/comparison/importance_comparison.png"))
    end)

    it("refuses what it cannot draw, in one line", function()
      local status, text, err = interpret(folder .. "/reference", folder .. "/reference")
      assert.same({2, "", "spdlua: command line: several runs need a folder for their comparison (--out DIR)\n"},
        {status, text, err})
      status, text, err = interpret(folder .. "/none")
      assert.same({2, ""}, {status, text})
      assert.matches("^spdlua: " .. folder:gsub("%W", "%%%0") .. "/none: [^\n]+\n$", err)
    end)
  end)
end)
