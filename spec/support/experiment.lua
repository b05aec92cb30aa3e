--- Starts the host for specs of experiments, in a temporary folder that goes away after each spec.
local core = require "spd.core"
local json = require "spd.json"
local posix = core.posix

local M = {}

--- The host that runs the specs' programs.
M.host = os.getenv("SPDLUA") or "./spdlua"

M.script = "experiments/tms_decomposition.lua"

--- Run a program; returns status, stdout, stderr.
function M.run(words)
  local status, out, err = posix.run(words)
  if not status then error(out, 2) end
  return status, out, err
end

--- Run the decomposition of a TMS with these words after the script's name.
function M.decompose(...) return M.run{M.host, M.script, ...} end

--- The same, ended by a signal ("INT", "KILL") after some seconds; the status is then 128 + the signal's number.
function M.decompose_until(signal, seconds, ...)
  return M.run{"timeout", "--preserve-status", "-s", signal, ("%.3f"):format(seconds), M.host, M.script, ...}
end

--- A new temporary folder.
function M.make_folder()
  local path = os.tmpname()
  os.remove(path)
  assert(posix.make_directory(path))
  return path
end

--- Remove a folder with all that is in it.
function M.remove_folder(path) posix.run{"rm", "-rf", path} end

--- The bytes of a file.
function M.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

--- Make or replace a file.
function M.write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes)
end

--- All files below a folder, path -> bytes, but for those whose path matches a pattern.
function M.contents(folder, except, found)
  found = found or {}
  for _, name in ipairs(assert(posix.list_directory(folder))) do
    local path = folder .. "/" .. name
    if posix.is_directory(path) then
      M.contents(path, except, found)
    elseif not (except and path:match(except)) then
      found[path] = M.read(path)
    end
  end
  return found
end

--- A trained target for a short run: the path of its weights in the folder.
function M.make_target(folder, config)
  local out = folder .. "/target"
  local status, _, message = M.run{M.host, "experiments/train_tms.lua", config or "configs/targets/tms_5-2.yaml",
    "steps=200", "--out", out, "--quiet"}
  if status ~= 0 then error(message, 2) end
  return out .. "/target.safetensors"
end

--- The lines of a metrics.jsonl, decoded.
function M.rows_of(metrics)
  local rows = {}
  for line in metrics:gmatch("[^\n]+") do rows[#rows + 1] = assert(json.decode(line)) end
  return rows
end

--- The names in a folder, sorted.
function M.names_in(path)
  local names = assert(posix.list_directory(path))
  table.sort(names)
  return names
end

return M
