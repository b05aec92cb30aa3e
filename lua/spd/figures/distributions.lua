--- Figures with axes: histograms, sorted bars, curves over steps, scatter plots.
local gnuplot = require "spd.gnuplot"
local metrics = require "spd.metrics"
local tables = require "spd.figures.tables"

local distributions = {}

local MARGIN, TITLE_SIZE, NAME_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 22, 18, 16, 14
local TITLE_ROW, NAME_ROW, AXIS_ROW = 44, 32, 72 -- AXIS_ROW: ticks and label below a panel
local AXIS_COLUMN = 84 -- label and ticks left of a panel
local GAP = 30
local BINS = 100
local BARS = " using 1:2 with boxes linecolor rgb '#3a76af'"
local IDENTITY = " using 1:2 with lines linewidth 2 dashtype 2 linecolor rgb '#bbbbbb'"
local GRID = "linetype 1 linewidth 0.6 linecolor rgb '#dddddd'"
local ALIVE = 0.001 -- a subcomponent that is active on more examples than that counts as alive

-- ---- a grid of panels ---------------------------------------------------------------------------

local function columns_for(count)
  return count <= 3 and count or count == 4 and 2 or count <= 9 and 3 or 4
end

-- A page with room for `count` panels; place(k) gives the corner of panel k.
local function grid(count, columns, width, height, title)
  local cell_width, cell_height = AXIS_COLUMN + width + GAP, NAME_ROW + height + AXIS_ROW
  local top = MARGIN + (title and TITLE_ROW or 0)
  local rows = math.ceil(count / columns)
  local page = gnuplot.page(MARGIN + columns * cell_width, top + rows * cell_height + MARGIN // 2)
  if title then
    page:text(page.width / 2, MARGIN + 14, title, {size = TITLE_SIZE, within = page.width - 20})
  end
  return page, function(k)
    local column, row = (k - 1) % columns, (k - 1) // columns
    return MARGIN + AXIS_COLUMN + column * cell_width, top + NAME_ROW + row * cell_height
  end
end

-- Name above a panel, labels below and left of it.
local function caption(page, x, y, width, height, text)
  if text.name then
    page:text(x + width / 2, y - NAME_ROW / 2 - 2, text.name, {size = NAME_SIZE, within = width + 60})
  end
  if text.x then page:text(x + width / 2, y + height + 44, text.x, {size = LABEL_SIZE}) end
  if text.y then
    page:text(x - AXIS_COLUMN + 14, y + height / 2, text.y,
      {size = LABEL_SIZE, within = height + 60, rotate = true})
  end
  if text.note then
    page:text(x + width - 6, y + 12, text.note, {size = NOTE_SIZE, align = "right", color = "#444444"})
  end
end

-- Touching bars overlap by a pixel, so that no seams show between them.
local function bar_style(width, pixel)
  return ("set boxwidth %.9g; set style fill solid 1 noborder"):format(width + pixel)
end

-- ---- histograms ---------------------------------------------------------------------------------

local function bin(values)
  local counts = {}
  for b = 1, BINS do counts[b] = 0 end
  for _, x in ipairs(values) do
    if x == x then
      local b = math.floor(math.min(0.999999, math.max(0, x)) * BINS) + 1
      counts[b] = counts[b] + 1
    end
  end
  return counts
end

--- distributions.histograms(panels [, options]) -> page
function distributions.histograms(panels, options)
  options = options or {}
  tables.items(panels)
  local counted, most = {}, 1
  for i, panel in ipairs(panels) do
    local list = tables.list(panel.counts or panel.values, panel.name)
    counted[i] = panel.counts and list or bin(list)
    most = math.max(most, table.unpack(counted[i]))
  end
  local width, height, columns = 440, 300, columns_for(#panels)
  local page, place = grid(#panels, columns, width, height, options.title or "Causal importances")
  local high = 10.0 ^ math.ceil(math.log(most, 10) + 0.02)
  for i, panel in ipairs(panels) do
    local x, y = place(i)
    local lefts, bins, total = {}, #counted[i], 0
    for b, count in ipairs(counted[i]) do lefts[b], total = (b - 0.5) / bins, total + count end
    page:panel{
      x = x, y = y, width = width, height = height, x_range = {0, 1}, y_range = {0.5, high}, log_y = true,
      x_ticks = gnuplot.ticks(0, 1, 6), y_ticks = gnuplot.log_ticks(1, high, 6),
      setup = {bar_style(1 / bins, 1 / width)},
      plot = {page:columns(lefts, counted[i]) .. BARS},
    }
    caption(page, x, y, width, height, {
      name = panel.name, x = "Causal importance", y = (i - 1) % columns == 0 and "Count" or nil,
      note = ("%d values"):format(total),
    })
  end
  return page
end

-- ---- numbers of the subcomponents, in descending order ------------------------------------------

local function descending(list)
  local sorted = {}
  for i, x in ipairs(list) do sorted[i] = x == x and x or 0 end
  table.sort(sorted, function(a, b) return a > b end)
  return sorted
end

-- One sorted list per panel; a NaN counts as 0.
local function sorted_lists(panels, key)
  local sorted = {}
  for i, panel in ipairs(tables.items(panels)) do
    sorted[i] = descending(tables.list(panel[key], panel.name))
  end
  return sorted
end

-- Bars of the values from the largest on. scale: {low, high, log}.
local function sorted_panel(page, x, y, width, height, values, scale)
  local ranks = {}
  for i = 1, #values do ranks[i] = i - 1 end
  page:panel{
    x = x, y = y, width = width, height = height,
    x_range = {-0.5 - 0.01 * #values, #values - 0.5}, y_range = {scale.low, scale.high}, log_y = scale.log,
    x_ticks = gnuplot.index_ticks(#values, 8),
    y_ticks = (scale.log and gnuplot.log_ticks or gnuplot.ticks)(scale.low, scale.high, 6),
    setup = {#values <= 100 and bar_style(0.8, 0) or bar_style(1, #values / width)},
    plot = {page:columns(ranks, values) .. BARS},
  }
end

local function count_above(values, threshold)
  local count = 0
  for _, x in ipairs(values) do
    if x > threshold then count = count + 1 end
  end
  return count
end

local function highest(lists)
  local _, high = tables.range(lists)
  return high and high > 0 and high or 1
end

--- distributions.activation_counts(panels [, options]) -> page
function distributions.activation_counts(panels, options)
  options = options or {}
  local sorted = sorted_lists(panels, "counts")
  local width, height, columns = 440, 300, columns_for(#panels)
  local title = options.title or "How often subcomponents are active"
  local page, place = grid(#panels, columns, width, height, title)
  local high = 1.12 * highest(sorted)
  for i, panel in ipairs(panels) do
    local x, y = place(i)
    sorted_panel(page, x, y, width, height, sorted[i], {low = 0, high = high})
    caption(page, x, y, width, height, {
      name = panel.name, x = "Subcomponents, most active first",
      y = (i - 1) % columns == 0 and (options.label or "Mean activations per example") or nil,
      note = ("%d of %d above %g"):format(count_above(sorted[i], ALIVE), #sorted[i], ALIVE),
    })
  end
  return page
end

--- distributions.mean_importances(panels [, options]) -> page
function distributions.mean_importances(panels, options)
  options = options or {}
  local sorted = sorted_lists(panels, "values")
  local width, height, columns = 440, 240, columns_for(#panels)
  local blocks = math.ceil(#panels / columns)
  local title = options.title or "Mean causal importances"
  local page, place = grid(2 * blocks * columns, columns, width, height, title)
  local high = highest(sorted)
  local decade = 10.0 ^ math.ceil(math.log(high, 10) + 0.01)
  local scales = {
    {low = 0, high = 1.08 * high, label = "Mean importance"},
    {low = 1e-6 * decade, high = decade, log = true, label = "Mean importance (log)"},
  }
  for i, panel in ipairs(panels) do
    for row, scale in ipairs(scales) do
      local column, block = (i - 1) % columns, (i - 1) // columns
      local x, y = place((2 * block + row - 1) * columns + column + 1)
      sorted_panel(page, x, y, width, height, sorted[i], scale)
      caption(page, x, y, width, height, {
        name = row == 1 and panel.name or nil, x = row == 2 and "Subcomponents, most important first" or nil,
        y = column == 0 and scale.label or nil,
      })
    end
  end
  return page
end

-- ---- curves -------------------------------------------------------------------------------------

-- The points of a series that can be shown; y on a logarithmic axis must be positive.
local function shown(series, log)
  local x, y = tables.list(series.x, series.name), tables.list(series.y, series.name)
  if #x ~= #y then tables.refuse(("%d x for %d y"):format(#x, #y), series.name) end
  local ys = {}
  for i, value in ipairs(y) do
    ys[i] = tables.finite(value) and (not log or value > 0) and value or 0 / 0
  end
  return x, ys
end

local function color_of(i) return gnuplot.series_colors[(i - 1) % #gnuplot.series_colors + 1] end

local function legend(page, x, y, names, width, dots)
  for i, name in ipairs(names) do
    local at = y + (i - 1) * 24
    if dots then
      page:circle(x + 18, at, 5, {fill = color_of(i)})
    else
      page:line(x, at, x + 26, at, {width = 3, color = color_of(i)})
    end
    page:text(x + 34, at, name, {size = NOTE_SIZE, within = width, align = "left"})
  end
end

-- The title above a page's only panel.
local function headline(page, x, width, title)
  if title then
    page:text(x + width / 2, MARGIN + 12, title, {size = TITLE_SIZE, within = width + 100})
  end
end

local function widened(low, high, log)
  if log then
    if high / low < 2 then low, high = low / 2, high * 2 end
    return low / 1.1, high * 1.1
  end
  local pad = high > low and 0.04 * (high - low) or math.max(0.5, math.abs(high) * 0.5)
  return low - pad, high + pad
end

--- distributions.curves(series [, options]) -> page
function distributions.curves(series, options)
  options = options or {}
  local log, xs, ys, names, longest = not options.linear, {}, {}, {}, 0
  for i, one in ipairs(tables.items(series)) do
    xs[i], ys[i] = shown(one, log)
    names[i] = tostring(one.name or i)
    longest = math.max(longest, gnuplot.text_width(names[i], NOTE_SIZE))
  end
  local x_low, x_high = tables.range(xs)
  local y_low, y_high = tables.range(ys)
  if not x_low or not y_low then tables.refuse "there is no number to draw" end
  if x_low == x_high then x_low, x_high = x_low - 1, x_high + 1 end
  y_low, y_high = widened(y_low, y_high, log)
  local width, height, side = 820, math.max(460, 24 * #names), math.min(360, longest + 20)
  local top = MARGIN + (options.title and TITLE_ROW or 4)
  local left, plots = MARGIN + AXIS_COLUMN, {}
  local page = gnuplot.page(left + width + 58 + side, top + height + AXIS_ROW + MARGIN // 2)
  for i = 1, #xs do
    plots[i] = ("%s using 1:2 with %s linewidth 2 linecolor rgb '%s'"):format(page:columns(xs[i], ys[i]),
      #xs[i] == 1 and "points pointtype 7" or "lines", color_of(i))
  end
  page:panel{
    x = left, y = top, width = width, height = height,
    x_range = {x_low, x_high}, x_ticks = gnuplot.ticks(x_low, x_high, 8), y_range = {y_low, y_high},
    y_ticks = (log and gnuplot.log_ticks or gnuplot.ticks)(y_low, y_high, 8), log_y = log,
    setup = {"set grid ytics " .. GRID}, plot = plots,
  }
  headline(page, left, width, options.title)
  caption(page, left, top, width, height, {x = options.x_label or "Step", y = options.y_label})
  legend(page, left + width + 22, top + 14, names, side)
  return page
end

-- ---- scatter ------------------------------------------------------------------------------------

local function pooled(xs, ys)
  local x, y = {}, {}
  for i = 1, #xs do
    for k = 1, #xs[i] do
      local a, b = xs[i][k], ys[i][k]
      if tables.finite(a) and tables.finite(b) then x[#x + 1], y[#y + 1] = a, b end
    end
  end
  return x, y
end

--- distributions.scatter(series [, options]) -> page
function distributions.scatter(series, options)
  options = options or {}
  local xs, ys, names = {}, {}, {}
  for i, one in ipairs(tables.items(series)) do
    xs[i], ys[i] = shown(one, false)
    names[i] = one.name and tostring(one.name) or nil
  end
  local x, y = pooled(xs, ys)
  local low, high = tables.range{x, y}
  if not low then tables.refuse "there is no number to draw" end
  low, high = widened(low, high)
  local size, left, top = 760, MARGIN + AXIS_COLUMN, MARGIN + (options.title and TITLE_ROW or 4)
  local side = #names > 1 and 190 or 20
  local page, plots = gnuplot.page(left + size + side + MARGIN, top + size + AXIS_ROW + MARGIN // 2), {}
  if options.identity ~= false then
    plots[1] = page:columns({low, high}, {low, high}) .. IDENTITY
  end
  for i = 1, #xs do
    plots[#plots + 1] = ("%s using 1:2 with points pointtype 7 pointsize 0.7 linecolor rgb '#70%s'"):format(
      page:columns(xs[i], ys[i]), color_of(i):sub(2))
  end
  local ticks = gnuplot.ticks(low, high, 7)
  page:panel{
    x = left, y = top, width = size, height = size,
    x_range = {low, high}, y_range = {low, high}, x_ticks = ticks, y_ticks = ticks,
    setup = {"set grid xtics ytics " .. GRID}, plot = plots,
  }
  headline(page, left, size, options.title)
  caption(page, left, top, size, size, {x = options.x_label, y = options.y_label})
  if options.correlation ~= false then
    local text = ("Correlation: %.3f"):format(metrics.correlation(x, y))
    local box = gnuplot.text_width(text, LABEL_SIZE) + 20
    page:rectangle(left + 24, top + 18, box, 32, "#f3e8d2")
    page:text(left + 24 + box / 2, top + 34, text, {size = LABEL_SIZE})
  end
  if #names > 1 then legend(page, left + size + 22, top + 14, names, side - 60, true) end
  return page
end

return distributions
