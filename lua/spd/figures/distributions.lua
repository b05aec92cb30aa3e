--- Figures with axes: histograms, sorted bars, curves over steps.
local gnuplot = require "spd.gnuplot"
local tables = require "spd.figures.tables"

local distributions = {}

local MARGIN, TITLE_SIZE, NAME_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 22, 18, 16, 14
local TITLE_ROW, NAME_ROW, AXIS_ROW = 44, 32, 72 -- AXIS_ROW: ticks and label below a panel
local AXIS_COLUMN = 84 -- label and ticks left of a panel
local GAP = 30
local BINS = 100
local BARS = " using 1:2 with boxes linecolor rgb '#3a76af'"
local NEGATIVE_BARS = " using 1:2 with boxes linecolor rgb '#c44e52'"
local GRID = "linetype 1 linewidth 0.6 linecolor rgb '#dddddd'"
local MOST_DECADES = 6 -- of the logarithmic scale of mean importances

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
    local within = height + 60
    local size = gnuplot.text_width(text.y, LABEL_SIZE) <= within and LABEL_SIZE or NOTE_SIZE
    page:text(x - AXIS_COLUMN + 14, y + height / 2, text.y, {size = size, within = within, rotate = true})
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

local function total_of(counts)
  local total = 0
  for _, count in ipairs(counts) do total = total + count end
  return total
end

