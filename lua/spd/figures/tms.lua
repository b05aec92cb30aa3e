--- Figures of a toy model of superposition: vectors in the plane, the network, responses to single features.
local gnuplot = require "spd.gnuplot"
local heatmaps = require "spd.figures.heatmaps"
local tables = require "spd.figures.tables"

local tms = {}

local MARGIN, TITLE_SIZE, NAME_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 22, 18, 16, 14
local BACKGROUND, HIDDEN_COLOR = "#f5f5f5", "#808080"
local WIDEST_PAGE = 2400
local MOST_FEATURES_DRAWN = 12 -- networks with more inputs are shown as heat maps
local MOST_COMPONENTS, MOST_MAPS = 8, 28 -- shown in a diagram: as networks, as heat maps
local FAINTEST = 0.02 -- weights below that fraction of the largest are not drawn
local SHORTEST = 0.05 -- vectors below that fraction of the longest have no dot at their end
local PLAIN_COLOR, OTHER_COLOR = "#3a76af", "#d55e00"

-- Nobody tells many colours apart: then all are the same.
local function feature_color(i, n)
  if n > MOST_FEATURES_DRAWN then return PLAIN_COLOR end
  return gnuplot.color("viridis", n > 1 and (i - 1) / (n - 1) or 0)
end

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

