--- Which runs the folders given to a report hold: runs themselves, the trials of a study, or folders of runs.
local errors = require "spd.errors"
local files = require "spd.files"
local posix = require("spd.core").posix

local folders = {}

local function is_run(folder) return posix.is_file(folder .. "/final_config.yaml") end

-- Numbers in names count as numbers: trials 9, 10, 11.
local function sort_key(name)
  return (name:gsub("%d+", function(digits) return ("%03d%s"):format(#digits:gsub("^0+", ""), digits) end))
end

-- The folders in a folder that keep(path) wants.
local function folders_in(folder, keep)
  local names, list = files.list(folder), {}
  table.sort(names, function(a, b)
    local x, y = sort_key(a), sort_key(b)
    if x ~= y then return x < y end
    return a < b
  end)
  for _, name in ipairs(names) do
    local path = folder .. "/" .. name
    if posix.is_directory(path) and keep(path) then list[#list + 1] = path end
  end
  return list
end

-- The runs of one folder. Every trial of a study counts, also one that has no config yet.
local function runs_in(folder)
  if not posix.is_directory(folder) or is_run(folder) then return {folder} end -- what is none is found when it is read
  local trials = folder .. "/trials"
  if posix.is_directory(trials) then return folders_in(trials, function(path) return path:find("/%d+$") ~= nil end) end
  return folders_in(folder, is_run)
end

-- What all paths begin with, up to a slash.
local function common_beginning(paths)
  local common = paths[1]:match("^(.*/)") or ""
  for _, path in ipairs(paths) do
    while path:sub(1, #common) ~= common do common = common:match("^(.*/)[^/]*/$") or "" end
  end
  return common
end

-- Short names that tell the paths apart.
local function short_names(paths)
  local names, common = {}, common_beginning(paths)
  for i, path in ipairs(paths) do names[i] = path:sub(#common + 1) end
  return names
end

-- What a page about these runs is called.
local function title_of(directories, runs)
  if #directories > 1 then return ("%d runs"):format(#runs) end
  local name = directories[1]:gsub("(.)/+$", "%1"):match("([^/]*)$")
  return is_run(directories[1]) and name or ("%s: %d run%s"):format(name, #runs, #runs == 1 and "" or "s")
end

--- folders.find(directories) -> list of {path =, name =}, title
-- All runs of the given folders, each once, with names that tell them apart; and what to call them all. A folder is
-- that of a run, a study (its runs are in trials/N), or holds runs, as that of several seeds does. One that holds no
-- run is an error; that one of several does not exist is found out when it is read.
function folders.find(directories)
  local paths, seen = {}, {}
  for _, directory in ipairs(directories) do
    directory = directory:gsub("(.)/+$", "%1")
    if #directories == 1 and not posix.is_directory(directory) then errors.raise(2, directory, "no such folder") end
    local found = runs_in(directory)
    if #found == 0 then errors.raise(2, directory, "is not a run's folder, and holds none") end
    for _, path in ipairs(found) do
      if not seen[path] then paths[#paths + 1] = path end
      seen[path] = true
    end
  end
  local names, list = short_names(paths), {}
  for i, path in ipairs(paths) do list[i] = {path = path, name = names[i]} end
  return list, title_of(directories, list)
end

return folders
