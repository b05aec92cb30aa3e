-- The words of a trial's command, the values that they leave to its config, and what is found before a trial starts.
local command = require "spd.sweep.command"
local config = require "spd.config"
local experiment = require "spec.support.experiment"
local json = require "spd.json"
local posix = require("spd.core").posix
local sampling = require "spd.sweep.sampling"
local sweep_file = require "spec.support.sweep"
local values_module = require "spd.sweep.values"

local PARAMETERS = [[
  lr: {value: 1e-5}
  flag: {value: true}
  off: {value: false}
  none: {value: null}
  group:
    parameters:
      x: {value: 3.0}
      name: {value: some words}
      list: {value: [1, a]}
]]

-- Words, overrides and files of the first trial of a sweep with that command, a list in YAML.
local function words_of(text, program, parameters)
  local sweep = sweep_file.read(("method: grid\nprogram: %s\ncommand: %s\nparameters:\n%s"):format(program or "x.py",
    text, parameters or PARAMETERS))
  return command.words(sweep, sampling.new(sweep):values(1), {folder = "STUDY/trials/0"})
end

describe("macros", function()
  it("are W&B's default command, with this program as interpreter", function()
    local sweep = sweep_file.with "  a: {values: [1, 2]}"
    local words, overrides, files = command.words(sweep, {{key = "a", value = 2}}, {folder = "F"})
    assert.same({"/usr/bin/env", posix.executable(), "train.py", "--a=2"}, words)
    assert.same({}, overrides)
    assert.same({}, files)
  end)

  local FORMS = {
    args = {"--flag=True", "--group.list=[1, a]", "--group.name=some words", "--group.x=3.0", "--lr=1e-05",
      "--none=null", "--off=False"},
    args_no_hyphens = {"flag=True", "group.list=[1, a]", "group.name=some words", "group.x=3.0", "lr=1e-05",
      "none=null", "off=False"},
    args_no_equals = {"--flag", "True", "--group.list", "[1, a]", "--group.name", "some words", "--group.x", "3.0",
      "--lr", "1e-05", "--none", "null", "--off", "False"},
    args_no_boolean_flags = {"--flag", "--group.list=[1, a]", "--group.name=some words", "--group.x=3.0",
      "--lr=1e-05", "--none=null"},
    args_append_hydra = {"+flag=True", "+group.list=[1, a]", "+group.name=some words", "+group.x=3.0", "+lr=1e-05",
      "+none=null", "+off=False"},
    args_override_hydra = {"++flag=True", "++group.list=[1, a]", "++group.name=some words", "++group.x=3.0",
      "++lr=1e-05", "++none=null", "++off=False"},
    args_json = {'{"flag":true,"group":{"list":[1,"a"],"name":"some words","x":3},"lr":1e-05,"none":null,' ..
      '"off":false}'},
    args_json_file = {"STUDY/trials/0/args.json"},
    ["envvar:SPDLUA_NO_SUCH_VARIABLE"] = {"SPDLUA_NO_SUCH_VARIABLE"},
    ["envvar:HOME"] = {os.getenv "HOME" or "HOME"},
    env = {"/usr/bin/env"}, program = {"x.py"}, interpreter = {posix.executable()},
  }
  for name, expected in pairs(FORMS) do
    it("have the form of ${" .. name .. "}", function()
      assert.same(expected, (words_of(("['${%s}']"):format(name))))
    end)
  end

  it("stand in longer words too", function()
    local words = words_of("['--config=${program}:1', 'train ${args} now']", nil, "  a: {value: 1}\n  b: {value: 2}")
    assert.same({"--config=x.py:1", "train --a=1 --b=2 now"}, words)
  end)

  it("leave to the config what they do not hand over", function()
    local all = {"flag=true", "group.list=[1, a]", 'group.name="some words"', "group.x=3.0", "lr=1.0e-05", "none=null",
      "off=false"}
    assert.same(all, select(2, words_of "['${program}']"))
    assert.same({}, select(2, words_of "['${program}', '${args_json_file}']"))
    assert.same({"off=false"}, select(2, words_of "['${args_no_boolean_flags}']"))
  end)

  it("name the file that ${args_json_file} wants, with its text", function()
    local files = select(3, words_of "['${args_json_file}']")
    assert.same({"STUDY/trials/0/args.json"}, {files[1].path, files[2]})
    assert.equal("some words", json.decode(files[1].text).group.name)
  end)

  it("give scripts of ours the one form that they know", function()
    local script = "experiments/tms_decomposition.lua"
    local args = words_of("['${program}', '${args}']", script)
    for _, name in ipairs{"args_no_equals", "args_append_hydra", "args_override_hydra"} do
      assert.same(args, (words_of(("['${program}', '${%s}']"):format(name), script)))
    end
    assert.equal("--flag=True", words_of("['${program}', '${args_no_boolean_flags}']", script)[2])
  end)
end)

