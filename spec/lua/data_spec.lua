local core = require "spd.core"
local data = require "spd.data"
local errors = require "spd.errors"

local function dataset(settings)
  local all = {n_features = 10, batch_size = 4000, feature_probability = 0.05, seed = 3}
  for key, value in pairs(settings or {}) do all[key] = value end
  return data.sparse_features(all)
end

-- How often each feature is active, the mean of active values, the fewest and the most active ones of a row.
local function statistics(rows)
  local counts, sum, active, fewest, most = {}, 0, 0, math.huge, 0
  for _, row in ipairs(rows) do
    local in_row = 0
    for i, value in ipairs(row) do
      counts[i] = counts[i] or 0
      if value ~= 0 then counts[i], sum, in_row = counts[i] + 1, sum + value, in_row + 1 end
    end
    active, fewest, most = active + in_row, math.min(fewest, in_row), math.max(most, in_row)
  end
  for i, count in ipairs(counts) do counts[i] = count / #rows end
  return counts, sum / active, fewest, most
end

-- A frequency of n trials may differ from its probability by five standard deviations.
local function assert_frequency(expected, found, n)
  assert.is_near(expected, found, 5 * math.sqrt(expected * (1 - expected) / n))
end

local function refused(settings)
  local ok, err = pcall(dataset, settings)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  assert.equal(2, err.status)
  return err.message
end

