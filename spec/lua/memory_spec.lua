local core = require "spd.core"
local errors = require "spd.errors"
local memory = require "spd.memory"
local model = require "spd.model"

local target = model.new{
  layers = {model.linear("one", core.zeros(3, 5)), model.linear("two", core.zeros(5, 3))}, forward = function() end,
}

local function config(C, neurons)
  return {C = C, n_ci_mlp_neurons = neurons or 16, target_module_patterns = {"*"}}
end

local function estimate(...) return memory.estimate(target.layers, config(...), 1000) end

describe("memory", function()
  it("counts parameters with gradient and two moments, and the buffers of a step", function()
    -- between two sizes of C, per subcomponent: 4 x (V, U: 8, gate MLP: 49), and buffers of 1000 rows in each matrix
    local per_component = (estimate(200) - estimate(100)) / 100 / 4
    local parameters = 2 * 4 * (8 + 49)
    assert.equal(0, (per_component - parameters) % 2000)
    assert.is_true(per_component - parameters >= 2 * 1000 * 3)
    assert.is_true(estimate(100, 0) < estimate(100, 16))
    assert.is_true(estimate(100, 16) < estimate(100, 128))
  end)

  it("estimates what a run takes", function()
    -- four steps of the paper's tms_40-10 in a process of its own, without what the process takes before
    local status, text, message = core.posix.run{"./spdlua", "-e", [[
      local core, memory = require "spd.core", require "spd.memory"
      local before = core.posix.peak_memory_mb()
      local case = require("spd.config").load("configs/tms_40-10.yaml", {"steps=4", "n_eval_steps=2"})
      local target_config = require("spd.config").load_target("configs/targets/tms_40-10.yaml", "tms")
      local subject = require("spd.experiment").subject(case, require("spd.models.tms").from_config(target_config),
        target_config)
      require("spd.optimize").run{
        components = subject.components, data = subject.data, evaluation_data = subject.evaluation_data, config = case,
        progress = {update = function() end, finish = function() end},
      }
      local used = core.posix.peak_memory_mb() - before
      local function estimate(layers) return memory.estimate(layers, case, case.batch_size) / 2 ^ 20 end
      print(used, estimate(subject.components.target.layers) - estimate{})]]}
    assert.same({0, ""}, {status, message})
    local used, estimated = text:match("^(%S+)%s+(%S+)\n$")
    local quotient = tonumber(used) / tonumber(estimated)
    assert.is_true(quotient > 0.5 and quotient < 1.25, ("%s MiB were used, %s estimated"):format(used, estimated))
  end)

  for _, pattern in ipairs{"model.embed_tokens", "model.layers.*.mlp.*", "lm_head"} do
    it("estimates what the decomposition of a language model takes: " .. pattern, function()
      local status, text, message = core.posix.run{"./spdlua", "-e", ([[
        local core, memory = require "spd.core", require "spd.memory"
        local target = require("spd.models.language").new{
          architectures = {"LlamaForCausalLM"}, vocab_size = 4096, hidden_size = 64, intermediate_size = 256,
          num_hidden_layers = 3, num_attention_heads = 4, max_position_embeddings = 256, tie_word_embeddings = false,
        }
        local config = {
          C = 40, n_ci_mlp_neurons = 0, seed = 0, n_mask_samples = 1, pnorm = 2, output_loss_type = "kl",
          faithfulness_coeff = 1, stochastic_recon_layerwise_coeff = 1, importance_minimality_coeff = 1e-6,
        }
        local before = core.posix.peak_memory_mb()
        local components = require("spd.component_model").new{
          target = target, patterns = {"%s"}, C = config.C, n_ci_mlp_neurons = 0,
        }
        local optimizer <close>, row = components:optimizer(), {}
        for i = 1, 256 do row[i] = i * 37 %% 4096 end
        for step = 0, 1 do
          local tape <close> = core.tape()
          require("spd.optimize").step(components, tape, config, core.tensor({row, row, row, row}, "int32"), step)
        end
        local used = core.posix.peak_memory_mb() - before
        local function estimate(layers, of) return memory.estimate(layers, config, 4 * 256, of) / 2 ^ 20 end
        local layers = {}
        for i, matrix in ipairs(components.matrices) do layers[i] = target.by_name[matrix.name] end
        print(used, estimate(layers, target) - estimate({}))]]):format(pattern)}
      assert.same({0, ""}, {status, message})
      local used, estimated = text:match("^(%S+)%s+(%S+)\n$")
      local quotient = tonumber(used) / tonumber(estimated)
      assert.is_true(quotient > 0.5 and quotient < 1.25, ("%s MiB were used, %s estimated"):format(used, estimated))
    end)
  end

  it("grows with rows and matrices, also past what an integer holds", function()
    local one = memory.estimate({target.layers[1]}, config(100), 1000)
    assert.is_true(one < estimate(100))
    local huge = memory.estimate(target.layers, config(2147483647, 2147483647), 2147483647.0)
    assert.is_true(huge > 2.0 ^ 60 and huge < math.huge)
  end)

  it("refuses what cannot fit, and says what was needed and what is there", function()
    local ok, err = pcall(memory.check, target, config(1000000000), 4096)
    assert.is_false(ok)
    assert.is_true(errors.is(err))
    assert.equal(2, err.status)
    assert.matches("^memory: the run needs about [%d.e+]+ [MGP]B, [%d.e+]+ [MGP]B are available " ..
      "%(a smaller C or batch_size%)$", err.message)
  end)

  it("lets pass what fits, and anything where the system does not say what is left", function()
    memory.check(target, config(20), 64)
    local available = core.posix.memory_available_bytes
    finally(function() core.posix.memory_available_bytes = available end)
    core.posix.memory_available_bytes = function() return nil end
    memory.check(target, config(1000000000), 4096)
    core.posix.memory_available_bytes = function() return 2 ^ 20 end
    assert.is_false((pcall(memory.check, target, config(20), 64)))
  end)
end)
