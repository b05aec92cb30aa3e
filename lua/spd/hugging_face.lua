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

--- hugging_face.snapshot(kind, name) -> folder
-- The folder with the files of a "model" or "dataset" (kind) that is in the cache; name is "org/name" or "name". If it
-- is not there, an error that gives the command that downloads it.
function hugging_face.snapshot(kind, name)
  local last = name:match("^[%w][%w._-]*/([%w][%w._-]*)$") or name:match("^[%w][%w._-]*$")
  if not last then errors.raise(2, name, "does not exist") end
  local folder = ("%s/%ss--%s"):format(hugging_face.cache(), kind, (name:gsub("/", "--")))
  local snapshot = snapshot_in(folder)
  if snapshot then return snapshot end
  local option = kind == "dataset" and "--repo-type dataset " or ""
  errors.raise(2, name, ("is no file or folder, and not in the cache %s"):format(hugging_face.cache()),
    ("download it: hf download %s%s --local-dir %s"):format(option, name, last))
end

return hugging_face
