local config = require "spd.config"
local schema = require "spd.schema"

local TIED_UPDATE = "summed" -- the default
local SHIPPED = {"tms", "tms_5-2", "tms_40-10", "tms_40-10-id"}
local SHIPPED_RESIDUAL_MLPS = {"resid_mlp1", "resid_mlp2", "resid_mlp3"}

-- A config with every key that must be given, as lines of YAML by key.
local function minimal()
  return {
    C = "20", n_mask_samples = "1", target_module_patterns = "[linear1, linear2]",
    importance_minimality_coeff = "3e-3", pnorm = "1", output_loss_type = "mse",
    lr = "1e-3", steps = "40_000", batch_size = "4096", n_eval_steps = "100", print_freq = "1000",
    pretrained_model_class = "spd.experiments.tms.models.TMSModel",
    pretrained_model_path = "out/t.safetensors",
    task_config = "{task_name: tms, feature_probability: 0.05}",
  }
end

local function text_of(lines)
  local keys = {}
  for key in pairs(lines) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do keys[i] = key .. ": " .. lines[key] end
  return table.concat(keys, "\n") .. "\n"
end

describe("spd.config", function()
  local path

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function write(text)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
  end

  local function load_text(text, overrides)
    write(text)
    return config.load(path, overrides)
  end

  local function load_with(changes, overrides)
    local lines = minimal()
    for key, value in pairs(changes) do lines[key] = value or nil end
    return load_text(text_of(lines), overrides)
  end

  local function error_of(f, ...)
    local ok, problem = pcall(f, ...)
    assert.is_false(ok)
    assert.equal(2, problem.status)
    assert.is_nil(tostring(problem):find("%c"))
    return tostring(problem)
  end

  local function expect_error(expected, f, ...)
    local text = error_of(f, ...)
    assert.truthy(text:find(expected, 1, true), text)
  end

  describe("load", function()
    it("fills in defaults and leaves out what is null", function()
      local c, warnings = load_with {}
      assert.equal(0, c.seed)
      assert.equal(1.0, c.faithfulness_coeff)
      assert.is_nil(c.stochastic_recon_coeff)
      assert.equal("constant", c.lr_schedule)
      assert.equal("at_least_zero_active", c.task_config.data_generation_type)
      assert.equal(60.0, c.checkpoint_seconds)
      assert.equal(TIED_UPDATE, c.tied_update)
      assert.same({}, warnings)
      assert.is_nil(load_with({faithfulness_coeff = "null"}).faithfulness_coeff)
    end)

    it("a value has the type of its key, however it was written", function()
      local c = load_with {pnorm = "2", steps = "40_000", lr = "'3e-3'", C = '"1_0"', batch_size = "4096.0"}
      assert.equal("float", math.type(c.pnorm))
      assert.equal(40000, c.steps)
      assert.equal("integer", math.type(c.batch_size))
      assert.equal(0.003, c.lr)
      assert.equal(10, c.C)
    end)

    for _, name in ipairs(SHIPPED) do
      it("takes configs/" .. name .. ".yaml and its target", function()
        local c, warnings = config.load("configs/" .. name .. ".yaml")
        assert.same({}, warnings)
        assert.equal("tms", c.task_config.task_name)
        local target = config.load_target(c.target_config, "tms")
        assert.equal(target.fixed_identity_hidden_layers, #c.target_module_patterns == 3)
        local case = c.target_config:match("([^/]+)%.yaml$")
        assert.equal("out/targets/" .. case .. "/target.safetensors", c.pretrained_model_path)
        local model = target.tms_model_config
        assert.equal(case, ("tms_%d-%d%s"):format(model.n_features, model.n_hidden,
          model.n_hidden_layers == 1 and "-id" or ""))
      end)
    end

    it("takes the tasks residual_mlp and lm", function()
      local c = load_with {task_config = "{task_name: residual_mlp, feature_probability: 0.01}",
        pretrained_model_class = "spd.experiments.resid_mlp.models.ResidualMLP"}
      assert.equal("residual_mlp", c.task_config.task_name)
      c = load_with {task_config = "{task_name: lm}",
        pretrained_model_class = "transformers.LlamaForCausalLM",
        pretrained_model_path = false, pretrained_model_name_hf = "a/b"}
      assert.equal(512, c.task_config.max_seq_len)
    end)

    it("warns in one line each about what has no effect", function()
      local _, warnings = load_with {wandb_project = "p", recon_coeff = "0", lr_exponential_halflife = "3"}
      assert.equal(2, #warnings)
      for _, warning in ipairs(warnings) do
        assert.truthy(warning:find("^" .. path:gsub("%p", "%%%0") .. ":%d+: [%w_]+: "), warning)
      end
    end)
  end)

  describe("an error names file, line, key, what was expected and what was found:", function()
    for value, expected in pairs {
      ["steps: -1"] = "steps: expected an integer of 1 or more, found -1",
      ["steps: 0"] = "steps: expected an integer of 1 or more, found 0",
      ["steps: 1.5"] = "steps: expected an integer of 1 or more, found 1.5",
      ["steps: many"] = "steps: expected an integer of 1 or more, found 'many'",
      ["steps: [1]"] = "steps: expected an integer of 1 or more, found [1]",
      ["steps: {a: 1}"] = "steps: expected an integer of 1 or more, found a group of keys",
      ["steps:"] = "steps: expected an integer of 1 or more, found null",
      ["steps: true"] = "steps: expected an integer of 1 or more, found true",
      ["C: 99999999999"] = "C: expected an integer of at most 2147483647, found 99999999999",
      ["lr: .nan"] = "lr: expected a number above 0, found .nan",
      ["lr: nan"] = "lr: expected a number above 0, found 'nan'",
      ["lr: .inf"] = "lr: expected a number above 0, found .inf",
      ["lr: 0"] = "lr: expected a number above 0, found 0",
      ["pnorm: 0"] = "pnorm: expected a number above 0, found 0",
      ["recon_coeff: -1"] = "recon_coeff: expected a number of 0 or more, or null, found -1",
      ["lr_warmup_pct: 2"] = "lr_warmup_pct: expected a number in [0, 1], found 2",
      ["lr_schedule: step"] =
        "lr_schedule: expected one of linear, constant, cosine, exponential, found 'step'",
      ["image_on_first_step: maybe"] = "image_on_first_step: expected true or false, found 'maybe'",
      ["target_module_patterns: []"] = "target_module_patterns: expected a list of words, found []",
      ["target_module_patterns: linear1"] =
        "target_module_patterns: expected a list of words, found 'linear1'",
      ["tokenizer_name: 3"] = "tokenizer_name: expected text",
      ["task_config: tms"] = "task_config: expected a group of keys, found 'tms'",
      ["task_config: {task_name: tns}"] =
        "task_config.task_name: expected one of lm, residual_mlp, tms, found 'tns'",
      ["task_config: {feature_probability: 1}"] =
        "task_config.task_name: expected one of lm, residual_mlp, tms, found nothing",
      ["task_config: {task_name: tms, feature_probability: 0}"] =
        "task_config.feature_probability: expected a number in (0, 1], found 0",
      ["task_config: {task_name: tms, feature_probability: 1.5}"] =
        "task_config.feature_probability: expected a number in (0, 1], found 1.5",
      ["task_config: {task_name: lm}"] = "task_config.task_name: expected tms for the model class",
      ["pretrained_model_class: TMSModle"] = "the nearest one is 'spd.experiments.tms.models.TMSModel'",
      ["pretrained_model_path: wandb:a/b"] = "name a local .safetensors file",
      ["lr_schedule: exponential"] = "expected lr_exponential_halflife",
    } do
      it(value, function()
        local key, rest = value:match("^(.-):%s*(.*)$")
        local lines = minimal()
        lines[key] = nil
        write("# first line\n" .. key .. ": " .. rest .. "\n" .. text_of(lines))
        local text = error_of(config.load, path)
        assert.equal(path .. ":2: ", text:sub(1, #path + 4))
        assert.truthy(text:find(expected, 1, true), text)
      end)
    end

    it("an unknown key, with the nearest valid one", function()
      expect_error(path .. ":13: unknown key 'stepz' (the nearest one is 'steps')", load_with, {stepz = "3"})
      write("task_config:\n  task_name: tms\n  feature_probabilty: 1\n")
      expect_error(path .. ":3: unknown key 'task_config.feature_probabilty' "
        .. "(the nearest one is 'task_config.feature_probability')", config.load, path)
    end)

    it("a key of another task", function()
      expect_error("unknown key 'task_config.max_seq_len'", load_with,
        {task_config = "{task_name: tms, feature_probability: 1, max_seq_len: 3}"})
    end)

    it("an unknown key comes before a wrong value, a wrong value before missing keys", function()
      write "steps: -1\nlearning_rate: 3\n"
      expect_error(":2: unknown key 'learning_rate'", config.load, path)
      write "steps: -1\n"
      expect_error(":1: steps: expected", config.load, path)
    end)

    it("all missing keys at once", function()
      expect_error(path .. ": missing keys: C, lr, task_config.feature_probability", load_with,
        {C = false, lr = false, task_config = "{task_name: tms}"})
      expect_error("missing key: pretrained_model_path", load_with, {pretrained_model_path = false})
    end)

    it("no loss at all", function()
      expect_error("expected at least one loss", load_with, {faithfulness_coeff = "null",
        importance_minimality_coeff = "null"})
    end)

    it("no file, a folder, an empty file, a list, text that is not YAML", function()
      os.remove(path)
      assert.equal(path .. ": cannot read: No such file or directory", error_of(config.load, path))
      assert.equal("spec: cannot read: Is a directory", error_of(config.load, "spec"))
      local empty = path .. ": expected keys and values, found an empty file"
      assert.equal(empty, error_of(load_text, "# nothing\n"))
      assert.equal(empty, error_of(load_text, "", {"steps=1"}))
      assert.equal(path .. ":1: expected keys and values, found [1]", error_of(load_text, "[1]"))
      assert.equal(path .. ":1: expected keys and values, found 'text'",
        error_of(load_text, "text", {"steps=1"}))
      expect_error(path .. ":2: expected text in UTF-8", load_text, "a: 1\n\0\1\2")
      expect_error(path .. ":3: did not find", load_text, "a: 1\nb: [\n")
    end)

    it("a file that is too large", function()
      expect_error("at most 1 MiB", load_text, ("#"):rep((1 << 20) + 1))
    end)
  end)

  describe("overrides", function()
    it("replace and add values, also in groups", function()
      local c = load_with({}, {"steps=100", "--lr='3e-4'", "task_config.feature_probability=0.1", "seed = 7",
        "target_module_patterns=[linear1]", "image_freq=null"})
      assert.equal(100, c.steps)
      assert.equal(0.0003, c.lr)
      assert.equal(0.1, c.task_config.feature_probability)
      assert.equal(7, c.seed)
      assert.same({"linear1"}, c.target_module_patterns)
    end)

    it("replace a whole group", function()
      local c = load_with({task_config = "null"},
        {"task_config.task_name=tms", "task_config.feature_probability=1"})
      assert.equal(1.0, c.task_config.feature_probability)
      c = load_with({}, {"task_config={task_name: tms, feature_probability: 0.5}"})
      assert.equal(0.5, c.task_config.feature_probability)
    end)

    for text, expected in pairs {
      ["stepz=3"] = "override 'stepz=3': unknown key 'stepz' (the nearest one is 'steps')",
      ["task_config.p=3"] = "override 'task_config.p=3': unknown key 'task_config.p'",
      ["steps=-1"] = "override 'steps=-1': steps: expected an integer of 1 or more, found -1",
      ["task_config={task_name: tms, feature_probability: 0}"] =
        "override 'task_config={task_name: tms, feature_probability: 0}': task_config.feature_probability: exp",
      ["lr_schedule=exponential"] = "override 'lr_schedule=exponential': lr_schedule: expected",
      ["steps.x=1"] = "override 'steps.x=1': steps is not a group of keys",
      ["steps"] = "override 'steps': expected key=value",
      ["=1"] = "override '=1': expected key=value",
      ["a..b=1"] = "override 'a..b=1': expected key=value",
      ["a=["] = "override 'a=[':",
      ["pnorm=a\nb"] = "override 'pnorm=a?b': pnorm: expected a number above 0",
    } do
      it("an error names the override " .. text, function()
        local found = error_of(load_with, {}, {text})
        assert.equal(expected, found:sub(1, #expected))
      end)
    end
  end)

  describe("load_target", function()
    local function target(changes)
      local lines = {
        tms_model_config = "{n_features: 5, n_hidden: 2, n_hidden_layers: 0, tied_weights: true, "
          .. "init_bias_to_zero: false, device: cuda}",
        feature_probability = "0.05", batch_size = "8", steps = "10", lr = "5e-3",
        data_generation_type = "at_least_zero_active",
      }
      for key, value in pairs(changes) do lines[key] = value or nil end
      write(text_of(lines))
      return config.load_target(path, "tms")
    end

    it("takes the keys of the public code", function()
      local c = target {synced_inputs = "[[0, 1], [2, 4]]"}
      assert.same({{0, 1}, {2, 4}}, c.synced_inputs)
      assert.equal("linear", c.lr_schedule)
      assert.equal(2, c.tms_model_config.n_hidden)
    end)

    it("checks what belongs together", function()
      expect_error("expected false beside fixed_identity_hidden_layers", target,
        {fixed_identity_hidden_layers = "true", fixed_random_hidden_layers = "true"})
      expect_error("expected each feature at most once, found 1 again", target,
        {synced_inputs = "[[0, 1], [1, 2]]"})
      expect_error("expected features from 0 to 4, found 5", target, {synced_inputs = "[[5]]"})
      expect_error("expected a list of lists of integers", target, {synced_inputs = "[1]"})
      expect_error("missing keys: tms_model_config.n_hidden, tms_model_config.n_hidden_layers", target,
        {tms_model_config = "{n_features: 3, tied_weights: true, init_bias_to_zero: true}"})
      expect_error("expected at most 3 active features", target,
        {data_generation_type = "exactly_four_active", tms_model_config =
          "{n_features: 3, n_hidden: 1, n_hidden_layers: 0, tied_weights: true, init_bias_to_zero: true}"})
    end)

    it("only a TMS, a residual MLP or a language model can be trained", function()
      expect_error("x.yaml: no target can be trained for the task 'mlp' (for tms, residual_mlp and lm)",
        config.load_target, "x.yaml", "mlp")
    end)

    it("is not the config of a residual MLP's target", function()
      expect_error("is the config of a residual_mlp target, for experiments/train_resid_mlp.lua "
        .. "(it has the key resid_mlp_config)", config.load_target, "configs/targets/resid_mlp1.yaml", "tms")
    end)
  end)

  describe("load_target of a residual MLP", function()
    local MODEL = "{n_features: %d, d_embed: %d, d_mlp: 3, n_layers: 1, act_fn_name: relu, in_bias: false, "
      .. "out_bias: true}"

    local function load_residual_mlp(changes, n_features, d_embed)
      local lines = {
        resid_mlp_config = MODEL:format(n_features or 5, d_embed or 7), feature_probability = "0.05", batch_size = "8",
        steps = "10", lr = "3e-3", print_freq = "100",
      }
      for key, value in pairs(changes or {}) do lines[key] = value or nil end
      write(text_of(lines))
      return config.load_target(path, "residual_mlp")
    end

    local function refuses(expected, ...)
      expect_error(expected, load_residual_mlp, ...)
    end

    it("fills in defaults and leaves out what is null", function()
      local c, warnings = load_residual_mlp()
      assert.same({
        resid_mlp_config = {
          n_features = 5, d_embed = 7, d_mlp = 3, n_layers = 1, act_fn_name = "relu", in_bias = false, out_bias = true,
        },
        feature_probability = 0.05, data_generation_type = "at_least_zero_active", batch_size = 8, steps = 10, seed = 0,
        lr = 0.003, lr_schedule = "constant", print_freq = 100, label_type = "act_plus_resid", label_fn_seed = 0,
        use_trivial_label_coeffs = false, loss_type = "readoff", fixed_random_embedding = false,
        fixed_identity_embedding = false, n_batches_final_losses = 1,
      }, c)
      assert.same({}, warnings)
    end)

    for _, name in ipairs(SHIPPED_RESIDUAL_MLPS) do
      it("takes configs/" .. name .. ".yaml and its target", function()
        local c, warnings = config.load("configs/" .. name .. ".yaml")
        assert.same({}, warnings)
        assert.equal("residual_mlp", c.task_config.task_name)
        assert.equal("configs/targets/" .. name .. ".yaml", c.target_config)
        assert.equal("out/targets/" .. name .. "/target.safetensors", c.pretrained_model_path)
        local target, problems = config.load_target(c.target_config, "residual_mlp")
        assert.same({}, problems)
        assert.equal(name, "resid_mlp" .. target.resid_mlp_config.n_layers)
        assert.equal(target.feature_probability, c.task_config.feature_probability)
      end)
    end

    it("names all keys that are missing", function()
      refuses("missing keys: resid_mlp_config.d_mlp, resid_mlp_config.out_bias, lr, print_freq", {
        resid_mlp_config = "{n_features: 5, d_embed: 7, n_layers: 1, act_fn_name: relu, in_bias: false}",
        lr = false, print_freq = false,
      })
    end)

    it("has one fixed embedding at most", function()
      assert.is_true(load_residual_mlp({fixed_random_embedding = "true"}).fixed_random_embedding)
      assert.is_true(load_residual_mlp({fixed_identity_embedding = "true"}, 7, 7).fixed_identity_embedding)
      refuses("fixed_random_embedding: expected false beside fixed_identity_embedding, found true",
        {fixed_identity_embedding = "true", fixed_random_embedding = "true"}, 7, 7)
    end)

    it("has as many features as the residual stream is wide where the embedding is the identity", function()
      for _, n_features in ipairs{5, 8} do
        refuses(("fixed_identity_embedding: expected n_features equal to d_embed, found %d and 7"):format(n_features),
          {fixed_identity_embedding = "true"}, n_features, 7)
      end
    end)

    it("weighs features only where outputs are compared", function()
      assert.equal(0.5, load_residual_mlp({importance_val = "0.5"}).importance_val)
      for _, value in ipairs{"1", "null"} do
        assert.equal("resid", load_residual_mlp({importance_val = value, loss_type = "resid"}).loss_type)
      end
      refuses("importance_val: expected 1 beside loss_type resid, where features have no weights, found 0.5",
        {importance_val = "0.5", loss_type = "resid"})
      refuses("importance_val: expected a number above 0, or null, found 0", {importance_val = "0"})
    end)

    it("has a half-life beside an exponential schedule, and no use for one beside others", function()
      local c, warnings = load_residual_mlp{lr_schedule = "exponential", lr_exponential_halflife = "20"}
      assert.equal(20, c.lr_exponential_halflife)
      assert.same({}, warnings)
      refuses("lr_schedule: expected lr_exponential_halflife beside an exponential schedule, found none",
        {lr_schedule = "exponential"})
      warnings = select(2, load_residual_mlp{lr_schedule = "cosine", lr_exponential_halflife = "20"})
      assert.equal(1, #warnings)
      assert.truthy(warnings[1]:find("lr_exponential_halflife: has no effect on a cosine schedule", 1, true))
    end)

    it("synchronizes features that exist, each in one group at most", function()
      assert.same({{0, 1}, {2, 4}}, load_residual_mlp({synced_inputs = "[[0, 1], [2, 4]]"}).synced_inputs)
      refuses("synced_inputs: expected features from 0 to 4, found 5", {synced_inputs = "[[0, 5]]"})
      refuses("synced_inputs: expected each feature at most once, found 1 again", {synced_inputs = "[[0, 1], [1, 2]]"})
      refuses("synced_inputs: expected each feature at most once, found 3 again", {synced_inputs = "[[3, 3]]"})
    end)

    it("has no more active features than features", function()
      local five = {data_generation_type = "exactly_five_active"}
      assert.equal("exactly_five_active", load_residual_mlp(five, 5).data_generation_type)
      refuses("data_generation_type: expected at most 4 active features, as the model has, found 5", five, 4)
    end)

    it("knows only the words that the public code has", function()
      refuses("label_type: expected one of act_plus_resid, abs, found 'square'", {label_type = "square"})
      refuses("loss_type: expected one of readoff, resid, found 'mse'", {loss_type = "mse"})
      refuses("resid_mlp_config.act_fn_name: expected one of relu, gelu, found 'silu'",
        {resid_mlp_config = MODEL:format(5, 7):gsub("relu", "silu")})
    end)

    it("is not the config of a TMS target or of a decomposition", function()
      expect_error("configs/targets/tms_5-2.yaml: is the config of a tms target, for experiments/train_tms.lua "
        .. "(it has the key tms_model_config)", config.load_target, "configs/targets/tms_5-2.yaml", "residual_mlp")
      expect_error("configs/resid_mlp1.yaml: is the config of a decomposition, not that of a target",
        config.load_target, "configs/resid_mlp1.yaml", "residual_mlp")
      expect_error("is the config of a residual_mlp target, for experiments/train_resid_mlp.lua", config.load,
        "configs/targets/resid_mlp1.yaml")
    end)

    it("takes a Lua table too", function()
      local values = config.load_target("configs/targets/resid_mlp2.yaml", "residual_mlp")
      assert.same(values, (config.resolve(values, "mine", "residual_mlp_target")))
      values.loss_type, values.importance_val = "resid", 2
      assert.equal("mine: importance_val: expected 1 beside loss_type resid, where features have no weights, found 2",
        error_of(config.resolve, values, "mine", "residual_mlp_target"))
      assert.equal("config: is the config of a residual_mlp target, for experiments/train_resid_mlp.lua "
        .. "(it has the key resid_mlp_config)", error_of(config.resolve, values, "config", "tms_target"))
    end)
  end)

  describe("resolve", function()
    local values

    before_each(function()
      values = {
        C = 10, n_mask_samples = 1, target_module_patterns = {"a.*"},
        importance_minimality_coeff = 1e-3, pnorm = 2, output_loss_type = "mse",
        lr = 1e-3, steps = 100, batch_size = 8, n_eval_steps = 1, print_freq = 10,
      }
    end)

    it("takes a Lua table for a model of one's own", function()
      local c = config.resolve(values, "mine", "own_model")
      assert.equal(2.0, c.pnorm)
      assert.same({"a.*"}, c.target_module_patterns)
      assert.equal("constant", c.lr_schedule)
      assert.is_nil(values.lr_schedule)
    end)

    it("says what is wrong with it", function()
      values.steps = -1
      assert.equal("mine: steps: expected an integer of 1 or more, found -1",
        error_of(config.resolve, values, "mine", "own_model"))
      values.steps, values.stepz = 1, 1
      assert.equal("config: unknown key 'stepz' (the nearest one is 'steps')",
        error_of(config.resolve, values))
      expect_error("expected words as keys, found 1.5", config.resolve, {a = 1, [1.5] = 2})
      expect_error("expected a table, found nil", config.resolve, nil)
      values.stepz, values.lr = nil, 0 / 0
      expect_error("lr: expected a number above 0, found", config.resolve, values, "mine", "own_model")
      values.lr = print
      expect_error("lr: expected a number above 0, found", config.resolve, values, "mine", "own_model")
    end)

    it("a table that contains itself is an error", function()
      values.task_config = values
      expect_error("nested more than 32 levels deep", config.resolve, values)
    end)
  end)

  describe("write", function()
    it("gives a file that loads to an equal config", function()
      for _, name in ipairs(SHIPPED) do
        local c = config.load("configs/" .. name .. ".yaml", {"lr=0.1e-6", "pnorm=0.3333333333333333",
          "save_freq=7", "wandb_run_name='yes: #1 \"x\"'",
            "target_module_patterns=['a*', '1', 'null', 'é\t\\']"})
        config.write(path, c)
        assert.same(c, (config.load(path)))
        local target = config.load_target(c.target_config, "tms", {"synced_inputs=[[0, 1], []]"})
        config.write(path, target)
        assert.same(target, (config.load_target(path, "tms")))
      end
    end)

    it("gives a file that loads to an equal config of a residual MLP", function()
      for _, name in ipairs(SHIPPED_RESIDUAL_MLPS) do
        for _, overrides in ipairs{
          {}, {"lr_schedule=exponential", "lr_exponential_halflife=1e3", "importance_val=null", "label_type=abs",
            "synced_inputs=[[0, 1], []]", "resid_mlp_config.in_bias=true"},
        } do
          local target = config.load_target("configs/targets/" .. name .. ".yaml", "residual_mlp", overrides)
          write(config.format(target))
          local again, warnings = config.load_target(path, "residual_mlp")
          assert.same(target, again)
          assert.same({}, warnings)
        end
        local c = config.load("configs/" .. name .. ".yaml")
        config.write(path, c)
        assert.same(c, (config.load(path)))
      end
    end)

    it("a failure is an error with the path and the reason", function()
      local ok, problem = pcall(config.write, "none/here.yaml", (load_with {}))
      assert.is_false(ok)
      assert.equal(1, problem.status)
      assert.equal("none/here.yaml: cannot write: No such file or directory", tostring(problem))
    end)

    it("keeps the order of the schema", function()
      local keys = {}
      for key in config.format((load_with {})):gmatch("([%w_]+):[^\n]*") do keys[#keys + 1] = key end
      for i, field in ipairs(schema.decomposition) do assert.equal(field.key, keys[i]) end
    end)
  end)
end)

describe("spd.schema", function()
  local function each_field(list, visit)
    for _, field in ipairs(list) do
      visit(field)
      if field.fields then each_field(field.fields, visit) end
      for _, fields in pairs(field.variants or {}) do each_field(fields, visit) end
    end
  end

  it("describes every key, which is required, optional or has a default", function()
    for _, kind in ipairs {"decomposition", "own_model", "tms_target", "residual_mlp_target", "lm_target"} do
      each_field(schema[kind], function(field)
        assert.is_string(field.description)
        assert.is_true(field.required or field.optional or field.default ~= nil, field.key)
      end)
    end
  end)
end)
