--- Ctrl-C (SIGINT) and SIGTERM: noted while somebody looks for them, so that a step ends before the program does.
local errors = require "spd.errors"
local posix = require("spd.core").posix

local interrupts = {}

local users = 0

--- interrupts.catch() -> guard
-- Until the guard is closed, or goes out of scope as a to-be-closed variable, the first signal is only noted; a second
-- one ends the program. Guards nest.
function interrupts.catch()
  if users == 0 then posix.catch_interrupt(true) end
  users = users + 1
  return setmetatable({}, {__close = function()
    users = users - 1
    if users == 0 then posix.catch_interrupt(false) end
  end})
end

--- interrupts.pending() -> whether a signal was noted.
function interrupts.pending() return posix.interrupted() end

--- interrupts.stop(what [, hint])
-- Raise the error of status 130 that ends the program: "interrupted: WHAT (HINT)".
function interrupts.stop(what, hint) errors.raise(130, "interrupted", what, hint) end

return interrupts
