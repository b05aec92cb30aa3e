--- Figures of a toy model of superposition: vectors in the plane, the network, responses to single features.
local gnuplot = require "spd.gnuplot"
local heatmaps = require "spd.figures.heatmaps"
local tables = require "spd.figures.tables"

local tms = {}

local MARGIN, TITLE_SIZE, NAME_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 22, 18, 16, 14
local BACKGROUND, HIDDEN_COLOR = "#f5f5f5", "#808080"
local WIDEST_PAGE = 2400
local MOST_FEATURES_DRAWN = 12 -- networks with more inputs are shown as heat maps
local FAINTEST = 0.02 -- weights below that fraction of the largest are not drawn

local function feature_color(i, n) return gnuplot.color("viridis", n > 1 and (i - 1) / (n - 1) or 0) end

-- ---- vectors in the plane -----------------------------------------------------------------------

local function reach(matrices)
  local longest = 0
  for _, W in ipairs(matrices) do
    for j = 1, #W[1] do
      local length = math.sqrt(W[1][j] ^ 2 + W[2][j] ^ 2)
      if tables.finite(length) then longest = math.max(longest, length) end
    end
  end
  return longest > 0 and longest * 1.15 or 1
end

-- The columns of W [2][n] as vectors from the origin, in a square of `size` pixels; limit: the range of both
-- axes.
local function plane(page, x, y, size, W, limit)
  local n, plots = #W[1], {}
  for j = 1, n do
    local color = feature_color(j, n)
    plots[j] = ("%s using 1:2 with lines linewidth 2.4 linecolor rgb '%s'")
      :format(page:columns({0, W[1][j]}, {0, W[2][j]}), color)
    plots[n + j] = ("%s using 1:2 with points pointtype 7 pointsize 1.4 linecolor rgb '%s'")
      :format(page:columns({W[1][j]}, {W[2][j]}), color)
  end
  local ticks = ("axis %.9g"):format(gnuplot.step(-limit, limit, 5))
  page:panel{
    x = x, y = y, width = size, height = size, border = 0, background = BACKGROUND,
    x_range = {-limit, limit}, y_range = {-limit, limit}, x_ticks = ticks, y_ticks = ticks,
    setup = {
      "set format ''",
      "set xzeroaxis linetype 1 linewidth 1.2 linecolor rgb '#222222'",
      "set yzeroaxis linetype 1 linewidth 1.2 linecolor rgb '#222222'",
    },
    plot = plots,
  }
end

-- ---- the network --------------------------------------------------------------------------------

local function spread(x, width, count)
  local places, step = {}, width / count
  for i = 1, count do places[i] = x + (i - 0.5) * step end
  return places, step
end