-- Ticks at the axes of a plane, with numbers, but not at the origin.
local function plane_ticks(limit)
  local step, list = gnuplot.step(-limit, limit, 5), {}
  for k = 1, math.floor(limit / step) do
    for sign = -1, 1, 2 do list[#list + 1] = ("'%g' %.9g"):format(sign * k * step, sign * k * step) end
  end
  return "axis (" .. table.concat(list, ", ") .. ")"
end

-- The columns of W [2][n] as vectors from the origin, in a square of `size` pixels; limit: the range of both
-- axes.
local function plane(page, x, y, size, W, limit)
  local n, lines, dots = #W[1], {}, {}
  for j = 1, n do
    local color, length = feature_color(j, n), math.sqrt(W[1][j] ^ 2 + W[2][j] ^ 2)
    if length > FAINTEST * limit then
      lines[#lines + 1] = ("%s using 1:2 with lines linewidth 2.4 linecolor rgb '%s'")
        :format(page:columns({0, W[1][j]}, {0, W[2][j]}), color)
    end
    if length > SHORTEST * limit then
      dots[#dots + 1] = ("%s using 1:2 with points pointtype 7 pointsize 1.4 linecolor rgb '%s'")
        :format(page:columns({W[1][j]}, {W[2][j]}), color)
    end
  end
  local plots, ticks = table.move(dots, 1, #dots, #lines + 1, lines), plane_ticks(limit)
  page:panel{
    x = x, y = y, width = size, height = size, border = 0, background = BACKGROUND,
    x_range = {-limit, limit}, y_range = {-limit, limit}, x_ticks = ticks, y_ticks = ticks,
    setup = {
      "set xzeroaxis linetype 1 linewidth 1.2 linecolor rgb '#222222'",
      "set yzeroaxis linetype 1 linewidth 1.2 linecolor rgb '#222222'",
    },
    plot = #plots > 0 and plots or {"NaN"},
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

-- Inputs, hidden and outputs of the network W1 [h][n], W2 [n][h], or without W2 its upper half; the darkest edge
-- is the weight `largest`.
local function network(page, x, y, width, height, W1, W2, largest)
  local h, n = #W1, #W1[1]
  local inputs, step = spread(x, width, n)
  local hidden, hidden_step = spread(x + 0.1 * width, 0.8 * width, h)
  local radius = math.max(4, math.min(13, 0.3 * step, 0.3 * hidden_step))
  local top, middle, bottom = y + radius + 1, y + height / 2, y + height - radius - 1
  local list = {}
  edges(list, inputs, top, hidden, middle, function(i, k) return W1[k][i] end)
  if W2 then edges(list, hidden, middle, inputs, bottom, function(k, i) return W2[i][k] end) end
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
  if W2 then nodes(page, inputs, bottom, radius, function(i) return feature_color(i, n) end) end
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

local function check_column(column)
  column.W1 = finite_entries(tables.rows(column.W1, column.title))
  if not column.W2 then return end
  column.W2 = finite_entries(tables.rows(column.W2, column.title))
  if #column.W1 ~= #column.W2[1] or #column.W1[1] ~= #column.W2 then
    tables.refuse("expected W1 [h][n] and W2 [n][h]", column.title)
  end
end

local function diagram_columns(subject)
  local columns = {
    {title = "Target model", W1 = subject.target.W1, W2 = subject.target.W2},
    {title = "Sum of components", W1 = subject.sum.W1, W2 = subject.sum.W2},
  }
  for i, component in ipairs(subject.components or {}) do
    if i > MOST_COMPONENTS then break end
    columns[i + 2] = {title = "Subcomponent " .. component.index, W1 = component.W, W2 = component.W2}
  end
  for _, column in ipairs(columns) do check_column(column) end
  return columns
end

-- Target, sum and difference of one matrix; the difference is so small that it has a scale of its own.
local function matrix_group(subject, key, name)
  local target, sum = tables.rows(subject.target[key], name), tables.rows(subject.sum[key], name)
  if key == "W2" then target, sum = tables.transpose(target), tables.transpose(sum) end
  local difference = tables.difference(sum, target)
  local largest = tables.largest{difference}
  return {
    name = name, x_label = "Feature", y_label = "Hidden dimension",
    maps = {
      {title = "Target model", rows = target}, {title = "Sum of components", rows = sum},
      {title = ("Difference (colors: ±%.2g)"):format(largest), rows = difference, range = {-largest, largest}},
    },
  }
end

local function component_group(subject, name)
  local maps = {}
  for i, component in ipairs(subject.components or {}) do
    if i > MOST_MAPS then break end
    maps[i] = {title = "Subcomponent " .. component.index, rows = tables.rows(component.W, name)}
  end
  local shown = tables.shown_of(#maps, subject.C)
  return {name = name .. ": " .. (shown or "subcomponents"), maps = maps, columns = 7, ticks = false}
end

-- The matrices of a network with too many nodes to be drawn. Of tied ones the first says all.
local function matrix_diagram(subject, title)
  local names, weights = subject.names or {"First matrix", "Second matrix"}, {}
  local first = matrix_group(subject, "W1", names[1])
  local groups = {first}
  if subject.tied then
    first.name = ("%s (%s is its transpose)"):format(names[1], names[2])
  elseif subject.target.W2 and subject.sum.W2 then
    groups[2] = matrix_group(subject, "W2", names[2] .. ", transposed")
  end
  for i, group in ipairs(groups) do weights[2 * i - 1], weights[2 * i] = group.maps[1].rows, group.maps[2].rows end
  local components = component_group(subject, names[1])
  if #components.maps > 0 then groups[#groups + 1] = components end
  local largest = tables.largest(weights)
  return heatmaps.grid(groups, {
    title = title or "Target model and sum of components", palette = "coolwarm", range = {-largest, largest},
    bar_title = "Weight",
  })
end

-- Below the networks: what their last row is, and how many subcomponents there are.
local function diagram_notes(page, subject, y, columns)
  if columns[1].W2 then page:text(MARGIN, y, "Outputs (before bias & ReLU)", {size = LABEL_SIZE, align = "left"}) end
  local shown = tables.shown_of(#columns - 2, subject.C)
  if shown then page:text(page.width - MARGIN, y, shown, {size = LABEL_SIZE, align = "right"}) end
end

--- tms.diagram(subject [, options]) -> page
function tms.diagram(subject, options)
  options = options or {}
  local n = #tables.rows(subject.target.W1, "Target model")[1]
  if n > MOST_FEATURES_DRAWN then return matrix_diagram(subject, options.title) end
  local columns, first = diagram_columns(subject), {}
  for i, column in ipairs(columns) do first[i] = column.W1 end
  local gap = 28
  local width = math.min(290, (WIDEST_PAGE - 2 * MARGIN + gap) // #columns - gap)
  local planar, name_row, label_row = #first[1] == 2, 36, 28
  local top = MARGIN + (options.title and 44 or 0)
  local network_top = top + name_row + (planar and width + 22 or 0) + label_row
  local network_height = math.floor(width * 0.8)
  local page = gnuplot.page(math.max(2 * MARGIN + #columns * (width + gap) - gap, 600),
    network_top + network_height + label_row + MARGIN)
  if options.title then page:text(page.width / 2, MARGIN + 14, options.title, {size = TITLE_SIZE}) end
  local target, sum = columns[1], columns[2]
  local limit, largest = planar and reach(first), tables.largest{target.W1, target.W2 or {}, sum.W1, sum.W2 or {}}
  for i, column in ipairs(columns) do
    local x = MARGIN + (i - 1) * (width + gap)
    page:text(x + width / 2, top + 14, column.title, {size = NAME_SIZE, within = width + gap})
    if planar then plane(page, x, top + name_row, width, column.W1, limit) end
    network(page, x, network_top, width, network_height, column.W1, column.W2, largest)
  end
  page:text(MARGIN, network_top - 14, "Inputs", {size = LABEL_SIZE, align = "left"})
  diagram_notes(page, subject, network_top + network_height + 16, columns)
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

-- Of many features the lines are thin, and two colours tell the two kinds apart.
local function response_panel(page, x, y, size, magnitudes, outputs)
  local n, plots, lists = #outputs[1], {}, {magnitudes}
  local many = n > MOST_FEATURES_DRAWN
  local thick, thin = many and 0.8 or 2, many and 0.8 or 1.5
  for i = 1, n do
    local own, others = responses(outputs, i)
    local color = feature_color(i, n)
    local own_data, other_data = page:columns(magnitudes, own), page:columns(magnitudes, others)
    plots[i] = ("%s using 1:2 with lines linewidth %g linecolor rgb '%s'"):format(own_data, thick, color)
    plots[n + i] = ("%s using 1:2 with lines linewidth %g dashtype 2 linecolor rgb '%s'")
      :format(other_data, thin, many and OTHER_COLOR or color)
    lists[#lists + 1], lists[#lists + 2] = own, others
  end
  local low, high = tables.range(lists)
  high = (high or 1) * 1.06
  local first, last = tables.range{magnitudes}
  local diagonal = page:columns({0, last}, {0, last})
  table.insert(plots, 1, diagonal .. " using 1:2 with lines linewidth 1.5 linecolor rgb '#cccccc'")
  low = math.min(0, low or 0) - 0.03 * high -- lines at 0 are not hidden by the axis
  page:panel{
    x = x, y = y, width = size, height = size, x_range = {math.min(0, first), last}, y_range = {low, high},
    x_ticks = gnuplot.ticks(0, last, 6), y_ticks = gnuplot.ticks(0, high, 6), plot = plots,
  }
  local notes = {
    {"output of the feature", many and PLAIN_COLOR or "#333333"},
    {"largest other output", many and OTHER_COLOR or "#333333", true},
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

-- Which colour stands for which feature, if they have their own.
local function feature_legend(page, x, y, n)
  if n > MOST_FEATURES_DRAWN then return end
  page:text(x, y, "Feature", {size = NOTE_SIZE, align = "left"})
  for i = 1, n do
    local at = y + 24 * i
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
  local cosine_x = planar and plane_x + size + 100 or MARGIN + 60
  local response_x = cosine_x + size + 180
  local page = gnuplot.page(response_x + size + (n > MOST_FEATURES_DRAWN and 30 or 100), top + size + 62 + MARGIN // 2)
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
  page:text(cosine_x - 46, top + size / 2, "Feature", {size = LABEL_SIZE, rotate = true})
  page:color_bar(cosine_x + size + 18, top, size, "coolwarm", {-1, 1})
  response_panel(page, response_x, top, size, magnitudes, outputs)
  name(response_x, "Responses to single features")
  feature_legend(page, response_x + size + 24, top + 14, n)
  return page
end

return tms
