--- Configs: read from YAML or from Lua tables, checked against spd.schema, changed by overrides, written.
local core = require "spd.core"
local errors = require "spd.errors"
local fields = require "spd.fields"
local schema = require "spd.schema"
local yaml = require "spd.yaml"

local config = {}

-- ---- what single keys cannot tell -----------------------------------------------------------

-- A checker is called with a config and with fail(key, message [, hint]) and warn(key, message).
local check = {}

local function check_losses(c, fail, warn)
  local count = 0
  for _, key in ipairs(schema.losses) do
    if c[key] then count = count + 1 end
    if c[key] == 0 then warn(key, "is 0: the loss is computed without effect (null switches it off)") end
  end
  if count == 0 then
    fail(nil, "expected at least one loss with a coefficient", table.concat(schema.losses, ", "))
  end
end

local function check_schedule(c, fail, warn)
  if c.lr_schedule == "exponential" and not c.lr_exponential_halflife then
    fail("lr_schedule", "expected lr_exponential_halflife beside an exponential schedule, found none")
  elseif c.lr_schedule ~= "exponential" and c.lr_exponential_halflife then
    warn("lr_exponential_halflife", ("has no effect on a %s schedule"):format(c.lr_schedule))
  end
end

function check.own_model(c, fail, warn)
  check_losses(c, fail, warn)
  check_schedule(c, fail, warn)
end