-- Edges between two rows of nodes, faint ones first; weight(i, j) between node i of the upper and j of the
-- lower row.
local function edges(list, upper, y1, lower, y2, weight)
  for i, x1 in ipairs(upper) do
    for j, x2 in ipairs(lower) do list[#list + 1] = {x1, y1, x2, y2, math.abs(weight(i, j))} end
  end
end

local function nodes(page, places, y, radius, color)
  for i, x in ipairs(places) do page:circle(x, y, radius, {fill = color(i), border = "#111111"}) end
end

-- Inputs, hidden and outputs of the network W1 [h][n], W2 [n][h]; the darkest edge is the weight `largest`.
local function network(page, x, y, width, height, W1, W2, largest)
  local h, n = #W1, #W1[1]
  local inputs, step = spread(x, width, n)
  local hidden, hidden_step = spread(x + 0.1 * width, 0.8 * width, h)
  local radius = math.max(4, math.min(13, 0.3 * step, 0.3 * hidden_step))
  local top, middle, bottom = y + radius + 1, y + height / 2, y + height - radius - 1
  local list = {}
  edges(list, inputs, top, hidden, middle, function(i, k) return W1[k][i] end)
  edges(list, hidden, middle, inputs, bottom, function(k, i) return W2[i][k] end)
  table.sort(list, function(a, b) return a[5] < b[5] end)
  page:rectangle(x + 0.06 * width, middle - radius - 10, 0.88 * width, 2 * radius + 20, BACKGROUND)
  for _, edge in ipairs(list) do
    local strength = math.min(1, edge[5] / largest)
    if strength > FAINTEST then
      local grey = math.floor(235 * (1 - strength) + 0.5)
      page:line(edge[1], edge[2], edge[3], edge[4],
        {width = 0.6 + 2.6 * strength, color = ("#%02x%02x%02x"):format(grey, grey, grey)})
    end
  end
  nodes(page, inputs, top, radius, function(i) return feature_color(i, n) end)
  nodes(page, hidden, middle, radius, function() return HIDDEN_COLOR end)
  nodes(page, inputs, bottom, radius, function(i) return feature_color(i, n) end)
end

-- ---- the diagram --------------------------------------------------------------------------------

-- A NaN has no place in the plane and no strength as an edge: 0.
local function finite_entries(rows)
  local out = {}
  for i, row in ipairs(rows) do
    out[i] = {}
    for j, value in ipairs(row) do out[i][j] = tables.finite(value) and value or 0 end
  end
  return out
end

local function diagram_columns(subject)
  local columns = {
    {title = "Target model", W1 = subject.target.W1, W2 = subject.target.W2},
    {title = "Sum of components", W1 = subject.sum.W1, W2 = subject.sum.W2},
  }
  for _, component in ipairs(subject.components or {}) do
    columns[#columns + 1] = {title = "Subcomponent " .. component.index, W1 = component.W, W2 = component.W2}
  end
  for _, column in ipairs(columns) do
    column.W1 = finite_entries(tables.rows(column.W1, column.title))
    column.W2 = finite_entries(tables.rows(column.W2, column.title))
    if #column.W1 ~= #column.W2[1] or #column.W1[1] ~= #column.W2 then
      tables.refuse("expected W1 [h][n] and W2 [n][h]", column.title)
    end
  end
  return columns
end

local function difference_panels(subject)
  local panels = {}
  for _, layer in ipairs{{"W1", "First matrix"}, {"W2", "Second matrix (transposed)"}} do
    local target = tables.rows(subject.target[layer[1]], layer[2])
    local sum = tables.rows(subject.sum[layer[1]], layer[2])
    if layer[1] == "W2" then target, sum = tables.transpose(target), tables.transpose(sum) end
    local difference = tables.difference(sum, target)
    local largest = 0
    for _, row in ipairs(difference) do
      for _, value in ipairs(row) do largest = math.max(largest, math.abs(value)) end
    end
    panels[#panels + 1] = {name = layer[2] .. ": target", values = target}
    panels[#panels + 1] = {name = layer[2] .. ": sum", values = sum}
    panels[#panels + 1] = {name = ("Difference, at most %.2g"):format(largest), values = difference}
  end
  return panels
end

--- tms.diagram(subject [, options]) -> page
function tms.diagram(subject, options)
  options = options or {}
  local n = #tables.rows(subject.target.W1, "Target model")[1]
  if n > MOST_FEATURES_DRAWN then
    return heatmaps.heatmaps(difference_panels(subject), {
      title = options.title or "Target model and sum of components", columns = 3, bar_title = "Weight",
    })
  end
  local columns, first = diagram_columns(subject), {}
  for i, column in ipairs(columns) do first[i] = column.W1 end
  local gap = 28
  local width = math.min(290, (WIDEST_PAGE - 2 * MARGIN + gap) // #columns - gap)
  local planar, name_row, label_row = #first[1] == 2, 36, 28
  local top = MARGIN + (options.title and 44 or 0)
  local network_top = top + name_row + (planar and width + 22 or 0) + label_row
  local network_height = math.floor(width * 0.8)
  local page = gnuplot.page(math.max(2 * MARGIN + #columns * (width + gap) - gap, 300),
    network_top + network_height + label_row + MARGIN)
  if options.title then page:text(page.width / 2, MARGIN + 14, options.title, {size = TITLE_SIZE}) end
  local target, sum = columns[1], columns[2]
  local limit, largest = planar and reach(first), tables.largest{target.W1, target.W2, sum.W1, sum.W2}
  for i, column in ipairs(columns) do
    local x = MARGIN + (i - 1) * (width + gap)
    page:text(x + width / 2, top + 14, column.title, {size = NAME_SIZE, within = width + gap})
    if planar then plane(page, x, top + name_row, width, column.W1, limit) end
    network(page, x, network_top, width, network_height, column.W1, column.W2, largest)
  end
  page:text(MARGIN, network_top - 14, "Inputs", {size = LABEL_SIZE, align = "left"})
  page:text(MARGIN, network_top + network_height + 16, "Outputs (before bias & ReLU)",
    {size = LABEL_SIZE, align = "left"})
  return page
end

-- ---- a target by itself -------------------------------------------------------------------------

local function cosines(W)
  local n, norms, out = #W[1], {}, {}
  local function dot(i, j)
    local sum = 0
    for _, row in ipairs(W) do sum = sum + row[i] * row[j] end
    return sum
  end
  for i = 1, n do norms[i] = math.sqrt(dot(i, i)) end
  for i = 1, n do
    out[i] = {}
    for j = 1, n do out[i][j] = dot(i, j) / (norms[i] * norms[j]) end
  end
  return out
end

-- For feature i: its own output at every magnitude, and the largest of the others.
local function responses(outputs, i)
  local own, others = {}, {}
  for k, rows in ipairs(outputs) do
    own[k], others[k] = rows[i][i], -math.huge
    for j, value in ipairs(rows[i]) do
      if j ~= i then others[k] = math.max(others[k], value) end
    end
  end
  return own, others
end

local function response_panel(page, x, y, size, magnitudes, outputs)
  local n, plots, lists = #outputs[1], {}, {magnitudes}
  for i = 1, n do
    local own, others = responses(outputs, i)
    local color = feature_color(i, n)
    local own_data, other_data = page:columns(magnitudes, own), page:columns(magnitudes, others)
    plots[i] = ("%s using 1:2 with lines linewidth 2 linecolor rgb '%s'"):format(own_data, color)
    plots[n + i] = ("%s using 1:2 with lines linewidth 1.5 dashtype 2 linecolor rgb '%s'")
      :format(other_data, color)
    lists[#lists + 1], lists[#lists + 2] = own, others
  end
  local low, high = tables.range(lists)
  high = (high or 1) * 1.06
  local _, last = tables.range{magnitudes}
  local diagonal = page:columns({0, last}, {0, last})
  table.insert(plots, 1, diagonal .. " using 1:2 with lines linewidth 1.5 linecolor rgb '#cccccc'")
  low = math.min(0, low or 0)
  page:panel{
    x = x, y = y, width = size, height = size, x_range = {low, last}, y_range = {low, high},
    x_ticks = gnuplot.ticks(0, last, 6), y_ticks = gnuplot.ticks(0, high, 6), plot = plots,
  }
  local notes = {
    {"output of the feature", "#333333"},
    {"largest other output", "#333333", true},
    {"output = input", "#cccccc"},
  }
  for k, note in ipairs(notes) do
    local at = y + 14 + (k - 1) * 22
    page:line(x + 16, at, x + 46, at, {width = 2, color = note[2], dashed = note[3]})
    page:text(x + 54, at, note[1], {size = NOTE_SIZE, align = "left"})
  end
  page:text(x + size / 2, y + size + 46, "Input magnitude of a single feature", {size = LABEL_SIZE})
  page:text(x - 56, y + size / 2, "Output", {size = LABEL_SIZE, rotate = true})
end

-- Which colour stands for which feature: a dot and number for each, or every second, third, ... of many.
local function feature_legend(page, x, y, n)
  local every = math.ceil(n / 14)
  page:text(x, y, "Feature", {size = NOTE_SIZE, align = "left"})
  for i = 1, n, every do
    local at = y + 24 + (i - 1) // every * 24
    page:circle(x + 8, at, 6, {fill = feature_color(i, n)})
    page:text(x + 22, at, tostring(i - 1), {size = NOTE_SIZE, align = "left"})
  end
end

--- tms.target(subject [, options]) -> page
function tms.target(subject, options)
  options = options or {}
  local W = tables.rows(subject.W1, "W1")
  local magnitudes, outputs = tables.list(subject.magnitudes, "magnitudes"), {}
  for k in ipairs(magnitudes) do outputs[k] = tables.rows(subject.outputs[k], "outputs") end
  local planar, n = #W == 2, #W[1]
  local size = n < 400 and 400 // n * n or 400
  local top = MARGIN + (options.title and 44 or 0) + 36
  local plane_x = MARGIN
  local cosine_x = planar and plane_x + size + 80 or MARGIN + 60
  local response_x = cosine_x + size + 180
  local page = gnuplot.page(response_x + size + 100, top + size + 62 + MARGIN // 2)
  if options.title then page:text(page.width / 2, MARGIN + 14, options.title, {size = TITLE_SIZE}) end
  local function name(x, text) page:text(x + size / 2, top - 18, text, {size = NAME_SIZE}) end
  if planar then
    plane(page, plane_x, top, size, finite_entries(W), reach{W})
    name(plane_x, "Features in the hidden plane")
  end
  heatmaps.map(page, {
    rows = cosines(W), x = cosine_x, y = top, width = size, height = size,
    palette = "coolwarm", range = {-1, 1},
  })
  name(cosine_x, "Cosine similarities of features")
  page:text(cosine_x + size / 2, top + size + 46, "Feature", {size = LABEL_SIZE})
  page:color_bar(cosine_x + size + 18, top, size, "coolwarm", {-1, 1})
  response_panel(page, response_x, top, size, magnitudes, outputs)
  name(response_x, "Responses to single features")
  feature_legend(page, response_x + size + 24, top + 14, n)
  return page
end

return tms