describe("values in a command", function()
  it("are printed as Python prints them", function()
    for text, value in pairs{
      ["0.001"] = 1e-3, ["1e-05"] = 1e-5, ["0.0001"] = 1e-4, ["100000.0"] = 1e5, ["1e+16"] = 1e16, ["3.0"] = 3.0,
      ["123456789012345.0"] = 123456789012345.0, ["0.1"] = 0.1, ["5e-324"] = 5e-324, ["7"] = 7, ["-2"] = -2,
      ["1234567890123456.0"] = 1234567890123456.0, ["True"] = true, ["False"] = false, ["inf"] = math.huge,
      ["-inf"] = -math.huge, ["a b"] = "a b", ["0.30000000000000004"] = 0.1 + 0.2,
    } do
      assert.equal(text, values_module.word(value))
    end
  end)

  it("are read by a config as what they are, in either form", function()
    for _, case in ipairs{
      {"lr", 1e-5}, {"steps", 7}, {"image_on_first_step", true}, {"image_on_first_step", false}, {"recon_coeff", nil},
      {"recon_coeff", 0.5}, {"lr_schedule", "linear"}, {"target_module_patterns", {"linear1"}}, {"seed", 3.0},
      {"wandb_run_name", "true"}, {"wandb_run_name", "1e-3"}, {"wandb_run_name", "a: b"}, {"wandb_run_name", "[x"},
      {"wandb_run_name", "it's \"#1\""}, {"wandb_run_name", "None"}, {"wandb_run_name", "~"},
    } do
      local key, value = case[1], case[2]
      for _, format in ipairs{values_module.word, values_module.yaml} do
        local read = config.load("configs/tms_5-2.yaml", {key .. "=" .. format(value)})
        assert.same(value, read[key], format(value))
      end
    end
  end)

  it("that are groups leave alone what they do not name", function()
    local sweep = sweep_file.with "  task_config: {values: [{feature_probability: 0.2}]}"
    local _, overrides = command.words(setmetatable({command = {"x"}}, {__index = sweep}),
      sampling.new(sweep):values(1), {folder = "F"})
    assert.same({"task_config.feature_probability=0.2"}, overrides)
    assert.equal("tms", config.load("configs/tms_5-2.yaml", overrides).task_config.task_name)
  end)
end)

