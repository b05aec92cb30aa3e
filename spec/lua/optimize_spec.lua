local component_model = require "spd.component_model"
local core = require "spd.core"
local errors = require "spd.errors"
local model = require "spd.model"
local optimize = require "spd.optimize"

local function assert_near(expected, found)
  assert.is_true(math.abs(found - expected) <= 1e-12 * math.max(1, math.abs(expected)),
    ("%.17g instead of %.17g"):format(found, expected))
end

local function rates(config, ...)
  local list = {}
  for i, step in ipairs{...} do list[i] = optimize.learning_rate(config, step) end
  return list
end

local function assert_rates(expected, config, ...)
  local found = rates(config, ...)
  for i, rate in ipairs(expected) do assert_near(rate, found[i]) end
end

describe("optimize.learning_rate", function()
  it("is constant by default", function()
    assert_rates({0.5, 0.5, 0.5}, {lr = 0.5, steps = 100}, 0, 50, 99)
  end)

  it("falls linearly as 1 - s/S", function()
    assert_rates({2, 1.5, 0.02}, {lr = 2, steps = 100, lr_schedule = "linear"}, 0, 25, 99)
  end)

  it("falls as a quarter period of a cosine, to 0 at the last step", function()
    -- S - 1 = 100: a half of it is cos(pi/4), a third cos(pi/6)
    local config = {lr = 2, steps = 101, lr_schedule = "cosine"}
    assert_rates({2, math.sqrt(2), 0}, config, 0, 50, 100)
    config.steps = 91
    assert_rates({math.sqrt(3), 1}, config, 30, 60)
    config.steps = 1
    assert_rates({2}, config, 0)
  end)

  it("halves exponentially every lr_exponential_halflife steps", function()
    local config = {lr = 8, steps = 100, lr_schedule = "exponential", lr_exponential_halflife = 10}
    assert_rates({8, 4, 2, 8 / math.sqrt(2)}, config, 0, 10, 20, 5)
  end)

  it("rises linearly over floor(steps x lr_warmup_pct) steps, and then counts from there", function()
    -- floor(105 x 0.1) = 10
    local config = {lr = 1, steps = 105, lr_warmup_pct = 0.1}
    assert_rates({0, 0.1, 0.9, 1, 1}, config, 0, 1, 9, 10, 104)
    config.lr_schedule = "linear"
    assert_rates({0.5, 1, 1 - 19 / 95}, config, 5, 10, 29)
    config.lr_schedule = "cosine"
    assert_rates({0.5, 1, math.cos(math.pi / 4), 0}, config, 5, 10, 57, 104)
    config.lr_schedule, config.lr_exponential_halflife = "exponential", 7
    assert_rates({0.5, 1, 0.25}, config, 5, 10, 24)
  end)

  it("has known values at the first, a middle and the last step of every schedule, with warm-up", function()
    -- 4 steps of warm-up, then 41 steps: the first, the middle (s = 20) and the last (s = 40) of those
    local cases = {
      constant = {1, 1, 1}, linear = {1, 1 - 20 / 41, 1 - 40 / 41}, cosine = {1, math.sqrt(0.5), 0},
      exponential = {1, 0.25, 0.0625},
    }
    for schedule, expected in pairs(cases) do
      local found = rates({lr = 0.5, steps = 45, lr_warmup_pct = 0.1, lr_schedule = schedule,
        lr_exponential_halflife = 10}, 0, 2, 3, 4, 24, 44)
      for i, factor in ipairs{0, 0.5, 0.75, table.unpack(expected)} do assert_near(0.5 * factor, found[i]) end
    end
  end)

  it("can warm up over all steps", function()
    assert_rates({0, 0.5, 0.75}, {lr = 1, steps = 4, lr_warmup_pct = 1, lr_schedule = "cosine"}, 0, 2, 3)
  end)
end)

local function small_components(weight)
  return component_model.new{
    target = model.new{
      layers = {model.linear("w", core.tensor{{weight or 1, 0}, {0, 2}})},
      forward = function(_, x, layer) return layer("w", x) end,
    },
    patterns = {"w"}, C = 3, n_ci_mlp_neurons = 2, seed = 1,
  }
end

local config = {
  seed = 0, n_mask_samples = 1, pnorm = 1, output_loss_type = "mse", faithfulness_coeff = 2,
  importance_minimality_coeff = 0.5, steps = 6, lr = 0.01, print_freq = 2, n_eval_steps = 1, checkpoint_seconds = 1e9,
}

local data = {batch = function(_, step) return core.uniform({4, 2}, {seed = 3, purpose = "spec", step = step}) end}

local function step_numbers(components)
  local tape <close> = core.tape()
  return optimize.step(components, tape, config, data:batch(0), 0)
end

