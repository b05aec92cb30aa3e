local config_module = require "spd.config"
local core = require "spd.core"
local errors = require "spd.errors"
local experiment = require "spec.support.experiment"
local target = require "spd.target"
local target_training = require "spd.target_training"
local posix = core.posix

local silent = {update = function() end, finish = function() end}

local function refusal(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  assert.equal(2, err.status)
  return err.message
end

describe("target", function()
  local folder, training

  before_each(function()
    folder = experiment.make_folder()
    training = folder .. "/training.yaml"
    experiment.write(training, (experiment.read "configs/targets/tms_5-2.yaml":gsub("steps: [%w_]+", "steps: 20")))
  end)
  after_each(function() experiment.remove_folder(folder) end)

  local function config(path, target_config)
    return {task_config = {task_name = "tms"}, pretrained_model_path = path, target_config = target_config}
  end

  -- Two layers of a trained target, and how often it was trained.
  local function get(settings)
    local trained = 0
    local model, found = target.get(settings, function()
      trained = trained + 1
      return silent
    end)
    return model, found, trained
  end

  it("that is missing is trained, kept with its config, and then reused", function()
    local path = folder .. "/deep/er/target.safetensors"
    local model, settings, trained = get(config(path, training))
    assert.equal(1, trained)
    assert.equal(20, settings.steps)
    local kept = folder .. "/deep/er/target_config.yaml"
    assert.same(config_module.load_target(training, "tms"), config_module.load_target(kept, "tms"))
    local bytes = experiment.read(path)
    local again, _, trained_again = get(config(path))
    assert.equal(0, trained_again)
    assert.equal(bytes, experiment.read(path))
    for _, name in ipairs{"linear1", "linear2"} do
      assert.same(model.by_name[name].weight:totable(), again.by_name[name].weight:totable())
    end
    assert.same(core.transpose(again.by_name.linear1.weight):totable(), again.by_name.linear2.weight:totable())
  end)

  it("has the same bits whenever it is trained", function()
    get(config(folder .. "/a/target.safetensors", training))
    get(config(folder .. "/b/target.safetensors", training))
    assert.equal(experiment.read(folder .. "/a/target.safetensors"), experiment.read(folder .. "/b/target.safetensors"))
  end)

  it("learns: the loss falls, and hidden identities stay", function()
    local settings = config_module.load_target("configs/targets/tms_5-2-id.yaml", "tms", {"steps=300"})
    local first, last
    local tms = target.kind "tms"
    local model = tms.train(settings, {
      update = function(_, _, numbers) first, last = first or numbers["loss/total"], numbers["loss/total"] end,
      finish = function() end,
    })
    assert.is_true(last < first / 2, ("%g, then %g"):format(first, last))
    assert.same({{1, 0}, {0, 1}}, model.by_name["hidden_layers.0"].weight:totable())
    assert.same({linear1 = {kind = "identity", n = 5}, linear2 = {kind = "identity", n = 5},
      ["hidden_layers.0"] = {kind = "dense", k = 2}}, tms.solution(settings))
  end)

  it("training decays what it is told to: with a gradient of 0, weights shrink by lr x weight decay", function()
    local decayed, kept = core.zeros(2) + 1, core.zeros(2) + 1
    local settings = {
      model = {}, config = {steps = 3, lr = 0.1, lr_schedule = "constant"}, progress = silent,
      parameters = {{tensor = decayed}, {tensor = kept, without_decay = true}},
      batches = {batch = function() return core.zeros({1, 1}, "int32") end},
      loss = function() return core.sum(decayed * kept) * 0 end,
    }
    for _, case in ipairs{{0.01}, {0.5, 0.5}} do
      local before = decayed:get(1)
      settings.weight_decay = case[2]
      target_training.run(settings)
      assert.is_true(math.abs(decayed:get(1) / before - (1 - 0.1 * case[1]) ^ 3) < 1e-6)
      assert.equal(1, kept:get(1))
    end
  end)

  it("is described without anything being made", function()
    local model = target.describe(config(folder .. "/none/target.safetensors", training))
    assert.same({2, 5}, model.by_name.linear1.weight.shape)
    assert.is_false(posix.is_directory(folder .. "/none"))
    assert.equal(20, target.steps(config(folder .. "/none/target.safetensors", training)))
  end)

  it("without a file needs a target_config, a name, and a place that can be a folder", function()
    assert.matches("none%.safetensors does not exist %(name a target_config to train it%)",
      refusal(target.describe, config(folder .. "/none.safetensors")))
    assert.matches("must be named target.safetensors",
      refusal(target.describe, config(folder .. "/none.safetensors", training)))
    assert.matches("must be named target.safetensors",
      refusal(target.describe, config(folder .. "/my_target.safetensors", training)))
    assert.equal(("%s: is not a folder"):format(training),
      refusal(target.prepare, config(training .. "/target.safetensors", training)))
    assert.equal(("pretrained_model_path: %s is a folder, not a file"):format(folder),
      refusal(target.describe, config(folder, training)))
  end)

  it("without its config beside it is refused, like one of an unknown kind", function()
    get(config(folder .. "/a/target.safetensors", training))
    os.remove(folder .. "/a/target_config.yaml")
    assert.equal(("%s/a/target.safetensors: no %s/a/target_config.yaml beside it, which says what model it is"):format(
      folder, folder), refusal(target.load, "tms", folder .. "/a/target.safetensors"))
    assert.matches("no target model for 'ih'", refusal(target.kind, "ih"))
  end)

  it("has no weights on disk before its config is there", function()
    local settings = config_module.load_target(training, "tms")
    local model = target.kind("tms").from_config(settings)
    local write = config_module.write
    finally(function() config_module.write = write end)
    config_module.write = function() error("no space left", 0) end
    local ok, message = pcall(target.save, model, settings, folder .. "/saved")
    assert.same({false, "no space left"}, {ok, message})
    assert.is_false(posix.is_file(folder .. "/saved/target.safetensors"))
    config_module.write = write
    target.save(model, settings, folder .. "/saved")
    assert.is_true(posix.is_file(folder .. "/saved/target.safetensors"))
  end)

  it("is not overwritten", function()
    get(config(folder .. "/target.safetensors", training))
    local bytes = experiment.read(folder .. "/target.safetensors")
    local settings = config_module.load_target(training, "tms", {"seed=5"})
    assert.is_nil(target.train("tms", settings, folder, function() error("trains again") end))
    assert.equal(bytes, experiment.read(folder .. "/target.safetensors"))
  end)

  it("does not replace a config that is not its own, nor settle among other files", function()
    local settings = config_module.load_target(training, "tms")
    experiment.write(folder .. "/target_config.yaml", "# mine\n")
    assert.matches("target_config.yaml: is in the way", refusal(target.train, "tms", settings, folder,
      function() return silent end))
    assert.equal("# mine\n", experiment.read(folder .. "/target_config.yaml"))
    assert.matches("is not empty: it holds training.yaml", refusal(target.require_own_folder, folder, "tms"))
    os.remove(folder .. "/target_config.yaml")
    experiment.write(folder .. "/mine.tmp", "")
    experiment.write(folder .. "/target.safetensors.9-0.tmp", "half")
    assert.is_truthy(target.train("tms", settings, folder, function() return silent end))
    assert.is_true(posix.is_file(folder .. "/mine.tmp"))
    assert.is_false(posix.is_file(folder .. "/target.safetensors.9-0.tmp"))
  end)

  it("that becomes NaN is not kept", function()
    local settings = config_module.load_target(training, "tms", {"lr=1e30"})
    local ok, err = pcall(target.train, "tms", settings, folder .. "/nan", function() return silent end)
    assert.same({false, 1}, {ok, err.status})
    assert.matches("^target step %d+: its loss is", err.message)
    assert.is_false(posix.is_file(folder .. "/nan/target.safetensors"))
  end)

  it("whose weights are not finite is refused", function()
    local model = get(config(folder .. "/target.safetensors", training))
    model.by_name.linear2.bias:set(0 / 0, 5)
    model:save(folder .. "/target.safetensors")
    assert.matches("target%.safetensors: tensor 'linear2%.bias' has entries that are NaN or infinite",
      refusal(target.describe, config(folder .. "/target.safetensors")))
  end)

  it("that cannot fit into memory is refused before anything is made", function()
    local settings = experiment.read(training):gsub("n_hidden: %d+", "n_hidden: 2000000000")
    experiment.write(folder .. "/huge.yaml", settings)
    assert.matches("^memory: the target needs about .* are available",
      refusal(target.describe, config(folder .. "/huge/target.safetensors", folder .. "/huge.yaml")))
    assert.is_false(posix.is_directory(folder .. "/huge"))
  end)
end)
