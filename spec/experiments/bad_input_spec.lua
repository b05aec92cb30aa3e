-- Whatever a user gets wrong is one line, exit status 2, and nothing is created.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local posix = core.posix

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- A safetensors file with this header.
local function file_of(header, data) return string.pack("<I8", #header) .. header .. (data or "") end

local function entry(dtype, shape, first, last)
  return ('{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}'):format(dtype, shape, first, last)
end

-- A target's weights file where the tensors have these entries.
local function weights_of(w1, bias, size)
  return file_of(('{"linear1.weight":%s,"linear2.bias":%s}'):format(w1, bias), ("\0"):rep(size))
end

local W1, BIAS = entry("F32", "2,5", 0, 40), entry("F32", "5", 40, 60)

-- name, text of the config file, what the error matches
local config_files = {
  {"an empty file", "", "empty file"},
  {"comments only", "# nothing\n", "empty file"},
  {"a YAML syntax error", "seed: 0\nC: [1, 2\nsteps: 3\n", ":%d+: "},
  {"a list", "- seed\n- C\n", "expected keys and values"},
  {"a single word", "hello\n", "expected keys and values"},
  {"bytes that are not text", bytes "00 ff fe 80 01 02 c3 28 89 50 4e 47", ""},
  {"a weights file", weights_of(W1, BIAS, 60), ""},
}

-- override, what the error matches
local overrides = {
  {"stepss=3", "unknown key 'stepss' %(the nearest one is 'steps'%)"},
  {"task_config.feature_prob=0.1", "the nearest one is 'task_config.feature_probability'"},
  {"steps=ten", "steps: expected an integer"},
  {"steps=2.5", "steps: expected an integer"},
  {"steps=-1", "steps: expected an integer of 1 or more, found %-1"},
  {"batch_size=0", "batch_size: expected an integer of 1 or more, found 0"},
  {"C=", "C: expected an integer"},
  {"lr=[1]", "lr: expected a number"},
  {"lr=.nan", "lr: expected a number above 0"},
  {"lr=nan", "lr: expected a number above 0"},
  {"lr=inf", "lr: expected a number above 0"},
  {"lr=.inf", "lr: expected a number above 0"},
  {"lr=1e999", "lr: expected a number above 0"},
  {"faithfulness_coeff=nan", "faithfulness_coeff: expected a number"},
  {"task_config.feature_probability=0", "feature_probability: expected a number in %(0, 1%], found 0"},
  {"task_config.feature_probability=1.5", "feature_probability: expected a number in %(0, 1%]"},
  {"pnorm=0", "pnorm: expected a number above 0"},
  {"target_module_patterns=linear1", "target_module_patterns: expected a list of words"},
  {"tied_update=both", "tied_update: expected one of summed, separate"},
  {"steps", "unexpected argument"},
  {"=3", "unexpected argument"},
  {"C=1000000000", "the run needs about .*, .* are available"},
  {"batch_size=2147483647", "the run needs about .*, .* are available"},
  {"C=99999999999", "C: expected an integer of at most 2147483647"},
  {"target_module_patterns=[linear3]", "'linear3' matches no matrix %(the target has linear1, linear2%)"},
  {"target_module_patterns=[linear1, layers.*]", "'layers%.%*' matches no matrix %(the target has linear1, linear2%)"},
  {"embedding_recon_coeff=1", "embedding_recon_coeff: expected one decomposed matrix, an embedding"},
  {"task_config.task_name=resid_mlp", "task_name: expected one of"},
  {"task_config.task_name=lm", "unknown key 'task_config.feature_probability'"},
  {"pretrained_model_class=spd.experiments.resid_mlp.models.ResidualMLP", "task_name: expected residual_mlp"},
  {"pretrained_model_path=wandb:me/project/runs/1", "pretrained_model_path: .*Weights & Biases %(name a local"},
  {"pretrained_model_path=/nowhere/model.pth", "/nowhere/model%.pth does not exist"},
  {"pretrained_model_path=/tmp", "/tmp is a folder"},
}

-- name, words of the command line, what the error matches
local command_lines = {
  {"threads = 0", {"--threads", "0"}, "%-%-threads: expected"},
  {"threads that are no number", {"--threads", "two"}, "%-%-threads: expected .*'two'"},
  {"an unknown option", {"--outt", "x"}, "%-%-outt: unknown option"},
  {"a second config", {"configs/tms.yaml"}, "unexpected argument"},
  {"resume beside a config", {"--resume", "/tmp"}, "%-%-resume: together with"},
}

-- name, bytes of the target's weights, what the error matches
local weights_files = {
  {"empty", "", ""},
  {"truncated", weights_of(W1, BIAS, 59), ""},
  {"cut inside the header", weights_of(W1, BIAS, 60):sub(1, 50), ""},
  {"with a header length past the end", string.pack("<I8", 1 << 40) .. "{}", "header"},
  {"with overlapping tensors", weights_of(W1, entry("F32", "5", 20, 40), 40), ""},
  {"with offsets out of range", weights_of(W1, entry("F32", "5", 400, 420), 60), ""},
  {"with negative offsets", weights_of(W1, entry("F32", "5", -20, 0), 60), ""},
  {"of a wrong shape", weights_of(entry("F32", "5,2", 0, 40), BIAS, 60),
    "tensor 'linear1.weight': expected real %[2, 5%], found real %[5, 2%]"},
  {"of a wrong dtype", weights_of(entry("I32", "2,5", 0, 40), BIAS, 60),
    "tensor 'linear1.weight': expected real %[2, 5%], found int32 %[2, 5%]"},
  {"of an unknown dtype", weights_of(entry("F99", "2,5", 0, 40), BIAS, 60), "F99"},
  {"without one of the tensors", file_of('{"linear1.weight":' .. W1 .. "}", ("\0"):rep(40)),
    "tensor 'linear2.bias' is missing"},
  {"with a tensor too many", file_of('{"w":' .. entry("F32", "", 60, 64) .. ',"linear1.weight":' .. W1 ..
    ',"linear2.bias":' .. BIAS .. "}", ("\0"):rep(64)), "tensor 'w' does not belong to this model"},
}

describe("bad input: one line, status 2, nothing created:", function()
  local folder, out, config

  before_each(function()
    folder = experiment.make_folder()
    out, config = folder .. "/run", folder .. "/config.yaml"
  end)
  after_each(function() experiment.remove_folder(folder) end)

  local function expect_refused(pattern, ...)
    local before = experiment.contents(folder)
    local status, text, err = experiment.decompose(...)
    assert.matches("^spdlua: [^\n]+\n$", err)
    assert.matches(pattern, err)
    assert.is_nil(err:find("stack traceback", 1, true))
    assert.is_nil(err:find("%.lua:%d"), err)
    assert.same({2, ""}, {status, text})
    assert.same(before, experiment.contents(folder))
    assert.is_false(posix.is_directory(out))
    return err
  end

  it("a config that is not there", function()
    expect_refused("configs/none.yaml: ", "configs/none.yaml", "--out", out)
  end)

  it("a folder as config", function() expect_refused("configs: ", "configs", "--out", out) end)

  it("no config", function() expect_refused("CONFIG.yaml is missing", "--out", out) end)

  for _, case in ipairs(config_files) do
    it("a config that is " .. case[1], function()
      experiment.write(config, case[2])
      local err = expect_refused(case[3], config, "--out", out)
      assert.is_truthy(err:find("spdlua: " .. config, 1, true), err)
    end)
  end

  it("a key that is missing, named", function()
    experiment.write(config, (experiment.read "configs/tms_5-2.yaml":gsub("\nlr: [^\n]*", "")))
    expect_refused("missing key: lr\n$", config, "--out", out)
  end)

  it("a wrong value in a file, with its line", function()
    experiment.write(config, (experiment.read "configs/tms_5-2.yaml":gsub("\nC: 20", "\nC: many")))
    local _, line = experiment.read "configs/tms_5-2.yaml":match("^(.-)\nC: 20"):gsub("\n", "\n")
    expect_refused(("config%%.yaml:%d: C: expected an integer of 1 or more, found 'many'"):format(line + 2), config,
      "--out", out)
  end)

  for _, case in ipairs(overrides) do
    it("the override " .. case[1], function()
      expect_refused(case[2], "configs/tms_5-2.yaml", "pretrained_model_path=" .. folder .. "/t/target.safetensors",
        case[1], "--out", out)
    end)
  end

  for _, case in ipairs(command_lines) do
    it(case[1], function()
      expect_refused(case[3], "configs/tms_5-2.yaml", "pretrained_model_path=" .. folder .. "/t/target.safetensors",
        "--out", out, table.unpack(case[2]))
    end)
  end

  for _, case in ipairs(weights_files) do
    it("a target's weights file " .. case[1], function()
      local weights = folder .. "/target.safetensors"
      experiment.write(weights, case[2])
      experiment.write(folder .. "/target_config.yaml", experiment.read "configs/targets/tms_5-2.yaml")
      local err = expect_refused(case[3], "configs/tms_5-2.yaml", "pretrained_model_path=" .. weights, "--out", out)
      assert.is_truthy(err:find("spdlua: " .. weights .. ": ", 1, true), err)
    end)
  end

  it("a target without the config beside it", function()
    local weights = folder .. "/target.safetensors"
    experiment.write(weights, weights_of(W1, BIAS, 60))
    expect_refused("target_config%.yaml", "configs/tms_5-2.yaml", "pretrained_model_path=" .. weights, "--out", out)
  end)

  it("a target in a folder that is a file, which stays", function()
    experiment.write(folder .. "/file", "mine")
    expect_refused("/file: is not a folder", "configs/tms_5-2.yaml",
      "pretrained_model_path=" .. folder .. "/file/target.safetensors", "--out", out)
    assert.equal("mine", experiment.read(folder .. "/file"))
  end)

  it("an output folder that cannot be made", function()
    experiment.write(folder .. "/file", "")
    for _, path in ipairs{folder .. "/file/run", folder .. "/file", "/proc/none/run"} do
      expect_refused(path:gsub("%W", "%%%0"), "configs/tms_5-2.yaml",
        "pretrained_model_path=" .. folder .. "/t/target.safetensors", "--out", path)
    end
  end)

  it("--resume of what is no run", function()
    expect_refused("/none: no such folder", "--resume", folder .. "/none")
    expect_refused("is not a run's folder", "--resume", folder)
  end)
end)
