--- Figures made of heat maps: causal importances, V and U, hidden layers, any matrices.
local gnuplot = require "spd.gnuplot"
local tables = require "spd.figures.tables"

local heatmaps = {}

local MARGIN, TITLE_SIZE, NAME_SIZE, LABEL_SIZE = 16, 22, 18, 16
local TITLE_ROW, NAME_ROW, TICK_ROW, LABEL_ROW = 44, 30, 30, 24
local LABEL_COLUMN, TICK_COLUMN = 28, 46 -- left of a map: its label turned upwards, the numbers at its ticks
local BAR_COLUMN = 128 -- the scale of colours right of all maps
local GAP = 18
local MISSING = "#bbbbbb" -- shows where an entry is NaN
local MOST_COMPONENTS = 14 -- shown of a hidden layer
local MOST_PRINTED = 4 -- a map of at most that many rows and columns has its values printed

-- ---- one map ------------------------------------------------------------------------------------

local function print_values(page, map)
  local range, diverging = map.range, map.palette == "coolwarm"
  local width, height = map.width / #map.rows[1], map.height / #map.rows
  for i, row in ipairs(map.rows) do
    for j, value in ipairs(row) do
      local strength = (value - range[1]) / (range[2] - range[1])
      local dark = diverging and math.abs(strength - 0.5) > 0.36 or not diverging and strength > 0.6
      local text = value == value and ("%.2f"):format(value):gsub("^-?0%.00$", "0") or "nan"
      page:text(map.x + (j - 0.5) * width, map.y + (i - 0.5) * height, text,
        {size = math.min(16, width / 3.2), color = dark and "#ffffff" or "#111111"})
    end
  end
end

-- Each entry four times: gnuplot draws no image of a single row or column.
local function doubled(rows)
  local out = {}
  for i = 1, 2 * #rows do
    out[i] = {}
    for j = 1, 2 * #rows[1] do out[i][j] = rows[(i + 1) // 2][(j + 1) // 2] end
  end
  return out
end

