--- The progress of a training on stdout: a bar on a terminal, one plain line per logged step elsewhere.
local core = require "spd.core"

local progress = {}

local Progress = {}
Progress.__index = Progress

local REDRAW_SECONDS = 0.1
local RATE_SECONDS = 5 -- the rate is an average over about that long
local NUMBER_WIDTH, RATE_WIDTH, DURATION_WIDTH = 9, 6, 7
local SHORTEST_BAR, LONGEST_BAR = 10, 30

-- ---- text ---------------------------------------------------------------------------------------

--- progress.number(x) -> text
-- Four significant digits, in scientific notation below 0.001 and from 100000 on; integers as they are.
function progress.number(x)
  if x ~= x then return "nan" end
  if x == math.huge or x == -math.huge then return x > 0 and "inf" or "-inf" end
  local size = math.abs(x)
  if size < 1e5 and x == math.floor(x) then return ("%d"):format(x) end
  if size < 1e-3 or size >= 1e5 then return ("%.3e"):format(x) end
  return ("%." .. math.max(0, 3 - math.floor(math.log(size, 10))) .. "f"):format(x)
end

--- progress.duration(seconds) -> text such as "0:08", "12:34", "1:02:03", "3d 04:05:06".
function progress.duration(seconds)
  if seconds ~= seconds or seconds >= 1e9 then return "?" end
  local s = math.floor(seconds + 0.5)
  local days, hours, minutes = s // 86400, s // 3600 % 24, s // 60 % 60
  if days > 0 then return ("%dd %02d:%02d:%02d"):format(days, hours, minutes, s % 60) end
  if hours > 0 then return ("%d:%02d:%02d"):format(hours, minutes, s % 60) end
  return ("%d:%02d"):format(minutes, s % 60)
end

--- progress.rate(per_second) -> text such as "412/s", "3.25/s"; "-/s" for 0.
function progress.rate(per_second)
  if per_second == 0 then return "-/s" end
  local decimals = per_second >= 99.95 and 0 or per_second >= 9.995 and 1 or 2
  return ("%." .. decimals .. "f/s"):format(per_second)
end

