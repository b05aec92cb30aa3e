--- The values of a sweep's trials.
local sampling = {}

local SAMPLERS = {grid = "spd.sweep.grid", random = "spd.sweep.random", bayes = "spd.sweep.bayes"}

--- sampling.new(sweep) -> sampler
-- What chooses the values of a sweep (from spd.sweep.definition) by its method:
--
--     sampler:count()              number of trials; nil: there is no end, as for random and bayes without run_cap
--     sampler:values(n, history)   the values of trial n, from 1: a list of {key =, value =} in the order of
--                                  sweep.parameters; a value of nil is null
--
-- history: a list of {values =, metric = number or nil, state =}, one for each trial that was started before; state:
-- "running" or "interrupted", "failed", and others for those that are over. Only bayes looks at it. The same sweep, n
-- and history give the same values.
function sampling.new(sweep) return require(SAMPLERS[sweep.method]).new(sweep) end

return sampling