-- As many labelled ticks as fit into `width` pixels.
local function column_ticks(count, width)
  return gnuplot.index_ticks(count, width / (14 + 10 * #tostring(count - 1)))
end

local function ticks_of(map, count_rows, count_columns)
  if map.ticks == false then return end
  local x_ticks = map.x_ticks
  if x_ticks == nil then x_ticks = column_ticks(count_columns, math.min(map.width, 1000)) end
  return x_ticks, gnuplot.index_ticks(count_rows, math.min(12, map.height / 22))
end

--- heatmaps.map(page, map)
-- Draw one matrix with crisp cells. map: rows; x, y, width, height in pixels; palette, range = {low, high};
-- ticks: false for none; x_ticks: as for page:panel, or false, in place of the columns' numbers; values: true
-- to print them; count_rows, count_columns: what the ticks count, where rows were reduced.
function heatmaps.map(page, map)
  local rows = map.rows
  local n, m = #rows, #rows[1]
  local count_rows, count_columns = map.count_rows or n, map.count_columns or m
  if n == 1 or m == 1 then rows, n, m = doubled(rows), 2 * n, 2 * m end
  local data, x_ticks, y_ticks = page:matrix(rows), ticks_of(map, count_rows, count_columns)
  page:panel{
    x = map.x, y = map.y, width = map.width, height = map.height, border = 15, background = MISSING,
    palette = map.palette, color_range = map.range,
    x_range = {-0.5, count_columns - 0.5}, y_range = {count_rows - 0.5, -0.5},
    x_ticks = x_ticks, y_ticks = y_ticks,
    plot = {("%s matrix using (($1 + 0.5) * %.9g - 0.5):(($2 + 0.5) * %.9g - 0.5):3 with image"):format(data,
      count_columns / m, count_rows / n)},
  }
  if map.values then print_values(page, map) end
end

-- Pixels for a cell, so that `count` of them come near to `wanted` pixels.
local function cell_size(count, wanted, most)
  return math.max(1, math.min(most, math.floor(wanted / count + 0.5)))
end

-- A page with room for the title, centred above it.
local function titled_page(width, height, title)
  if not title then return gnuplot.page(width, height) end
  local wanted = math.min(900, gnuplot.text_width(title, TITLE_SIZE) + 40)
  local page = gnuplot.page(math.max(width, wanted), height)
  page:text(page.width / 2, MARGIN + 14, title, {size = TITLE_SIZE, within = page.width - 20})
  return page
end

-- ---- maps below each other ----------------------------------------------------------------------

-- Say at the columns of a map which subcomponents they are, if there is room; `numbers` where they are reordered.
-- `thin`: of those that have no room, as many as have.
local function name_columns(map, numbers, thin)
  map.x_label = "Subcomponent"
  if not numbers then return end
  local widest = 0
  for _, number in ipairs(numbers) do widest = math.max(widest, gnuplot.text_width(tostring(number), 16)) end
  local every = math.ceil((widest + 4) / (map.width / #numbers))
  if thin or every == 1 then
    map.x_ticks = gnuplot.named_ticks(numbers, every)
  else
    map.x_ticks, map.x_label = false, "Subcomponents, reordered"
  end
end

-- The numbers of a panel's columns, or nil.
local function checked_columns(panel, count)
  if not panel.columns then return end
  local numbers = tables.list(panel.columns, panel.name)
  if #numbers ~= count then tables.refuse("expected a number for each column", panel.name) end
  return numbers
end

-- A column of labelled maps with one scale of colours. maps: list of {title, rows, y_label, columns: their
-- numbers, if reordered, unlabelled: true for none below the x axis, count_rows: as for heatmaps.map}.
local function stack(maps, options)
  local function around(map) return NAME_ROW + TICK_ROW + (map.unlabelled and 0 or LABEL_ROW) + GAP end
  local widest, total, most_rows = 0, 0, 0
  for _, map in ipairs(maps) do
    map.count_rows, map.count_columns = map.count_rows or #map.rows, #map.rows[1]
    most_rows = math.max(most_rows, map.count_rows)
    map.rows = tables.reduce(map.rows, options.most_rows or 600, 1800)
    local n, m = #map.rows, #map.rows[1]
    map.width, map.height = m * cell_size(m, 1000, 56), n * cell_size(n, options.height or 480, 56)
    widest, total = math.max(widest, map.width), total + map.height + around(map)
  end
  local tick_column = math.max(TICK_COLUMN, 14 + 9 * #tostring(most_rows))
  local left, top = MARGIN + LABEL_COLUMN + tick_column, MARGIN + (options.title and TITLE_ROW or 0)
  local page = titled_page(left + widest + GAP + BAR_COLUMN, top + total - GAP + MARGIN, options.title)
  local y = top
  for _, map in ipairs(maps) do
    map.x, map.y = left, y + NAME_ROW
    map.palette, map.range = options.palette, options.range
    name_columns(map, map.columns, options.thin)
    heatmaps.map(page, map)
    local middle = left + map.width / 2
    page:text(middle, y + NAME_ROW / 2 - 2, map.title, {size = NAME_SIZE, within = 2 * middle})
    page:text(MARGIN + 10, map.y + map.height / 2, map.y_label,
      {size = LABEL_SIZE, within = map.height + 40, rotate = true})
    if not map.unlabelled then
      local below = map.x_ticks == false and 0 or TICK_ROW
      page:text(middle, map.y + map.height + below + 14, map.x_label, {size = LABEL_SIZE})
    end
    y = y + map.height + around(map)
  end
  local first, last = maps[1], maps[#maps]
  local height = math.min(600, last.y + last.height - first.y)
  page:color_bar(left + widest + GAP + 6, first.y, height, options.palette, options.range, options.bar_title)
  return page
end

--- heatmaps.causal_importances(panels [, options]) -> page
function heatmaps.causal_importances(panels, options)
  options = options or {}
  local maps = {}
  for i, panel in ipairs(tables.items(panels)) do
    local rows = tables.rows(panel.values, panel.name)
    maps[i] = {
      title = panel.name, rows = rows, y_label = "Input feature", columns = checked_columns(panel, #rows[1]),
    }
  end
  return stack(maps, {
    title = options.title, palette = options.upper and "reds" or "blues", range = {0, 1},
    bar_title = options.upper and "Causal importance (upper-leaky)" or "Causal importance (lower-leaky)",
  })
end

--- heatmaps.embedding_importances(panels [, options]) -> page
function heatmaps.embedding_importances(panels, options)
  local maps = {}
  for i, panel in ipairs(tables.items(panels)) do
    local rows = tables.rows(panel.values, panel.name)
    maps[i] = {
      title = panel.name, rows = rows, columns = checked_columns(panel, #rows[1]), count_rows = panel.count,
      y_label = "Tokens, those with the same strongest subcomponent together",
    }
  end
  return stack(maps, {
    title = options and options.title or "Causal importances of the vocabulary", palette = "blues", range = {0, 1},
    bar_title = "Causal importance (lower-leaky)", height = 900, most_rows = 1000, thin = true,
  })
end

local function column_norms(rows)
  local norms = {}
  for c = 1, #rows[1] do
    local squares = 0
    for _, row in ipairs(rows) do squares = squares + row[c] ^ 2 end
    norms[c] = math.sqrt(squares)
  end
  return norms
end

-- Scale the columns of two matrices so that they have the same norm and the same product as before.
local function balance(A, B)
  local a, b = column_norms(A), column_norms(B)
  local function scaled(rows, own, other)
    local out = {}
    for i, row in ipairs(rows) do
      out[i] = {}
      for c, value in ipairs(row) do out[i][c] = own[c] == 0 and 0 or value * math.sqrt(other[c] / own[c]) end
    end
    return out
  end
  return scaled(A, a, b), scaled(B, b, a)
end

--- heatmaps.components(matrices [, options]) -> page
function heatmaps.components(matrices, options)
  options = options or {}
  local maps, all = {}, {}
  for _, matrix in ipairs(tables.items(matrices)) do
    local V, U = tables.rows(matrix.V, matrix.name), tables.transpose(tables.rows(matrix.U, matrix.name))
    if #V[1] ~= #U[1] then tables.refuse("V and U differ in their number of subcomponents", matrix.name) end
    V, U = balance(V, U)
    local name, columns = tostring(matrix.name), checked_columns(matrix, #V[1])
    local V_title, U_title = name .. ": V", name .. ": U (transposed)"
    if matrix.tied then
      V_title = ("%s = %s: U (transposed)"):format(V_title, matrix.tied)
      U_title = ("%s = %s: V"):format(U_title, matrix.tied)
    end
    maps[#maps + 1] = {title = V_title, rows = V, y_label = "Input", columns = columns, unlabelled = true}
    maps[#maps + 1] = {title = U_title, rows = U, y_label = "Output", columns = columns, unlabelled = true}
    all[#all + 1], all[#all + 2] = V, U
  end
  maps[#maps].unlabelled = false
  local largest = tables.largest(all)
  return stack(maps, {
    title = options.title or "Subcomponents, each scaled so that |V| = |U|", palette = "coolwarm",
    range = {-largest, largest}, bar_title = "Entry", height = 320, most_rows = 500,
  })
end

-- ---- a grid of maps -----------------------------------------------------------------------------

-- Sizes in pixels that suit all maps of a group; the maps are reduced to what can be shown.
local function measure(group)
  local n, m, columns = 1, 1, #group.maps
  for _, map in ipairs(group.maps) do
    map.count_rows, map.count_columns = #map.rows, #map.rows[1]
    map.rows = tables.reduce(map.rows, 480, 1000)
    n, m = math.max(n, #map.rows), math.max(m, #map.rows[1])
  end
  local printed = n <= MOST_PRINTED and m <= MOST_PRINTED
  local ticks = group.ticks ~= false and not printed
  columns = math.min(columns, group.columns or math.max(1, math.min(8, 1900 // math.max(190, m))))
  local cell_width = math.max(1, math.min(96, math.max(200, 1500 // columns - 60) // m))
  local cell_height = math.max(1, math.min(cell_width, 480 // n))
  local left, below = ticks and TICK_COLUMN or 8, ticks and TICK_ROW or 6
  return {
    columns = columns, rows = math.ceil(#group.maps / columns), printed = printed, ticks = ticks,
    cell_width = cell_width, cell_height = cell_height, left = left, below = below,
    width = math.max(170, m * cell_width + left + 16), height = NAME_ROW + n * cell_height + below + GAP,
  }
end

-- The labels of a group's axes: left of the first map in each row, below the last in each column.
local function label_axes(page, group, k, map, sizes)
  if group.y_label and (k - 1) % sizes.columns == 0 then
    page:text(map.x - sizes.left - 10, map.y + map.height / 2, group.y_label,
      {size = LABEL_SIZE, within = map.height + 80, rotate = true})
  end
  if group.x_label and k > #group.maps - sizes.columns then
    page:text(map.x + map.width / 2, map.y + map.height + sizes.below + 14, group.x_label, {size = LABEL_SIZE})
  end
end

local function draw_group(page, group, left, top, sizes, options)
  for k, map in ipairs(group.maps) do
    local column, row = (k - 1) % sizes.columns, (k - 1) // sizes.columns
    map.width, map.height = #map.rows[1] * sizes.cell_width, #map.rows * sizes.cell_height
    map.x = left + column * sizes.width + sizes.left + (sizes.width - sizes.left - 16 - map.width) // 2
    map.y = top + row * sizes.height + NAME_ROW
    map.palette, map.range = options.palette, map.range or options.range
    map.ticks, map.values = sizes.ticks, sizes.printed
    heatmaps.map(page, map)
    page:text(map.x + map.width / 2, map.y - NAME_ROW / 2, map.title,
      {size = LABEL_SIZE, within = sizes.width - 4})
    label_axes(page, group, k, map, sizes)
  end
end

--- heatmaps.grid(groups, options) -> page
-- Groups of maps below each other, each in rows of equal cells. group: {name =, maps = list of {title =, rows =,
-- range = if not that of all}, columns =, x_label =, y_label =, ticks = false for none}. options: title, palette,
-- range, bar_title.
function heatmaps.grid(groups, options)
  local named, sizes, heights = #groups > 1, {}, {}
  local left, right, height = MARGIN, 0, MARGIN + (options.title and TITLE_ROW or 0)
  local top, name_row = height, named and TITLE_ROW or 0
  for i, group in ipairs(groups) do
    sizes[i] = measure(group)
    heights[i] = name_row + sizes[i].rows * sizes[i].height + (group.x_label and LABEL_ROW or 0)
    height = height + heights[i]
    if group.y_label then left = MARGIN + LABEL_COLUMN end
  end
  for _, size in ipairs(sizes) do right = math.max(right, left + size.columns * size.width) end
  local page = titled_page(right + BAR_COLUMN, math.max(height + MARGIN, 220), options.title)
  local y = top
  for i, group in ipairs(groups) do
    if named then page:text(MARGIN + 8, y + TITLE_ROW / 2, group.name, {size = NAME_SIZE, align = "left"}) end
    draw_group(page, group, left, y + name_row, sizes[i], options)
    y = y + heights[i]
  end
  local bar_top = top + name_row + NAME_ROW
  local bar_height = math.min(500, page.height - bar_top - MARGIN - 20)
  page:color_bar(right + 8, bar_top, bar_height, options.palette, options.range, options.bar_title)
  return page
end

--- heatmaps.importance_comparison(runs [, options]) -> page
function heatmaps.importance_comparison(runs, options)
  options = options or {}
  local groups = {}
  for i, panel in ipairs(tables.items(tables.items(runs)[1].panels)) do
    local maps = {}
    for k, run in ipairs(runs) do
      local own = tables.items(run.panels)[i]
      if #run.panels ~= #runs[1].panels or own.name ~= panel.name then
        tables.refuse("expected the matrices of the first run", run.name)
      end
      maps[k] = {title = tostring(run.name), rows = tables.rows(own.values, run.name)}
    end
    groups[i] = {
      name = tostring(panel.name), maps = maps, x_label = "Subcomponents, reordered", y_label = "Input feature",
    }
  end
  return heatmaps.grid(groups, {
    title = options.title, palette = "blues", range = {0, 1}, bar_title = "Causal importance (lower-leaky)",
  })
end

--- heatmaps.hidden_layers(layers [, options]) -> page
function heatmaps.hidden_layers(layers, options)
  options = options or {}
  local groups, all = {}, {}
  for i, layer in ipairs(tables.items(layers)) do
    local maps = {
      {title = "Target model", rows = layer.target}, {title = "Sum of components", rows = layer.sum},
    }
    for k, component in ipairs(layer.components or {}) do
      if k > MOST_COMPONENTS then break end
      maps[#maps + 1] = {title = "Subcomponent " .. component.index, rows = component.W}
    end
    for _, map in ipairs(maps) do
      map.rows = tables.rows(map.rows, layer.name)
      all[#all + 1] = map.rows
    end
    local shown = tables.shown_of(#maps - 2, layer.C)
    groups[i] = {
      name = tostring(layer.name) .. (shown and ": " .. shown or ""), maps = maps,
      x_label = "Input", y_label = "Output",
    }
  end
  local largest = tables.largest(all)
  return heatmaps.grid(groups, {
    title = options.title or #groups == 1 and groups[1].name or nil, palette = "coolwarm",
    range = {-largest, largest}, bar_title = "Weight",
  })
end

-- The scale for several matrices: around 0, or from the lowest to the highest entry.
local function range_of(matrices, diverging)
  local largest, ends = tables.largest(matrices), {}
  if diverging then return {-largest, largest} end
  for i, rows in ipairs(matrices) do ends[i] = {tables.range(rows)} end
  local low, high = tables.range(ends)
  if not low then return {0, 1} end
  return low < high and {low, high} or {low - 0.5, low + 0.5}
end

--- heatmaps.heatmaps(panels [, options]) -> page
function heatmaps.heatmaps(panels, options)
  options = options or {}
  local maps, all, palette = {}, {}, options.palette or "coolwarm"
  for i, panel in ipairs(tables.items(panels)) do
    all[i] = tables.rows(panel.values, panel.name)
    maps[i] = {title = panel.name, rows = all[i]}
  end
  return heatmaps.grid({{name = "", maps = maps, columns = options.columns}}, {
    title = options.title, palette = palette, range = options.range or range_of(all, palette == "coolwarm"),
    bar_title = options.bar_title,
  })
end

return heatmaps
