local core = require "spd.core"
local experiment = require "spec.support.experiment"
local oracle = require "spd.oracle"

local FIXTURES = "spec/fixtures"

-- Rows of a check by verdict: {ok = n, FAILED = {names}, ...}.
local function verdicts(path)
  local found = {ok = 0}
  for _, row in ipairs(oracle.check(path)) do
    if row.verdict == "ok" then
      found.ok = found.ok + 1
    else
      found[row.verdict] = found[row.verdict] or {}
      table.insert(found[row.verdict], row.name:match("(out%..*)$"))
    end
  end
  return found
end

describe("oracle.check", function()
  local folder
  setup(function() folder = experiment.make_folder() end)
  teardown(function() experiment.remove_folder(folder) end)

  for _, name in ipairs(core.posix.list_directory(FIXTURES)) do
    if name:match("%.safetensors$") then
      it("finds every result of " .. name .. " within 1e-5", function()
        local path = FIXTURES .. "/" .. name
        local expected = 0
        for tensor in pairs((core.safetensors_load(path))) do
          if tensor:match("^out%.") then expected = expected + 1 end
        end
        assert.is_true(expected > 10)
        assert.same({ok = expected}, verdicts(path))
      end)
    end
  end

  -- Verdicts on a copy of a fixture after change(tensors).
  local function changed(change)
    local tensors, metadata = core.safetensors_load(FIXTURES .. "/tms_lineargate.safetensors")
    change(tensors)
    local path = folder .. "/changed.safetensors"
    core.safetensors_save(path, tensors, metadata)
    return verdicts(path), tensors
  end

  it("fails at any expected tensor of which one entry is wrong by 1e-4 of the largest", function()
    local expected = core.safetensors_load(FIXTURES .. "/tms_lineargate.safetensors")
    for name, tensor in pairs(expected) do
      if name:match("^out%.") and not name:match("adamw") then
        local at = {}
        for d = 1, #tensor.shape do at[d] = 1 end
        local largest = math.sqrt(core.sum(tensor * tensor):item()) + 1e-3
        local found = changed(function(tensors)
          tensors[name]:set(tensor:get(table.unpack(at)) + 1e-4 * largest, table.unpack(at))
        end)
        assert.same({name}, found.FAILED, name)
      end
    end
  end)

  it("fails at a value that is not a number", function()
    local found = changed(function(tensors) tensors["out.target"]:fill(0 / 0) end)
    assert.same({"out.target"}, found.FAILED)
  end)

  it("fails at a result of another shape", function()
    local found = changed(function(tensors) tensors["out.target"] = core.zeros(2) end)
    assert.same({"out.target"}, found.FAILED)
  end)

  it("fails at a result that only has as many entries", function()
    local found = changed(function(tensors)
      local target = tensors["out.target"]
      tensors["out.target"] = core.reshape(target, target:size(1) * target:size(2))
    end)
    assert.same({"out.target"}, found.FAILED)
  end)

  it("refuses a file whose tensors do not fit together", function()
    local ok, err = pcall(changed, function(tensors) tensors["in.W.linear1"] = core.zeros(3, 3) end)
    assert.is_false(ok)
    assert.equal(2, type(err) == "table" and err.status, tostring(err))
    assert.matches("the step cannot be computed: [^\n]+$", tostring(err))
  end)

  it("fails where a result is missing", function()
    local found = changed(function(tensors) tensors["out.grad.V.linear1"] = nil end)
    assert.same({"out.grad.V.linear1"}, found.missing)
    assert.is_nil(found.FAILED)
  end)

  it("fails at a result that does not belong to the step", function()
    local found = changed(function(tensors) tensors["out.loss.beauty"] = core.zeros(1) end)
    assert.same({"out.loss.beauty"}, found.unknown)
    assert.is_nil(found.FAILED)
  end)

  it("refuses what is no oracle file", function()
    local path = folder .. "/other.safetensors"
    core.safetensors_save(path, {a = core.zeros(1)})
    local ok, err = pcall(oracle.check, path)
    assert.is_false(ok)
    assert.equal(2, err.status)
    assert.equal(path .. ": metadata has no 'case': not an oracle file", err.message)
    for _, text in ipairs{"{", "3", '{"model":"none"}'} do
      core.safetensors_save(path, {a = core.zeros(1)}, {case = text})
      ok, err = pcall(oracle.check, path)
      assert.is_false(ok)
      assert.equal(path .. ": metadata 'case' is not the description of a known case", tostring(err))
    end
  end)

  it("refuses an oracle file without one of the inputs", function()
    for _, name in ipairs{"in.x", "in.V.linear1", "in.r_stoch.linear1", "in.r_layer.linear2"} do
      local ok, err = pcall(changed, function(tensors)
        assert.is_truthy(tensors[name], name)
        tensors[name] = nil
      end)
      assert.is_false(ok)
      assert.equal(2, type(err) == "table" and err.status, name .. ": " .. tostring(err))
      assert.matches("tensor '" .. name .. "' is missing", tostring(err), 1, true)
    end
  end)
end)
