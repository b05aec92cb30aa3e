--- The figure of a swept parameter: the metric of trials against its values.
local gnuplot = require "spd.gnuplot"
local tables = require "spd.figures.tables"

local sweep = {}

local MARGIN, TITLE_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 20, 16, 14
local TITLE_ROW, NOTE_ROW, AXIS_ROW, AXIS_COLUMN = 36, 28, 72, 96
local WIDTH, HEIGHT = 660, 420
local GRID = "set grid ytics linetype 1 linewidth 0.6 linecolor rgb '#dddddd'"
local DOT_COLOR, MEAN_COLOR, BEST_COLOR = "#0072b2", "#444444", "#d55e00"
local LOG_RATIO = 30 -- metrics that differ by more than that have a logarithmic axis
local JITTER = 0.16 -- how far dots of one category spread

-- The trials that can be shown, and whether the y axis is logarithmic.
local function shown(subject)
  local xs, ys = tables.list(subject.x, subject.name), tables.list(subject.y, subject.name)
  if #xs ~= #ys then tables.refuse(("%d values for %d trials"):format(#xs, #ys), subject.name) end
  local x, y = {}, {}
  for i, value in ipairs(ys) do
    if tables.finite(value) and tables.finite(xs[i]) then x[#x + 1], y[#y + 1] = xs[i], value end
  end
  if #x == 0 then tables.refuse("no trial has a number to draw", subject.name) end
  local low, high = tables.range{y}
  return x, y, low > 0 and high / low > LOG_RATIO
end

local function widened(low, high, log)
  if log then
    if high / low < 2 then low, high = low / 2, high * 2 end
    local factor = (high / low) ^ 0.05
    return low / factor, high * factor
  end
  local pad = high > low and 0.06 * (high - low) or math.max(0.5, math.abs(high) * 0.5)
  return low - pad, high + pad
end

-- Means of y by x, ascending; several: whether any x has more than one trial.
local function means_of(x, y)
  local sums, counts, at, several = {}, {}, {}, false
  for i, value in ipairs(x) do
    if not sums[value] then at[#at + 1], sums[value], counts[value] = value, 0.0, 0 end
    sums[value], counts[value] = sums[value] + y[i], counts[value] + 1
    several = several or counts[value] > 1
  end
  table.sort(at)
  local means = {}
  for i, value in ipairs(at) do means[i] = sums[value] / counts[value] end
  return at, means, several
end

-- Dots of one category next to each other, in the order of the trials.
local function spread(x)
  local total, seen, out = {}, {}, {}
  for _, value in ipairs(x) do total[value] = (total[value] or 0) + 1 end
  for i, value in ipairs(x) do
    seen[value] = (seen[value] or 0) + 1
    local place = total[value] > 1 and (seen[value] - 1) / (total[value] - 1) - 0.5 or 0
    out[i] = value + 2 * JITTER * place
  end
  return out
end

local function best_of(y, maximize)
  local best = 1
  for i, value in ipairs(y) do
    if maximize and value > y[best] or not maximize and value < y[best] then best = i end
  end
  return best
end

-- Range, ticks and kind of the x axis.
local function x_axis(subject, x)
  local names = subject.categories
  if names then
    local room, short = WIDTH / #names, {}
    for i, name in ipairs(names) do short[i] = gnuplot.shorten(name, NOTE_SIZE, math.max(room - 8, 72)) end
    local every = math.max(1, math.ceil(80 / room))
    return {range = {-0.5, #names - 0.5}, ticks = gnuplot.named_ticks(short, every)}
  end
  local low, high = tables.range{x}
  local log = subject.log_x and low > 0
  low, high = widened(low, high, log)
  return {range = {low, high}, log = log, ticks = (log and gnuplot.log_ticks or gnuplot.ticks)(low, high, 7)}
end

local function legend(page, x, y, several)
  page:circle(x, y, 5, {fill = DOT_COLOR})
  page:text(x + 12, y, "trial", {size = NOTE_SIZE, align = "left"})
  page:circle(x + 66, y, 7, {fill = "#ffffff", border = BEST_COLOR})
  page:circle(x + 66, y, 4, {fill = BEST_COLOR})
  page:text(x + 80, y, "best", {size = NOTE_SIZE, align = "left"})
  if several then
    page:line(x + 132, y, x + 160, y, {width = 2, color = MEAN_COLOR})
    page:text(x + 168, y, "mean", {size = NOTE_SIZE, align = "left"})
  end
end

-- Dots, the means, and the best trial on top.
local function plots_of(page, subject, x, y)
  local at, means, several = means_of(x, y)
  local dots, best = subject.categories and spread(x) or x, best_of(y, subject.maximize)
  local plots = {}
  if several then
    plots[1] = page:columns(at, means) .. (" using 1:2 with linespoints pointtype 2 pointsize 1.2 linewidth 2 " ..
      "linecolor rgb '%s'"):format(MEAN_COLOR)
  end
  plots[#plots + 1] = page:columns(dots, y) .. (" using 1:2 with points pointtype 7 pointsize 1.1 " ..
    "linecolor rgb '#60%s'"):format(DOT_COLOR:sub(2))
  local top = page:columns({dots[best]}, {y[best]})
  plots[#plots + 1] = top .. (" using 1:2 with points pointtype 7 pointsize 1.1 linecolor rgb '%s'"):format(BEST_COLOR)
  plots[#plots + 1] = top .. (" using 1:2 with points pointtype 6 pointsize 2 linewidth 2 linecolor rgb '%s'"):format(
    BEST_COLOR)
  return plots, several
end

--- sweep.parameter(subject [, options]) -> page
function sweep.parameter(subject, options)
  options = options or {}
  local x, y, log_y = shown(subject)
  local left, top = MARGIN + AXIS_COLUMN, MARGIN + TITLE_ROW + NOTE_ROW
  local page = gnuplot.page(left + WIDTH + 24, top + HEIGHT + AXIS_ROW)
  local axis, low, high = x_axis(subject, x), tables.range{y}
  low, high = widened(low, high, log_y)
  local plots, several = plots_of(page, subject, x, y)
  page:panel{
    x = left, y = top, width = WIDTH, height = HEIGHT, x_range = axis.range, x_ticks = axis.ticks, log_x = axis.log,
    y_range = {low, high}, y_ticks = (log_y and gnuplot.log_ticks or gnuplot.ticks)(low, high, 7), log_y = log_y,
    setup = {GRID}, plot = plots,
  }
  local title = options.title or ("%s against %s"):format(subject.metric, subject.name)
  page:text(left + WIDTH / 2, MARGIN + 14, title, {size = TITLE_SIZE, within = WIDTH + AXIS_COLUMN})
  legend(page, left + 8, MARGIN + TITLE_ROW + 10, several)
  if subject.note then
    page:text(left + WIDTH, MARGIN + TITLE_ROW + 10, subject.note, {size = NOTE_SIZE, align = "right"})
  end
  page:text(left + WIDTH / 2, top + HEIGHT + 46, subject.name, {size = LABEL_SIZE, within = WIDTH})
  page:text(MARGIN + 14, top + HEIGHT / 2, subject.metric, {size = LABEL_SIZE, rotate = true, within = HEIGHT + 60})
  return page
end

return sweep
