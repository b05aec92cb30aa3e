--- Files and folders, with errors that name them.
local errors = require "spd.errors"
local posix = require("spd.core").posix

local files = {}

--- files.make_directory(path [, parents])
-- Make a folder if it is not there, with those above it if `parents` is true; none of them if that fails.
function files.make_directory(path, parents)
  if posix.is_directory(path) then return end
  local missing = files.missing_folders(path)
  local ok, message = posix.make_directory(path, parents)
  if not ok and not posix.is_directory(path) then
    files.remove_folders(missing)
    errors.raise(2, path, message == "File exists" and "is not a folder" or message)
  end
end

--- files.remove_folders(list)
-- Remove folders that are empty, in this order: what missing_folders listed before they were made. What is no folder
-- stays.
function files.remove_folders(list)
  for _, folder in ipairs(list) do posix.remove_directory(folder) end
end

--- files.missing_folders(path) -> list
-- The folder, and those above it, as far as there is no folder: the deepest first.
function files.missing_folders(path)
  local missing = {}
  while path and path ~= "" and not posix.is_directory(path) do
    missing[#missing + 1] = path
    path = path:match("^(.*[^/])/+[^/]+/*$")
  end
  return missing
end

--- files.write(path, text)
-- Replace a file at once, or make it.
function files.write(path, text)
  local ok, message = posix.write_file(path, text)
  if not ok then errors.raise(1, path, message) end
end

--- files.read(path) -> all bytes of a file
function files.read(path)
  local file <close>, message = io.open(path, "rb")
  if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
  return file:read("a")
end

--- files.size(path) -> bytes of a file
function files.size(path)
  local file <close>, message = io.open(path, "rb")
  if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
  return file:seek "end"
end

--- files.list(folder) -> names
function files.list(folder)
  local names, message = posix.list_directory(folder)
  if not names then errors.raise(2, folder, message) end
  return names
end

--- files.tidy(folder [, prefix])
-- Remove what killed processes left half-written: files that are replaced at once have a name of their own, ending in
-- .tmp, until then. prefix: what their names begin with, for a folder that may hold files of others.
function files.tidy(folder, prefix)
  prefix = prefix or ""
  for _, name in ipairs(files.list(folder)) do
    if name:sub(1, #prefix) == prefix and name:match("%.tmp$") then os.remove(folder .. "/" .. name) end
  end
end

return files
