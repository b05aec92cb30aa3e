-- A decomposition finds what is known to be there.
local experiment = require "spec.support.experiment"
local json = require "spd.json"

describe("a decomposition of tms_5-2", function()
  local folder
  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  local function summary_of(...)
    local status, _, err = experiment.decompose("configs/tms_5-2.yaml", "--out", folder .. "/run", "--quiet",
      "image_on_first_step=false", "image_freq=null", ...)
    assert.same({0, ""}, {status, err})
    return json.decode(experiment.read(folder .. "/run/summary.json"))
  end

  it("finds the five features in a short run", function()
    experiment.write(folder .. "/target.yaml",
      (experiment.read "configs/targets/tms_5-2.yaml":gsub("steps: [%w_]+", "steps: 3000")))
    -- settings that converge in a seventh of the paper's steps: more active features, a stronger pull to few
    local summary = summary_of("steps=6000", "batch_size=512", "lr=3e-3", "importance_minimality_coeff=5e-3",
      "task_config.feature_probability=0.1", "n_eval_steps=10", "print_freq=6000",
      "target_config=" .. folder .. "/target.yaml",
      "pretrained_model_path=" .. folder .. "/target.safetensors")
    assert.is_true(summary.mmcs > 0.99, "mmcs " .. summary.mmcs)
    assert.is_true(summary.ml2r > 0.9 and summary.ml2r < 1.1, "ml2r " .. summary.ml2r)
    assert.same({linear1 = 0, linear2 = 0}, summary.target_ci_error)
    assert.is_true(summary["loss/faithfulness"] < 1e-3)
  end)

  it("reaches the target solution with the paper's settings #slow", function()
    local summary = summary_of("pretrained_model_path=" .. folder .. "/target.safetensors")
    assert.is_true(summary.mmcs >= 0.999, "mmcs " .. summary.mmcs)
    assert.is_true(summary.ml2r >= 0.97 and summary.ml2r <= 1.03, "ml2r " .. summary.ml2r)
    assert.same({linear1 = 0, linear2 = 0}, summary.target_ci_error)
    assert.same({linear1 = 5, linear2 = 5}, summary.n_alive)
  end)
end)