local function pad(text, width) return (" "):rep(width - #text) .. text end

--- progress.losses(numbers) -> list of {name, value}
-- The entries loss/NAME of a table of numbers: the total first, then by name.
function progress.losses(numbers)
  local list = {}
  for key, value in pairs(numbers) do
    local name = key:match("^loss/(.*)$")
    if name then list[#list + 1] = {name, value} end
  end
  table.sort(list, function(a, b)
    if a[1] == "total" or b[1] == "total" then return a[1] == "total" and b[1] ~= "total" end
    return a[1] < b[1]
  end)
  return list
end

local function loss_texts(losses)
  local texts = {}
  for i, loss in ipairs(losses) do
    texts[i] = loss[1] .. " " .. pad(progress.number(loss[2]), NUMBER_WIDTH)
  end
  return texts
end

local function time_text(state)
  if state.step >= state.steps then return "took " .. progress.duration(state.elapsed) end
  local left = (state.steps - state.step) / state.rate
  return pad(progress.duration(left), DURATION_WIDTH) .. " left"
end

local function step_text(state)
  return pad(tostring(state.step), #tostring(state.steps)) .. "/" .. state.steps
end

--- progress.plain_line(state) -> text
-- One line for a logged step: step, losses, rate, time left. state: {title =, step =, steps =, losses =
-- list of {name, value}, rate = steps per second, elapsed = seconds}.
function progress.plain_line(state)
  local parts = {state.title .. " " .. step_text(state)}
  table.move(loss_texts(state.losses), 1, #state.losses, 2, parts)
  parts[#parts + 1] = pad(progress.rate(state.rate), RATE_WIDTH)
  parts[#parts + 1] = time_text(state)
  return table.concat(parts, "  ")
end

--- progress.bar_line(state, width) -> text of at most `width` characters
-- The same with a bar, and with as many losses, from the first on, as there is room for.
function progress.bar_line(state, width)
  local fraction = state.steps > 0 and math.min(1, state.step / state.steps) or 1
  local right = ("%4d%%  %s  %s  %s"):format(math.floor(100 * fraction), step_text(state),
    pad(progress.rate(state.rate), RATE_WIDTH), time_text(state))
  local room = width - #state.title - #" []" - #right - SHORTEST_BAR
  for _, text in ipairs(loss_texts(state.losses)) do
    if #text + 2 > room then break end
    right, room = right .. "  " .. text, room - #text - 2
  end
  local length = math.min(LONGEST_BAR, SHORTEST_BAR + math.max(0, room))
  local filled = math.floor(length * fraction + 0.5)
  local line = ("%s [%s%s]%s"):format(state.title, ("#"):rep(filled), ("-"):rep(length - filled), right)
  return line:sub(1, math.max(0, width))
end

-- ---- the display --------------------------------------------------------------------------------

--- progress.new{title =, steps = [, quiet =, output =, terminal =, width =, clock =]} -> display
-- A display for steps 0 to `steps` of what title names. quiet: print nothing. For tests: output, an open
-- file (stdout), terminal, whether it is one, and functions for its width and the time in seconds.
function progress.new(settings)
  local terminal = settings.terminal
  if terminal == nil then terminal = core.posix.is_terminal(1) and os.getenv("TERM") ~= "dumb" end
  return setmetatable({
    title = settings.title or "step",
    steps = settings.steps,
    quiet = settings.quiet,
    output = settings.output or io.stdout,
    terminal = terminal,
    width = settings.width or core.posix.terminal_width,
    clock = settings.clock or core.posix.monotonic_time,
    losses = {},
    rate = 0,
    elapsed = 0,
    drawn_at = -math.huge,
  }, Progress)
end

-- Average since the start at first, later one in which older intervals count less and less.
local function measure(self, step, now)
  if not self.started_at then
    self.started_at, self.first, self.measured_at, self.measured = now, step, now, step
    return
  end
  self.elapsed = now - self.started_at
  local interval = now - self.measured_at
  if interval <= 0 then return end
  if self.elapsed < RATE_SECONDS then
    self.rate = (step - self.first) / self.elapsed
  elseif interval >= REDRAW_SECONDS then
    local weight = 1 - math.exp(-interval / RATE_SECONDS)
    self.rate = self.rate + weight * ((step - self.measured) / interval - self.rate)
    self.measured_at, self.measured = now, step
  end
end

local function draw(self)
  self.output:write("\r", progress.bar_line(self, self.width() - 1), "\27[K")
  self.output:flush()
  self.unfinished = true
end

--- display:update(step [, numbers [, logging]])
-- Step `step` is done. numbers: a table of which loss/NAME are shown; logging: this step gets a plain line
-- where output is no terminal.
function Progress:update(step, numbers, logging)
  if self.quiet then return end
  local now = self.clock()
  measure(self, step, now)
  self.step = step
  if self.terminal then
    if now - self.drawn_at < REDRAW_SECONDS and step < self.steps then return end
    self.losses = numbers and progress.losses(numbers) or self.losses
    self.drawn_at = now
    draw(self)
  elseif logging then
    self.losses = numbers and progress.losses(numbers) or {}
    self.output:write(progress.plain_line(self), "\n")
    self.output:flush()
  end
end

--- display:message(text)
-- Print a line, above the bar if there is one.
function Progress:message(text)
  if self.quiet then return end
  self.output:write(self.unfinished and "\r\27[K" or "", text, "\n")
  if self.unfinished then draw(self) end
  self.output:flush()
end

--- display:finish()
-- Leave the bar as it is and go on below it. Can be called again; a to-be-closed display calls it at the end
-- of its scope.
function Progress:finish()
  if not self.unfinished then return end
  draw(self)
  self.output:write("\n")
  self.output:flush()
  self.unfinished = false
end

Progress.__close = Progress.finish

return progress
