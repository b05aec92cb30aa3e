--- The cache in which the tools of Hugging Face keep what they download.
--
-- The environment names it, as for those tools: HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub. Nothing is
-- downloaded from here.
local errors = require "spd.errors"
local files = require "spd.files"
local posix = require("spd.core").posix

local hugging_face = {}

-- A variable of the environment that is set to something.
local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- hugging_face.cache() -> the folder of the cache, which need not exist
function hugging_face.cache()
  local cache = environment "XDG_CACHE_HOME" or (environment "HOME" or "") .. "/.cache"
  local home = environment "HF_HOME" or cache .. "/huggingface"
  return environment "HF_HUB_CACHE" or home .. "/hub"
end

-- The snapshot that refs/main names, or the only one; nil if there is none.
local function snapshot_in(folder)
  local snapshots = folder .. "/snapshots"
  if not posix.is_directory(snapshots) then return nil end
  local reference = folder .. "/refs/main"
  local commit = posix.is_file(reference) and files.read(reference):match("^%x+")
  if commit and posix.is_directory(snapshots .. "/" .. commit) then return snapshots .. "/" .. commit end
  local names = files.list(snapshots)
  if #names > 1 then errors.raise(2, snapshots, "holds several snapshots", "name one of its folders instead") end
  return names[1] and snapshots .. "/" .. names[1]
end

-- The last word of "org/name" or "name"; nil of any other text.
local function last_word(name) return name:match("^[%w][%w._-]*/([%w][%w._-]*)$") or name:match("^[%w][%w._-]*$") end

local FILES = {json = true, jsonl = true, npy = true, parquet = true, txt = true}

--- hugging_face.is_name(name) -> whether it could be the name of a model or data set: "org/name" or "name"
-- What ends as the name of a file is none.
function hugging_face.is_name(name) return last_word(name) ~= nil and not FILES[name:match("%.(%w+)$")] end

--- hugging_face.find(kind, name) -> folder, or nil
-- The folder with the files of a "model" or "dataset" (kind) of that name, if it is in the cache.
function hugging_face.find(kind, name)
  return snapshot_in(("%s/%ss--%s"):format(hugging_face.cache(), kind, (name:gsub("/", "--"))))
end

-- A model is found in the cache afterwards. Text is often in a form that is to be converted, for which the cache is no
-- place.
local function download(kind, name)
  if kind == "model" then return "download it: hf download " .. name end
  return ("download it: hf download --repo-type dataset %s --local-dir %s, then name that folder"):format(name,
    last_word(name))
end

--- hugging_face.snapshot(kind, name) -> folder
-- The same; if it is not there, an error that gives the command that downloads it.
function hugging_face.snapshot(kind, name)
  if not hugging_face.is_name(name) then
    errors.raise(2, name, "does not exist", "expected a path, or the name of a " .. kind .. " at Hugging Face")
  end
  local snapshot = hugging_face.find(kind, name)
  if snapshot then return snapshot end
  errors.raise(2, name, ("is no file or folder, and not in the cache %s"):format(hugging_face.cache()),
    download(kind, name))
end

return hugging_face
