--- Files and folders, with errors that name them.
local errors = require "spd.errors"
local json = require "spd.json"
local posix = require("spd.core").posix

local files = {}

local LONGEST_LINE = 1 << 24 -- bytes of a line of JSON; a longer one is passed over
local READ_AT_ONCE = 1 << 20

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

--- files.json_lines(path [, from]) -> iterator of line, object or nil, offset after it
-- The whole lines of a file such as metrics.jsonl from an offset on, with what they say where that is an object or a
-- list. None where there is no regular file: a pipe or a device may have no end.
function files.json_lines(path, from)
  if not posix.is_file(path) then return function() end end
  local file, message = io.open(path, "rb")
  if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
  local text, at, offset = "", 1, from or 0
  file:seek("set", offset)
  local function next_line()
    local last = text:find("\n", at, true)
    while not last do
      if #text - at >= LONGEST_LINE then
        text, at, offset = "", 1, offset + #text - at + 1
      end
      local more = file:read(READ_AT_ONCE)
      if not more then return nil end
      text, at = text:sub(at) .. more, 1
      last = text:find("\n", 1, true)
    end
    local line = text:sub(at, last - 1)
    at, offset = last + 1, offset + #line + 1
    local object = json.decode(line)
    return line, type(object) == "table" and object or nil, offset
  end
  return next_line, nil, nil, file -- the loop closes it
end

--- files.size(path) -> bytes of a file
function files.size(path)
  local file <close>, message = io.open(path, "rb")
  if not file then errors.raise(2, path, (message:gsub("^.*: ", ""))) end
  return file:seek "end"
end

--- files.absolute(path) -> the path from the root, of what may not be there
function files.absolute(path)
  if path:sub(1, 1) == "/" then return path end
  local folder, message = posix.working_directory()
  if not folder then errors.raise(1, path, message) end
  return folder .. "/" .. path
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
