--- What a study has found, written into its folder: ranking.md, and a figure for each swept parameter.
local errors = require "spd.errors"
local fields = require "spd.fields"
local files = require "spd.files"
local measured = require "spd.sweep.measured"
local ranking = require "spd.sweep.ranking"

local results = {}

-- total_loss and loss/total are the same words.
local function sorted_words(name)
  local words = {}
  for word in name:gmatch "%w+" do words[#words + 1] = word end
  table.sort(words)
  return table.concat(words, " ")
end

local function nearest(name, names)
  local by_words, list = {}, {}
  for i, other in ipairs(names) do
    list[i] = sorted_words(other)
    by_words[list[i]] = by_words[list[i]] or other
  end
  return by_words[fields.nearest(sorted_words(name), list)]
end

--- results.warning(study) -> text, or nil
-- That no trial has reported the metric of the sweep, with what comes nearest to it.
function results.warning(study)
  local metric = study.sweep.metric
  local finished = study:trials "finished"
  if not metric or study:best() or #finished == 0 then return nil end
  local names = {}
  for name in pairs(measured.numbers(study:folder(finished[1].number))) do names[#names + 1] = name end
  table.sort(names)
  return ("no trial has reported the metric '%s' (%s)"):format(metric.name,
    #names == 0 and "nor any other number" or ("the nearest one is '%s'"):format(nearest(metric.name, names)))
end

local function draw(study, trials)
  local folder = study:path "figures"
  files.make_directory(folder)
  return ranking.draw(study.sweep, trials, function(key) return ("%s/%s.png"):format(folder, key) end)
end

--- results.write(study) -> true, or nil and why figures are missing
-- Write ranking.md and draw the figures, of all trials that there are.
function results.write(study)
  local lock <close> = study:lock()
  local trials, counts = study:trials(), study:counts()
  local heading = ("# %s\n\n%d trials, by %s: %d finished, %d stopped early, %d failed.\n\n"):format(
    study.sweep.name or study.directory:match "[^/]*$", #trials, study.sweep.method, counts.finished, counts.stopped,
    counts.failed)
  files.write(study:path "ranking.md", heading .. ranking.table(study.sweep, trials) .. "\n")
  local ok, drawn, problem = pcall(draw, study, trials)
  if ok then return drawn, problem end
  if errors.is(drawn) then return nil, drawn.message end
  error(drawn, 0)
end

return results
