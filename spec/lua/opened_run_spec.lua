-- A run's folder at the prompt: what it gives is what was trained, asking changes nothing, and mistakes are named.
local core = require "spd.core"
local component = require "spd.opened_run.component"
local component_model = require "spd.component_model"
local errors = require "spd.errors"
local evaluate = require "spd.evaluate"
local experiment = require "spec.support.experiment"
local known = require "spec.support.known_run"
local language = require "spec.support.language"
local losses = require "spd.losses"
local model = require "spd.model"
local pretty = require "spd.repl.pretty"
local residual_mlp = require "spd.models.residual_mlp"
local config_module = require "spd.config"
local spd = require "spd"
local target = require "spd.target"
local tiny = require "spec.support.tiny_language"

local RESIDUAL_TARGET = [[
resid_mlp_config: {n_features: 4, d_embed: 6, d_mlp: 3, n_layers: 1, act_fn_name: relu, in_bias: false, out_bias: false}
label_type: act_plus_resid
loss_type: readoff
use_trivial_label_coeffs: true
fixed_random_embedding: true
feature_probability: 0.2
data_generation_type: at_least_zero_active
batch_size: 8
steps: 1
lr: 1e-3
print_freq: 1
]]

local RESIDUAL = [[
pretrained_model_class: spd.experiments.resid_mlp.models.ResidualMLP
pretrained_model_path: %s/target.safetensors
C: 6
n_mask_samples: 1
n_ci_mlp_neurons: 3
target_module_patterns: ["layers.*"]
stochastic_recon_coeff: 1.0
importance_minimality_coeff: 1e-5
pnorm: 2.0
output_loss_type: mse
batch_size: 16
steps: 40
lr: 1e-3
n_eval_steps: 2
print_freq: 10
task_config: {task_name: residual_mlp, feature_probability: 0.2, data_generation_type: at_least_zero_active}
]]

local base, run -- run: the known one, finished

local function message_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, "no error")
  assert.is_true(errors.is(err), tostring(err))
  return err.message
end

local function refuses(pattern, f, ...) assert.matches(pattern, message_of(f, ...)) end

