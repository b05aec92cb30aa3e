local experiment = require "spec.support.experiment"
local posix = require("spd.core").posix

local SCRIPT = "experiments/own_model.lua"

describe("own_model.lua", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  -- Run it in a folder of its own, where it makes out/.
  local function run(words)
    local function absolute(path) return path:sub(1, 1) == "/" and path or "$OLDPWD/" .. path end
    return experiment.run{"sh", "-c", ('cd "%s" && exec "%s" "%s" %s'):format(folder, absolute(experiment.host),
      absolute(SCRIPT), words)}
  end

  it("is shorter than forty lines, and the README shows all of them", function()
    local text = experiment.read(SCRIPT)
    assert.is_true(select(2, text:gsub("\n", "")) < 40)
    assert.is_truthy(experiment.read("README.md"):find("\n```lua\n" .. text .. "```\n", 1, true))
  end)

  it("decomposes its model and leaves a run", function()
    local status, text, message = run("steps=150 batch_size=64 print_freq=50 n_eval_steps=2 save_freq=100")
    assert.equal("", message)
    assert.equal(0, status)
    assert.matches("\nmatrix +n_alive\nfc1 +%d+\nfc2 +%d+\nrun: out/own_model_seed0_[%d-]+\n$", text)
    local directory = folder .. "/" .. text:match("run: (%S+)")
    assert.is_true(posix.is_file(directory .. "/final_config.yaml"))
    assert.is_true(posix.is_file(directory .. "/checkpoints/step_150.safetensors"))
    assert.is_true(posix.is_file(directory .. "/figures/activation_rates.png"))
    assert.matches('"n_alive": {', experiment.read(directory .. "/summary.json"), 1, true)
    local first, last = text:match("total +(%S+)"), text:match(".*total +(%S+)")
    assert.is_true(tonumber(last) < tonumber(first) / 5)
  end)

  it("refuses a setting that does not exist", function()
    local status, text, message = run("stepz=1")
    assert.equal(2, status)
    assert.equal("", text)
    assert.matches("^spdlua: override 'stepz=1': unknown key 'stepz' [^\n]+\n$", message)
  end)

  it("goes on with a run, and takes words as values", function()
    local status, text, message = run("steps=30 batch_size=64 n_eval_steps=2 lr_schedule=linear --out here --quiet")
    assert.same({0, "run: here\n", ""}, {status, text, message})
    assert.matches("\nlr_schedule: linear\n", experiment.read(folder .. "/here/final_config.yaml"))
    assert(posix.remove(folder .. "/here/summary.json"))
    assert.same({0, "run: here\n", ""}, {run("--resume here --quiet")})
    assert.is_true(posix.is_file(folder .. "/here/summary.json"))
  end)

  it("that does not fit together is refused with its name, and leaves nothing", function()
    local text = experiment.read(SCRIPT)
    for wrong, message in pairs{
      [text:gsub("config.batch_size, 6", "config.batch_size, 5")] = "layer 'fc1': expected input",
      [text:gsub("dataset = dataset", "datasets = dataset")] = "decompose_own: unknown key 'datasets'",
      [text:gsub("return {batch", "return {batches")] = "decompose_own: dataset%(config, 'data'%): its batch%(0%)",
      [text:gsub("model = mlp, ", "")] = "decompose_own: model: expected a table, found nil",
    } do
      experiment.write(folder .. "/wrong.lua", wrong)
      local status, _, err = experiment.run{experiment.host, folder .. "/wrong.lua", "--out", folder .. "/out"}
      assert.equal(2, status, err)
      assert.matches("^spdlua: " .. message .. "[^\n]*\n$", err)
      assert.is_false(posix.is_directory(folder .. "/out"))
    end
  end)

  it("finds the six parts of fc1 and the three of fc2 #slow", function()
    local status, text = run("")
    assert.equal(0, status)
    assert.matches("\nfc1 +6\nfc2 +3\n", text)
  end)
end)