describe("a check before the first trial", function()
  local SCRIPT = "program: experiments/tms_decomposition.lua\n"

  local function check(parameters, words, others)
    local sweep = sweep_file.read((others or "method: grid\n") .. SCRIPT .. "command: [" ..
      (words or "'${program}', configs/tms_5-2.yaml, '${args}'") .. "]\nparameters:\n" .. parameters)
    sweep.path = "FILE"
    for _, parameter in ipairs(sweep.parameters) do parameter.where = parameter.where:gsub("^.*:", "FILE:") end
    sweep.command_where = "FILE:3"
    command.check(sweep, sampling.new(sweep))
  end

  it("passes what the config takes", function()
    check "  lr: {values: [1e-3, 1e-4]}\n  task_config: {parameters: {feature_probability: {values: [0.1, 0.2]}}}"
    check("  lr: {values: [1e-3]}", "'${program}', configs/tms_5-2.yaml, seed=3, --quiet")
    check("  lr: {values: [1e-3]}", "python, other.py, nowhere.yaml")
  end)

  for _, words in ipairs{"'${program}', configs/tms_5-2.yaml", "'${program}', configs/tms_5-2.yaml, '${args}'",
                         "python, other.py, configs/tms_5-2.yaml"} do
    it("names the nearest key to one that the config does not have: " .. words, function()
      assert.equal("FILE:6: configs/tms_5-2.yaml has no key 'stepz' (the nearest one is 'steps')",
        (sweep_file.error_of(check, "  lr: {value: 1e-3}\n  stepz: {values: [3]}", words)))
      assert.matches("^FILE:6: configs/tms_5%-2.yaml has no key 'task_config.prob' %(the nearest one is 'task_config.",
        (sweep_file.error_of(check, "  task_config: {parameters: {\n    prob: {values: [3]}}}", words)))
    end)
  end

  it("tries every value of a list, and the limits of a range", function()
    assert.equal("FILE:5: lr: expected a number above 0, found 0",
      (sweep_file.error_of(check, "  lr: {values: [1, 2, 3, 4, 0]}\n  seed: {min: 0, max: 1000000}")))
    assert.equal("FILE:5: task_config.feature_probability: expected a number in (0, 1], found 1.25",
      (sweep_file.error_of(check, "  task_config.feature_probability: {min: 0.5, max: 1.25}", nil, "method: random\n")))
    assert.matches("^FILE:5: steps: expected an integer", (sweep_file.error_of(check, "  steps: {min: 0, max: 9}")))
  end)

  it("finds words that the script does not take, and keys of the command that the config does not have", function()
    assert.matches("^FILE:3: command: experiments/tms_decomposition.lua does not take it: %-%-outt: unknown option",
      (sweep_file.error_of(check, "  lr: {values: [1]}", "'${program}', configs/tms_5-2.yaml, --outt, x")))
    assert.matches("^FILE:3: command: experiments/tms_decomposition.lua does not take it: '{\"lr\":1}'",
      (sweep_file.error_of(check, "  lr: {values: [1]}", "'${program}', configs/tms_5-2.yaml, '${args_json}'")))
    assert.equal("FILE:3: command: override 'stepz=3': unknown key 'stepz' (the nearest one is 'steps')",
      (sweep_file.error_of(check, "  lr: {values: [1]}", "'${program}', configs/tms_5-2.yaml, stepz=3")))
  end)

  it("finds a config of a script of ours that is not there", function()
    assert.equal("FILE:3: command: there is no file 'configs/tms_5_2.yaml' (paths are from the working directory)",
      (sweep_file.error_of(check, "  lr: {values: [1]}", "'${program}', configs/tms_5_2.yaml")))
  end)

  it("finds a program that is not there", function()
    local sweep = sweep_file.read "method: grid\nprogram: experiments/nowhere.lua\nparameters: {a: {value: 1}}"
    sweep.path = "FILE"
    local message, status = sweep_file.error_of(command.check, sweep, sampling.new(sweep))
    assert.equal("FILE: program: there is no file 'experiments/nowhere.lua' (paths are from the working directory)",
      message)
    assert.equal(2, status)
  end)

  it("works for configs of targets", function()
    local sweep = sweep_file.read [[
method: grid
program: experiments/train_tms.lua
command: ["${program}", configs/targets/tms_5-2.yaml, "${args}"]
parameters:
  tms_model_config: {parameters: {n_feature: {values: [3]}}}
]]
    assert.matches("has no key 'tms_model_config.n_feature' %(the nearest one is 'tms_model_config.n_features'%)",
      (sweep_file.error_of(command.check, sweep, sampling.new(sweep))))
  end)

  it("leaves a YAML file of others alone", function()
    local folder = experiment.make_folder()
    experiment.write(folder .. "/other.yaml", "a: 1\n")
    local sweep = sweep_file.read("method: grid\nprogram: x.lua\ncommand: ['${program}', " .. folder ..
      "/other.yaml]\nparameters: {b: {value: 1}}")
    command.check(sweep, sampling.new(sweep))
    experiment.remove_folder(folder)
  end)
end)