describe("optimize.step", function()
  it("gives each loss, their weighted sum, and gradients to every parameter", function()
    local components = small_components()
    local numbers = step_numbers(components)
    assert_near(2 * numbers["loss/faithfulness"] + 0.5 * numbers["loss/importance_minimality"], numbers["loss/total"])
    assert.is_nil(numbers["loss/stochastic_recon"])
    for _, name in ipairs{"components.w.V", "components.w.U"} do
      for _, parameter in ipairs(components.parameters) do
        if parameter.name == name then
          local g = parameter.tensor.gradient
          assert.is_true(core.sum(g * g):item() > 0, name)
        end
      end
    end
  end)

  it("stops at a loss that is not finite, with step and loss named", function()
    local function message_with(change)
      local components = small_components()
      change(components)
      local ok, err = pcall(step_numbers, components)
      assert.is_false(ok)
      assert.is_true(errors.is(err), tostring(err))
      assert.equal(1, err.status)
      return err.message
    end
    assert.matches("^step 0: loss/faithfulness is inf %(", message_with(function(components)
      components.target.by_name.w.weight:fill(1e30)
    end))
    assert.matches("^step 0: loss/faithfulness is nan %(", message_with(function(components)
      components.by_name.w.V:fill(0 / 0)
    end))
  end)
end)

