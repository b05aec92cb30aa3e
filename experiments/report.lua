--- One HTML page about a run, or about several and how they compare: `spdlua experiments/report.lua DIR [DIR ...]`.
--
-- DIR is the folder of a run, of a study (all its trials), or one that holds runs, such as that of several seeds. The
-- page opens from disk in any browser; it is all that is written.
local cli = require "spd.cli"
local core = require "spd.core"
local errors = require "spd.errors"
local progress = require "spd.progress"
local report = require "spd.report"
local folders = require "spd.report.folders"

local options = cli.parse(arg, {
  script = "experiments/report.lua",
  summary = "Write a page about a run, or about several and how they compare.",
  arguments = {
    {name = "DIR", key = "directories", many = true, help = "folders of runs, of studies, or of several runs"},
  },
  options = {
    {name = "out", value = "FILE.html", help = "the page (default: report.html in DIR; of several, where you are)"},
    cli.threads,
    {name = "quiet", help = "print errors and the last line only"},
  },
})
if not options then return end

if options.threads then core.threads(options.threads) end
local directories = options.directories
local path = options.out or #directories == 1 and directories[1]:gsub("(.)/+$", "%1") .. "/report.html" or "report.html"
local found, title = folders.find(directories)
report.check(path)
local data, unreadable
do
  local display <close> = progress.new{title = "part", steps = 0, quiet = options.quiet}
  data, unreadable = report.data(found, title, function(done, count)
    display.steps = count
    display:update(done)
  end)
end
report.write(path, data)
for _, one in ipairs(options.quiet and {} or unreadable) do
  errors.warn("left out: " .. one.reason)
end
print("page: " .. path)
