--- Grid search: all combinations of the values, in W&B's order.
local distributions = require "spd.sweep.distributions"

local grid = {}

local Grid = {}
Grid.__index = Grid

--- grid.new(sweep) -> sampler
-- See spd.sweep.sampling. The last of the parameters changes fastest. Trial n is computed from n: the combinations are
-- never listed.
function grid.new(sweep)
  return setmetatable({parameters = sweep.parameters, run_cap = sweep.run_cap or math.maxinteger}, Grid)
end

--- sampler:count() -> number of combinations, at most the sweep's run_cap
function Grid:count()
  local count = 1
  for _, parameter in ipairs(self.parameters) do
    local factor = distributions.count(parameter)
    if count > self.run_cap // factor then return self.run_cap end
    count = count * factor
  end
  return count
end

--- sampler:values(n) -> list of {key =, value =}
function Grid:values(n)
  local list, rest = {}, n - 1
  for i = #self.parameters, 1, -1 do
    local parameter = self.parameters[i]
    local count = distributions.count(parameter)
    list[i] = {key = parameter.key, value = distributions.at(parameter, rest % count + 1)}
    rest = rest // count
  end
  return list
end

return grid