local function close_to(expected, tensor)
  local found = known.elements{tensor}
  assert.equal(#expected, #found)
  for i, value in ipairs(expected) do assert.near(value, found[i], 1e-5) end
end

local function no_line_is_wider_than_a_terminal(text)
  for line in (text .. "\n"):gmatch("(.-)\n") do assert.is_true((utf8.len(line) or #line) <= 80, line) end
end

local function write_residual(folder)
  local config_path = folder .. "_target.yaml"
  experiment.write(config_path, RESIDUAL_TARGET)
  local settings = config_module.load_target(config_path, "residual_mlp")
  target.save(residual_mlp.from_config(settings), settings, folder .. "_target")
  known.write_initial(folder, RESIDUAL:format(folder .. "_target"))
end

setup(function()
  base = experiment.make_folder()
  known.write_tms(base .. "/known", true)
  run = spd.open(base .. "/known")
end)

teardown(function() experiment.remove_folder(base) end)

describe("spd.open", function()
  it("gives the trained subcomponents, the target, the config and what was logged", function()
    assert.equal(20, run.step)
    assert.same({"linear1", "linear2"}, run.matrices)
    assert.equal("tms", run.kind)
    assert.equal(known.C, run.config.C)
    assert.equal(1, run.summary.mmcs)
    assert.equal(1.5, run.target.by_name.linear1.weight:get(2, 2))
    assert.equal(0, core.squared_error(run.components:weight "linear1", run.target.by_name.linear1.weight):item())
    assert.same({10, 20}, run:steps())
    local earlier = spd.open(base .. "/known/", {step = 10})
    assert.equal(10, earlier.step)
    assert.matches("step 10 of 20, not the last step.*loss/total 0.09091\n", tostring(earlier))
  end)

  it("opens a run that is not finished, and writes nothing", function()
    known.write_tms(base .. "/unfinished", false)
    local before = experiment.contents(base)
    local unfinished = spd.open(base .. "/unfinished")
    assert.equal(0, unfinished.step)
    assert.is_nil(unfinished.summary)
    assert.matches("step 0 of 20, unfinished", tostring(unfinished))
    unfinished:component("linear1", 0)
    assert.same(before, experiment.contents(base))
  end)

  it("says what is wrong with a folder", function()
    refuses("nowhere: no such folder", spd.open, base .. "/nowhere")
    refuses("is not a run's folder %(it has no final_config.yaml%)", spd.open, base)
    refuses("no checkpoint of step 15 %(there is 10, 20%)", spd.open, base .. "/known", {step = 15})
    refuses("step: expected a whole number of 0 or more, found %-1", spd.open, base .. "/known", {step = -1})
    refuses("unknown option 'stop' %(the nearest one is 'step'%)", spd.open, base .. "/known", {stop = 1})
    refuses("expected a run's folder, found nil", spd.open, nil)
    refuses("expected a run's folder, found a table", spd.open, {})
    refuses("has a target of its own", spd.open, base .. "/known", {model = run.target})
  end)

  it("neither trains nor writes a target that is missing", function()
    known.write_tms(base .. "/without", true)
    os.remove(base .. "/without/target/target.safetensors")
    local before = experiment.contents(base .. "/without")
    refuses("target.safetensors: is missing", spd.open, base .. "/without")
    assert.same(before, experiment.contents(base .. "/without"))
    os.remove(base .. "/without/checkpoints/step_10.safetensors")
    os.remove(base .. "/without/checkpoints/step_20.safetensors")
    refuses("has no checkpoint yet", spd.open, base .. "/without")
  end)

  it("opens a run by its path below out/, too", function()
    local folder = base .. "/working"
    known.write_tms(folder .. "/out/sweeps/s/trials/0", true)
    local status, text, message = experiment.run{"env", "-C", folder, core.posix.real_path(experiment.host), "-l",
      "spd", "-e", 'print(spd.open("sweeps/s/trials/0").directory)'}
    assert.same({0, "out/sweeps/s/trials/0\n", ""}, {status, text, message})
  end)

  it("lists the runs in a folder, the newest first, whatever is in them", function()
    local folder = base .. "/list"
    known.write_tms(folder .. "/old", true)
    known.write_tms(folder .. "/sweeps/s/trials/0", false)
    assert.equal(0, (experiment.run{"touch", "-d", "2001-02-03 04:05", folder .. "/old/final_config.yaml",
      folder .. "/old/metrics.jsonl", folder .. "/old/summary.json"}))
    local list = require("spd.opened_run.run_list").of(folder)
    assert.same({folder .. "/sweeps/s/trials/0", folder .. "/old"}, {list[1].directory, list[2].directory})
    assert.matches("old +2001%-02%-03 04:05 +mmcs 1.0000, CI error 0", tostring(list))
    assert.matches("trials/0 .*unfinished, step 0", tostring(list))
    experiment.write(folder .. "/old/summary.json", "{broken")
    experiment.write(folder .. "/sweeps/s/trials/0/summary.json",
      '{"steps": 0, "mmcs": "x", "target_ci_error_total": 0.5}')
    assert.matches("cannot be read", tostring(list))
    assert.matches("CI error 0.5", tostring(list))
    assert.matches("no run under", tostring(require("spd.opened_run.run_list").of(base .. "/nowhere")))
  end)
end)

describe("an opened run", function()
  it("gives the causal importances of any form of input", function()
    local expected = {0, 0, 0, 0, 0, 0.5, 0, 1}
    for _, x in ipairs{{0.75, 0, 0.25, 0, 0}, {{0.75, 0, 0.25, 0, 0}}, core.tensor{0.75, 0, 0.25, 0, 0},
                       core.tensor{{0.75, 0, 0.25, 0, 0}}} do
      local g = run:importances(x)
      assert.same({1, 8}, g.linear1.shape)
      close_to(expected, g.linear1)
      close_to(expected, g.linear2)
    end
    assert.same({2, 3, 8}, run:importances(core.zeros(2, 3, 5)).linear1.shape)
    assert.near(1 + 0.01 * (1.5 - 1), run:importances(run:one_hot(0), {upper = true}).linear1:get(1, 8), 1e-6)
    assert.same({{0, 0, 0, 1, 0}}, run:one_hot(3, 1):totable())
  end)

  it("lists the subcomponents that an input needs, strongest first", function()
    local on = run:components_on{{0.75, 0, 0.25, 0, 0}, {0, 0, 0, 0, 0}}
    assert.same({{component = 7, importance = 1}, {component = 5, importance = 0.5}}, on.linear1[1])
    assert.same({}, on.linear1[2])
    assert.matches("linear1\n  row 0  7 %(1.000%), 5 %(0.500%)\n  row 1  none\n", tostring(on))
    assert.same({{component = 7, importance = 1}},
      run:components_on({0.75, 0, 0.25, 0, 0}, {threshold = 0.6}).linear2[1])
  end)

  it("computes outputs under masks", function()
    local x = {0.75, 0, 0.25, 0, 0}
    local function forward(options) return run:forward(x, options) end
    close_to({0.75, 0, 0.25 * 4, 0, 0}, run:target_output(x))
    close_to({0.75, 0, 0.25 * 4 * 0.5 * 0.5, 0, 0}, forward())
    close_to({0.75, 0, 0.25 * 4 * 0.5 * 0.5, 0, 0}, forward{mask = run:importances(x)})
    close_to({0.75, 0, 1, 0, 0}, forward{mask = "ones"})
    close_to({0, 0, 0, 0, 0}, forward{mask = "zeros"})
    close_to({0.75, 0, 0.25, 0, 0}, forward{mask = {linear1 = 0.5, linear2 = {0, 0, 0, 0, 0, 0.5, 0, 2}}})
    close_to({0.75, 0, 0.5, 0, 0}, forward{mask = {linear1 = "ones"}})
    close_to({0, 0, 1, 0, 0}, forward{mask = "ones", ablate = {linear1 = 7}})
    close_to({0, 0, 0, 0, 0}, forward{mask = "ones", ablate = {linear1 = {7}, linear2 = {5, 6}}})
    close_to({0.75, 0, 0, 0, 0}, forward{mask = "ones", keep = {linear2 = {7, 3}}})
    close_to({0, 0, 0, 0, 0}, forward{mask = "ones", keep = {linear1 = {}}})
  end)

  it("takes a mask for each row", function()
    local rows = {{1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}}
    local masks = {{0, 0, 0, 0, 0, 0, 0, 0.25}, {0, 0, 0, 0, 0, 0, 0, 0.5}}
    local y = run:forward(rows, {mask = {linear1 = masks, linear2 = core.zeros(2, 8) + 1}})
    close_to({0.25, 0, 0, 0, 0, 0.5, 0, 0, 0, 0}, y)
    refuses("mask of linear1: expected %[8%] or %[1, 8%], found %[2, 8%]", run.forward, run, rows[1],
      {mask = {linear1 = masks}})
  end)

  it("draws stochastic masks between importance and 1 by their seed", function()
    local function drawn(seed)
      return known.elements{run:forward(run:one_hot(2, 0.2), {mask = "stochastic", seed = seed})}
    end
    assert.same(drawn(0), drawn(nil))
    assert.are_not.same(drawn(0), drawn(1))
    local low, high = run:forward{0.2, 0, 0, 0, 0}:get(1, 1), run:target_output{0.2, 0, 0, 0, 0}:get(1, 1)
    for seed = 0, 5 do
      local y = run:forward({0.2, 0, 0, 0, 0}, {mask = "stochastic", seed = seed}):get(1, 1)
      assert.is_true(y >= low and y <= high)
    end
  end)

  it("measures what each active subcomponent is worth", function()
    local list = run:ablation({0.75, 0, 0.25, 0, 0}, {mask = "ones"})
    assert.same({"linear2", 5}, {list[2].matrix, list[2].component})
    assert.same({5, 5, 7, 7}, {list[1].component, list[2].component, list[3].component, list[4].component})
    assert.near(1 / 5, list[1].change, 1e-5)
    assert.near(0.75 ^ 2 / 5, list[3].distance, 1e-5)
    assert.matches("linear1 +5 +0.500 +0.2000 +%+0.2000", tostring(list))
    list = run:ablation{0.75, 0, 0.25, 0, 0}
    assert.near(0.75 ^ 2 / 5, list[1].change, 1e-5)
    assert.near(0.75 ^ 2 / 5 + 0.75 ^ 2 / 5, list[1].distance, 1e-5)
    -- what is ablated for one subcomponent is on again for the next
    for i, one in ipairs(run:ablation({0.75, 0, 0.25, 0, 0}, {ablate = {linear1 = 0, linear2 = 0}})) do
      assert.near(list[i].distance, one.distance, 1e-6)
    end
    assert.equal(1, #run:ablation(run:one_hot(1), {most = 1}))
    assert.matches("no subcomponent is active", tostring(run:ablation{0, 0, 0, 0, 0}))
  end)

  it("describes a subcomponent", function()
    local one = run:component("linear1", known.component_of(2))
    assert.same({0, 0, 1, 0, 0}, one.V:totable())
    assert.same({0, 0, 2, 0, 0}, one.U:totable())
    assert.equal(2, one.norm)
    assert.same({{feature = 2, importance = 1}}, one.features)
    assert.equal(192, one.count)
    local counts = evaluate.activation_counts(run.components, run.subject.evaluation_data, run.config)
    local means = evaluate.mean_importances(run.components, run.subject.evaluation_data, run.config)
    assert.near(counts.linear1[6] / 192, one.rate, 1e-9)
    assert.near(means.linear1[6], one.mean, 1e-6)
    assert.equal(5, #one.examples)
    for _, example in ipairs(one.examples) do
      local x = run:example(example.example)
      assert.same(example.x, x:totable()[1])
      assert.near(example.importance, run:importances(x).linear1:get(1, 6), 1e-6)
    end
    assert.is_true(one.examples[1].x[3] >= one.examples[5].x[3])
    assert.matches("one%-hot inputs of 0.75 that need it: none", tostring(run:component("linear1", 0)))
  end)

  it("shows the most important examples first, then those that are read most", function()
    local other = spd.open(base .. "/known")
    local gate, c = other.components.by_name.linear1.gate, known.component_of(1)
    gate.w:set(-2, c + 1) -- importance 1 - 2 x
    gate.b:set(1, c + 1)
    for _, one in ipairs(other:component("linear1", c).examples) do
      assert.same({1, 0}, {one.importance, one.activation})
    end
    local list = run:component("linear1", c).examples
    for i = 2, #list do assert.is_true(list[i - 1].activation >= list[i].activation) end
  end)

  it("gives what was logged as columns", function()
    assert.same({"linear1/ci_l0", "linear1/n_alive", "loss/total"}, run:metrics().names)
    assert.same({0, 10, 20, 20}, run:metrics().step)
    assert.same({5, 5, 5}, {table.unpack(run:metrics()["linear1/n_alive"], 1, 3)})
    assert.same({0.25, steps = {20}}, setmetatable(run:metrics "linear1/ci_l0", nil))
    local loss = run:metrics "loss/total"
    assert.near(1 / 21, loss[3], 1e-9)
    assert.equal(20, loss.steps[3])
    assert.equal(3, #loss)
    assert.matches("step  loss/total\n +0 +1\n", tostring(loss))
  end)

  it("leaves no state behind, not even where it fails", function()
    local function outputs()
      local x = {0.3, 0.1, 0, 0, 0.9}
      local g = run:importances(x)
      return known.elements{run:forward(x), run:target_output(x), g.linear1, g.linear2,
        run:forward(x, {mask = "stochastic"})}
    end
    local function ask_everything()
      local x, c = run:one_hot(2), known.component_of(2)
      run:forward(x, {ablate = {linear1 = c}})
      run:forward(x, {keep = {linear1 = {}}, mask = {linear2 = 0}})
      run:ablation(x)
      run:component("linear2", c)
      run:components_on(run:example(3))
      pcall(run.forward, run, x, {mask = {linear1 = core.zeros(7) + 1}})
      pcall(run.forward, run, x, {ablate = {linear1 = 99}})
      pcall(run.importances, run, {1, 2})
    end
    local before = outputs()
    ask_everything()
    assert.same(before, outputs())
    -- A value that was recorded from a parameter cannot be read any more once the parameter was written to.
    local tape <close> = core.tape()
    local values = {}
    for i, parameter in ipairs(run.components.parameters) do values[i] = core.sum(parameter.tensor * 1) end
    values[#values + 1] = core.sum(run.target.by_name.linear1.weight * 1)
    local outside = outputs()
    ask_everything()
    assert.same(before, outside)
    for _, value in ipairs(values) do value:item() end
    run.components.parameters[1].tensor:fill(run.components.parameters[1].tensor:get(1, 1) * 0 + 1):fill(0)
    assert.has_error(function() values[1]:item() end)
  end)
end)

describe("mistakes", function()
  it("are named in the user's terms", function()
    local x = {0, 0, 0.5, 0, 0}
    for _, case in ipairs{
      {"run:importances: x: expected 5 numbers, rows of 5 numbers, or a tensor %[..., 5%], found 3 numbers",
       "importances", {1, 2, 3}},
      {"found a tensor %[2, 3%]$", "importances", core.zeros(2, 3)},
      {"found a tensor %[1, 5%] of int32$", "importances", core.tensor({{1, 0, 0, 0, 0}}, "int32")},
      {"found text$", "forward", "a prompt"},
      {"found nil$", "target_output"},
      {"x: expected numbers, found 'a' among them", "forward", {1, 2, 3, 4, "a"}},
      {"x: expected rows of one length, found 5 and 4 numbers", "forward", {x, {1, 2, 3, 4}}},
      {"x: expected a finite number, found nan", "forward", {0 / 0, 0, 0, 0, 0}},
      {"x: has entries that are NaN or infinite", "forward", core.zeros(1, 5) + math.huge},
      {"x: expected numbers, found an empty table", "forward", {}},
      {"unknown option 'maks' %(the nearest one is 'mask'%)", "forward", x, {maks = "ones"}},
      {"run:forward: unknown mask 'one' %(the nearest one is 'ones'%)", "forward", x, {mask = "one"}},
      {"unknown matrix 'linaer2' %(the nearest one is 'linear2'%)", "forward", x, {mask = {linaer2 = 1}}},
      {"mask of linear1: expected a finite number, found nan", "forward", x, {mask = {linear1 = 0 / 0}}},
      {"mask of linear1: expected %[8%] or %[1, 8%], found %[2%]", "forward", x, {mask = {linear1 = {1, 2}}}},
      {"subcomponent of linear1: expected a whole number from 0 to 7, found 8", "forward", x, {ablate = {linear1 = 8}}},
      {"expected a whole number from 0 to 7, found 1.5", "forward", x, {keep = {linear1 = {1.5}}}},
      {"ablate: expected a table such as {%['linear1'%] = {0, 1}}, found 3", "forward", x, {ablate = 3}},
      {"expected options such as {mask = ...}, found 'ones'", "forward", x, "ones"},
      {"seed: expected a whole number of 0 or more, found 'x'", "forward", x, {seed = "x"}},
      {"run:one_hot: feature: expected a whole number from 0 to 4, found 5", "one_hot", 5},
      {"run:example: example: expected a whole number from 0 to 191, found 192", "example", 192},
      {"run:component: unknown matrix 'linear' %(the nearest one is 'linear1'%)", "component", "linear", 0},
      {"subcomponent of linear2: expected a whole number from 0 to 7, found nil", "component", "linear2"},
      {"run:metrics: unknown metric 'loss/totl' %(the nearest one is 'loss/total'%)", "metrics", "loss/totl"},
      {"run:plot: unknown figure 'subcomponent' %(the nearest one is 'subcomponents'%)", "plot", "subcomponent"},
      {"run:ablation: most: expected a whole number of 1 or more, found 0", "ablation", x, {most = 0}},
      {"run:components_on: threshold: expected a finite number, found 'x'", "components_on", x, {threshold = "x"}},
    } do
      refuses(case[1], run[case[2]], run, table.unpack(case, 3))
    end
  end)

  it("are a dot in the place of the colon, too", function()
    for name in pairs(getmetatable(run).__index) do
      if not name:find "^__" then
        for _, first in ipairs{"linear1", 3, {0, 0, 1, 0, 0}, core.zeros(1, 5), false} do
          refuses(("^run.%s: a method is called with a colon %%(run:%s%%(...%%)%%)$"):format(name, name), run[name],
            first or nil)
        end
      end
    end
  end)

  it("of any kind are errors of status 2, and change nothing", function()
    local before = known.elements{run:forward(run:one_hot(0))}
    local closed = core.zeros(1, 5)
    closed:close()
    local cyclic = {}
    cyclic[1] = cyclic
    local values = {
      false, true, -1, 3, 1e300, math.huge, 0 / 0, math.mininteger, "", "\0", ("x"):rep(100000), {}, {{}}, cyclic,
      {{{1}}}, {0, 0, 0, 0, 1 / 0}, print, io.stdout, coroutine.create(print), core.zeros(0, 5), core.zeros(5, 0),
      core.tensor(3), core.zeros(2, 2, 2, 2), setmetatable({}, {__index = function() return 1 end}), {linear1 = {}},
      {linear1 = {1, cyclic}}, {linear1 = print}, {mask = {}}, {[1.5] = 1}, {[cyclic] = 1},
    }
    for name in pairs(getmetatable(run).__index) do
      if not name:find "^__" and name ~= "steps" then
        for i = 1, #values do
          for _, arguments in ipairs{{values[i]}, {values[i], values[i]}, {run:one_hot(0), values[i]},
              {"linear1", values[i]}, {run:one_hot(0), {mask = values[i], ablate = values[i]}},
              {run:one_hot(0), {threshold = values[i], keep = values[i]}}, {"metric", values[i], values[i]}} do
            local ok, err = pcall(run[name], run, table.unpack(arguments))
            assert.is_true(ok or errors.is(err) and err.status == 2, name .. " " .. i .. ": " .. tostring(err))
          end
        end
        local ok, err = pcall(run[name], run, closed)
        assert.is_true(ok or errors.is(err) or tostring(err):find("closed", 1, true) ~= nil, tostring(err))
      end
    end
    assert.same(before, known.elements{run:forward(run:one_hot(0))})
  end)
end)

describe("what is printed", function()
  it("fits into 80 columns", function()
    for _, text in ipairs{
      run, run:components_on(core.zeros(50, 5) + 0.5), run:component("linear1", 7), run:ablation(run:one_hot(0)),
      run:metrics(), run:metrics "loss/total", run:importances(run:one_hot(0)),
    } do
      no_line_is_wider_than_a_terminal(tostring(text))
      assert.equal(tostring(text), pretty.show(text))
    end
    assert.matches("linear1 +linear +%[5, 5%] +8 +5 +0.2500 +0\n", tostring(run))
    assert.matches("row 39 .*\n  ... 10 more rows", tostring(run:components_on(core.zeros(50, 5) + 0.5)))
  end)

  it("stays as legible with subcomponents that are not finite", function()
    known.write_tms(base .. "/broken", true)
    local broken = spd.open(base .. "/broken")
    for _, parameter in ipairs(broken.components.parameters) do parameter.tensor:fill(0 / 0) end
    for _, text in ipairs{broken, broken:component("linear1", 3), broken:ablation(broken:one_hot(0)),
      broken:components_on(broken:one_hot(0))} do
      no_line_is_wider_than_a_terminal(tostring(text))
    end
  end)
end)

describe("run:plot", function()
  local PNG = "^\137PNG"

  it("draws into files of its own, or to a path", function()
    local before = experiment.contents(base)
    local path = run:plot("component", "linear1", 7)
    assert.matches(PNG, experiment.read(path))
    os.remove(path)
    assert.same(before, experiment.contents(base))
    assert.equal(base .. "/a.png", run:plot("metric", "loss/total", base .. "/a.png"))
    assert.equal(base .. "/a.png", run:plot("causal_importances", base .. "/a.png"))
    local importances = experiment.read(base .. "/a.png")
    assert.matches(PNG, importances)
    run:plot("subcomponents", base .. "/a.png")
    assert.are_not.equal(importances, experiment.read(base .. "/a.png"))
  end)

  it("never replaces what is no picture", function()
    local summary = base .. "/known/summary.json"
    local before = experiment.read(summary)
    refuses("summary.json: exists, and is no PNG file", run.plot, run, "subcomponents", summary)
    assert.equal(before, experiment.read(summary))
    refuses("is a folder", run.plot, run, "subcomponents", base)
    refuses("no/such.png: No such file or directory", run.plot, run, "metric", "loss/total", base .. "/no/such.png")
  end)

  it("lists the figures that are drawn, of every kind of run", function()
    write_residual(base .. "/residual")
    local model_folder = base .. "/model"
    tiny.make_model(model_folder, "llama")
    tiny.make_text(base .. "/text")
    known.write_initial(base .. "/language", tiny.config(model_folder, base .. "/text"))
    for _, name in ipairs{"known", "residual", "language"} do
      local opened, drawn = spd.open(base .. "/" .. name), {metric = true, component = true}
      opened.subject.rows = opened.rows
      require("spd.analysis").draw(opened.subject, function(figure) drawn[figure] = true end)
      for _, figure in ipairs(opened:plot()) do
        assert.is_true(drawn[figure], name .. ": " .. figure)
        drawn[figure] = nil
      end
      assert.same({}, drawn)
    end
  end)
end)

describe("other kinds of runs", function()
  it("residual MLPs", function()
    if not core.posix.is_directory(base .. "/residual") then write_residual(base .. "/residual") end
    local residual = spd.open(base .. "/residual")
    assert.matches("residual MLP, 4 features, 1 layer of 3 neurons", tostring(residual))
    assert.same({1, 4}, residual:forward(residual:one_hot(2)).shape)
    local one = residual:component("layers.0.mlp_in", 3)
    assert.same({6}, one.V.shape)
    local means = evaluate.mean_importances(residual.components, residual.subject.evaluation_data, residual.config)
    assert.near(means["layers.0.mlp_in"][4], one.mean, 1e-6)
    close_to(known.elements{residual:target_output(residual:example(3))},
      residual.target:run(residual:example(3)))
  end)

  it("models of the user's own, where they are given", function()
    local W1, folder = core.eye(3) * 2, base .. "/own"
    local mlp = model.new{
      layers = {model.linear("fc1", W1)}, forward = function(_, x, layer) return spd.relu(layer("fc1", x)) end,
    }
    local function dataset(_, purpose)
      return {batch = function(_, step)
        return spd.uniform({4, 3}, {seed = 1, purpose = purpose, step = step})
      end}
    end
    local config = config_module.resolve({
      target_module_patterns = {"fc*"}, C = 4, n_mask_samples = 1, n_ci_mlp_neurons = 2, output_loss_type = "mse",
      importance_minimality_coeff = 1e-3, pnorm = 1, stochastic_recon_coeff = 1, lr = 1e-3, steps = 5, batch_size = 4,
      n_eval_steps = 2, print_freq = 1,
    }, "own", "own_model")
    known.write(folder, config, component_model.new{
      target = mlp, patterns = {"fc*"}, C = 4, n_ci_mlp_neurons = 2, seed = 3,
    })
    refuses("a model of your own, which is not in the folder %(spd.open%(DIR, {model = ..., dataset = ...}%)", spd.open,
      folder)
    refuses("model: expected one made by spd.model.new, found 3", spd.open, folder, {model = 3})
    local own = spd.open(folder, {model = mlp, dataset = dataset})
    assert.matches("a model of your own", tostring(own))
    close_to({2, 0, 4}, own:target_output{1, 0, 2})
    assert.equal(8, own:component("fc1", 0).count)
    assert.matches("expected input %[..., 3%], found %[1, 2%]", message_of(own.forward, own, {1, 2}))
    refuses("there are no features in a run of kind own_model", own.one_hot, own, 0)
    local without = spd.open(folder, {model = mlp})
    assert.is_nil(without:component("fc1", 0).count)
    refuses("opened without a dataset", without.example, without)
    assert.same({"metric", "component"}, without:plot())
  end)

  it("language models, with texts and token ids", function()
    if not core.posix.is_directory(base .. "/language") then
      tiny.make_model(base .. "/model", "llama")
      tiny.make_text(base .. "/text")
      known.write_initial(base .. "/language", tiny.config(base .. "/model", base .. "/text"))
    end
    local opened = spd.open(base .. "/language")
    local text = "One day Lily went to the market."
    local ids = opened.subject.tokenizer:encode(text, false)
    assert.same({1, #ids, tiny.vocabulary}, opened:forward(text).shape)
    assert.same(known.elements{opened:forward(text)}, known.elements{opened:forward(ids)})
    assert.equal(#ids, #opened:components_on(text, {threshold = -1})["model.embed_tokens"])
    no_line_is_wider_than_a_terminal(tostring(opened:components_on(text, {threshold = -1})))
    no_line_is_wider_than_a_terminal(tostring(opened:component("model.embed_tokens", 3)))
    assert.equal(128, opened:component("model.embed_tokens", 3).count)
    local x = opened:example(2)
    assert.near(losses.output_distance("kl", opened:target_output(x), opened:forward(x)):item(),
      getmetatable(opened:ablation(x)).distance, 1e-5)
    for _, case in ipairs{
      {"token id: expected a whole number from 0 to %d+, found 100000", {100000}},
      {"token id: expected a whole number from 0 to %d+, found 1.5", {1.5}},
      {"33 tokens are more than the model's maximum, 32", core.zeros({33}, "int32")},
      {"tokens are more than the model's maximum", text:rep(20)},
      {"is empty", " "},
      {"expected a text, token ids, or an int32 tensor %[rows, tokens%], found a tensor %[1, 3%]", core.zeros(1, 3)},
    } do
      refuses(case[1], opened.forward, opened, case[2])
    end
  end)

  it("what a subcomponent of a language model fires on, in its words", function()
    local subject = language.subject{{{1, 4, 2, 11}, {3, 3, 6, 0}}}
    local text = tostring(component.new(subject, "embed", 0))
    assert.matches("importance 0.312 on average, above 0.1 on 50 %% of 8 tokens", text)
    assert.matches("\n dog +4 +1 +100 %% +1.000\n", text)
    assert.matches("\n  cat %[dog%] end$", text)
    assert.is_nil(text:find("[%z\1-\9\11-\31]"))
  end)
end)