--- distributions.histograms(panels [, options]) -> page
function distributions.histograms(panels, options)
  options = options or {}
  local most, centres = 1, {}
  for _, panel in ipairs(tables.items(panels)) do
    if #tables.list(panel.counts, panel.name) ~= BINS then
      error(("%s: expected counts of %d bins"):format(tostring(panel.name), BINS), 0)
    end
    most = math.max(most, panel.negative, table.unpack(panel.counts))
  end
  for b = 1, BINS do centres[b] = (b - 0.5) / BINS end
  local width, height, columns = 440, 300, columns_for(#panels)
  local page, place = grid(#panels, columns, width, height, options.title or "Causal importances")
  local high = 10.0 ^ math.ceil(math.log(most, 10) + 0.02)
  for i, panel in ipairs(panels) do
    local x, y = place(i)
    local bars = page:columns(centres, panel.counts) .. BARS
    local negative = page:columns({-1.5 / BINS}, {panel.negative}) .. NEGATIVE_BARS
    page:panel{
      x = x, y = y, width = width, height = height, x_range = {-2.5 / BINS, 1}, y_range = {0.5, high}, log_y = true,
      x_ticks = gnuplot.ticks(0, 1, 6), y_ticks = gnuplot.log_ticks(1, high, 6),
      setup = {bar_style(1 / BINS, 1 / width)}, plot = {bars, negative},
    }
    caption(page, x, y, width, height, {
      name = panel.name, x = "Causal importance", y = (i - 1) % columns == 0 and "Count" or nil,
      note = ("%d values, %d negative (red)"):format(total_of(panel.counts) + panel.negative, panel.negative),
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
  local width, height, columns = 440, 320, columns_for(#panels)
  local title, threshold = options.title or "How often subcomponents are active", options.threshold
  local page, place = grid(#panels, columns, width, height, title)
  local high = 1.12 * highest(sorted)
  for i, panel in ipairs(panels) do
    local x, y = place(i)
    sorted_panel(page, x, y, width, height, sorted[i], {low = 0, high = high})
    caption(page, x, y, width, height, {
      name = panel.name, x = "Subcomponents, most active first",
      y = (i - 1) % columns == 0 and (options.label or "Mean activations per example") or nil,
      note = threshold and ("%d of %d above %g"):format(count_above(sorted[i], threshold), #sorted[i], threshold),
    })
  end
  return page
end

-- A linear scale, and a logarithmic one down to the smallest value of the largest decades, if it is much smaller.
local function mean_scales(sorted)
  local high = highest(sorted)
  local decade, low = math.ceil(math.log(high, 10) + 0.01), high
  for _, list in ipairs(sorted) do
    for _, x in ipairs(list) do
      if x > 10.0 ^ (decade - MOST_DECADES) then low = math.min(low, x) end
    end
  end
  local scales = {{low = 0, high = 1.08 * high, label = "Mean importance"}}
  if low < 0.1 * high then
    local lowest = math.floor(math.log(low, 10) - 0.01)
    scales[2] = {low = 10.0 ^ lowest, high = 10.0 ^ decade, log = true, label = "Mean importance (log)"}
  end
  return scales
end

--- distributions.mean_importances(panels [, options]) -> page
function distributions.mean_importances(panels, options)
  options = options or {}
  local sorted = sorted_lists(panels, "values")
  local width, height, columns = 440, 240, columns_for(#panels)
  local scales = mean_scales(sorted)
  local blocks = math.ceil(#panels / columns)
  local title = options.title or "Mean causal importances"
  local page, place = grid(#scales * blocks * columns, columns, width, height, title)
  for i, panel in ipairs(panels) do
    for row, scale in ipairs(scales) do
      local column, block = (i - 1) % columns, (i - 1) // columns
      local x, y = place((#scales * block + row - 1) * columns + column + 1)
      sorted_panel(page, x, y, width, height, sorted[i], scale)
      caption(page, x, y, width, height, {
        name = row == 1 and panel.name or nil, x = row == #scales and "Subcomponents, most important first" or nil,
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

local function legend(page, x, y, names, width)
  for i, name in ipairs(names) do
    local at = y + (i - 1) * 24
    page:line(x, at, x + 26, at, {width = 3, color = color_of(i)})
    page:text(x + 34, at, name, {size = NOTE_SIZE, within = width, align = "left"})
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

-- What a panel of curves shows, and the range of its y axis.
local function prepare(panel)
  local one = {log = not panel.linear, xs = {}, ys = {}, names = {}, name = panel.name, y_label = panel.y_label}
  for i, series in ipairs(tables.items(panel.series)) do
    one.xs[i], one.ys[i] = shown(series, one.log)
    one.names[i] = tostring(series.name or i)
  end
  local low, high = tables.range(one.ys)
  if not low then tables.refuse("there is no number to draw", panel.name) end
  one.low, one.high = widened(low, high, one.log)
  return one
end

local function draw_curves(page, x, y, width, height, x_range, one)
  local plots = {}
  for i = 1, #one.xs do
    plots[i] = ("%s using 1:2 with %s linewidth 2 linecolor rgb '%s'"):format(page:columns(one.xs[i], one.ys[i]),
      #one.xs[i] == 1 and "points pointtype 7" or "lines", color_of(i))
  end
  page:panel{
    x = x, y = y, width = width, height = height,
    x_range = x_range, x_ticks = gnuplot.ticks(x_range[1], x_range[2], 8), y_range = {one.low, one.high},
    y_ticks = (one.log and gnuplot.log_ticks or gnuplot.ticks)(one.low, one.high, 8), log_y = one.log,
    setup = {"set grid ytics " .. GRID}, plot = plots,
  }
end

--- distributions.curves(panels [, options]) -> page
function distributions.curves(panels, options)
  options = options or {}
  local prepared, all_x, longest, most = {}, {}, 0, 0
  for i, panel in ipairs(tables.items(panels)) do
    local one = prepare(panel)
    prepared[i], most = one, math.max(most, #one.names)
    table.move(one.xs, 1, #one.xs, #all_x + 1, all_x)
    for _, name in ipairs(one.names) do longest = math.max(longest, gnuplot.text_width(name, NOTE_SIZE)) end
  end
  local x_low, x_high = tables.range(all_x)
  if x_low == x_high then x_low, x_high = x_low - 1, x_high + 1 end
  local width, height, side = 820, math.max(#panels > 1 and 260 or 460, 24 * most), math.min(360, longest + 20)
  local top = MARGIN + (options.title and TITLE_ROW or 0)
  local left, step = MARGIN + AXIS_COLUMN, NAME_ROW + height + AXIS_ROW
  local page = gnuplot.page(left + width + 58 + side, top + #panels * step + MARGIN // 2)
  if options.title then
    page:text(left + width / 2, MARGIN + 12, options.title, {size = TITLE_SIZE, within = width + 100})
  end
  for i, one in ipairs(prepared) do
    local y = top + NAME_ROW + (i - 1) * step
    draw_curves(page, left, y, width, height, {x_low, x_high}, one)
    caption(page, left, y, width, height, {name = one.name, x = options.x_label or "Step", y = one.y_label})
    legend(page, left + width + 22, y + 14, one.names, side)
  end
  return page
end

return distributions
