--- Files and folders, with errors that name them.
local errors = require "spd.errors"
local posix = require("spd.core").posix

local files = {}

--- files.make_directory(path [, parents])
-- Make a folder if it is not there, with those above it if `parents` is true.
function files.make_directory(path, parents)
  if posix.is_directory(path) then return end
  local ok, message = posix.make_directory(path, parents)
  if not ok and not posix.is_directory(path) then
    errors.raise(2, path, posix.is_file(path) and "is not a folder" or message)
  end
end

--- files.missing_folders(path) -> list
-- The folder, and those above it, as far as they are not there: the deepest first.
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

--- files.list(folder) -> names
function files.list(folder)
  local names, message = posix.list_directory(folder)
  if not names then errors.raise(2, folder, message) end
  return names
end

--- files.tidy(folder)
-- Remove what killed processes left half-written: files that are replaced at once have a name of their own, ending in
-- .tmp, until then.
function files.tidy(folder)
  for _, name in ipairs(files.list(folder)) do
    if name:match("%.tmp$") then os.remove(folder .. "/" .. name) end
  end
end

return files
