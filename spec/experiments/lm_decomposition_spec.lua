-- Decomposing a language model as a process: the folder that it leaves, that nothing changes the bits, and what can be
-- decomposed. Models and text are made here: random weights, generated stories.
local config_module = require "spd.config"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local tiny = require "spec.support.tiny_language"
local posix = core.posix

local read, write = experiment.read, experiment.write

local STEPS = 60
local LOSSES = {"faithfulness", "recon", "stochastic_recon", "recon_layerwise", "stochastic_recon_layerwise",
                "importance_minimality", "schatten", "out_recon", "embedding_recon"}

local rows_of, names_in = experiment.rows_of, experiment.names_in

-- What must have the same bits however a run came about.
local function results(out)
  return {read(("%s/checkpoints/step_%d.safetensors"):format(out, STEPS)), read(out .. "/metrics.jsonl")}
end

local function assert_same_bits(expected, found)
  assert.is_true(expected[1] == found[1], "another last checkpoint")
  assert.equal(expected[2], found[2])
end

describe("the decomposition of a language model", function()
  local folder, config, reference

  -- Without gnuplot, which takes most of the time of so short a run, and is only wanted for the figures of one.
  local function decompose(...) return experiment.run{"env", "PATH=/nowhere", experiment.host, tiny.script, ...} end

  local function new_run(name, ...) return decompose(config, "--out", folder .. "/" .. name, "--quiet", ...) end

  -- A short run that must succeed. Returns the rows of its metrics and its folder.
  local function done(name, ...)
    local out = folder .. "/" .. name
    assert.same({0, "run: " .. out .. "\n", ""}, {new_run(name, "steps=2", "print_freq=1", ...)})
    return rows_of(read(out .. "/metrics.jsonl")), out
  end

  local function assert_refused(pattern, status, text, err)
    assert.same({2, ""}, {status, text})
    assert.matches("^spdlua: [^\n]+\n$", err)
    assert.matches(pattern, err)
  end

  setup(function()
    folder = experiment.make_folder()
    for _, kind in ipairs{"llama", "gpt2", "gpt_neo"} do tiny.make_model(folder .. "/" .. kind, kind) end
    tiny.make_text(folder .. "/data")
    config = folder .. "/tiny.yaml"
    write(config, tiny.config(folder .. "/llama", folder .. "/data"))
    local status, out, err = experiment.run{experiment.host, tiny.script, config, "--out", folder .. "/reference",
      "--threads", "2", "image_freq=40"}
    assert.same({0, ""}, {status, err})
    reference = results(folder .. "/reference")
    reference.out = out
  end)
  teardown(function() experiment.remove_folder(folder) end)

  describe("that is finished", function()
    it("leaves config, metrics, summary, figures, the last two checkpoints, and where its target is", function()
      local out = folder .. "/reference"
      assert.same({"checkpoints", "figures", "final_config.yaml", "metrics.jsonl", "run.lock", "summary.json",
        "target"}, names_in(out))
      assert.same({"step_59.safetensors", "step_60.safetensors"}, names_in(out .. "/checkpoints"))
      assert.same({"model.json"}, names_in(out .. "/target"))
      assert.equal(folder .. "/llama", json.decode(read(out .. "/target/model.json")).folder)
      for _, name in ipairs{"embedding_importances", "training_curves", "activation_rates", "importance_histograms",
        "mean_importances", "embedding_importances_step_40"} do
        assert.equal("\x89PNG", read(("%s/figures/%s.png"):format(out, name)):sub(1, 4))
      end
      assert.same(config_module.load(config, {"image_freq=40"}), config_module.load(out .. "/final_config.yaml"))
    end)

    it("logged losses, cross-entropies, divergences and active subcomponents", function()
      local rows = rows_of(reference[2])
      assert.equal(4, #rows)
      for i, row in ipairs(rows) do
        assert.equal(20 * (i - 1), row.step)
        for _, key in ipairs{"loss/total", "loss/faithfulness", "loss/importance_minimality",
          "loss/stochastic_recon_layerwise", "lr", "grad_norm", "model.embed_tokens/ci_l0",
          "model.embed_tokens/n_alive", "misc/unmasked_kl_loss_vs_target", "misc/masked_kl_loss_vs_target",
          "misc/target_ce_loss_vs_labels", "misc/unmasked_ce_loss_vs_labels", "misc/masked_ce_loss_vs_labels",
          "misc/zero_masked_ce_loss_vs_labels"} do
          assert.is_number(row[key], key)
        end
      end
    end)

    it("summed up the run: the last row, means over fresh text, costs", function()
      local summary = json.decode(read(folder .. "/reference/summary.json"))
      local rows = rows_of(reference[2])
      for key, value in pairs(rows[#rows]) do
        if key ~= "step" then assert.equal(value, summary[key], key) end
      end
      for _, key in ipairs{"ce_target", "ce_unmasked", "ce_masked", "ce_zero_masked"} do
        assert.is_true(math.abs(summary[key] - math.log(tiny.vocabulary)) < 0.5, key)
      end
      assert.is_true(summary.l0["model.embed_tokens"] > 0 and summary.l0["model.embed_tokens"] <= tiny.C)
      assert.equal("integer", math.type(summary.n_alive["model.embed_tokens"]))
      for _, key in ipairs{"wall_s", "ms_per_step", "peak_mb"} do assert.is_number(summary[key], key) end
      assert.same({STEPS, 0, 2, core.version}, {summary.steps, summary.seed, summary.threads, summary.version})
    end)

    it("printed a line per logged step, the scores, and where the run is", function()
      assert.matches("\nstep +20/60 .*\nstep +40/60 ", reference.out)
      assert.matches("\nmodel%.embed_tokens +%d+ +[%d.]+\n", reference.out)
      assert.matches("\ncross%-entropy: [%d.]+ of the target, ", reference.out)
      assert.equal("run: " .. folder .. "/reference", reference.out:match("([^\n]*)\n$"))
    end)

    it("is not touched by --resume", function()
      local before = experiment.contents(folder .. "/reference")
      assert.same({0, "finished at step 60\nrun: " .. folder .. "/reference\n", ""},
        {decompose("--resume", folder .. "/reference")})
      assert.same(before, experiment.contents(folder .. "/reference"))
    end)
  end)

  describe("has the same bits", function()
    it("with another number of threads", function()
      new_run("threads", "--threads", "3")
      assert_same_bits(reference, results(folder .. "/threads"))
    end)

    for signal, expected in pairs{INT = 130, KILL = 137} do
      it("when it gets SIG" .. signal .. " once it has a checkpoint, and is resumed on another number of threads",
        function()
        local out = folder .. "/ended_by_" .. signal
        local status, text, err = experiment.run{"env", "OUT=" .. out, "SIGNAL=" .. signal, "sh", "-c", [[
          is_there() { for f in "$OUT"/checkpoints/step_*.safetensors; do test -e "$f" && return; done; return 1; }
          env PATH=/nowhere "$@" & pid=$!
          until is_there; do kill -0 $pid || break; done
          kill -$SIGNAL $pid; wait $pid]], "sh", experiment.host, tiny.script, config, "--out", out, "--quiet"}
        assert.same({expected, ""}, {status, text}, err)
        if signal == "INT" then
          assert.matches("^spdlua: interrupted: [^\n]* %(continue with %-%-resume [^\n]*%)\n$", err)
        end
        assert.is_false(posix.is_file(out .. "/summary.json"))
        assert.same({0, "run: " .. out .. "\n", ""}, {decompose("--resume", out, "--quiet", "--threads", "1")})
        assert_same_bits(reference, results(out))
      end)
    end
  end)

  -- A run that stopped at step 4: its last two checkpoints are of the steps 3 and 4.
  local function stopped_run(name, ...)
    local out = folder .. "/" .. name
    assert.equal(0, (new_run(name, "steps=4", ...)))
    os.remove(out .. "/summary.json")
    os.remove(out .. "/checkpoints/step_4.safetensors")
    return out
  end

  it("is not resumed with another text", function()
    tiny.make_text(folder .. "/other_data")
    local out = stopped_run("other_text", "task_config.dataset_name=" .. folder .. "/other_data")
    local path = folder .. "/other_data/train.jsonl"
    write(path, read(path) .. '{"story": "the end"}\n')
    assert_refused("other_data/train.jsonl: has changed since the checkpoint was written: %d+ bytes then, %d+ now",
      decompose("--resume", out, "--quiet"))
    os.remove(path)
    assert_refused("other_data: has no split 'train'", decompose("--resume", out, "--quiet"))
  end)

  it("is not resumed with another model", function()
    tiny.make_model(folder .. "/other_model", "llama")
    local out = stopped_run("other_target", "pretrained_model_name_hf=" .. folder .. "/other_model")
    tiny.make_model(folder .. "/other_model", "llama", {num_hidden_layers = 2})
    assert_refused("other_model/[%w.]+: is not the file that this run was made with %(%d+ bytes then, %d+ now%)",
      decompose("--resume", out, "--quiet"))
    experiment.remove_folder(folder .. "/other_model")
    assert_refused("other_model/[%w.]+: is not the file that this run was made with %(%d+ bytes then, none now%)",
      decompose("--resume", out, "--quiet"))
  end)

  -- ---- what is decomposed, and by which losses ------------------------------------------------------------------

  local function assert_finite_losses(rows, names)
    for _, row in ipairs(rows) do
      for _, name in ipairs(names) do
        local loss = row["loss/" .. name]
        assert.is_true(type(loss) == "number" and loss >= 0 and loss < math.huge, name)
      end
    end
  end

  for kind, matrices in pairs{
    llama = {"model.embed_tokens", "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.o_proj",
      "model.layers.0.mlp.down_proj", "lm_head"},
    gpt2 = {"transformer.wte", "transformer.wpe", "transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_proj",
      "lm_head"},
    gpt_neo = {"transformer.wte", "transformer.h.0.attn.attention.q_proj", "transformer.h.1.mlp.c_fc", "lm_head"},
  } do
    it("takes all matrices of a " .. kind .. " at once, each in its own way", function()
      local rows, out = done(kind .. "_all", "pretrained_model_name_hf=" .. folder .. "/" .. kind,
        "pretrained_model_class=transformers.AutoModelForCausalLM",
        "target_module_patterns=" .. (kind == "llama" and "[lm_head, '*layers*', '*embed*']" or
          "['*.h.*', '*.w?e', '[!t]*']"))
      local summary = json.decode(read(out .. "/summary.json"))
      for _, matrix in ipairs(matrices) do
        assert.is_number(rows[1][matrix .. "/ci_l0"], matrix)
        assert.is_number(summary.l0[matrix], matrix)
      end
      assert_finite_losses(rows, {"total", "faithfulness", "stochastic_recon_layerwise"})
    end)
  end

  for kind, is_unembedded in pairs{kl = "true", mse = "false"} do
    it(("computes all losses at once, outputs compared by %s, with gate MLPs"):format(kind), function()
      local overrides = {"output_loss_type=" .. kind, "is_embed_unembed_recon=" .. is_unembedded, "n_mask_samples=2",
        "n_ci_mlp_neurons=4"}
      for _, name in ipairs(LOSSES) do overrides[#overrides + 1] = name .. "_coeff=0.5" end
      local rows = done("losses_" .. kind, table.unpack(overrides))
      assert_finite_losses(rows, LOSSES)
      local sum = 0
      for _, name in ipairs(LOSSES) do sum = sum + 0.5 * rows[1]["loss/" .. name] end
      assert.is_true(math.abs(sum - rows[1]["loss/total"]) < 1e-6 * sum)
    end)
  end

  it("reads .npy without a tokenizer", function()
    local model, data = folder .. "/ids_model", folder .. "/ids"
    tiny.make_model(model, "llama")
    os.remove(model .. "/tokenizer.json")
    assert(posix.make_directory(data))
    tiny.write_npy(data .. "/train.npy", 500)
    tiny.write_npy(data .. "/test.npy", 300)
    assert_finite_losses(done("npy", "pretrained_model_name_hf=" .. model, "task_config.dataset_name=" .. data),
      {"total"})
  end)

  -- ---- a target that is trained on demand -----------------------------------------------------------------------

  describe("of a model that does not exist", function()
    local training

    setup(function()
      training = folder .. "/training.yaml"
      write(training, tiny.training)
    end)

    it("trains it once, if two processes miss it at the same time", function()
      local target = folder .. "/trained"
      local words = {"pretrained_model_name_hf=" .. target, "target_config=" .. training,
        "task_config.dataset_name=" .. target .. "/data/", "steps=2"}
      local function command(name)
        return ("env PATH=/nowhere %s %s %s --out %s/%s %s > %s/%s.txt 2> /dev/null"):format(experiment.host,
          tiny.script, config, folder, name, table.concat(words, " "), folder, name)
      end
      local both = ("%s & %s; first=$?; wait $! && exit $first"):format(command "one", command "two")
      assert.same({0, "", ""}, {experiment.run{"sh", "-c", both}})
      local trained = 0
      for _, name in ipairs{"one", "two"} do
        local log = read(("%s/%s.txt"):format(folder, name))
        assert.equal(("run: %s/%s"):format(folder, name), log:match("([^\n]*)\n$"))
        if log:match("target +4/4 ") then trained = trained + 1 end
      end
      assert.equal(1, trained)
      assert.equal(read(folder .. "/one/metrics.jsonl"), read(folder .. "/two/metrics.jsonl"))
    end)

    -- What would only be found after the training is found before it.
    for override, pattern in pairs{
      ["task_config.max_seq_len=25"] = "max_seq_len: 25 is more than the 24 positions of the model in .*training.yaml",
      ["pretrained_model_class=transformers.GPT2LMHeadModel"] = "pretrained_model_class: expected a GPT2LMHeadModel",
      ["task_config.dataset_name=/nowhere/data"] = "/nowhere/data: does not exist",
      ["task_config.eval_data_split=dev"] = "data: has no split 'dev' %(it has train, test%)",
      ["target_module_patterns=[transformer.*]"] = "'transformer.%*' matches no matrix",
    } do
      it("is refused before any training for " .. override, function()
        local before = experiment.contents(folder)
        assert_refused(pattern, new_run("refused", "pretrained_model_name_hf=" .. folder .. "/untrained",
          "target_config=" .. training, override))
        assert.same(before, experiment.contents(folder))
        assert.is_false(posix.is_directory(folder .. "/untrained"))
      end)
    end
  end)
end)
