--- Forward passes of an opened run under masks: which subcomponents are on, and how much.
local arguments = require "spd.opened_run.arguments"
local core = require "spd.core"
local errors = require "spd.errors"
local shape = require "spd.shape"

local masks = {}

--- masks.options: the names of the options that masks.read knows.
masks.options = {"mask", "ablate", "keep", "seed"}

-- How each word masks inner activations h [..., C], from the causal importances g and the name of a random draw.
local words = {
  importances = function(h, g) return h * g end,
  ones = function(h) return h end,
  zeros = function(h) return h * 0 end,
  stochastic = function(h, g, draw) return core.stochastic_mask(h, g, draw) end,
}
local WORDS = {"importances", "ones", "zeros", "stochastic"}

-- A vector [C] in the shape of h [..., C].
local function spread(vector, h)
  local ones = core.zeros(shape.rows(h), 1) + 1
  return core.reshape(core.matmul(ones, core.reshape(vector, 1, vector:size(1))), table.unpack(h.shape))
end

local function sizes(list) return ("[%s]"):format(table.concat(list, ", ")) end

-- A mask that is given as numbers: one for each subcomponent, or as many as there are inner activations.
local function given(where, name, mask)
  return function(h)
    local C, found = h:size(#h.shape), mask.shape
    if #found == 1 and found[1] == C then return h * spread(mask, h) end
    if found[#found] ~= C or shape.count(mask) ~= shape.count(h) then
      errors.raise(2, where, ("mask of %s: expected [%d] or %s, found %s"):format(name, C, sizes(h.shape),
        sizes(found)))
    end
    return h * core.reshape(mask, table.unpack(h.shape))
  end
end

local function check_tensor(where, what, mask)
  if mask.dtype ~= "real" or #mask.shape == 0 or not mask:is_finite() then
    errors.raise(2, where, ("%s: expected finite numbers, found %s"):format(what, arguments.shown(mask)))
  end
  return mask
end

-- One matrix's mask as a function of h, g and a draw.
local function masking(where, name, mask)
  local what = "mask of " .. name
  if type(mask) == "string" then return words[arguments.word(where, "mask", mask, WORDS)] end
  if type(mask) == "number" then
    arguments.number(where, what, mask)
    return function(h) return h * mask end
  end
  if type(mask) == "table" then
    local rows = arguments.rows(where, what, mask)
    return given(where, name, core.tensor(#rows == 1 and rows[1] or rows))
  end
  if arguments.is_tensor(mask) then return given(where, name, check_tensor(where, what, mask)) end
  errors.raise(2, where, ("%s: expected one of %s, numbers or a tensor, found %s"):format(what,
    table.concat(WORDS, ", "), arguments.shown(mask)))
end

-- By matrix a function that masks; mask: a word, or a table by matrix. Matrices that it does not name have their
-- causal importances.
local function all_masking(where, run, mask)
  local by_matrix, default = {}, words.importances
  if type(mask) == "table" then
    for name, one in pairs(mask) do
      by_matrix[name] = masking(where, arguments.matrix(where, run, name).name, one)
    end
  elseif type(mask) == "string" then
    default = masking(where, "all matrices", mask)
  elseif mask ~= nil then
    errors.raise(2, where, ("mask: expected one of %s, or a table of matrices, found %s"):format(
      table.concat(WORDS, ", "), arguments.shown(mask)))
  end
  for _, name in ipairs(run.matrices) do by_matrix[name] = by_matrix[name] or default end
  return by_matrix
end

local function ones(count)
  local list = {}
  for i = 1, count do list[i] = 1.0 end
  return list
end

-- By matrix, where a table {[matrix] = number or list of numbers} names it, a tensor [C]: `named` at these numbers, and
-- 1 - named at all others.
local function switches(where, run, option, listed, named)
  local by_matrix = {}
  if listed ~= nil and (type(listed) ~= "table" or debug.getmetatable(listed)) then
    errors.raise(2, where, ("%s: expected a table such as {['%s'] = {0, 1}}, found %s"):format(option,
      run.matrices[1], arguments.shown(listed)))
  end
  for name, numbers in pairs(listed or {}) do
    local matrix, values = arguments.matrix(where, run, name), {}
    for c = 1, run.components.C do values[c] = 1 - named end
    for _, c in ipairs(type(numbers) == "table" and numbers or {numbers}) do
      values[arguments.component(where, run, matrix, c) + 1] = named
    end
    by_matrix[name] = core.tensor(values)
  end
  return by_matrix
end

--- masks.read(where, run, options) -> plan, for masks.run
-- options: mask, ablate, keep and seed as run:forward documents them, checked.
function masks.read(where, run, options)
  return {
    masking = all_masking(where, run, options.mask),
    kept = switches(where, run, "keep", options.keep, 1.0),
    ablated = switches(where, run, "ablate", options.ablate, 0.0),
    seed = options.seed and arguments.integer(where, "seed", options.seed, 0) or 0,
  }
end

--- masks.without(run, plan, name, c) -> the same plan with subcomponent c of a matrix ablated, too
function masks.without(run, plan, name, c)
  local before = plan.ablated[name]
  local ablated = (before and before:clone() or core.tensor(ones(run.components.C))):set(0, c + 1)
  local by_matrix = setmetatable({[name] = ablated}, {__index = plan.ablated})
  return setmetatable({ablated = by_matrix}, {__index = plan})
end

--- masks.run(run, x, plan) -> the output of the decomposed model for a tensor x, on the open tape
function masks.run(run, x, plan)
  local _, inputs = run.components:run_target(x)
  local lower = run.components:importances(inputs)
  return run.components:run(x, function(matrix, h)
    local name = matrix.name
    local draw = {seed = plan.seed, purpose = "opened run", matrix = matrix.index}
    local masked = plan.masking[name](h, lower[name], draw)
    if plan.kept[name] then masked = masked * spread(plan.kept[name], h) end
    if plan.ablated[name] then masked = masked * spread(plan.ablated[name], h) end
    return masked
  end)
end

return masks
