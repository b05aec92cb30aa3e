--- Questions about runs: a list of those for which a condition is true, what one is, how several differ, their curves.
--
--     spdlua experiments/runs.lua list --where "pnorm = 2 and mmcs > 0.99" --sort -mmcs
--
-- The answers come from runs.db, an index beside the folders of runs, which `rebuild` makes from these.
local cli = require "spd.cli"
local core = require "spd.core"
local errors = require "spd.errors"
local fields = require "spd.fields"
local runs = require "spd.runs"

local SCRIPT = "experiments/runs.lua"

local folder_option = {name = "in", value = "DIR", help = "the folder of the runs (default: out)"}
local run_argument = {name = "RUN", key = "runs", many = true, help = "folders, names, or beginnings of names"}


local function plural(count, word) return ("%d %s%s"):format(count, word, count == 1 and "" or "s") end

local function folder_of(options) return ((options["in"] or "out"):gsub("(.)/+$", "%1")) end

-- The folders of the runs that are named, each once.
local function find_all(options, least)
  local folder, paths, seen = folder_of(options), {}, {}
  for _, word in ipairs(options.runs) do
    local path = runs.find(word, folder, options.yes)
    local real_path = core.posix.real_path(path)
    if not seen[real_path] then
      paths[#paths + 1], seen[real_path] = path, true
    end
  end
  if #paths < least then errors.raise(2, "command line", ("expected %d runs or more"):format(least)) end
  return paths
end

-- ---- the commands -------------------------------------------------------------------------------

local commands = {}

commands.list = {
  summary = "Print a table of runs, the newest first.",
  options = {
    {name = "where", value = "CONDITION", help = [[those of which it is true: "pnorm = 2 and not mmcs < 0.99"]]},
    {name = "sort", value = "KEY", help = "by a key; -KEY: the largest first (default: -started)"},
    {name = "columns", value = "KEY,...", kind = "list", help = "keys to print"},
    {name = "limit", value = "N", kind = "count", help = "at most so many"},
    folder_option,
    {name = "json", help = "a JSON list instead of a table"},
  },
}

function commands.list.run(options)
  local folder = folder_of(options)
  local rows, columns, notes = require("spd.runs.query").list{
    folder = folder, where = options.where, sort = options.sort, columns = options.columns, limit = options.limit,
  }
  print(options.json and runs.json(rows, columns) or #rows == 0 and "no runs" or runs.table(rows, columns))
  if notes.unknown > 0 then
    errors.warn(("%s not in the index: spdlua %s rebuild %s"):format(plural(notes.unknown, "folder") ..
      (notes.unknown == 1 and " is" or " are"), SCRIPT, folder))
  end
  if notes.gone > 0 then
    errors.warn(("%s of the index left out, whose folders are gone: spdlua %s rebuild %s"):format(
      plural(notes.gone, "run"), SCRIPT, folder))
  end
end

commands.show = {
  summary = "Print all settings of runs, and their last numbers.",
  arguments = {run_argument}, options = {folder_option},
}

function commands.show.run(options)
  for i, path in ipairs(find_all(options, 1)) do print((i > 1 and "\n" or "") .. runs.show(path)) end
end

commands.diff = {
  summary = "Print the settings and numbers in which two or more runs differ.",
  arguments = {run_argument}, options = {folder_option},
}

function commands.diff.run(options) print(runs.diff(find_all(options, 2), folder_of(options))) end

commands.plot = {
  summary = "Draw a key of metrics.jsonl over the steps of several runs.",
  arguments = {{name = "KEY", key = "key", help = "such as loss/total"}, run_argument},
  options = {{name = "out", value = "FILE.png", help = "the figure (default: KEY.png in the folder of the runs)"},
    folder_option},
}

function commands.plot.run(options)
  local folder = folder_of(options)
  local path = options.out or ("%s/%s.png"):format(folder, (options.key:gsub("[^%w._-]", "_")))
  if not path:find "%.png$" then errors.raise(2, "--out", ("expected a name FILE.png, found '%s'"):format(path)) end
  local panel, without = runs.curves(options.key, find_all(options, 1), folder)
  for _, name in ipairs(without) do errors.warn(("%s: has no %s"):format(name, options.key)) end
  local drawn, reason = require("spd.figures").curves(path, {panel}, {title = options.key})
  if not drawn then errors.raise(1, "figure", reason) end
  print("figure: " .. path)
end

commands.rm = {
  summary = "Remove runs with all that is in their folders.",
  arguments = {run_argument}, options = {folder_option, {name = "yes", help = "do not ask; only whole names count"}},
}

local function agreed(paths)
  if not core.posix.is_terminal(0) then errors.raise(2, "rm", "nobody can be asked without a terminal", "--yes") end
  io.write(table.concat(paths, "\n"), "\nremove ", plural(#paths, "run"), "? [y/N] ")
  io.flush()
  local answer = io.read "l"
  return answer ~= nil and answer:lower():find "^%s*y" ~= nil
end

function commands.rm.run(options)
  local folders, index = require "spd.runs.folders", require "spd.runs.index"
  local paths = find_all(options, 1)
  for _, path in ipairs(paths) do folders.check_removable(path) end
  if not options.yes and not agreed(paths) then return end
  for _, path in ipairs(paths) do
    local index_path, name = index.of_run(path)
    folders.remove(path)
    print("removed " .. path)
    local ok, problem = pcall(index.forget, index_path, name)
    if not ok then errors.warn(tostring(problem)) end
  end
end

commands.rebuild = {
  summary = "Make the index again from the folders of runs, at any depth; symbolic links are not followed.",
  arguments = {{name = "DIR", key = "folder", optional = true, help = "the folder of the runs (default: out)"}},
  options = {},
}

function commands.rebuild.run(options)
  local path, count = require("spd.runs_index").rebuild(options.folder or "out", function(_, problem)
    errors.warn(tostring(problem) .. ": left out")
  end)
  print(("%s: %s"):format(path, plural(count, "run")))
end

-- ---- the command line ---------------------------------------------------------------------------

local NAMES = {"list", "show", "diff", "plot", "rm", "rebuild"}

local function usage_of(name)
  local command = commands[name]
  return {
    script = SCRIPT .. " " .. name, summary = command.summary, arguments = command.arguments, options = command.options,
  }
end

local function print_help()
  for i, name in ipairs(NAMES) do print((i > 1 and "\n" or "") .. cli.help(usage_of(name))) end
end

local name = arg[1]
if name == "-h" or name == "--help" then return print_help() end
if not commands[name] then
  errors.raise(2, name and "'" .. name .. "'" or "command line",
    name and "no such command; the nearest one is " .. fields.nearest(name, NAMES) or "expected a command",
    "there is " .. table.concat(NAMES, ", "))
end
local options = cli.parse(table.move(arg, 2, #arg, 1, {}), usage_of(name))
if options then commands[name].run(options) end
