--- Who is told about a run besides its own folder.
local errors = require "spd.errors"

local observers = {}

-- Modules of which observe(run, config, quiet) returns an observer (see run:observe), or nil for none; those with a key
-- only for configs that have it.
local MODULES = {
  {name = "spd.trackers.tensorboard", key = "tensorboard"}, {name = "spd.trackers.wandb", key = "wandb_project"},
  {name = "spd.runs_index"},
}

local function observer_of(module, run, config, quiet)
  local wanted = not module.key or config[module.key]
  return wanted and require(module.name).observe(run, config, quiet) or nil
end

--- observers.attach(run, config [, quiet])
-- Let the run tell all of them from now on. quiet: they print nothing but warnings. One that cannot begin is a warning.
function observers.attach(run, config, quiet)
  for _, module in ipairs(MODULES) do
    local ok, observer = pcall(observer_of, module, run, config, quiet)
    if not ok then
      errors.warn(module.name .. ": " .. tostring(observer))
    elseif observer then
      run:observe(observer)
    end
  end
end

return observers
