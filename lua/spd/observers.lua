--- Who is told about a run besides its own folder.
local observers = {}

-- Modules of which observe(run, config) returns an observer (see run:observe), or nil where the config asks for none.
local MODULES = {"spd.runs_index"}

--- observers.attach(run, config)
-- Let the run tell all of them from now on.
function observers.attach(run, config)
  for _, name in ipairs(MODULES) do
    local observer = require(name).observe(run, config)
    if observer then run:observe(observer) end
  end
end

return observers
