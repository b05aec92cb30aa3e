--- Folders of runs: finding them, and removing them.
local errors = require "spd.errors"
local files = require "spd.files"
local run_module = require "spd.run"
local posix = require("spd.core").posix

local folders = {}

--- folders.each(folder, found, trouble)
-- Call found(path, name) for every run's folder at any depth below a folder, name being its path from there, and
-- trouble(path, problem) for a folder that cannot be read. Symbolic links are not followed; there are no runs in runs.
function folders.each(folder, found, trouble, prefix)
  prefix = prefix or ""
  local ok, names = pcall(files.list, folder)
  if not ok then return trouble(folder, names) end
  table.sort(names)
  for _, name in ipairs(names) do
    local path = folder .. "/" .. name
    if not posix.is_link(path) and posix.is_directory(path) then
      if posix.is_file(path .. "/final_config.yaml") then
        found(path, prefix .. name)
      else
        folders.each(path, found, trouble, prefix .. name .. "/")
      end
    end
  end
end

-- What a run's folder is told by is removed last, so that an interrupted removal can be done again.
local LAST = {["final_config.yaml"] = true, ["run.lock"] = true}

-- Remove what is in a folder, but not what symbolic links in it point to: they are removed themselves.
local function empty(folder, keep)
  for _, name in ipairs(files.list(folder)) do
    local path = folder .. "/" .. name
    if not (keep and keep[name]) then
      local removed, reason = posix.remove(path)
      if not removed and not posix.is_link(path) and posix.is_directory(path) then
        empty(path)
        removed, reason = posix.remove(path)
      end
      if not removed then errors.raise(1, path, reason) end
    end
  end
end

-- A study counts on its trials.
local function check_no_trial(path)
  local study = (posix.real_path(path) or path):match "^(.*)/trials/[^/]+$"
  if study and posix.is_file(study .. "/study.db") then
    errors.raise(2, path, "is a trial of the study " .. study, "remove the study's folder as a whole")
  end
end

--- folders.check_removable(path) -> run
-- Raise an error unless the folder is that of a run, no trial of a study, holds no other runs, and no process works on
-- it.
function folders.check_removable(path)
  local run = run_module.open(path)
  check_no_trial(path)
  if posix.is_link(run.directory) then errors.raise(2, path, "is a symbolic link", "name the folder itself") end
  folders.each(path, function(inner)
    errors.raise(2, path, "holds other runs, such as " .. inner, "remove these first")
  end, function(inner, problem) errors.raise(1, inner, tostring(problem)) end)
  run:lock()
  run:close()
  return run
end

--- folders.remove(path)
-- Remove a run's folder with all that is in it.
function folders.remove(path)
  local run <close> = folders.check_removable(path)
  run:lock()
  empty(run.directory, LAST)
  empty(run.directory)
  local removed, reason = posix.remove_directory(run.directory)
  if not removed then errors.raise(1, path, reason) end
end

return folders
