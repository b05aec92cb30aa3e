--- Random search: independent draws, with replacement.
--
-- A draw is named by the sweep's name, the parameter's key and the number of the trial, so that every process draws the
-- same, in any order, and another parameter in the file leaves the draws of the others as they are. A sweep with
-- another name makes other draws.
local core = require "spd.core"
local distributions = require "spd.sweep.distributions"

local random = {}

local Random = {}
Random.__index = Random

--- random.purpose(sweep, key) -> purpose of a named draw
function random.purpose(sweep, key) return ("sweep %s: %s"):format(sweep.name or "", key) end

--- random.position(sweep, key, n) -> number in (0, 1)
-- The draw of a parameter for trial n: 48 bits, from two draws of 24.
function random.position(sweep, key, n)
  local high, low = table.unpack(core.uniform({2}, {purpose = random.purpose(sweep, key), step = n}):totable())
  return high + (low + 2.0 ^ -25) * 2.0 ^ -24
end

--- random.new(sweep) -> sampler
-- See spd.sweep.sampling.
function random.new(sweep) return setmetatable({sweep = sweep}, Random) end

--- sampler:count() -> the sweep's run_cap, or nil: there is no end
function Random:count() return self.sweep.run_cap end

--- sampler:values(n) -> list of {key =, value =}
function Random:values(n)
  local list = {}
  for i, parameter in ipairs(self.sweep.parameters) do
    local u = random.position(self.sweep, parameter.key, n)
    list[i] = {key = parameter.key, value = distributions.quantile(parameter, u)}
  end
  return list
end

return random
