--- Who is told about a run besides its own folder.
local observers = {}

-- Modules of which observe(run, config, quiet) returns an observer (see run:observe), or nil where the config asks for
-- none.
local MODULES = {"spd.trackers.tensorboard", "spd.trackers.wandb"}

--- observers.attach(run, config [, quiet])
-- Let the run tell all of them from now on. quiet: they print nothing but warnings.
function observers.attach(run, config, quiet)
  for _, name in ipairs(MODULES) do
    local observer = require(name).observe(run, config, quiet)
    if observer then run:observe(observer) end
  end
end

return observers
