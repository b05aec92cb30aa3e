local core = require "spd.core"
local component_model = require "spd.component_model"
local errors = require "spd.errors"
local model = require "spd.model"

--- f() raises an error object with this message.
local function refused(message, f)
  local ok, err = pcall(f)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  assert.equal(message, err.message)
end

local function chain(_, x, layer) return layer("fc2", layer("fc1", x)) end

-- fc1 [5, 6] with a bias, fc2 [2, 5].
local function two_layers(changes)
  local definition = {
    layers = {model.linear("fc1", core.zeros(5, 6), core.zeros(5)), model.linear("fc2", core.zeros(2, 5))},
    forward = chain,
  }
  for key, value in pairs(changes or {}) do definition[key] = value end
  return model.new(definition)
end

describe("a layer", function()
  it("has a name and a weight that is a matrix", function()
    refused("layer: expected a name, found [2, 2]", function() model.linear(core.zeros(2, 2)) end)
    refused("layer 'fc1': expected a weight [d_out, d_in], found nil", function() model.linear("fc1") end)
    refused("layer 'fc1': expected a weight [d_out, d_in], found table", function() model.linear("fc1", {{1}}) end)
    local vector = core.zeros(3)
    refused("layer 'fc1': expected a weight [d_out, d_in], found [3]", function() model.linear("fc1", vector) end)
    refused("layer 'e': expected a weight [vocabulary, d], found [3]", function() model.embedding("e", vector) end)
    refused("layer 'fc1': expected a weight [d_out, d_in], found userdata", function()
      model.linear("fc1", io.stdout)
    end)
  end)

  it("has a bias of as many entries as outputs, or none", function()
    local weight = core.zeros(5, 6)
    assert.equal(weight, model.linear("fc1", weight).weight)
    for found, bias in pairs{["[6]"] = core.zeros(6), ["[5, 1]"] = core.zeros(5, 1), number = 0} do
      refused("layer 'fc1': expected a bias [5], found " .. found, function() model.linear("fc1", weight, bias) end)
    end
  end)
end)

describe("model.new", function()
  it("names an unknown key, and the nearest known one", function()
    refused("model: unknown key 'foward' (the nearest one is 'forward'; settings may hold anything)", function()
      two_layers{foward = chain}
    end)
    local kept = two_layers{kind = "mlp", settings = {heads = 2}}
    assert.equal("mlp", kept.kind)
    assert.same({heads = 2}, kept.settings)
  end)

  it("needs layers and forward", function()
    refused("model: forward: expected a function, found nil", function() model.new{layers = {}} end)
    refused("model: layers: expected a table, found nil", function() model.new{forward = chain} end)
    refused("model: layers[1]: expected a layer, found [2, 2] (made by model.linear, model.conv1d or " ..
      "model.embedding)", function()
      two_layers{layers = {core.zeros(2, 2)}}
    end)
  end)

  it("refuses a name that is given twice, and ties of layers that are not there", function()
    local layer = model.linear("fc1", core.zeros(2, 2))
    refused("model: two layers are named 'fc1'", function() two_layers{layers = {layer, layer}} end)
    refused("model: tied: no layer 'fc3'", function() two_layers{tied = {{"fc1", "fc3"}}} end)
  end)
end)

describe("model:run", function()
  local x = core.zeros(1024, 6)

  it("computes the output, of any number of rows and leading dimensions", function()
    assert.same({1024, 2}, two_layers():run(x).shape)
    assert.same({2, 3, 2}, two_layers():run(core.zeros(2, 3, 6)).shape)
    assert.same({2}, two_layers():run(core.zeros(6)).shape)
  end)

  it("names the layer whose input does not fit, at once and on a tape", function()
    refused("layer 'fc1': expected input [..., 6], found [1024, 5]", function()
      two_layers():run(core.zeros(1024, 5))
    end)
    refused("layer 'fc1': expected input [..., 6], found nil", function() two_layers():run() end)
    refused("layer 'fc1': expected input [..., 6], found []", function() two_layers():run(core.tensor(1)) end)
    local tape <close> = core.tape()
    refused("layer 'fc2': expected input [..., 5], found [1024, 6]", function()
      two_layers{forward = function(_, input, layer) return layer("fc2", core.relu(input)) end}:run(x)
    end)
  end)

  it("refuses an embedding's input that is no tensor", function()
    local embedding = model.new{
      layers = {model.embedding("e", core.zeros(3, 2))}, forward = function(_, ids, layer) return layer("e", ids) end,
    }
    refused("layer 'e': expected input [...], found number", function() embedding:run(3) end)
    assert.same({1, 2}, embedding:run(core.zeros({1}, "int32")).shape)
  end)

  it("names a layer that is not listed, and a forward pass without a result", function()
    refused("model: the forward pass applies a layer 'fc3' that is not listed", function()
      two_layers{forward = function(_, input, layer) return layer("fc3", input) end}:run(x)
    end)
    refused("model: forward returned nil (it should return the output)", function()
      two_layers{forward = function(_, input, layer) layer("fc1", input) end}:run(x)
    end)
  end)
end)

describe("a component model of a layer that forward never applies", function()
  it("is refused when the target runs", function()
    local target = two_layers{forward = function(_, input, layer) return layer("fc1", input) end}
    local components = component_model.new{target = target, patterns = {"fc*"}, C = 2, n_ci_mlp_neurons = 0, seed = 0}
    refused("target_module_patterns: layer 'fc2' was never applied (forward must apply every layer that a pattern " ..
      "matches)", function() components:run_target(core.zeros(3, 6)) end)
    local fitting = component_model.new{target = target, patterns = {"fc1"}, C = 2, n_ci_mlp_neurons = 0, seed = 0}
    assert.same({3, 5}, fitting:run_target(core.zeros(3, 6)).shape)
  end)
end)

describe("a conv1d layer", function()
  it("is the linear layer of its transposed weight", function()
    local weight, bias = core.tensor{{1, 2, 3}, {4, 5, 6}}, core.tensor{10, 20, 30}
    local input = core.tensor{{{1, 0}, {0, 1}, {2, -1}}}
    local linear = model.linear("w", core.transpose(weight), bias)
    assert.same(model.apply(linear, input):totable(), model.apply(model.conv1d("w", weight, bias), input):totable())
    assert.same({{{1, 2, 3}, {4, 5, 6}, {-2, -1, 0}}}, model.apply(model.conv1d("w", weight), input):totable())
  end)

  it("checks its bias and its input by the stored shape", function()
    refused("layer 'w': expected a bias [3], found [2]", function()
      model.conv1d("w", core.zeros(2, 3), core.zeros(2))
    end)
    refused("layer 'w': expected a weight [d_in, d_out], found [2]", function() model.conv1d("w", core.zeros(2)) end)
    local one = model.new{
      layers = {model.conv1d("w", core.zeros(2, 3))}, forward = function(_, input, layer) return layer("w", input) end,
    }
    assert.same({5, 3}, one:run(core.zeros(5, 2)).shape)
    refused("layer 'w': expected input [..., 2], found [5, 3]", function() one:run(core.zeros(5, 3)) end)
  end)
end)

describe("a tensor that two layers share", function()
  it("is listed and saved once, under the first layer's name", function()
    local weight = core.zeros(4, 2)
    local shared = model.new{
      layers = {model.embedding("embed", weight), model.linear("head", weight)},
      forward = function(_, ids, layer) return layer("head", layer("embed", ids)) end,
    }
    assert.same({["embed.weight"] = weight}, shared:tensors())
  end)
end)
