--- Reports: an HTML page about one run, or one that compares several.
--
-- The page is pages/report.html with the files in pages/report/, where the data is described, too. A page about many
-- runs has all curves and scores, but subcomponents and figures only of as many as there is room for, the best first.
local core = require "spd.core"
local errors = require "spd.errors"
local files = require "spd.files"
local html_page = require "spd.html_page"
local json = require "spd.json"
local pictures = require "spd.report.pictures"
local report_run = require "spd.report.run"
local scores = require "spd.report.scores"
local settings = require "spd.report.settings"

local report = {}

-- What a page has room for.
local MOST_NUMBERS = 400000 -- in curves
local MOST_POINTS, FEWEST_POINTS = 2000, 40 -- of a curve
local MOST_IMPORTANCES, MOST_OF_A_RUN = 200000, 60000
local MOST_DETAILED = 40 -- runs with their subcomponents
local FIGURE_BYTES = 20 << 20 -- of the only run
local FIGURE_BYTES_OF_MANY = 3 << 20

local SERIES_OF_A_RUN = 20 -- about

-- ---- reading the runs ---------------------------------------------------------------------------

-- The runs that can be read, in order, with place and name; and those that cannot, as {name =, reason =}.
local function read_all(found, each)
  local points = MOST_NUMBERS // (#found * SERIES_OF_A_RUN)
  points = math.max(FEWEST_POINTS, math.min(MOST_POINTS, points))
  local runs, unreadable = {}, {}
  for i, one in ipairs(found) do
    local ok, overview = pcall(report_run.overview, one.path, points)
    if not ok and #found == 1 then error(overview, 0) end
    if ok then
      overview.place, overview.data.name = #runs + 1, one.name
      runs[#runs + 1] = overview
    elseif errors.is(overview) then
      unreadable[#unreadable + 1] = {name = one.name, reason = overview.message}
    else
      error(overview, 0)
    end
    each(i)
  end
  return runs, unreadable
end

-- The runs, the best first.
local function ranked(runs)
  local list = table.move(runs, 1, #runs, 1, {})
  table.sort(list, function(a, b)
    local better = scores.better(a.scores, b.scores)
    if better ~= nil then return better end
    return a.place < b.place
  end)
  return list
end

local function add_importances(best, each)
  local count = math.min(#best, MOST_DETAILED)
  local most = math.min(MOST_OF_A_RUN, MOST_IMPORTANCES // count)
  for i = 1, count do
    local data = best[i].data
    data.importances, data.importances_problem = report_run.importances(best[i], most)
    each(i)
  end
  for i = count + 1, #best do best[i].data.importances_problem = "only the best runs have room for theirs" end
  return count
end

-- How many runs have their figures.
local function add_figures(best)
  local alone = #best == 1
  local room, count = alone and FIGURE_BYTES or FIGURE_BYTES_OF_MANY, 0
  for _, one in ipairs(best) do
    local figures, left_out, used = pictures.data(one.data.folder, room, alone)
    one.data.figures, one.data.figures_left_out = #figures > 0 and figures or json.empty_list, left_out
    room = room - used
    if #figures > 0 then count = count + 1 end
  end
  return count
end

-- ---- the page -----------------------------------------------------------------------------------

local function score_rows(runs, columns)
  for _, one in ipairs(runs) do
    local row = {}
    for k, column in ipairs(columns) do
      row[k] = one.scores[column.key] and html_page.rounded(one.scores[column.key], 6) or json.null
    end
    one.data.scores = #row > 0 and row or json.empty_list
  end
end

-- What the reader should know about what is not on the page.
local function notes_of(runs, detailed, pictured)
  local notes, thinned = {}, false
  for _, one in ipairs(runs) do thinned = thinned or one.data.curves.thinned end
  if thinned then
    notes[1] = "Curves are thinned: between their ends, the smallest and largest value of equal parts are kept."
  end
  if detailed < #runs then
    notes[#notes + 1] = ("Subcomponents are shown of the best %d runs only."):format(detailed)
  end
  if #runs > 1 and pictured < #runs then
    notes[#notes + 1] = ("Figures are shown of %d of the runs only, the best ones that have some."):format(pictured)
  end
  return #notes > 0 and notes or json.empty_list
end

--- report.data(found, title [, each]) -> table, list of {name =, reason =}
-- What a page about runs shows (see folders.find and pages/report/report.js), and those of them that cannot be read. If
-- none can, that is an error. each(done, count) is called after each part of the work.
function report.data(found, title, each)
  local parts = #found + math.min(#found, MOST_DETAILED)
  local function done(count) if each then each(count, parts) end end
  local runs, unreadable = read_all(found, done)
  if #runs == 0 then errors.raise(2, title, "no run of them can be read", unreadable[1].reason) end
  local best = ranked(runs)
  local detailed = add_importances(best, function(i) done(#found + i) end)
  local notes = notes_of(runs, detailed, add_figures(best))
  local configs, flat, pages, ranks = {}, {}, {}, {}
  for i, one in ipairs(runs) do configs[i], flat[i], pages[i] = one.config, one.scores, one.data end
  for rank, one in ipairs(best) do ranks[rank] = one.place - 1 end
  local columns, compared = scores.columns(flat), settings.data(configs)
  score_rows(runs, columns)
  for i, row in ipairs(compared.rows) do pages[i].config = row end
  return {
    title = title, version = core.version, written = os.date("%Y-%m-%d %H:%M"), notes = notes,
    unreadable = #unreadable > 0 and unreadable or json.empty_list, keys = compared.keys, swept = compared.swept,
    scores = #columns > 0 and columns or json.empty_list, best = ranks, runs = pages,
  }, unreadable
end

--- report.check(path)
-- Refuse a path where something else than a report is, or that has no folder.
function report.check(path) html_page.check(path, "report") end

--- report.html(data) -> the text of the whole page
function report.html(data) return html_page.html("report", data) end

--- report.write(path, data)
-- Write a page, at once. What report.check refuses is an error, and stays as it is.
function report.write(path, data)
  report.check(path)
  files.write(path, report.html(data))
end

return report
