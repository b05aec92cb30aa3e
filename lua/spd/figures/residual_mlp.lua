--- Figures of a residual MLP: neuron contributions, pairs of them, responses to single features.
local gnuplot = require "spd.gnuplot"
local tables = require "spd.figures.tables"

local residual_mlp = {}

local MARGIN, TITLE_SIZE, NAME_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 22, 18, 16, 14
local AXIS_COLUMN, AXIS_ROW = 90, 72 -- label and ticks left of and below a panel
local GRID = "linetype 1 linewidth 0.6 linecolor rgb '#dddddd'"
local DIAGONAL = " using 1:2 with lines linewidth 1.5 dashtype 2 linecolor rgb '#999999'"
local NAMED_FROM = 0.1 -- contributions above that have the number of their neuron beside them

local function color_of(layer) return gnuplot.series_colors[(layer - 1) % #gnuplot.series_colors + 1] end

-- A dot and a name for every layer, where there are several.
local function layer_legend(page, x, y, layers)
  for i, layer in ipairs(#layers > 1 and layers or {}) do
    page:circle(x, y + 24 * (i - 1), 6, {fill = color_of(i)})
    page:text(x + 14, y + 24 * (i - 1), tostring(layer.name), {size = NOTE_SIZE, align = "left"})
  end
end

-- ---- neuron contributions -----------------------------------------------------------------------

-- The layers, with nested tables in place of tensors.
local function checked_layers(layers)
  local checked = {}
  for l, layer in ipairs(tables.items(layers)) do
    local target, components = tables.rows(layer.target, layer.name), tables.rows(layer.components, layer.name)
    if #target ~= #components or #target[1] ~= #components[1] then
      tables.refuse("target and components differ in shape", layer.name)
    end
    checked[l] = {name = layer.name, target = target, components = components, chosen = layer.chosen}
    if #target ~= #checked[1].target then tables.refuse("expected the features of the first layer", layer.name) end
  end
  return checked
end

-- From 0 to the largest contribution, or lower; widened a little.
local function contribution_range(layers, features)
  local lists = {{0}}
  for _, layer in ipairs(layers) do
    for f = 1, features do
      lists[#lists + 1], lists[#lists + 2] = layer.target[f], layer.components[f]
    end
  end
  local low, high = tables.range(lists)
  if low == high then high = low + 1 end
  return low - 0.06 * (high - low), high + 0.06 * (high - low)
end

-- Numbers of the neurons with a large contribution, where they do not overlap the one above; from the largest down.
local function name_neurons(page, named, place)
  table.sort(named, function(a, b) return a.value > b.value end)
  local last = {}
  for k, item in ipairs(named) do
    local x, y = place(item.feature, item.value)
    local side = k % 2 == 0 and "left" or "right"
    local key = item.feature .. side
    if not last[key] or y - last[key] >= NOTE_SIZE then
      page:text(x + (side == "left" and 8 or -8), y, tostring(item.neuron - 1),
        {size = NOTE_SIZE, align = side, color = color_of(item.layer)})
      last[key] = y
    end
  end
end

-- One row: dots for all neurons of all layers, by feature. Those that are large in the target are named.
local function contribution_panel(page, layers, key, features, box)
  local plots, named = {}, {}
  local function place(feature, value)
    return box.x + (feature - 0.5) / features * box.width,
      box.y + (box.high - value) / (box.high - box.low) * box.height
  end
  for l, layer in ipairs(layers) do
    local xs, ys = {}, {}
    for f = 1, features do
      for m, value in ipairs(layer[key][f]) do
        xs[#xs + 1], ys[#ys + 1] = f - 1, value
        if layer.target[f][m] > NAMED_FROM and tables.finite(value) then
          named[#named + 1] = {feature = f, value = value, neuron = m, layer = l}
        end
      end
    end
    plots[l] = ("%s using 1:2 with points pointtype 7 pointsize 0.7 linecolor rgb '#a0%s'"):format(
      page:columns(xs, ys), color_of(l):sub(2))
  end
  local ends = page:columns({-0.5, features - 0.5}, {0, 0})
  table.insert(plots, 1, ends .. " using 1:2 with lines dashtype 2 linecolor rgb '#999999'")
  for f = 1, features - 1 do
    local x = box.x + f / features * box.width
    page:line(x, box.y, x, box.y + box.height, {color = "#cccccc", dashed = true})
  end
  page:panel{
    x = box.x, y = box.y, width = box.width, height = box.height, x_range = {-0.5, features - 0.5},
    y_range = {box.low, box.high}, x_ticks = box.x_ticks, y_ticks = gnuplot.ticks(box.low, box.high, 8), plot = plots,
  }
  name_neurons(page, named, place)
end

-- The number of the subcomponent of each feature, of all layers.
local function chosen_names(layers, features)
  local names, chosen = {}, {}
  for l, layer in ipairs(layers) do
    chosen[l] = tables.list(layer.chosen, layer.name)
    if #chosen[l] ~= #layer.target then tables.refuse("expected a chosen number for each feature", layer.name) end
  end
  for f = 1, features do
    local numbers = {}
    for l, list in ipairs(chosen) do numbers[l] = tostring(list[f]) end
    names[f] = table.concat(numbers, " / ")
  end
  return gnuplot.named_ticks(names)
end

--- residual_mlp.contributions(layers, options) -> page
function residual_mlp.contributions(layers, options)
  layers = checked_layers(layers)
  local features = math.min(options.features or 10, #layers[1].target)
  local low, high = contribution_range(layers, features)
  local width, height, title_row = 110 * features, 320, 36
  local top, left = MARGIN + (options.title and 44 or 0) + title_row, MARGIN + AXIS_COLUMN
  local side = #layers > 1 and 190 or 20
  local step = height + AXIS_ROW + title_row
  local page = gnuplot.page(left + width + side, top + 2 * step - title_row + 8)
  if options.title then page:text(page.width / 2, MARGIN + 14, options.title, {size = TITLE_SIZE}) end
  for i, row in ipairs{
    {key = "target", name = "Target model", ticks = gnuplot.index_ticks(features, features),
      label = ("Input feature, the first %d of %d"):format(features, #layers[1].target)},
    {key = "components", name = "The best subcomponent of mlp_in for each feature",
      ticks = chosen_names(layers, features), label = "Its number" .. (#layers > 1 and ", by layer" or "")},
  } do
    local box = {
      x = left, y = top + (i - 1) * step, width = width, height = height, low = low, high = high, x_ticks = row.ticks,
    }
    contribution_panel(page, layers, row.key, features, box)
    page:text(left + width / 2, box.y - 18, row.name, {size = NAME_SIZE})
    page:text(left + width / 2, box.y + height + 46, row.label, {size = LABEL_SIZE})
    page:text(left - AXIS_COLUMN + 14, box.y + height / 2, "Neuron contribution", {size = LABEL_SIZE, rotate = true})
  end
  layer_legend(page, left + width + 24, top + 14, layers)
  return page
end

-- ---- pairs --------------------------------------------------------------------------------------

--- residual_mlp.pairs(layers, options) -> page
function residual_mlp.pairs(layers, options)
  layers = checked_layers(layers)
  local low, high = contribution_range(layers, #layers[1].target)
  local size, left, top = 620, MARGIN + AXIS_COLUMN, MARGIN + 44
  local page = gnuplot.page(left + size + (#layers > 1 and 190 or 30), top + size + AXIS_ROW + 8)
  local title = options.title or ("Neuron contributions, %d features, %d layer%s"):format(#layers[1].target, #layers,
    #layers == 1 and "" or "s")
  page:text(left + size / 2, MARGIN + 14, title, {size = TITLE_SIZE})
  local plots = {page:columns({low, high}, {low, high}) .. DIAGONAL}
  for l, layer in ipairs(layers) do
    local xs, ys = {}, {}
    for f, row in ipairs(layer.target) do
      table.move(row, 1, #row, #xs + 1, xs)
      table.move(layer.components[f], 1, #row, #ys + 1, ys)
    end
    plots[#plots + 1] = ("%s using 1:2 with points pointtype 7 pointsize 0.8 linecolor rgb '#a0%s'"):format(
      page:columns(xs, ys), color_of(l):sub(2))
  end
  page:panel{
    x = left, y = top, width = size, height = size, x_range = {low, high}, y_range = {low, high},
    x_ticks = gnuplot.ticks(low, high, 8), y_ticks = gnuplot.ticks(low, high, 8),
    setup = {"set grid xtics ytics " .. GRID}, plot = plots,
  }
  page:text(left + size / 2, top + size + 46, "Target model", {size = LABEL_SIZE})
  page:text(left - AXIS_COLUMN + 14, top + size / 2, "The best subcomponent of mlp_in",
    {size = LABEL_SIZE, rotate = true})
  if options.contribution_correlation and options.contribution_correlation == options.contribution_correlation then
    page:text(left + 16, top + 18, ("correlation %.4f, slope %.4f (dashed: y = x)"):format(
      options.contribution_correlation, options.contribution_slope), {size = LABEL_SIZE, align = "left"})
  end
  layer_legend(page, left + size + 24, top + 14, layers)
  return page
end

-- ---- responses ----------------------------------------------------------------------------------

local OWN_COLOR, OTHER_COLOR, LABEL_COLOR = "#3a76af", "#d55e00", "#111111"

-- The largest and the smallest output beside that of the active feature.
local function other_range(row, active)
  local others = table.move(row, 1, #row, 1, {})
  table.remove(others, active)
  local low, high = tables.range{others}
  return low or 0 / 0, high or 0 / 0
end

-- The labels of all magnitudes, as rows.
local function checked_labels(subject, magnitudes)
  local labels = tables.rows(subject.labels, "labels")
  if #labels ~= #magnitudes then tables.refuse("expected a row for each magnitude", "labels") end
  return labels
end

-- The outputs of a panel as rows for all magnitudes.
local function checked_outputs(panel, labels)
  local outputs, n = {}, #labels[1]
  for k, rows in ipairs(tables.items(panel.outputs)) do
    outputs[k] = tables.rows(rows, panel.name)
    if #outputs[k] ~= n or #outputs[k][1] ~= n then tables.refuse("outputs and labels differ in shape", panel.name) end
  end
  if #outputs ~= #labels then tables.refuse("expected outputs for each magnitude", panel.name) end
  return outputs
end

-- Lists over magnitudes for every feature f: its own output, the largest and the smallest other one, and its label.
local function response_lists(outputs, labels)
  local own, others, label = {}, {}, {}
  for f = 1, #outputs[1] do
    local low, high = {}, {}
    own[f], label[f], others[2 * f - 1], others[2 * f] = {}, {}, low, high
    for k, rows in ipairs(outputs) do
      own[f][k], label[f][k] = rows[f][f], labels[k][f]
      low[k], high[k] = other_range(rows[f], f)
    end
  end
  return own, others, label
end

local function response_plots(page, magnitudes, lists, color, width, dashed)
  local plots = {}
  for i, list in ipairs(lists) do
    plots[i] = ("%s using 1:2 with lines linewidth %g %s linecolor rgb '%s'"):format(page:columns(magnitudes, list),
      width, dashed and "dashtype 2" or "", color)
  end
  return plots
end

--- residual_mlp.responses(subject [, options]) -> page
function residual_mlp.responses(subject, options)
  options = options or {}
  local magnitudes, panels, all = tables.list(subject.magnitudes, "magnitudes"), tables.items(subject.panels), {}
  local width, height, left, top = 520, 420, MARGIN + AXIS_COLUMN, MARGIN + 44 + 36
  local labels, drawn = checked_labels(subject, magnitudes), {}
  for i, panel in ipairs(panels) do
    local own, others, label = response_lists(checked_outputs(panel, labels), labels)
    drawn[i] = {own = own, others = others, label = label}
    for _, lists in ipairs{own, others, label} do table.move(lists, 1, #lists, #all + 1, all) end
  end
  local low, high = tables.range(all)
  low, high = low or 0, high or 1
  if low == high then high = low + 1 end
  low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
  local page = gnuplot.page(left + #panels * (width + AXIS_COLUMN) - AXIS_COLUMN + 30, top + height + AXIS_ROW + 8)
  page:text(page.width / 2, MARGIN + 14, options.title or "Responses to single features", {size = TITLE_SIZE})
  for i, panel in ipairs(panels) do
    local x, one, plots = left + (i - 1) * (width + AXIS_COLUMN), drawn[i], {}
    for _, more in ipairs{
      response_plots(page, magnitudes, one.others, OTHER_COLOR, 0.8),
      response_plots(page, magnitudes, one.own, OWN_COLOR, 0.8),
      response_plots(page, magnitudes, one.label, LABEL_COLOR, 1.5, true),
    } do table.move(more, 1, #more, #plots + 1, plots) end
    page:panel{
      x = x, y = top, width = width, height = height, x_range = {magnitudes[1], magnitudes[#magnitudes]},
      y_range = {low, high}, x_ticks = gnuplot.ticks(-1, 1, 5), y_ticks = gnuplot.ticks(low, high, 8),
      setup = {"set grid xtics ytics " .. GRID}, plot = plots,
    }
    page:text(x + width / 2, top - 18, panel.name, {size = NAME_SIZE, within = width + 60})
    page:text(x + width / 2, top + height + 46, "Input of a single feature", {size = LABEL_SIZE})
  end
  page:text(left - AXIS_COLUMN + 14, top + height / 2, "Output", {size = LABEL_SIZE, rotate = true})
  for k, note in ipairs{
    {"output of the feature", OWN_COLOR}, {"largest and smallest other output", OTHER_COLOR},
    {"label", LABEL_COLOR, true},
  } do
    local y = top + 18 + 22 * (k - 1)
    page:line(left + 16, y, left + 46, y, {width = 2, color = note[2], dashed = note[3]})
    page:text(left + 54, y, note[1], {size = NOTE_SIZE, align = "left"})
  end
  return page
end

return residual_mlp
