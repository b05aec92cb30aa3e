--- Reads a run that was killed and resumed with TensorBoard's and Weights & Biases' own code (`make tracker-readers`
-- installs it), and compares with the run's folder.
local core = require "spd.core"
local json = require "spd.json"
local support = require "spec.support.experiment"
local posix = core.posix

local PYTHON = "build/trackers/bin/python"

local function read_with(reader, folder)
  local status, out, err = posix.run{PYTHON, "spec/peer/read_trackers.py", reader, folder}
  assert(status == 0, err)
  return assert(json.decode(out))
end

describe("trackers, read by their own programs #slow", function()
  local folder, run, rows, summary

  local function words(...)
    return "env", "WANDB_DIR=" .. folder, "WANDB_ENTITY=me", "WANDB_RUN_ID=abc", "WANDB_MODE=offline", support.host,
      support.script, ...
  end

  setup(function()
    folder = support.make_folder()
    run = folder .. "/run"
    if not posix.is_file(PYTHON) then return end
    local target = support.make_target(folder)
    local settings = {"configs/tms_5-2.yaml", "pretrained_model_path=" .. target, "steps=3000", "print_freq=50",
      "image_freq=1000", "save_freq=400", "batch_size=64", "n_eval_steps=2", "C=5", "tensorboard=true",
      "wandb_project=p", "wandb_run_name=killed", "--quiet"}
    table.move({"--out", run}, 1, 2, #settings + 1, settings)
    local status = 137
    for attempt = 1, 15 do
      if status ~= 137 then break end
      if posix.is_file(run .. "/final_config.yaml") then settings = {"--resume", run, "--quiet"} end
      status = posix.run{"timeout", "-s", "KILL", tostring(1.5 * attempt), words(table.unpack(settings))}
    end
    assert.equal(0, status)
    assert.is_true(#support.names_in(run .. "/tensorboard") > 1) -- it was killed
    rows, summary = support.rows_of(support.read(run .. "/metrics.jsonl")),
      json.decode(support.read(run .. "/summary.json"))
  end)

  teardown(function() support.remove_folder(folder) end)

  local function need_readers()
    if not posix.is_file(PYTHON) then pending("make tracker-readers installs them") end
  end

  it("TensorBoard: every number once, figures, config and scores; its server too", function()
    need_readers()
    local found = read_with("tensorboard", run .. "/tensorboard")
    for _, scalars in ipairs{found.accumulated.scalars, found.served.scalars["."]} do
      for key in pairs(rows[1]) do
        if key ~= "step" then
          local expected, steps = {}, {}
          for i, row in ipairs(rows) do
            steps[i], expected[i] = row.step, ("<f"):unpack(("<f"):pack(row[key]))
          end
          for i, point in ipairs(scalars[key]) do
            assert.equal(steps[i], point[1])
            assert.equal(expected[i], point[2])
          end
          assert.equal(#rows, #scalars[key])
        end
      end
      assert.equal(1, #scalars.mmcs)
      assert.equal(3000, scalars.mmcs[1][1])
      assert.near(summary.mmcs, scalars.mmcs[1][2], 1e-6)
    end
    assert.equal("mse", found.accumulated.hparams.output_loss_type)
    assert.equal(0.05, found.accumulated.hparams["task_config.feature_probability"])
    assert.equal(1, found.accumulated.status)
    local settings, metrics = table.concat(found.served.hparams, " "), table.concat(found.served.metrics, " ")
    assert.truthy(settings:find("task_config.feature_probability", 1, true))
    assert.truthy(metrics:find("linear1/target_ci_error", 1, true))
    local steps = {}
    for i, image in ipairs(found.accumulated.images["figures/tms_diagram"]) do steps[i] = image[1] end
    assert.same({0, 1000, 2000, 3000}, steps)
    assert.same(steps, found.served.images["."]["figures/tms_diagram"])
  end)

  it("Weights & Biases: `wandb sync` sends config, history, figures, summary and status", function()
    need_readers()
    local name = support.names_in(folder .. "/wandb")[1]
    assert.equal(1, #support.names_in(folder .. "/wandb"))
    local found = read_with("wandb", folder .. "/wandb/" .. name)
    assert.equal(0, found.status, found.said)
    assert.is_true(found.complete)
    assert.equal(0, found.exit)
    assert.matches("Finished syncing", found.said)
    assert.same({"abc", "p", "me", "killed"},
      {found.run.name, found.run.project, found.run.entity, found.run.displayName})
    assert.equal(0.05, json.decode(found.run.config).task_config.value.feature_probability)
    assert.equal(#rows, #found.history)
    local figures = 0
    for i, row in ipairs(rows) do
      assert.equal(row.step, found.history[i]._step)
      for key, value in pairs(row) do
        if key ~= "step" then assert.equal(value, found.history[i][key]) end
      end
      for _, value in pairs(found.history[i]) do
        if type(value) == "table" then
          figures = figures + 1
          assert.equal(value.size, found.uploads[value.path])
        end
      end
    end
    assert.is_true(figures > 4 * 5)
    assert.equal(summary.mmcs, found.summary.mmcs)
    assert.equal(summary.target_ci_error.linear1, found.summary["linear1/target_ci_error"])
    assert.matches("feature_probability: 0.05", found.uploads["config.yaml"])
  end)

  it("change neither results nor checkpoints", function()
    need_readers()
    local plain = folder .. "/plain"
    local status, _, message = support.decompose("configs/tms_5-2.yaml", "pretrained_model_path=" .. folder ..
      "/target/target.safetensors", "steps=3000", "print_freq=50", "batch_size=64", "n_eval_steps=2", "C=5",
      "--quiet", "--out", plain)
    assert.equal(0, status, message)
    local last = "/checkpoints/step_3000.safetensors"
    assert.is_true(support.read(run .. last) == support.read(plain .. last))
    assert.equal(support.read(plain .. "/metrics.jsonl"), support.read(run .. "/metrics.jsonl"))
  end)
end)
