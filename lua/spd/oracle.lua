--- Oracle files: exact inputs and results of single SPD steps, as safetensors.
--
-- A file holds in.* (batch, weights, subcomponents, gates, uniform draws) and out.* (outputs, importances,
-- losses, gradients, parameters after 1 and 5 AdamW steps), and the case's settings as JSON under "case" of its
-- metadata.
local cjson = require "cjson"
local core = require "spd.core"
local component_model = require "spd.component_model"
local errors = require "spd.errors"
local losses = require "spd.losses"
local model = require "spd.model"
local residual_mlp = require "spd.models.residual_mlp"

local oracle = {}

oracle.tolerance = 1e-5

-- ---- the target of a case -----------------------------------------------------------------------

local forward = {}

function forward.tms(case)
  return function(_, x, layer)
    local h = layer("linear1", x)
    for i = 0, case.hidden - 1 do h = layer("hidden_layers." .. i, h) end
    return core.relu(layer("linear2", h))
  end
end

function forward.embed(_, inputs)
  return function(_, ids, layer)
    return core.matmul(core.relu(layer("linear", layer("embed_tokens", ids))), inputs.W_U)
  end
end

function forward.resid_mlp(case, inputs)
  local settings = {n_layers = case.layers, act_fn_name = case.act == "gelu" and "gelu" or "relu"}
  local subject = {settings = settings, constants = {W_E = inputs.W_E, W_U = inputs.W_U}}
  return function(_, x, layer) return residual_mlp.forward(subject, x, layer) end
end

local function target_of(case, inputs, names)
  local layers = {}
  for i, name in ipairs(names) do
    local weight = inputs["W." .. name]
    local is_embedding = name == "embed_tokens"
    local bias = rawget(inputs, "b." .. name) -- not every layer has one
    layers[i] = is_embedding and model.embedding(name, weight) or model.linear(name, weight, bias)
  end
  return model.new{
    layers = layers,
    tied = case.tied and {{"linear1", "linear2"}} or {},
    forward = forward[case.model](case, inputs),
  }
end

-- ---- the step -----------------------------------------------------------------------------------

