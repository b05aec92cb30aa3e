--- Compares tensors, and the float build of the core with the double one.
local M = {}

local function append(list, value)
  if type(value) == "table" then
    for _, entry in ipairs(value) do append(list, entry) end
  else
    list[#list + 1] = value
  end
  return list
end

--- All numbers of a tensor or of a nested table, in row-major order.
function M.flatten(values)
  return append({}, type(values) == "userdata" and values:totable() or values)
end

--- The largest |found - expected|, relative to the largest |expected| or to `floor` if that is larger.
-- @param found, expected flat lists of the same length
-- @param floor least scale, default 0
-- @return the error, infinite for a NaN, an infinity or another length; and a description of the worst entry
function M.flat_error(found, expected, floor)
  if #found ~= #expected then
    return math.huge, ("%d numbers instead of %d"):format(#found, #expected)
  end
  local scale, worst, worst_at = floor or 0, 0, 1
  for i, number in ipairs(expected) do
    scale = math.max(scale, math.abs(number))
    local difference = math.abs(found[i] - number)
    if difference ~= difference or difference == math.huge then
      return math.huge, ("entry %d: %.9g instead of %.9g"):format(i, found[i], number)
    end
    if difference > worst then worst, worst_at = difference, i end
  end
  if worst == 0 then return 0, "equal" end
  return worst / scale, ("entry %d: %.9g instead of %.9g"):format(worst_at, found[worst_at], expected[worst_at])
end

--- The same for two tensors or nested tables; tensors of another shape have an infinite error.
function M.error(found, expected, floor)
  if type(found) == "userdata" and type(expected) == "userdata" then
    local a, b = table.concat(found.shape, ", "), table.concat(expected.shape, ", ")
    if a ~= b then return math.huge, ("shape [%s] instead of [%s]"):format(a, b) end
  end
  return M.flat_error(M.flatten(found), M.flatten(expected), floor)
end

--- A scalar and its gradients from one build, {value = list, [name] = list}.
local function evaluate(core, build, inputs, constant)
  local parameters, names = require("spec.support.gradient_check").parameters(core, inputs, constant)
  local results = {}
  do
    local tape <close> = core.tape()
    local loss = build(parameters, core)
    results.value = { loss:item() }
    if #names > 0 then tape:backward({ loss }, { 1.0 }) end
  end
  for _, name in ipairs(names) do results["gradient by " .. name] = M.flatten(parameters[name].gradient) end
  return results
end

--- Evaluate a scalar and its gradients in the float and in the double build, and compare them.
-- @param core, core_double the two modules
-- @param build function(inputs, core) -> scalar value, called on a tape
-- @param inputs as in gradient_check.parameters; use numbers that a float holds exactly
-- @param options {tolerance = 1e-5, floor = 1e-6, constant = {name = true}}
-- @return {what = error}; raises an error that names each result whose error exceeds the tolerance
function M.builds(core, core_double, build, inputs, options)
  options = options or {}
  local tolerance = options.tolerance or 1e-5
  local found = evaluate(core, build, inputs, options.constant)
  local expected = evaluate(core_double, build, inputs, options.constant)
  local worst, problems = {}, {}
  for what, numbers in pairs(expected) do
    local problem
    worst[what], problem = M.flat_error(found[what], numbers, options.floor or 1e-6)
    if worst[what] > tolerance then
      problems[#problems + 1] = ("%s: error %.2g > %.2g (%s)"):format(what, worst[what], tolerance, problem)
    end
  end
  table.sort(problems)
  if #problems > 0 then error("float against double: " .. table.concat(problems, "\n"), 2) end
  return worst
end

return M
