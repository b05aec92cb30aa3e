--- Data of the toy models: sparse features, made anew for every step.
--
-- A batch is a pure function of seed, purpose and step: resuming, evaluating or drawing a figure in between
-- changes nothing, and there is no state to save.
local core = require "spd.core"
local errors = require "spd.errors"

local data = {}

local SparseFeatures = {}
SparseFeatures.__index = SparseFeatures

local EXACTLY = {
  exactly_one_active = 1, exactly_two_active = 2, exactly_three_active = 3, exactly_four_active = 4,
  exactly_five_active = 5, at_least_zero_active = 0,
}

--- data.generation_types: the names that data_generation_type can have.
data.generation_types = {
  "at_least_zero_active", "exactly_one_active", "exactly_two_active", "exactly_three_active",
  "exactly_four_active", "exactly_five_active",
}

-- How many features are active in each row; 0: as many as probability lets.
local function exactly_active(kind, n_features)
  local active = EXACTLY[kind]
  if not active then
    errors.raise(2, "data_generation_type", ("'%s' is unknown"):format(tostring(kind)),
      "expected one of " .. table.concat(data.generation_types, ", "))
  elseif active > n_features then
    errors.raise(2, "data_generation_type", ("'%s' with n_features = %d"):format(kind, n_features),
      ("needs %d features or more"):format(active))
  end
  return active
end

local function check_feature(feature, n_features, seen)
  if math.type(feature) ~= "integer" or feature < 0 or feature >= n_features then
    errors.raise(2, "synced_inputs", ("%s is not a feature"):format(tostring(feature)),
      ("features are counted from 0 to %d"):format(n_features - 1))
  elseif seen[feature] then
    errors.raise(2, "synced_inputs", ("feature %d occurs twice"):format(feature), "groups must not overlap")
  end
  seen[feature] = true
end

-- The smallest feature of each feature's group, counted from 0, as core wants it.
local function groups(synced_inputs, n_features)
  local smallest, seen = {}, {}
  for i = 1, n_features do smallest[i] = i - 1 end
  for _, group in ipairs(synced_inputs) do
    local least = n_features
    for _, feature in ipairs(group) do
      check_feature(feature, n_features, seen)
      least = math.min(least, feature)
    end
    for _, feature in ipairs(group) do smallest[feature + 1] = least end
  end
  return core.tensor(smallest, "int32")
end

--- data.sparse_features(settings) -> dataset
-- Batches in which few features differ from 0. settings:
--
--     n_features, batch_size     shape of a batch
--     data_generation_type       "at_least_zero_active" (default): each feature is active with
--                                feature_probability; "exactly_one_active" to "exactly_five_active": so many
--                                in every row
--     feature_probability
--     synced_inputs              groups of features, counted from 0, such as {{0, 1}, {2, 3}}: when one of a
--                                group is active all are, each with a value of its own; without effect
--                                unless at_least_zero_active, as in the public SPD code
--     value_range                {low, high} of active features, {0, 1} by default
--     seed, purpose              name of the random numbers; purpose "data" by default
--
-- The public SPD code swaps low and high when it draws the values of synchronized features; these lie in
-- [low, high) here as all others do.
function data.sparse_features(settings)
  local n_features = settings.n_features
  local range = settings.value_range or {0, 1}
  local active = exactly_active(settings.data_generation_type or "at_least_zero_active", n_features)
  local synced = active == 0 and settings.synced_inputs or {}
  return setmetatable({
    n_features = n_features,
    batch_size = settings.batch_size,
    seed = settings.seed,
    purpose = settings.purpose or "data",
    features = {
      probability = settings.feature_probability,
      exactly_active = active,
      low = range[1],
      high = range[2],
      group = #synced > 0 and groups(synced, n_features) or nil,
    },
  }, SparseFeatures)
end

--- data.of_task({target_config =, task =, batch_size =, seed =, purpose =}, n_features, value_range) -> dataset
-- Sparse features as a task_config, or a target's own config, describes them: task has feature_probability and
-- data_generation_type, target_config synced_inputs.
function data.of_task(settings, n_features, value_range)
  return data.sparse_features{
    n_features = n_features, value_range = value_range, batch_size = settings.batch_size,
    seed = settings.seed, purpose = settings.purpose,
    feature_probability = settings.task.feature_probability,
    data_generation_type = settings.task.data_generation_type,
    synced_inputs = settings.target_config.synced_inputs,
  }
end

--- dataset:batch(step [, tensor]) -> tensor [batch_size, n_features]
-- The batch of a step, counted from 0: always the same one. A tensor that is given is overwritten and
-- returned, and its rows are then the batch's, however many they are.
function SparseFeatures:batch(step, tensor)
  tensor = tensor or core.zeros(self.batch_size, self.n_features)
  local draw = {seed = self.seed, purpose = self.purpose, step = step}
  return core.fill_sparse_features(tensor, self.features, draw)
end

--- data.next_tokens(ids) -> int32 tensor [B, T]
-- To each token of ids [B, T] the one that follows in its row; -1, which counts nowhere, to the last.
function data.next_tokens(ids)
  local rows = ids:totable()
  for _, row in ipairs(rows) do
    table.remove(row, 1)
    row[#row + 1] = -1
  end
  return core.tensor(rows, "int32")
end

return data