describe("data.sparse_features at_least_zero_active", function()
  it("has each feature active with the probability, its values uniform", function()
    local rows = dataset():batch(0):totable()
    assert.equal(4000, #rows)
    assert.equal(10, #rows[1])
    local counts, mean = statistics(rows)
    for _, frequency in ipairs(counts) do assert_frequency(0.05, frequency, 4000) end
    -- some 2000 values of U[0, 1), standard deviation 0.2887
    assert.is_near(0.5, mean, 5 * 0.2887 / math.sqrt(2000))
  end)

  it("takes probabilities 0 and 1", function()
    local _, _, _, most = statistics(dataset{feature_probability = 0}:batch(0):totable())
    assert.equal(0, most)
    local _, _, fewest = statistics(dataset{feature_probability = 1, value_range = {1, 2}}:batch(0):totable())
    assert.equal(10, fewest)
  end)

  it("keeps to the value range", function()
    local rows = dataset{value_range = {-1, 1}, feature_probability = 0.5}:batch(0):totable()
    local least, most = 0, 0
    for _, row in ipairs(rows) do
      for _, value in ipairs(row) do least, most = math.min(least, value), math.max(most, value) end
    end
    assert.is_true(least >= -1 and least < -0.99)
    assert.is_true(most < 1 and most > 0.99)
    local _, mean = statistics(rows)
    assert.is_near(0, mean, 5 * 0.5774 / math.sqrt(20000))
  end)

  it("gives an active feature the same value at every probability", function()
    local rare = dataset{feature_probability = 0.1}:batch(0):totable()
    local often = dataset{feature_probability = 0.9}:batch(0):totable()
    for i, row in ipairs(rare) do
      for j, value in ipairs(row) do
        if value ~= 0 then assert.equal(often[i][j], value) end
      end
    end
  end)
end)

describe("a batch", function()
  it("is a function of seed, purpose and step alone", function()
    local first = dataset():batch(7):totable()
    local other = dataset()
    other:batch(0)
    other:batch(8)
    assert.same(first, other:batch(7):totable())
    assert.are_not.same(first, other:batch(8):totable())
    assert.are_not.same(first, dataset{seed = 4}:batch(7):totable())
    assert.are_not.same(first, dataset{purpose = "evaluation"}:batch(7):totable())
  end)

  it("overwrites a tensor that is given, and no more than its rows", function()
    local full, few = dataset():batch(2), core.zeros(5, 10)
    few:fill(9)
    assert.equal(few, dataset():batch(2, few))
    assert.same(table.move(full:totable(), 1, 5, 1, {}), few:totable())
  end)

  it("does not depend on the number of threads", function()
    local before = core.threads()
    finally(function() core.threads(before) end)
    for _, settings in ipairs{
      {}, {data_generation_type = "exactly_three_active"}, {synced_inputs = {{0, 9}, {3, 2, 5}}},
    } do
      core.threads(1)
      local one = dataset(settings):batch(0):totable()
      core.threads(3)
      assert.same(one, dataset(settings):batch(0):totable())
    end
  end)
end)

describe("data.sparse_features exactly_N_active", function()
  for n, word in ipairs{"one", "two", "three", "four", "five"} do
    it(word .. ": so many in every row, all features alike", function()
      local kind = "exactly_" .. word .. "_active"
      local rows = dataset{data_generation_type = kind, value_range = {1, 2}}:batch(0):totable()
      local counts, mean, fewest, most = statistics(rows)
      assert.equal(n, fewest)
      assert.equal(n, most)
      assert.is_near(1.5, mean, 5 * 0.2887 / math.sqrt(4000 * n))
      for _, frequency in ipairs(counts) do assert_frequency(n / 10, frequency, 4000) end
    end)
  end

  it("has all features active when there are just as many", function()
    local settings = {data_generation_type = "exactly_five_active", n_features = 5, value_range = {1, 2}}
    local _, _, fewest = statistics(dataset(settings):batch(0):totable())
    assert.equal(5, fewest)
  end)
end)

describe("data.sparse_features synced_inputs", function()
  local rows

  setup(function()
    rows = dataset{synced_inputs = {{0, 9}, {3, 2, 5}}, value_range = {1, 2}}:batch(0):totable()
  end)

  it("has a group active as a whole, when any one of it would be", function()
    local counts, mean = statistics(rows)
    for _, row in ipairs(rows) do
      assert.equal(row[1] ~= 0, row[10] ~= 0)
      assert.equal(row[4] ~= 0, row[3] ~= 0)
      assert.equal(row[4] ~= 0, row[6] ~= 0)
    end
    assert_frequency(1 - 0.95 ^ 2, counts[1], 4000)
    assert_frequency(1 - 0.95 ^ 3, counts[4], 4000)
    for _, feature in ipairs{2, 5, 7, 8, 9} do assert_frequency(0.05, counts[feature], 4000) end
    assert.is_near(1.5, mean, 0.04)
  end)

  it("gives each of a group its own value in the range", function()
    for _, row in ipairs(rows) do
      for _, value in ipairs(row) do assert.is_true(value == 0 or value >= 1 and value < 2) end
      if row[1] ~= 0 then assert.are_not.equal(row[1], row[10]) end
    end
  end)

  it("changes nothing when empty", function()
    assert.same(dataset():batch(0):totable(), dataset{synced_inputs = {}}:batch(0):totable())
  end)
end)

describe("data.sparse_features refuses", function()
  it("an unknown type", function()
    assert.matches("^data_generation_type: 'exactly_six_active' is unknown",
      refused{data_generation_type = "exactly_six_active"})
  end)

  it("more active features than there are", function()
    assert.matches("^data_generation_type: 'exactly_five_active' with n_features = 4 %(needs 5",
      refused{data_generation_type = "exactly_five_active", n_features = 4})
  end)

  it("groups that overlap, repeat a feature, or name one that there is not", function()
    assert.matches("^synced_inputs: feature 1 occurs twice", refused{synced_inputs = {{0, 1}, {1, 2}}})
    assert.matches("^synced_inputs: feature 1 occurs twice", refused{synced_inputs = {{1, 1}}})
    assert.matches("^synced_inputs: 10 is not a feature %(features are counted from 0 to 9", refused{
      synced_inputs = {{0, 10}},
    })
    assert.matches("^synced_inputs: %-1 is not a feature", refused{synced_inputs = {{-1}}})
    assert.matches("^synced_inputs: 0.5 is not a feature", refused{synced_inputs = {{0.5}}})
  end)

end)

it("groups of features are without effect with a fixed number of active ones", function()
  local function batch(synced_inputs)
    return data.sparse_features{
      n_features = 4, batch_size = 50, seed = 1, synced_inputs = synced_inputs, data_generation_type =
      "exactly_one_active",
    }:batch(3):totable()
  end
  assert.same(batch(nil), batch{{0, 1}})
end)

describe("core.fill_sparse_features", function()
  local draw = {seed = 0, purpose = "data"}

  it("refuses groups that are not named by their smallest feature", function()
    for _, group in ipairs{{1, 1, 2}, {0, 0, 1}, {-1, 1, 2}, {0, 1, 3}} do
      assert.has_error(function()
        local settings = {probability = 1, group = core.tensor(group, "int32")}
        core.fill_sparse_features(core.zeros(1, 3), settings, draw)
      end)
    end
  end)

  it("refuses groups of another size or type, or with exactly_active", function()
    for _, settings in ipairs{
      {probability = 1, group = core.tensor({0, 1}, "int32")},
      {probability = 1, group = core.tensor{0, 1, 2}},
      {probability = 1, group = {0, 1, 2}},
      {exactly_active = 1, group = core.tensor({0, 1, 2}, "int32")},
    } do
      assert.has_error(function() core.fill_sparse_features(core.zeros(1, 3), settings, draw) end)
    end
  end)

  it("accepts no rows", function()
    assert.same({0, 3}, core.fill_sparse_features(core.zeros(0, 3), {probability = 1}, draw).shape)
  end)
end)