describe("a NaN in a step", function()
  local core_set = core.instruction_set()

  -- relu(two(relu(one x))), a bias in each
  local function components_of(neurons)
    return component_model.new{
      target = model.new{
        layers = {
          model.linear("one", core.tensor{{1, 2}, {0, 1}, {1, 0}}, core.zeros(3)),
          model.linear("two", core.tensor{{1, 0, 1}, {0, 1, 0}}, core.zeros(2)),
        },
        forward = function(_, x, layer) return core.relu(layer("two", core.relu(layer("one", x)))) end,
      },
      patterns = {"*"}, C = 5, n_ci_mlp_neurons = neurons, seed = 1,
    }
  end

  local masked = {"recon", "stochastic_recon", "recon_layerwise", "stochastic_recon_layerwise"}
  local of_gates = {"importance_minimality", "schatten", table.unpack(masked)}
  local of_target = {"out_recon", table.unpack(masked)}
  local of_components = {"faithfulness", "out_recon", table.unpack(of_gates)}

  -- what is NaN, the tensor, and the losses that depend on it
  local function cases(components)
    local list = {
      {"V", components.by_name.one.V, of_components}, {"U", components.by_name.two.U, {"faithfulness", "schatten",
        table.unpack(of_target)}},
      {"bias of one", components.target.by_name.one.bias, {"importance_minimality", table.unpack(of_target)}},
      {"bias of two", components.target.by_name.two.bias, of_target},
    }
    for name, tensor in pairs(components.by_name.two.gate) do list[#list + 1] = {"gate " .. name, tensor, of_gates} end
    return list
  end

  -- Whether a step with this loss alone comes to its end.
  local function passes(components, loss, kind)
    local tape <close> = core.tape()
    local only = {seed = 0, n_mask_samples = 1, pnorm = 2, output_loss_type = kind, [loss .. "_coeff"] = 1}
    local ok, err = pcall(optimize.step, components, tape, only, data:batch(0), 3)
    if not ok then assert.matches("^step 3: loss/" .. loss .. " is nan", tostring(err)) end
    return ok
  end

  local function check(neurons, kind)
    for i = 1, #cases(components_of(neurons)) do
      local components = components_of(neurons)
      local what, tensor, losses = table.unpack(cases(components)[i])
      for _, loss in ipairs(losses) do assert.is_true(passes(components, loss, kind), loss) end
      -- in one entry only, the first: others must not hide it
      local values = core.zeros(table.unpack(tensor.shape))
      values:set(0 / 0, table.unpack(#tensor.shape == 1 and {1} or {1, 1}))
      tensor:copy_from(tensor + values)
      for _, loss in ipairs(losses) do
        assert.is_false(passes(components, loss, kind), ("%s: NaN in %s"):format(loss, what))
      end
    end
  end

  for _, set in ipairs{"baseline", "avx2", "avx512"} do
    if pcall(core.instruction_set, set) then
      it("stops the run, in every loss that depends on it: " .. set, function()
        core.instruction_set(set)
        finally(function() core.instruction_set(core_set) end)
        for _, neurons in ipairs{0, 3} do
          for _, kind in ipairs{"mse", "kl"} do check(neurons, kind) end
        end
      end)
    end
  end
  core.instruction_set(core_set)
end)

describe("optimize.run", function()
  local progress

  before_each(function()
    progress = {lines = {}}
    function progress:update(step, _, logging) self.lines[#self.lines + 1] = {step, logging} end
    function progress:finish() self.finished = true end
  end)

  it("takes `steps` steps and measures the state after the last", function()
    local components = small_components()
    local before = components:V("w"):totable()
    local drawn = {}
    local numbers, seconds, steps = optimize.run{
      components = components, data = data, evaluation_data = data, config = setmetatable({image_freq = 3},
      {__index = config}), progress = progress, draw = function(step) drawn[#drawn + 1] = step end,
    }
    assert.equal(6, steps)
    assert.is_true(seconds >= 0)
    assert.same({3}, drawn)
    assert.is_true(progress.finished)
    assert.equal(7, #progress.lines)
    assert.same({6, true}, progress.lines[7])
    assert.same({5, false}, progress.lines[6])
    assert.are_not.same(before, components:V("w"):totable())
    local faithfulness
    do
      local V, U, W = components:V("w"), components:U("w"), components.by_name.w.weight
      faithfulness = core.squared_error(core.matmul(core.transpose(U), core.transpose(V)), W):item() / 4
    end
    assert.is_true(math.abs(numbers["loss/faithfulness"] - faithfulness) < 1e-6)
  end)

  it("draws at step 0 too if the config says so", function()
    local function drawn(first)
      local steps = {}
      optimize.run{
        components = small_components(), data = data, evaluation_data = data, progress = progress,
        config = setmetatable({image_freq = 3, image_on_first_step = first}, {__index = config}),
        draw = function(step) steps[#steps + 1] = step end,
      }
      return steps
    end
    assert.same({0, 3}, drawn(true))
    assert.same({3}, drawn(false))
  end)

  it("steps with the rate of the schedule, and logs it", function()
    local components, optimizer, rates_of_steps, logged = small_components(), {}, {}, {}
    function optimizer.step(_, rate) rates_of_steps[#rates_of_steps + 1] = rate end
    function optimizer.gradient_norm() return 0 end
    function optimizer.zero_gradients() end
    function components.optimizer() return optimizer end
    function progress.update(_, _, numbers) logged[#logged + 1] = numbers.lr end
    local settings = setmetatable({lr_schedule = "cosine", lr_warmup_pct = 0.34}, {__index = config})
    optimize.run{components = components, data = data, evaluation_data = data, progress = progress, config = settings}
    -- 2 steps of warm-up, then cos(pi/2 s/3)
    local expected = {0, 0.005, 0.01, 0.01 * math.cos(math.pi / 6), 0.01 * math.cos(math.pi / 3), 0}
    assert.equal(#expected, #rates_of_steps)
    for i, rate in ipairs(expected) do
      assert_near(rate, rates_of_steps[i])
      assert_near(rate, logged[i])
    end
  end)

  describe("saves", function()
    local monotonic_time = core.posix.monotonic_time
    after_each(function() core.posix.monotonic_time = monotonic_time end)

    -- The steps saved in a run of 10 steps, each of which takes a second of a clock made here.
    local function saved(settings)
      local now, steps = 100, {}
      core.posix.monotonic_time = function() return now end
      local clocked = {batch = function(_, step)
        now = 100 + step
        return data:batch(step)
      end}
      local run = {
        directory = "none", latest_checkpoint = function() return nil end, cut_metrics = function() end,
        log = function() end, save_checkpoint = function(_, step) steps[#steps + 1] = step end,
      }
      settings.steps, settings.print_freq = 10, 100
      optimize.run{
        components = small_components(), data = clocked, evaluation_data = data, progress = progress, run = run,
        config = setmetatable(settings, {__index = config}),
      }
      return steps
    end

    it("checkpoint_seconds after it saved last, and at the end", function()
      assert.same({3, 6, 9, 10}, saved{checkpoint_seconds = 3})
      assert.same({5, 10}, saved{checkpoint_seconds = 5})
      assert.same({10}, saved{checkpoint_seconds = 60})
    end)

    it("every save_freq steps, and later by the clock from there", function()
      assert.same({4, 8, 10}, saved{checkpoint_seconds = 60, save_freq = 4})
      assert.same({3, 4, 7, 8, 10}, saved{checkpoint_seconds = 3, save_freq = 4})
    end)
  end)

  it("keeps and takes back its whole state as tensors", function()
    local components = small_components()
    local optimizer = components:optimizer()
    step_numbers(components)
    optimizer:step(0.1)
    local tensors, copies = optimize.state(components, optimizer), {}
    for name, tensor in pairs(tensors) do copies[name] = tensor:clone() end
    local other = small_components()
    local other_optimizer = other:optimizer()
    optimize.restore(copies, other, other_optimizer, "file")
    for name, tensor in pairs(optimize.state(other, other_optimizer)) do
      assert.same(copies[name]:totable(), tensor:totable(), name)
    end
    local m = copies["adam.m.components.w.V"]
    assert.is_true(core.sum(m * m):item() > 0)
  end)

  it("refuses a state that lacks a tensor or has one of another shape", function()
    local components = small_components()
    local optimizer = components:optimizer()
    local tensors = optimize.state(components, optimizer)
    tensors["adam.v.components.w.U"] = nil
    local ok, err = pcall(optimize.restore, tensors, components, optimizer, "a.safetensors")
    assert.is_false(ok)
    assert.equal("a.safetensors: tensor 'adam.v.components.w.U' is missing", tostring(err))
    tensors = optimize.state(components, optimizer)
    tensors["components.w.V"] = core.zeros(3, 2)
    ok, err = pcall(optimize.restore, tensors, components, optimizer, "a.safetensors")
    assert.is_false(ok)
    assert.equal("a.safetensors: tensor 'components.w.V': expected [2, 3], found [3, 2]", tostring(err))
  end)
end)
