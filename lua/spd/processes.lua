--- Several processes side by side.
local core = require "spd.core"
local errors = require "spd.errors"
local interrupts = require "spd.interrupts"
local posix = core.posix

local processes = {}

local PAUSE = 0.05 -- seconds between two looks at what runs

local function start(words)
  local program, reason = posix.start(words)
  if not program then errors.raise(1, words[1], reason) end
  return program
end

-- The system is told to kill the process with its parent, which is only known to be told in time if that is still the
-- parent afterwards. What it prints goes to a file.
local BOUND = {
  "setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && log=$1 && shift && exec "$@" >"$log" 2>&1',
}

--- processes.start_bound{words =, log = path, environment = table} -> program
-- Start a program (see core.posix.start) that does not outlive this process, however that ends: it is killed with it.
-- Both its streams go to the file; the variables are added to its environment.
function processes.start_bound(settings)
  local words = table.move(BOUND, 1, #BOUND, 1, {})
  table.move({tostring(posix.pid()), settings.log, "env"}, 1, 3, #words + 1, words)
  for name, value in pairs(settings.environment) do words[#words + 1] = name .. "=" .. value end
  return start(table.move(settings.words, 1, #settings.words, #words + 1, words))
end

-- Ask all that run to end, and wait until they have: each leaves a checkpoint first.
local function end_all(running)
  for _, job in ipairs(running) do job.program:terminate() end
  for _, job in ipairs(running) do
    while job.program:poll() == nil do posix.sleep(PAUSE) end
  end
end

-- Hand over those that have ended.
local function collect(running, finished)
  for i = #running, 1, -1 do
    local job = running[i]
    local status, output, message = job.program:poll()
    if status or output then
      table.remove(running, i)
      finished(job.number, status or 1, message or output)
    end
  end
end

--- processes.run(count, jobs, command, finished)
-- Run `count` programs, at most `jobs` at the same time. command(i) -> list of words, or nil where there is nothing to
-- run; finished(i, status, messages) is called when one has ended. After an interrupt, or an error in one of these, no
-- more are started, and those that run are ended.
function processes.run(count, jobs, command, finished)
  local running = {}
  local guard <close> = setmetatable({}, {__close = function() end_all(running) end})
  local next_one = 1
  while (next_one <= count or #running > 0) and not interrupts.pending() do
    while next_one <= count and #running < jobs do
      local words = command(next_one)
      if words then running[#running + 1] = {number = next_one, program = start(words)} end
      next_one = next_one + 1
    end
    posix.sleep(PAUSE)
    collect(running, finished)
  end
end

--- processes.quoted(words) -> text
-- The words as a shell takes them.
function processes.quoted(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = word:find "^[%w_./=:,+%%@-]+$" and word or "'" .. word:gsub("'", "'\\''") .. "'"
  end
  return table.concat(list, " ")
end

return processes
