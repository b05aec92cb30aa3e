--- Checks the gradients of operators against central differences, in the double-precision module.
--
--   local gradient_check = require "spec.support.gradient_check"
--   gradient_check.check(require "spd.core_double", function(inputs, core)
--     return core.sum(core.gelu(core.matmul(inputs.x, inputs.w)))
--   end, { x = { { 1, -2 }, { 0.5, 3 } }, w = { { 1 }, { -1 } } })
local compare = require "spec.support.compare"

local M = {}

local function value_of(core, build, inputs)
  local tape <close> = core.tape()
  return build(inputs, core):item()
end

--- The next multi-index of a shape after `index`, the last dimension fastest; false at the end.
local function advance(index, shape)
  for dimension = #shape, 1, -1 do
    if index[dimension] < shape[dimension] then
      index[dimension] = index[dimension] + 1
      return true
    end
    index[dimension] = 1
  end
  return false
end

--- Parameters of a module from inputs: nested tables and real tensors become parameters of their own,
--- everything else (numbers, int32 tensors, draws marked `constant`) is passed on as it is.
-- @param core the module, float or double
-- @param inputs {name = nested table of numbers, or tensor of that module, or another value}
-- @param constant {name = true}: inputs that no gradient is asked for
-- @return the inputs with tensors in place of tables, and the names of the parameters, sorted
function M.parameters(core, inputs, constant)
  local made, names = {}, {}
  for name, input in pairs(inputs) do
    local is_table = type(input) == "table"
    local is_real = type(input) == "userdata" and input.dtype ~= "int32"
    if constant and constant[name] then
      made[name] = input
    elseif is_table or is_real then
      made[name] = (is_table and core.tensor(input) or input:clone()):parameter()
      names[#names + 1] = name
    else
      made[name] = input
    end
  end
  table.sort(names)
  return made, names
end

--- Central differences of `build` by every element of one parameter, as a flat list in row-major order.
local function differences(core, build, inputs, name, step)
  local parameter, found = inputs[name], {}
  local shape, index = parameter.shape, {}
  for dimension, size in ipairs(shape) do
    if size == 0 then return found end
    index[dimension] = 1
  end
  repeat
    local x = parameter:get(table.unpack(index))
    parameter:set(x + step, table.unpack(index))
    local above = value_of(core, build, inputs)
    parameter:set(x - step, table.unpack(index))
    local below = value_of(core, build, inputs)
    parameter:set(x, table.unpack(index))
    found[#found + 1] = (above - below) / (2 * step)
  until not advance(index, shape)
  return found
end

--- Compare the tape's gradient of a scalar with central differences, for every element of every input.
-- Choose inputs away from kinks. A NaN anywhere is a failure.
-- @param core the double-precision module
-- @param build function(inputs, core) -> scalar value; called on a tape, once per evaluation
-- @param inputs see `parameters`
-- @param options {step = 1e-5, tolerance = 1e-6, floor = 1e-3, constant = {name = true}}: an error is the
--   largest difference relative to the largest entry of the gradient, or to `floor` if that is larger
-- @return {name = worst error}; raises an error that names each input whose error exceeds the tolerance
function M.check(core, build, inputs, options)
  options = options or {}
  local tolerance, floor = options.tolerance or 1e-6, options.floor or 1e-3
  local parameters, names = M.parameters(core, inputs, options.constant)
  if #names == 0 then error("gradient_check: no input to differentiate by", 2) end
  do
    local tape <close> = core.tape()
    tape:backward({ build(parameters, core) }, { 1.0 })
  end
  local worst, problems = {}, {}
  for _, name in ipairs(names) do
    local expected = differences(core, build, parameters, name, options.step or 1e-5)
    local found = compare.flatten(parameters[name].gradient)
    local problem
    worst[name], problem = compare.flat_error(found, expected, floor)
    if worst[name] > tolerance then
      problems[#problems + 1] = ("gradient by %s: error %.2g > %.2g (%s)"):format(name, worst[name], tolerance, problem)
    end
  end
  if #problems > 0 then error(table.concat(problems, "\n"), 2) end
  return worst
end

return M
