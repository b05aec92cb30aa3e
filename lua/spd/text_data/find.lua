--- Where the text of a data set lies: files of a folder, or of the Hugging Face cache, by the name of a split.
local errors = require "spd.errors"
local files = require "spd.files"
local hugging_face = require "spd.hugging_face"
local posix = require("spd.core").posix

local find = {}

local READ = {jsonl = true, txt = true, npy = true}
local EXPECTED = "read are .jsonl, .txt and .npy"
-- Names that say that a folder has splits.
local SPLITS = {"train", "validation", "valid", "val", "dev", "test", "eval"}

local function ending(path) return path:match("%.([^./]+)$") end

-- What turns Parquet files into files that are read: the path of one, or a pattern.
local function conversion(paths)
  if #paths == 1 then
    return ([[python3 -c "import pandas; pandas.read_parquet('%s').to_json('%s', orient='records', lines=True)"]])
      :format(paths[1], (paths[1]:gsub("parquet$", "jsonl")))
  end
  return ([[python3 -c "import glob, pandas; [pandas.read_parquet(f).to_json(f[:-7] + 'jsonl', orient='records', ]] ..
    [[lines=True) for f in glob.glob('%s/*.parquet')]"]]):format(paths[1]:match("^(.*)/"))
end

-- Those of the paths that are read, or an error that says what could be done.
local function readable(paths, where)
  local list, parquet = {}, {}
  for _, path in ipairs(paths) do
    if READ[ending(path)] then list[#list + 1] = path end
    if ending(path) == "parquet" then parquet[#parquet + 1] = path end
  end
  if #list > 0 then return list end
  if #parquet > 0 then errors.raise(2, parquet[1], "Parquet is not read", "convert it: " .. conversion(parquet)) end
  errors.raise(2, where, posix.is_directory(where) and "holds no file of text" or "is not a file of text", EXPECTED)
end

-- Names in a folder that are not hidden, sorted.
local function names_in(folder)
  local names = {}
  for _, name in ipairs(files.list(folder)) do
    if name:sub(1, 1) ~= "." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- All files of a folder; with `below`, of its folders too.
local function files_in(folder, below)
  local list = {}
  for _, name in ipairs(names_in(folder)) do
    local path = folder .. "/" .. name
    if posix.is_file(path) then
      list[#list + 1] = path
    elseif below and posix.is_directory(path) then
      local inner = files_in(path)
      table.move(inner, 1, #inner, #list + 1, list)
    end
  end
  return list
end

-- How a name in a folder says that it belongs to a split; nil if it does not.
local function form_of(folder, name, split)
  if posix.is_directory(folder .. "/" .. name) then return name == split and split .. "/" or nil end
  local stem = (READ[ending(name)] or ending(name) == "parquet") and name:match("^(.*)%.")
  if stem == split then return split .. ".*" end
  return stem and stem:sub(1, #split + 1) == split .. "-" and split .. "-*" or nil
end

-- The files of a folder that are of a split; none if it has no such names.
local function split_files(folder, split)
  local found, form = {}, nil
  for _, name in ipairs(names_in(folder)) do
    local this = form_of(folder, name, split)
    if form and this and this ~= form then
      errors.raise(2, folder, ("split '%s' is both %s and %s"):format(split, form, this), "keep one of them")
    end
    form = form or this
    if this then found[#found + 1] = folder .. "/" .. name end
  end
  return form == split .. "/" and files_in(found[1]) or found
end

local function splits_of(folder)
  local list = {}
  for _, split in ipairs(SPLITS) do
    if #split_files(folder, split) > 0 then list[#list + 1] = split end
  end
  return list
end

local function files_of_folder(folder, split)
  if not split then return readable(files_in(folder, true), folder) end
  local inner = folder .. "/data"
  local places = {folder, posix.is_directory(inner) and inner or nil}
  for _, place in ipairs(places) do
    local list = split_files(place, split)
    if #list > 0 then return readable(list, place) end
  end
  for _, place in ipairs(places) do
    local splits = splits_of(place)
    if #splits > 0 then
      errors.raise(2, place, ("has no split '%s'"):format(split), "it has " .. table.concat(splits, ", "))
    end
  end
  return readable(files_in(folder, true), folder)
end

--- find.files(name [, split]) -> list of paths
-- See text_data.find.
function find.files(name, split)
  if posix.is_file(name) then return readable({name}, name) end
  local folder = posix.is_directory(name) and (name:gsub("(.)/+$", "%1")) or hugging_face.snapshot("dataset", name)
  return files_of_folder(folder, split)
end

return find