local function read(path)
  local tensors, metadata = core.safetensors_load(path)
  if not metadata.case then errors.raise(2, path, "metadata has no 'case': not an oracle file") end
  local ok, case = pcall(cjson.decode, metadata.case)
  if not ok or type(case) ~= "table" or not forward[case.model] then
    errors.raise(2, path, "metadata 'case' is not the description of a known case")
  end
  local function missing(_, name) errors.raise(2, path, "tensor 'in." .. name .. "' is missing") end
  local inputs, expected, names = setmetatable({}, {__index = missing}), {}, {}
  for name, tensor in pairs(tensors) do
    local input, output = name:match("^in%.(.*)$"), name:match("^out%.(.*)$")
    if input then inputs[input] = tensor end
    if output then expected[output] = tensor end
    if input and input:match("^W%.") then names[#names + 1] = input:sub(3) end
  end
  table.sort(names)
  return case, inputs, expected, names
end

-- [S, B, C] -> draws of sample s, as a tensor.
local function sample_of(draws, sample)
  return core.tensor(draws:totable()[sample + 1])
end

local function to_int32(ids)
  local list = {}
  for i, id in ipairs(ids:totable()) do list[i] = math.tointeger(id) end
  return core.tensor(list, "int32")
end

-- A component model with the file's parameters in place of initial values.
local function components_of(case, inputs, names)
  local components = component_model.new{
    target = target_of(case, inputs, names), patterns = {"*"}, C = case.C, n_ci_mlp_neurons = case.h,
  }
  for _, parameter in ipairs(components.parameters) do
    local key = parameter.name:gsub("^components%.(.*)%.([VU])$", "%2.%1"):gsub("^gates", "gate")
    parameter.key = key
    parameter.tensor:copy_from(inputs[key])
  end
  return components
end

local draw_names = {
  stochastic_recon = "r_stoch", embedding_recon = "r_stoch", stochastic_recon_layerwise = "r_layer",
}

-- Record a step on the open tape. outputs: name -> tensor or value, filled if given.
local function record_step(case, inputs, components, x, outputs)
  local y, acts = components:run_target(x)
  local lower, upper = components:importances(acts)
  local step = {
    components = components, x = x, target = y, inputs = acts, lower = lower, upper = upper,
    config = {
      n_mask_samples = case.S, pnorm = case.p, output_loss_type = case.D or "mse",
      faithfulness_coeff = case.coeff.faithfulness, stochastic_recon_coeff = case.coeff.stochastic_recon,
      stochastic_recon_layerwise_coeff = case.coeff.stochastic_recon_layerwise,
      importance_minimality_coeff = case.coeff.importance_minimality,
    },
    draw = function(matrix, purpose, sample)
      return sample_of(inputs[draw_names[purpose] .. "." .. matrix.name], sample)
    end,
  }
  local terms = losses.terms(step)
  if outputs then
    outputs.target, outputs.unmasked = y, components:run(x)
    for name, act in pairs(acts) do
      if components.by_name[name].kind ~= "embedding" then outputs["act." .. name] = act end
    end
    for name in pairs(lower) do
      outputs["ci_lower." .. name], outputs["ci_upper." .. name] = lower[name], upper[name]
    end
    local total = 0
    for _, term in ipairs(terms) do total = total + term.coefficient * losses.mean(term.parts) end
    outputs["loss.total"] = core.tensor{total}
    for _, name in ipairs(losses.order) do
      local is_embedding_loss = name == "embedding_recon"
      if not is_embedding_loss or case.model == "embed" then
        if is_embedding_loss then
          -- the loss of the embedding alone, beside other decomposed matrices
          local only = setmetatable({matrices = {components.by_name.embed_tokens}}, {__index = components})
          step = setmetatable({components = only}, {__index = step})
        end
        local value = losses.mean(losses[name](step))
        outputs["loss." .. (name == "out_recon" and "output_recon" or name)] = core.tensor{value}
      end
    end
    for name, value in pairs(outputs) do outputs[name] = value.tensor and value:tensor() or value end
  end
  return terms
end

--- oracle.compute(case, inputs, names) -> name -> tensor: every out.* of a case, from its inputs.
function oracle.compute(case, inputs, names)
  local components = components_of(case, inputs, names)
  local x = case.model == "embed" and to_int32(inputs.x) or inputs.x
  local optimizer = core.adamw{
    beta1 = case.betas[1], beta2 = case.betas[2], epsilon = case.eps, weight_decay = case.weight_decay,
  }
  for _, parameter in ipairs(components.parameters) do optimizer:add(parameter.tensor) end
  local outputs = {}
  for step = 1, 5 do
    do
      local tape <close> = core.tape()
      losses.backward(tape, record_step(case, inputs, components, x, step == 1 and outputs or nil))
    end
    for _, parameter in ipairs(components.parameters) do
      if step == 1 then outputs["grad." .. parameter.key] = parameter.tensor.gradient:clone() end
    end
    optimizer:step(case.lr)
    optimizer:zero_gradients()
    for _, parameter in ipairs(components.parameters) do
      if step == 1 or step == 5 then outputs["adamw" .. step .. "." .. parameter.key] = parameter.tensor:clone() end
    end
  end
  return outputs
end

-- ---- comparison ---------------------------------------------------------------------------------

local function flatten(tensor)
  local flat = {}
  local function visit(value)
    if type(value) ~= "table" then flat[#flat + 1] = value return end
    for _, entry in ipairs(value) do visit(entry) end
  end
  visit(tensor:totable())
  return flat
end

local function largest(list)
  local most = 0
  for _, value in ipairs(list) do most = math.max(most, math.abs(value)) end
  return most
end

local function same_shape(a, b) return table.concat(a.shape, ",") == table.concat(b.shape, ",") end

-- The worst error relative to the largest expected entry; where a gradient is given, only entries whose
-- gradient is at least a thousandth of its largest count (Adam's first steps depend on the sign of a gradient
-- alone).
local function worst_error(found, expected, gradient)
  if not same_shape(found, expected) then return math.huge end
  local a, b, g = flatten(found), flatten(expected), gradient and flatten(gradient)
  local scale, limit, worst = largest(b), g and largest(g) * 1e-3, 0
  for i = 1, #a do
    local err = math.abs(a[i] - b[i]) / (scale > 0 and scale or 1)
    if err ~= err then return math.huge end
    if not g or math.abs(g[i]) >= limit then worst = math.max(worst, err) end
  end
  return worst
end

--- oracle.check(path) -> rows {name =, error =, verdict = "ok" | "FAILED" | "missing" | "unknown"}
-- Compare all results of a file with our own; rows are sorted by name.
function oracle.check(path)
  local case, inputs, expected, names = read(path)
  local ok, found = pcall(oracle.compute, case, inputs, names)
  if not ok then -- a case and tensors that do not fit together make some operator fail
    if errors.is(found) and found.message:find(path, 1, true) then error(found, 0) end
    local reason = tostring(found):gsub("\n.*", ""):gsub("^.-%.lua:%d+: ", "")
    errors.raise(2, path, "the step cannot be computed: " .. reason)
  end
  local rows, seen, title = {}, {}, path:match("([^/]*)%.safetensors$") or path
  for name, tensor in pairs(found) do
    seen[name] = true
    local row = {name = title .. ": out." .. name, verdict = "missing"}
    if expected[name] then
      local parameter = name:match("^adamw%d%.(.*)$")
      row.error = worst_error(tensor, expected[name], parameter and expected["grad." .. parameter])
      row.verdict = row.error <= oracle.tolerance and "ok" or "FAILED"
    end
    rows[#rows + 1] = row
  end
  for name in pairs(expected) do
    if not seen[name] then rows[#rows + 1] = {name = title .. ": out." .. name, verdict = "unknown"} end
  end
  table.sort(rows, function(a, b) return a.name < b.name end)
  return rows
end

return oracle
