--- The figures of an opened run, drawn again into files of their own.
local analysis = require "spd.analysis"
local arguments = require "spd.opened_run.arguments"
local core = require "spd.core"
local errors = require "spd.errors"
local figures = require "spd.figures"
local tables = require "spd.figures.tables"
local text = require "spd.opened_run.text"
local posix = core.posix

local plots = {}

local WHERE, PNG_START = "run:plot", "\137PNG\r\n\26\n"

-- ---- where to ------------------------------------------------------------------------------------

-- A new file in the folder for temporary files.
local function temporary_path()
  local name = os.tmpname()
  os.remove(name)
  return name .. ".png"
end

-- A file that exists is only replaced if it is a PNG.
local function checked_path(path)
  if path == nil then return temporary_path() end
  if type(path) ~= "string" or path == "" or path:find "\0" then
    errors.raise(2, WHERE, "path: expected the name of a file, found " .. arguments.shown(path))
  end
  if path:match "/$" or posix.is_directory(path) then errors.raise(2, path, "is a folder") end
  local file <close> = io.open(path, "rb")
  local beginning = file and (file:read(#PNG_START) or "")
  if beginning and beginning ~= PNG_START then
    errors.raise(2, path, "exists, and is no PNG file", "name another file")
  end
  return path
end

local function finish(path, problem)
  if problem then errors.raise(1, WHERE, problem) end
  return path
end

-- ---- what ---------------------------------------------------------------------------------------

local function draw_figure(run, name, path)
  local subject = setmetatable({rows = run.rows}, {__index = run.subject})
  local is_asked_for = false
  local problem = analysis.draw(subject, function(figure)
    if figure ~= name then return nil end
    is_asked_for = true
    return path
  end)
  return finish(path, problem or not is_asked_for and name .. ": there is nothing to draw" or nil)
end

local function draw_metric(metrics, key, path)
  local column = metrics[key]
  local log = true
  for _, value in ipairs(column) do log = log and value > 0 end
  local series = {name = key, x = metrics.step, y = column}
  local _, problem = figures.curves(path, {{name = key, y_label = key, series = {series}, linear = not log}})
  return finish(path, problem)
end

-- A panel of a heat map in which the largest entry is 1 or -1, since a subcomponent is often much smaller than its
-- matrix.
local function scaled_panel(name, rows)
  local largest = tables.largest{rows}
  for _, row in ipairs(rows) do
    for j, value in ipairs(row) do row[j] = value / largest end
  end
  return {name = ("%s, largest entry %s"):format(name, text.number(largest)), values = rows}
end

-- U_c V_c^T in the shape of the matrix's weight.
local function rank_one(components, matrix, c)
  local tape <close> = core.tape()
  local V = core.columns(components:V(matrix.name), c, 1)
  local product = core.matmul(V, core.transpose(core.columns(core.transpose(components:U(matrix.name)), c, 1)))
  return (matrix.kind == "linear" and core.transpose(product) or product):tensor():totable()
end

-- A subcomponent beside its matrix.
local function draw_component(run, matrix, c, path)
  local _, problem = figures.heatmaps(path, {
    scaled_panel(("%s: subcomponent %d"):format(matrix.name, c), rank_one(run.components, matrix, c)),
    scaled_panel(matrix.name .. " of the target", matrix.weight:totable()),
  }, {range = {-1, 1}, columns = 1, bar_title = "Weight / largest entry"})
  return finish(path, problem)
end

-- ---- run:plot -----------------------------------------------------------------------------------

--- plots.names(run) -> list of what run:plot takes: figures, "metric" and "component"
function plots.names(run)
  local names = run.subject.evaluation_data and analysis.figures(run.subject) or {}
  table.move({"metric", "component"}, 1, 2, #names + 1, names)
  return names
end

--- plots.draw(run, metrics, what, ...) -> path
-- See run:plot. metrics: its columns.
function plots.draw(run, metrics, what, ...)
  arguments.word(WHERE, "figure", what, plots.names(run))
  if what == "metric" then
    local key, path = ...
    arguments.word(WHERE, "metric", key, metrics.names)
    return draw_metric(metrics, key, checked_path(path))
  end
  if what == "component" then
    local name, c, path = ...
    local matrix = arguments.matrix(WHERE, run, name)
    return draw_component(run, matrix, arguments.component(WHERE, run, matrix, c), checked_path(path))
  end
  return draw_figure(run, what, checked_path((...)))
end

return plots
