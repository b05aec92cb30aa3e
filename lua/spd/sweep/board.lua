--- What a sweep shows while it runs: on a terminal a table that is drawn again in place, elsewhere a line per trial.
local aligned = require "spd.aligned"
local core = require "spd.core"
local errors = require "spd.errors"
local progress = require "spd.progress"
local results = require "spd.sweep.results"
local values_module = require "spd.sweep.values"

local board = {}

local Board = {}
Board.__index = Board

local BAR = 10 -- characters

-- ---- text ---------------------------------------------------------------------------------------

--- board.values(sweep, values) -> text such as "lr=0.001 seed=2": those of parameters with more than one value.
function board.values(sweep, values)
  local words, constant = {}, {}
  for _, parameter in ipairs(sweep.parameters) do
    constant[parameter.key] = parameter.distribution == "constant"
  end
  for _, item in ipairs(values) do
    if not constant[item.key] then words[#words + 1] = item.key .. "=" .. values_module.word(item.value) end
  end
  return table.concat(words, " ")
end

local function metric_text(self, value)
  if not self.study.sweep.metric then return "" end
  return value and progress.number(value) or "-"
end

local function bar_text(reader)
  if not reader.step or not reader.steps then return reader.step and tostring(reader.step) or "" end
  local fraction = reader.steps > 0 and math.min(1, reader.step / reader.steps) or 1
  local filled = math.floor(BAR * fraction + 0.5)
  return ("[%s%s] %d/%d"):format(("#"):rep(filled), ("-"):rep(BAR - filled), reader.step, reader.steps)
end

local function is_empty(rows, column)
  for k = 2, #rows do
    if rows[k][column] ~= "" then return false end
  end
  return true
end

-- Lines of at most `width` characters from rows of cells, the first of which has the heads; columns that are empty
-- below it are left out.
local function fitting_lines(rows, right, width)
  local shown, ends_right = {}, {}
  for k in ipairs(rows) do shown[k] = {} end
  for i in ipairs(rows[1]) do
    if not is_empty(rows, i) then
      for k, row in ipairs(rows) do table.insert(shown[k], row[i]) end
      ends_right[#shown[1]] = right[i]
    end
  end
  local lines = aligned.lines(shown, ends_right)
  for k, line in ipairs(lines) do lines[k] = line:sub(1, width):gsub("%s+$", "") end
  return lines
end

-- ---- the table ----------------------------------------------------------------------------------

local RIGHT = {true, false, false, true, true, true, false}

local function running_row(self, trial)
  local reader = self.readings:of(trial)
  return {
    tostring(trial.number), trial.state, bar_text(reader), reader.rate > 0 and progress.rate(reader.rate) or "",
    metric_text(self, reader.value), "", board.values(self.study.sweep, trial.values),
  }
end

local function ended_row(self, trial)
  local text = trial.problem or board.values(self.study.sweep, trial.values)
  return {
    tostring(trial.number), trial.state, "", "", metric_text(self, trial.metric), progress.duration(trial.seconds),
    (text:gsub("%c", "?")),
  }
end

-- Seconds until all trials have ended, by the mean of those that have; nil where that is not known.
local function seconds_left(counts, running)
  if not counts.total or not counts.seconds then return nil end
  local left = counts.total - counts.finished - counts.failed - counts.stopped
  for _, reader in ipairs(running) do
    if reader.step and reader.steps and reader.steps > 0 then left = left - math.min(1, reader.step / reader.steps) end
  end
  return math.max(0, left) * counts.seconds / math.max(1, #running)
end

local function count_texts(counts)
  local ended = counts.finished + counts.failed + counts.stopped
  local words = {counts.total and ("%d of %d trials"):format(ended, counts.total) or ("%d trials"):format(ended)}
  for _, state in ipairs{"failed", "stopped", "running"} do
    if counts[state] > 0 then words[#words + 1] = ("%d %s"):format(counts[state], state) end
  end
  return words
end

local function heading(self, counts, running)
  local readers = {}
  for i, trial in ipairs(running) do readers[i] = self.readings:of(trial) end
  local words = count_texts(counts)
  words[#words + 1] = progress.duration(self.clock() - self.started) .. " gone"
  local left = seconds_left(counts, readers)
  if left then words[#words + 1] = progress.duration(left) .. " left" end
  return table.concat(words, ", ")
end

local function best_line(self)
  local best = self.study:best()
  if not best then return nil end
  return ("best %s so far: %s, trial %d, %s"):format(self.study.sweep.metric.name, progress.number(best.metric),
    best.number, board.values(self.study.sweep, best.values))
end

--- board.lines(display) -> list of lines
-- The table as it is now, fitting the width and height of the terminal: how far the study is, the best trial so far,
-- those that run, and as many of those that ended last as there is room for.
function board.lines(self)
  local width, height = self.width() - 1, self.height()
  local running = self.study:trials "running"
  local lines = {heading(self, self.study:counts(), running):sub(1, width), best_line(self)}
  if lines[2] then lines[2] = lines[2]:sub(1, width) end
  local metric = self.study.sweep.metric
  local rows = {{"trial", "state", "step", "rate", metric and metric.name or "", "time", "values"}}
  local room = math.max(0, height - #lines - 2) -- a line for the heads, one for the cursor
  local ended = self.study:recent(math.max(0, room - #running))
  for i = 1, math.min(room, #running) do rows[#rows + 1] = running_row(self, running[i]) end
  for _, trial in ipairs(ended) do rows[#rows + 1] = ended_row(self, trial) end
  local table_lines = fitting_lines(rows, RIGHT, width)
  return table.move(table_lines, 1, #table_lines, #lines + 1, lines)
end

-- ---- the display --------------------------------------------------------------------------------

--- board.new{study =, readings = [, quiet =, output =, terminal =, width =, height =, clock =]} -> display
-- quiet: show nothing. For tests: output, an open file; terminal, whether it is one; width() and height() in
-- characters; clock(), in seconds.
function board.new(settings)
  local posix = core.posix
  local terminal = settings.terminal
  if terminal == nil then terminal = posix.is_terminal(1) and os.getenv "TERM" ~= "dumb" end
  local clock = settings.clock or posix.monotonic_time
  return setmetatable({
    study = settings.study, readings = settings.readings, quiet = settings.quiet, output = settings.output or io.stdout,
    terminal = terminal, width = settings.width or posix.terminal_width, clock = clock, started = clock(),
    height = settings.height or posix.terminal_height, drawn = 0,
  }, Board)
end

--- display:update()
-- Draw the table again, over what was drawn before, in one piece.
function Board:update()
  if self.quiet or not self.terminal then return end
  local lines = board.lines(self)
  local up = self.drawn > 0 and ("\27[%dA"):format(self.drawn) or ""
  self.output:write(up, "\r", table.concat(lines, "\27[K\n"), "\27[K\n\27[J")
  self.output:flush()
  self.drawn = #lines
end

-- Warn once, after the first trial that has finished without the metric, where none has it.
local function warn_of_metric(self, trial)
  if self.warned or trial.state ~= "finished" or trial.metric then return end
  local warning = results.warning(self.study)
  if not warning then return end
  self.warned = true
  if self.drawn > 0 then self.output:write(("\27[%dA\r\27[J"):format(self.drawn)) end
  self.output:flush()
  self.drawn = 0
  errors.warn(warning)
end

--- display:ended(trial)
-- A trial has ended, or was interrupted. The first that finishes without the metric gives a warning.
function Board:ended(trial)
  if self.quiet then return end
  warn_of_metric(self, trial)
  if self.terminal then return self:update() end
  local counts = self.study:counts()
  local metric = self.study.sweep.metric
  local words = {("trial %d %s"):format(trial.number, trial.state), "after " .. progress.duration(trial.seconds)}
  if metric then words[#words + 1] = ("%s %s"):format(metric.name, metric_text(self, trial.metric)) end
  words[#words + 1] = board.values(self.study.sweep, trial.values)
  if trial.problem then words[#words + 1] = trial.problem:gsub("%c", "?") end
  words[#words + 1] = "(" .. table.concat(count_texts(counts), ", ") .. ")"
  self.output:write(table.concat(words, ", "):gsub(", %(", " ("), "\n")
  self.output:flush()
end

return board
