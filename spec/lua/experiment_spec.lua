-- What a config makes of a target: data and subcomponents.
local config_module = require "spd.config"
local experiment = require "spd.experiment"
local optimize = require "spd.optimize"
local tms = require "spd.models.tms"

describe("experiment.subject", function()
  local function subject_of(...)
    local config = config_module.load("configs/tms_5-2.yaml", {"batch_size=64", ...})
    local target_config = config_module.load_target("configs/targets/tms_5-2.yaml", "tms")
    return experiment.subject(config, tms.from_config(target_config), target_config)
  end

  it("evaluates on other batches than it trains on, step by step", function()
    local subject = subject_of()
    for step = 0, 2 do
      local trained, evaluated = subject.data:batch(step):totable(), subject.evaluation_data:batch(step):totable()
      assert.same({64, 64}, {#trained, #evaluated})
      assert.are_not.same(trained, evaluated)
      assert.same(trained, subject_of().data:batch(step):totable())
    end
  end)

  it("names its data by the seed", function()
    for _, name in ipairs{"data", "evaluation_data"} do
      assert.are_not.same(subject_of("seed=0")[name]:batch(0):totable(), subject_of("seed=1")[name]:batch(0):totable())
    end
  end)

  it("keeps subcomponents of a tied matrix if tied_update is separate, and shares them if it is summed", function()
    local function state(tied_update)
      local components = subject_of("tied_update=" .. tied_update).components
      return optimize.state(components, components:optimizer())
    end
    local separate, summed = state "separate", state "summed"
    for _, name in ipairs{"components.linear2.V", "components.linear2.U", "adam.m.components.linear2.V"} do
      assert.is_truthy(separate[name], name)
      assert.is_nil(summed[name], name)
    end
    assert.same({2, 20}, separate["components.linear2.V"].shape)
    assert.same({5, 20}, summed["components.linear1.V"].shape)
  end)
end)
