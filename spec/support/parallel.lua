--- Spec files, each in a process of its own, several at the same time; what they print comes in the order of the files.
local core = require "spd.core"
local interrupts = require "spd.interrupts"
local processes = require "spd.processes"
local posix = core.posix

-- The spec files in a folder and those below it, by name.
local function add_files(list, path)
  if not posix.is_directory(path) then
    list[#list + 1] = path
    return
  end
  local names = assert(posix.list_directory(path))
  table.sort(names)
  for _, name in ipairs(names) do
    local inside = path .. "/" .. name
    if posix.is_directory(inside) or name:match("_spec%.lua$") then add_files(list, inside) end
  end
end

-- What a process said, without its last line, and the numbers in that; a process that has none has failed.
local function read_output(file, status, text)
  local rest, passed, failed = text:match("^(.-)(%d+) passed, (%d+) failed\n$")
  if not passed then return ("%sFAILED %s\n  ended with status %d\n"):format(text, file, status), 0, 1 end
  rest = rest:gsub("no spec ran\n$", "") -- all of its specs were left out
  return rest, math.tointeger(passed), math.tointeger(failed)
end

--- (options, jobs) -> exit status
-- options: those of spec/run.lua, files and folders among them.
return function(options, jobs)
  local files, words = {}, {"sh", "-c", 'exec "$0" "$@" >&2', posix.executable(), "spec/run.lua"}
  for _, option in ipairs(options) do
    if option:find("^%-") then words[#words + 1] = option else add_files(files, option) end
  end
  if #files == 0 then add_files(files, "spec") end
  local guard <close> = interrupts.catch()
  local passed, failed, outputs, next_one = 0, 0, {}, 1
  processes.run(#files, jobs, function(i)
    local command = table.move(words, 1, #words, 1, {})
    command[#command + 1] = files[i]
    return command
  end, function(i, status, text)
    local good, bad
    outputs[i], good, bad = read_output(files[i], status, text)
    passed, failed = passed + good, failed + bad
    while outputs[next_one] do
      io.write(outputs[next_one])
      io.flush()
      next_one = next_one + 1
    end
  end)
  if interrupts.pending() then return 130 end
  io.write(("%d passed, %d failed\n"):format(passed, failed))
  return failed == 0 and passed > 0 and 0 or 1
end
