--- What is special about a toy model of superposition: its vectors, its small networks, its hidden layers.
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local metrics = require "spd.metrics"

local analysis_tms = {}

--- analysis_tms.scores(subject) -> {mmcs =, mmcs_std =, ml2r =, ml2r_std =, and the same of all subcomponents}
-- See metrics.mmcs_ml2r; empty if linear1 is not decomposed.
function analysis_tms.scores(subject)
  local components = subject.components
  if not components.by_name.linear1 then return {} end
  local matches = metrics.mmcs_ml2r(components.by_name.linear1.weight:totable(), components:V("linear1"):totable(),
    components:U("linear1"):totable())
  matches.n_components = nil
  return matches
end

-- A subcomponent that is never important is shown from this fraction of the largest norm on.
local SMALLEST_SHOWN = 0.05

-- By subcomponent, whether it is important for any one-hot input, in the matrix or in its tied partner.
local function ever_important(lower, names)
  local important = {}
  for _, name in ipairs(names) do
    for _, row in ipairs(lower[name]) do
      for c, value in ipairs(row) do important[c] = important[c] or value > evaluate.alive_threshold end
    end
  end
  return important
end

-- Subcomponents of a matrix by descending norm |V_c| |U_c|: those that do something, and the largest of the others
-- as an example.
local function shown_components(components, name, important)
  local V, U = components:V(name), components:U(name)
  local v2, u2 = core.sum_rows(V * V):totable(), core.sum_columns(U * U):totable()
  local list, kept, dead = {}, {}, nil
  for c = 1, #v2 do list[c] = {column = c, norm = math.sqrt(v2[c] * u2[c])} end
  table.sort(list, function(a, b) return a.norm > b.norm or (a.norm == b.norm and a.column < b.column) end)
  for _, item in ipairs(list) do
    if important[item.column] or item.norm > SMALLEST_SHOWN * list[1].norm then
      kept[#kept + 1] = item.column
    else
      dead = dead or item.column
    end
  end
  kept[#kept + 1] = dead
  return kept
end

-- U_c V_c^T [d_out][d_in].
local function outer(V, U, c)
  local rows = {}
  for i, b in ipairs(U[c]) do
    rows[i] = {}
    for j, row in ipairs(V) do rows[i][j] = b * row[c] end
  end
  return rows
end

-- The shown subcomponents of a matrix as matrices W, with W2 of its tied partner, if there is one.
local function component_matrices(subject, name, partner)
  local components = subject.components
  local V, U = components:V(name):totable(), components:U(name):totable()
  local V2, U2 = partner and components:V(partner):totable(), partner and components:U(partner):totable()
  local list = {}
  for i, c in ipairs(shown_components(components, name, ever_important(subject.lower, {name, partner}))) do
    list[i] = {index = c - 1, W = outer(V, U, c), W2 = partner and outer(V2, U2, c)}
  end
  return list
end

local function draw_diagram(subject, draw)
  local components = subject.components
  local first, second = components.by_name.linear1, components.by_name.linear2
  if not first then return end
  local tied = second and second.transposed_of == first
  draw("tms_diagram", "tms_diagram", {
    target = {W1 = first.weight:totable(), W2 = second and second.weight:totable()},
    sum = {W1 = components:weight("linear1"):totable(), W2 = second and components:weight("linear2"):totable()},
    components = component_matrices(subject, "linear1", tied and "linear2" or nil),
    C = components.C, names = {"linear1", "linear2"}, tied = tied,
  })
end

local function draw_hidden_layers(subject, draw)
  local components, layers = subject.components, {}
  for _, matrix in ipairs(components.matrices) do
    if matrix.name:match "^hidden_layers" then
      layers[#layers + 1] = {
        name = matrix.name, target = matrix.weight:totable(), sum = components:weight(matrix.name):totable(),
        components = component_matrices(subject, matrix.name), C = components.C,
      }
    end
  end
  if #layers > 0 then draw("hidden_layers", "hidden_layers", layers) end
end

--- analysis_tms.figures(subject) -> list of the names of what analysis_tms.draw draws
function analysis_tms.figures(subject)
  local names, has = {}, {}
  for name in pairs(subject.components.by_name) do has[name:match "^hidden_layers" or name] = true end
  if has.linear1 then names[#names + 1] = "tms_diagram" end
  if has.hidden_layers then names[#names + 1] = "hidden_layers" end
  return names
end

--- analysis_tms.draw(subject, draw)
-- draw(figure, file, ...) draws with a function of spd.figures. subject.lower: importances of one-hot inputs.
function analysis_tms.draw(subject, draw)
  draw_diagram(subject, draw)
  draw_hidden_layers(subject, draw)
end

return analysis_tms