local function check_model_class(c, fail)
  local task = schema.model_classes[c.pretrained_model_class]
  if not task then
    local names = {}
    for name in pairs(schema.model_classes) do names[#names + 1] = name end
    table.sort(names)
    local found = c.pretrained_model_class:gsub("%c", "?")
    fail("pretrained_model_class", ("no model of class '%s'"):format(found),
      ("the nearest one is '%s'"):format(fields.nearest(c.pretrained_model_class, names)))
  end
  if task ~= c.task_config.task_name then
    fail("task_config.task_name", ("expected %s for the model class %s, found %s"):format(task,
      c.pretrained_model_class, c.task_config.task_name))
  end
end

local function check_model_path(c, fail)
  local path, name = c.pretrained_model_path, c.pretrained_model_name_hf
  if path and path:find("^wandb:") then
    fail("pretrained_model_path", "models cannot be fetched from Weights & Biases",
      "name a local .safetensors file; with target_config beside it, it is trained if it does not exist")
  elseif c.task_config.task_name == "lm" then
    if path then fail("pretrained_model_path", "a language model is a folder", "pretrained_model_name_hf names it") end
    if not name then fail(nil, "missing key: pretrained_model_name_hf") end
    local attribute = c.pretrained_model_output_attr or "logits"
    if attribute ~= "logits" then
      fail("pretrained_model_output_attr", ("expected logits, found '%s'"):format(attribute))
    end
  elseif not path and c.target_config then
    fail("target_config", "expected pretrained_model_path beside it, for the trained target to be kept")
  elseif not path then
    fail(nil, "missing key: pretrained_model_path")
  end
end

local function check_effects(c, warn)
  if c.log_ce_losses and c.task_config.task_name ~= "lm" then
    warn("log_ce_losses", "has no effect: only a language model has cross-entropies")
  end
  if c.is_embed_unembed_recon and not c.embedding_recon_coeff then
    warn("is_embed_unembed_recon", "has no effect without embedding_recon_coeff")
  end
end

function check.decomposition(c, fail, warn)
  check.own_model(c, fail, warn)
  check_effects(c, warn)
  check_model_class(c, fail)
  check_model_path(c, fail)
end

local EXACTLY = {exactly_one_active = 1, exactly_two_active = 2, exactly_three_active = 3,
                 exactly_four_active = 4, exactly_five_active = 5}

local function check_synced_inputs(c, n_features, fail)
  local seen = {}
  for _, group in ipairs(c.synced_inputs or {}) do
    for _, feature in ipairs(group) do
      if feature >= n_features then
        fail("synced_inputs", ("expected features from 0 to %d, found %d"):format(n_features - 1, feature))
      elseif seen[feature] then
        fail("synced_inputs", ("expected each feature at most once, found %d again"):format(feature))
      end
      seen[feature] = true
    end
  end
end

local function check_toy_target(c, n_features, fail, warn)
  local active = EXACTLY[c.data_generation_type]
  if active and active > n_features then
    fail("data_generation_type", ("expected at most %d active features, as the model has, found %d"):format(
      n_features, active))
  end
  check_synced_inputs(c, n_features, fail)
  if c.wandb_project then warn("wandb_project", "has no effect: only decompositions are tracked") end
end

function check.tms_target(c, fail, warn)
  if c.fixed_identity_hidden_layers and c.fixed_random_hidden_layers then
    fail("fixed_random_hidden_layers", "expected false beside fixed_identity_hidden_layers, found true")
  end
  check_toy_target(c, c.tms_model_config.n_features, fail, warn)
end

function check.residual_mlp_target(c, fail, warn)
  local model = c.resid_mlp_config
  if c.fixed_identity_embedding and c.fixed_random_embedding then
    fail("fixed_random_embedding", "expected false beside fixed_identity_embedding, found true")
  elseif c.fixed_identity_embedding and model.n_features ~= model.d_embed then
    fail("fixed_identity_embedding", ("expected n_features equal to d_embed, found %d and %d"):format(
      model.n_features, model.d_embed))
  elseif c.loss_type == "resid" and c.importance_val and c.importance_val ~= 1 then
    fail("importance_val", ("expected 1 beside loss_type resid, where features have no weights, found %g"):format(
      c.importance_val))
  end
  check_schedule(c, fail, warn)
  check_toy_target(c, model.n_features, fail, warn)
end

local function check_heads(c, fail)
  local function divides(key, divisor_key, divisor, number)
    if number % divisor ~= 0 then
      fail(divisor_key, ("expected a divisor of %s %d, found %d"):format(key, number, divisor))
    end
  end
  divides("hidden_size", "lm_model_config.n_heads", c.n_heads, c.hidden_size)
  local groups = c.n_key_value_heads or c.n_heads
  divides("n_heads", "lm_model_config.n_key_value_heads", groups, c.n_heads)
  if c.architecture == "gpt2" and groups ~= c.n_heads then
    fail("lm_model_config.n_key_value_heads", ("expected n_heads, as gpt2 has them, found %d"):format(groups))
  elseif c.architecture == "llama" and (c.hidden_size // c.n_heads) % 2 ~= 0 then
    fail("lm_model_config.n_heads", ("expected heads of an even size, found %d"):format(c.hidden_size // c.n_heads))
  end
end

local SHORTEST_STORY = 60 -- tokens, at least

local function check_stories(c, fail)
  local least = (c.lm_model_config.max_seq_len + SHORTEST_STORY - 1) // SHORTEST_STORY
  for _, key in ipairs{"n_train", "n_test"} do
    local found = c.stories_config[key]
    if found < least then
      fail("stories_config." .. key, ("expected %d or more, enough for one sample of %d tokens, found %d"):format(least,
        c.lm_model_config.max_seq_len, found))
    end
  end
end

function check.lm_target(c, fail, warn)
  check_heads(c.lm_model_config, fail)
  check_stories(c, fail)
  check_schedule(c, fail, warn)
end

-- ---- reading --------------------------------------------------------------------------------

-- What a config is that has a key which only those of another kind have.
local function other_kind(kind, key)
  for task, model_key in pairs(schema.target_keys) do
    if key == model_key and kind ~= task .. "_target" and kind ~= "own_model" then
      return ("the config of a %s target, for experiments/%s"):format(task, schema.training_scripts[task])
    end
  end
  if key == "pretrained_model_class" and kind:match("_target$") then
    return "the config of a decomposition, not that of a target"
  end
  return nil
end

local function refuse_other_kind(tree, source, kind)
  for _, entry in ipairs(tree.kind == "mapping" and tree or {}) do
    local other = other_kind(kind, entry.key)
    if other then errors.raise(2, source, "is " .. other, "it has the key " .. entry.key) end
  end
end

local function resolve_tree(tree, source, kind)
  refuse_other_kind(tree, source, kind)
  local resolved, places = fields.read(tree, schema[kind], source)
  local warnings = {}
  local function place(key) return key and places[key] or source end
  local function subject(key, message) return key and key .. ": " .. message or message end
  local function fail(key, message, hint) errors.raise(2, place(key), subject(key, message), hint) end
  local function warn(key, message) table.insert(warnings, place(key) .. ": " .. subject(key, message)) end
  check[kind](resolved, fail, warn)
  return resolved, warnings
end

-- The entry of a mapping for a key, made if there is none.
local function entry_for(node, key, where)
  for _, entry in ipairs(node) do
    if entry.key == key then return entry end
  end
  local entry = {key = key, where = where, value = {kind = "mapping", where = where}}
  node[#node + 1] = entry
  return entry
end

-- Let errors name the override instead of a line of its text.
local function mark(node, where)
  node.where = where
  for _, child in ipairs(node) do
    child.where = where
    mark(child.value and type(child.value) == "table" and child.value or child, where)
  end
end

-- Put the value of one "a.b=value" into the tree.
local function override(tree, text)
  local path, value = text:match("^%-?%-?([^=]-)%s*=(.*)$")
  local where = ("override '%s'"):format((text:gsub("%c", "?")))
  if not path or path == "" or path:find("^%.") or path:find("%.$") or path:find("%.%.") then
    errors.raise(2, where, "expected key=value")
  end
  local new = core.yaml_parse(value, where) or {kind = "scalar", value = "", plain = true}
  local node, entry = tree, nil
  for key in path:gmatch("[^.]+") do
    if node.kind ~= "mapping" then
      if node.kind == "sequence" or yaml.scalar(node) ~= nil then
        errors.raise(2, where, ("%s is not a group of keys"):format(entry.key))
      end
      node = {kind = "mapping", where = where} -- null becomes a group
      entry.value = node
    end
    entry = entry_for(node, key, where)
    node = entry.value
  end
  mark(new, where)
  entry.value, entry.where = new, where
end

local function apply_overrides(tree, source, overrides)
  if not overrides or #overrides == 0 then return end
  if tree.kind ~= "mapping" then fields.read(tree, {}, source) end
  for _, text in ipairs(overrides) do override(tree, text) end
end

local function load(path, kind, overrides)
  local tree = yaml.read(path)
  if tree == nil then fields.read(nil, {}, path) end
  apply_overrides(tree, path, overrides)
  return resolve_tree(tree, path, kind)
end

--- config.load(path [, overrides]) -> config, warnings
-- Read the config of a decomposition: a plain nested table with all defaults filled in (null is nil), and
-- a list of warnings, a line each. overrides: a list of "key=value" or "group.key=value"; values are
-- YAML. What is wrong is an error with file and line, or with the override.
function config.load(path, overrides) return load(path, "decomposition", overrides) end

--- config.load_target(path, kind [, overrides]) -> config, warnings
-- Read the config of a target's training. kind: "tms", "residual_mlp" or "lm".
function config.load_target(path, kind, overrides)
  if not schema[kind .. "_target"] then
    errors.raise(2, path, ("no target can be trained for the task '%s'"):format(kind), "for tms, residual_mlp and lm")
  end
  return load(path, kind .. "_target", overrides)
end

--- config.load_own_model(path) -> config, warnings
-- Read the config of a script that brings its own model and data: as config.load, without the keys about target and
-- task.
function config.load_own_model(path) return load(path, "own_model") end

--- config.is_own_model(path) -> true if it is the config of a script that brings its own model
function config.is_own_model(path)
  local tree = yaml.read(path)
  for _, entry in ipairs(tree and tree.kind == "mapping" and tree or {}) do
    if entry.key == "pretrained_model_class" then return false end
  end
  return true
end

--- config.resolve(values [, source [, kind [, overrides]]]) -> config, warnings
-- The same from a Lua table, which stays as it is. source: what errors call it (default "config"). kind:
-- "decomposition" (default); "own_model": without the keys about target and task; "tms_target", "residual_mlp_target"
-- or "lm_target": of a target's training.
function config.resolve(values, source, kind, overrides)
  source, kind = source or "config", kind or "decomposition"
  if type(values) ~= "table" then errors.raise(2, source, "expected a table, found " .. type(values)) end
  local tree = yaml.tree(values, source)
  apply_overrides(tree, source, overrides)
  return resolve_tree(tree, source, kind)
end

-- ---- writing --------------------------------------------------------------------------------

local function format_fields(lines, values, list, indent)
  for _, field in ipairs(list) do
    local value = values[field.key]
    if field.type == "group" then
      lines[#lines + 1] = indent .. field.key .. ":"
      format_fields(lines, value, field.fields or field.variants[value[field.tag]], indent .. "  ")
    else
      lines[#lines + 1] = indent .. field.key .. ": " .. yaml.format(value)
    end
  end
end

local function kind_of(resolved)
  for task, key in pairs(schema.target_keys) do
    if resolved[key] then return task .. "_target" end
  end
  return resolved.task_config and "decomposition" or "own_model"
end

--- config.format(resolved) -> text
-- A config of any kind as YAML, all keys in the order of the schema; loading it gives an equal config.
function config.format(resolved)
  local lines = {}
  format_fields(lines, resolved, schema[kind_of(resolved)], "")
  return table.concat(lines, "\n") .. "\n"
end

--- config.write(path, resolved)
-- Write config.format(resolved) to a file, atomically.
function config.write(path, resolved)
  local written, reason = core.posix.write_file(path, config.format(resolved))
  if not written then errors.raise(1, path, "cannot write: " .. reason) end
end

return config
