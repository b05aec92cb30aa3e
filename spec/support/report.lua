--- The output of the specs (a busted output handler): a line per spec file, every failure with its
--- place and reason, and last `N passed, N failed`. It also fails a spec that leaves tensors behind
--- or writes a global variable.
local busted = require "busted"
local base = require "busted.outputHandlers.base"

local function total(counts) return counts.passed + counts.failed end

--- Bytes held by the C modules that are loaded, after everything unreachable was collected.
local function live_bytes()
  collectgarbage()
  collectgarbage()
  local bytes = 0
  for _, name in ipairs { "spd.core", "spd.core_double" } do
    local core = package.loaded[name]
    if core then
      core.release_buffers()
      bytes = bytes + core.live_bytes()
    end
  end
  return bytes
end

local function global_names()
  local names = {}
  for name in pairs(_G) do names[name] = true end
  return names
end

--- What a spec left behind since `before`, as one line; nil if nothing.
local function left_behind(before)
  local bytes = live_bytes() - before.bytes
  if bytes ~= 0 then return ("leak: %d bytes more than before are live in spd.core"):format(bytes) end
  for name in pairs(_G) do
    if not before.globals[name] then return ("global variable '%s' was written"):format(tostring(name)) end
  end
  return nil
end

local function place(element, trace)
  local info = element.trace or trace
  return info and info.short_src and ("%s:%d"):format(info.short_src, info.currentline) or tostring(element.name)
end

return function(options)
  local handler = base()
  local counts = { passed = 0, failed = 0, pending = 0 }
  local file = { passed = 0, failed = 0 }
  local last = nil -- the spec that ended last, until its leak check: { element, passed }
  local before = nil -- what was there before it started

  local function record_failure(element, message, trace)
    counts.failed = counts.failed + 1
    file.failed = file.failed + 1
    io.write(("FAILED %s\n  %s\n    %s\n"):format(place(element, trace), handler.getFullName(element),
      (tostring(message):gsub("\n", "\n    "))))
    if options.verbose and trace and trace.traceback then io.write(trace.traceback, "\n") end
    io.flush()
  end

  local function on_problem(element, _, message, trace)
    if element.descriptor == "it" and last then last.passed = false end
    record_failure(element, message, trace)
    return nil, true
  end

  local function on_test_start(element)
    last = { element = element, passed = true }
    return nil, true
  end

  local function on_pending(element, _, message)
    if element.descriptor ~= "it" then return nil, true end
    counts.pending = counts.pending + 1
    io.write(("pending %s\n  %s\n    %s\n"):format(place(element), handler.getFullName(element), tostring(message)))
    return nil, true
  end

  local function on_test_end(_, _, status)
    if status == "pending" then
      last.passed = false
    elseif last.passed then
      counts.passed = counts.passed + 1
      file.passed = file.passed + 1
    end
    last.passed = last.passed and status == "success"
    return nil, true
  end

  local function remember() before = { bytes = live_bytes(), globals = global_names() } end

  local function check()
    if not last or not last.passed then return end
    local problem = left_behind(before)
    if not problem then return end
    counts.passed = counts.passed - 1
    file.passed = file.passed - 1
    record_failure(last.element, problem)
  end

  local function on_file_start()
    file = { passed = 0, failed = 0 }
    return nil, true
  end

  local function on_file_end(element)
    if total(file) > 0 then
      local seconds = element.duration or 0
      io.write(("%-52s %4d passed%s %6.1f s\n"):format(element.name, file.passed,
        file.failed > 0 and (", %d failed"):format(file.failed) or "", seconds))
      io.flush()
    end
    return nil, true
  end

  local function on_exit()
    if counts.pending > 0 then io.write(counts.pending, " pending\n") end
    if total(counts) == 0 then io.write("no spec ran\n") end
    io.write(("%d passed, %d failed\n"):format(counts.passed, counts.failed))
    io.flush()
    os.exit(counts.failed == 0 and counts.passed > 0, true)
  end

  function handler.subscribe()
    -- Hooks at the root: the first before_each and the last after_each of every spec.
    busted.before_each(remember)
    busted.after_each(check)
    busted.subscribe({ "file", "start" }, on_file_start)
    busted.subscribe({ "file", "end" }, on_file_end)
    busted.subscribe({ "test", "start" }, on_test_start)
    busted.subscribe({ "test", "end" }, on_test_end)
    busted.subscribe({ "pending" }, on_pending)
    busted.subscribe({ "failure" }, on_problem)
    busted.subscribe({ "error" }, on_problem)
    busted.subscribe({ "exit" }, on_exit)
  end

  return handler
end
