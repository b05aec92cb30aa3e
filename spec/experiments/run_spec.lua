-- A decomposition as a process: its folder, its end by signals, and that nothing changes the bits.
local config_module = require "spd.config"
local core = require "spd.core"
local json = require "spd.json"
local experiment = require "spec.support.experiment"
local posix = core.posix

local read, contents = experiment.read, experiment.contents

local STEPS = 1200

-- The last checkpoint and all metrics of a run: what must have the same bits however it came about.
local function results(out)
  return {
    checkpoint = read(("%s/checkpoints/step_%d.safetensors"):format(out, STEPS)),
    metrics = read(out .. "/metrics.jsonl"),
  }
end

local function assert_same_bits(expected, found, what)
  assert.is_true(expected.checkpoint == found.checkpoint, what .. ": another last checkpoint")
  assert.equal(expected.metrics, found.metrics)
end

local rows_of, names_in = experiment.rows_of, experiment.names_in

describe("a decomposition", function()
  local folder, weights, settings, reference

  -- What a run of the specs is started with: a config, overrides, its folder.
  local function words(out, ...)
    local list = {"configs/tms.yaml", "--out", out}
    table.move(settings, 1, #settings, #list + 1, list)
    for _, word in ipairs{...} do list[#list + 1] = word end
    return table.unpack(list)
  end

  setup(function()
    folder = experiment.make_folder()
    weights = experiment.make_target(folder, "configs/targets/tms_5-2-id.yaml")
    settings = {"pretrained_model_path=" .. weights, "steps=" .. STEPS, "batch_size=48", "print_freq=100",
      "n_eval_steps=2", "image_on_first_step=false", "checkpoint_seconds=0.02"}
    local status, out, err = experiment.decompose(words(folder .. "/reference", "--threads", "2"))
    assert(status == 0, err)
    reference = results(folder .. "/reference")
    reference.out, reference.err = out, err
  end)
  teardown(function() experiment.remove_folder(folder) end)

  describe("that is finished", function()
    it("leaves config, metrics, summary, target, figures and the last two checkpoints", function()
      local out = folder .. "/reference"
      assert.same({"checkpoints", "figures", "final_config.yaml", "metrics.jsonl", "run.lock", "summary.json",
        "target"}, names_in(out))
      assert.same({"target.safetensors", "target_config.yaml"}, names_in(out .. "/target"))
      assert.equal(read(weights), read(out .. "/target/target.safetensors"))
      local checkpoints = names_in(out .. "/checkpoints")
      assert.equal(2, #checkpoints)
      local last = "step_" .. STEPS .. ".safetensors"
      assert.is_true(checkpoints[1] == last or checkpoints[2] == last)
      for _, name in ipairs{"tms_diagram", "causal_importances", "subcomponents", "hidden_layers"} do
        assert.equal("\x89PNG", read(("%s/figures/%s.png"):format(out, name)):sub(1, 4))
      end
    end)

    it("wrote a config that reads as the same settings", function()
      local config = config_module.load(folder .. "/reference/final_config.yaml")
      assert.equal(STEPS, config.steps)
      assert.equal(48, config.batch_size)
      assert.equal(20, config.C)
      assert.same(config_module.load("configs/tms.yaml", settings), config)
    end)

    it("logged one row per print_freq steps and one for the last, with all numbers", function()
      local rows = rows_of(reference.metrics)
      assert.equal(STEPS // 100 + 1, #rows)
      for i, row in ipairs(rows) do
        assert.equal((i - 1) * 100, row.step)
        for _, key in ipairs{"loss/total", "loss/faithfulness", "loss/importance_minimality", "loss/stochastic_recon",
          "loss/stochastic_recon_layerwise", "lr", "grad_norm", "linear1/ci_l0", "linear2/ci_l0",
          "hidden_layers.0/ci_l0", "linear1/n_alive", "misc/unmasked_mse_loss_vs_target",
          "misc/masked_mse_loss_vs_target", "misc/unmasked_kl_loss_vs_target", "misc/masked_kl_loss_vs_target"} do
          assert.is_number(row[key], key)
        end
      end
      assert.is_true(rows[#rows]["loss/total"] < rows[1]["loss/total"])
    end)

    it("summed up the run as the last row does, with scores and costs", function()
      local summary = json.decode(read(folder .. "/reference/summary.json"))
      local rows = rows_of(reference.metrics)
      for key, value in pairs(rows[#rows]) do
        if key ~= "step" then assert.equal(value, summary[key], key) end
      end
      for _, key in ipairs{"mmcs", "ml2r", "mmcs_all", "ml2r_all", "wall_s", "ms_per_step", "peak_mb"} do
        assert.is_number(summary[key], key)
      end
      local milliseconds = 1000 * summary.wall_s / STEPS
      assert.is_true(milliseconds > 0 and math.abs(summary.ms_per_step / milliseconds - 1) < 0.01)
      assert.equal(STEPS, summary.steps)
      assert.equal(0, summary.seed)
      assert.equal(2, summary.threads)
      assert.equal(core.version, summary.version)
      for _, matrix in ipairs{"linear1", "linear2", "hidden_layers.0"} do
        assert.equal("integer", math.type(summary.n_alive[matrix]))
        assert.equal("integer", math.type(summary.target_ci_error[matrix]))
      end
    end)

    it("printed a plain line per logged step, the scores, and where the run is", function()
      assert.equal("", reference.err)
      assert.is_nil(reference.out:find("[\r\x1b]"))
      assert.matches("\nstep +100/1200 .*\nstep +200/1200 ", reference.out)
      assert.matches("\nlinear2 +%d+ +%d+\n", reference.out)
      assert.equal("run: " .. folder .. "/reference", reference.out:match("([^\n]*)\n$"))
    end)

    it("is not touched by --resume", function()
      local before = contents(folder .. "/reference")
      local status, out, err = experiment.decompose("--resume", folder .. "/reference/", "--threads", "1")
      assert.same({0, ("finished at step %d\nrun: %s/reference\n"):format(STEPS, folder), ""}, {status, out, err})
      assert.same(before, contents(folder .. "/reference"))
    end)

    it("is not overwritten by another run", function()
      local before = contents(folder .. "/reference")
      local status, out, err = experiment.decompose(words(folder .. "/reference"))
      assert.equal(2, status)
      assert.equal("", out)
      assert.equal(("spdlua: %s/reference: is not empty (--resume goes on with the run in it)\n"):format(folder), err)
      assert.same(before, contents(folder .. "/reference"))
    end)
  end)

  describe("has the same bits", function()
    for _, threads in ipairs{"1", "3"} do
      it("with " .. threads .. " threads, and --quiet prints the last line only", function()
        local out = folder .. "/threads_" .. threads
        local status, text, err = experiment.decompose(words(out, "--threads", threads, "--quiet"))
        assert.same({0, "run: " .. out .. "\n", ""}, {status, text, err})
        assert_same_bits(reference, results(out), threads .. " threads")
        assert.equal(tonumber(threads), json.decode(read(out .. "/summary.json")).threads)
      end)
    end

    it("when interrupted and resumed; the interrupt leaves a checkpoint and status 130", function()
      local out = folder .. "/interrupted"
      -- the shell interrupts the run as soon as it has a checkpoint
      local status, text, err = experiment.run{"env", "OUT=" .. out, "sh", "-c", [[
        "$@" & pid=$!
        until ls "$OUT"/checkpoints/step_*.safetensors || ! kill -0 $pid; do sleep 0.01; done >/dev/null 2>&1
        kill -INT $pid; wait $pid]], "sh", experiment.host, experiment.script, words(out, "--quiet")}
      assert.equal(130, status, err)
      assert.equal("", text)
      local step = err:match("^spdlua: interrupted: stopped after step (%d+) %(continue with %-%-resume " ..
        out:gsub("%W", "%%%0") .. "%)\n$")
      assert.is_truthy(step, err)
      assert.is_true(posix.is_file(("%s/checkpoints/step_%d.safetensors"):format(out, step + 1)))
      assert.is_false(posix.is_file(out .. "/summary.json"))
      status, text, err = experiment.decompose("--resume", out, "--quiet")
      assert.same({0, "run: " .. out .. "\n", ""}, {status, text, err})
      assert_same_bits(reference, results(out), "interrupted after step " .. step)
    end)

    it("when killed at any moment, again and again, and resumed", function()
      local out, killed = folder .. "/killed", 0
      for attempt = 1, 9 do
        local seconds = 0.02 + 0.05 * ((attempt * 7) % 9)
        local begun = posix.is_file(out .. "/final_config.yaml")
        local arguments = begun and {"--resume", out, "--quiet"} or {words(out, "--quiet")}
        local status, _, err = experiment.decompose_until("KILL", seconds, table.unpack(arguments))
        if status == 0 then break end
        assert.same({137, ""}, {status, err})
        killed = killed + 1
      end
      assert.is_true(killed >= 2, "the run was over before it could be killed")
      local status, _, err = experiment.decompose("--resume", out, "--quiet")
      assert.same({0, ""}, {status, err})
      assert_same_bits(reference, results(out), killed .. " kills")
      assert.equal(2, #names_in(out .. "/checkpoints"))
    end)
  end)

  it("keeps the last two checkpoints of save_freq, and the final one", function()
    local out = folder .. "/save_freq"
    local arguments = {words(out, "steps=35", "save_freq=10", "checkpoint_seconds=60", "--quiet")}
    local status, _, err = experiment.decompose(table.unpack(arguments))
    assert.same({0, ""}, {status, err})
    assert.same({"step_30.safetensors", "step_35.safetensors"}, names_in(out .. "/checkpoints"))
    local tensors, metadata = core.safetensors_load(out .. "/checkpoints/step_35.safetensors")
    assert.equal("35", metadata.step)
    for name, shape in pairs{["components.linear1.V"] = {5, 20}, ["components.linear1.U"] = {20, 2},
      ["gates.linear2.w1"] = {20, 16}, ["gates.linear2.b2"] = {20}, ["adam.m.components.linear1.V"] = {5, 20},
      ["adam.v.gates.hidden_layers.0.w2"] = {20, 16}} do
      assert.same(shape, tensors[name] and tensors[name].shape, name)
    end
  end)

  it("refuses to work on a run that another process works on", function()
    local out = folder .. "/save_freq"
    os.remove(out .. "/summary.json")
    local lock <close> = posix.try_lock(out .. "/run.lock")
    assert.is_truthy(lock)
    local status, _, err = experiment.decompose("--resume", out, "--quiet")
    assert.equal(2, status)
    assert.equal(("spdlua: %s: another process is working on this run (wait for it, or end it)\n"):format(out), err)
  end)

  it("stops at a loss that is not finite, and keeps the last good checkpoint", function()
    local out = folder .. "/diverged"
    local status, text, err = experiment.decompose(words(out, "lr=1e30", "lr_warmup_pct=1", "save_freq=1", "--quiet"))
    assert.same({1, ""}, {status, text})
    assert.matches("^spdlua: step 2: loss/%w+ is %-?%a+ %([^\n]*%)\n$", err)
    assert.same({"step_1.safetensors"}, names_in(out .. "/checkpoints"))
    local tensors = core.safetensors_load(out .. "/checkpoints/step_1.safetensors")
    for name, tensor in pairs(tensors) do
      local norm = core.sum(tensor * tensor):item()
      assert.is_true(norm == norm and norm < math.huge, name)
    end
    assert.is_false(posix.is_file(out .. "/summary.json"))
  end)

  it("trains a target that two processes miss at the same time once", function()
    local target = folder .. "/shared/target.safetensors"
    local config = folder .. "/target.yaml"
    experiment.write(config, (read "configs/targets/tms_5-2-id.yaml":gsub("steps: [%w_]+", "steps: 2000")))
    local function command(out)
      return table.concat({experiment.host, experiment.script, words(folder .. "/" .. out, "steps=20",
        "pretrained_model_path=" .. target, "target_config=" .. config)}, " ")
    end
    local both = ("%s > %s/1.txt & %s > %s/2.txt; first=$?; wait $! && exit $first")
      :format(command "both_1", folder, command "both_2", folder)
    local status, text, err = experiment.run{"sh", "-c", both}
    assert.same({0, "", ""}, {status, text, err})
    local trained = 0
    for i = 1, 2 do
      local log = read(("%s/%d.txt"):format(folder, i))
      assert.matches("\nrun: [^\n]*/both_" .. i .. "\n$", log)
      if log:match("target +1000/2000 ") then trained = trained + 1 end
    end
    assert.equal(1, trained)
    assert.equal(read(target), read(folder .. "/both_1/target/target.safetensors"))
    assert.equal(read(target), read(folder .. "/both_2/target/target.safetensors"))
    assert.equal(read(folder .. "/both_1/metrics.jsonl"), read(folder .. "/both_2/metrics.jsonl"))
  end)
end)
