--- The runs in a folder, newest first, as spd.open() lists them.
local aligned = require "spd.aligned"
local core = require "spd.core"
local errors = require "spd.errors"
local run_module = require "spd.run"
local posix = core.posix

local run_list = {}

local DEEPEST, SHOWN = 4, 15 -- out/sweeps/NAME/trials/N is that deep; runs that are printed

-- When anything was written last in a run's folder.
local function changed(directory)
  local latest = 0
  for _, name in ipairs{"final_config.yaml", "metrics.jsonl", "summary.json"} do
    latest = math.max(latest, posix.modified(directory .. "/" .. name) or 0)
  end
  return latest
end

local function scan(folder, depth, found)
  for _, name in ipairs(posix.list_directory(folder) or {}) do
    local path = folder .. "/" .. name
    if posix.is_file(path .. "/final_config.yaml") then
      found[#found + 1] = {directory = path, changed = changed(path)}
    elseif depth < DEEPEST and posix.is_directory(path) then
      scan(path, depth + 1, found)
    end
  end
  return found
end

local function number_in(summary, key) return type(summary[key]) == "number" and summary[key] or nil end

-- A finished run's scores in a few words.
local function scores(summary)
  local parts = {}
  for _, score in ipairs{
    {"mmcs", "mmcs %.4f"}, {"target_ci_error_total", "CI error %g"}, {"contribution_slope", "slope %.4f"},
    {"ce_masked", "cross-entropy %.4f"}, {"ce_target", "target %.4f"},
  } do
    local value = number_in(summary, score[1])
    if value then parts[#parts + 1] = score[2]:format(value) end
  end
  return #parts > 0 and table.concat(parts, ", ") or "finished"
end

-- What has become of a run, in a few words, whatever is in its folder.
local function state_of(directory)
  local ok, state = pcall(function()
    local run = run_module.open(directory)
    local summary = run:summary()
    if summary and run:is_finished() then return scores(summary) end
    local steps = run:checkpoints()
    return #steps > 0 and ("unfinished, step %d"):format(steps[#steps]) or "no checkpoint yet"
  end)
  if not ok and errors.is(state) and state.status == 130 then error(state, 0) end -- Ctrl-C
  return ok and state or "cannot be read"
end

local function describe(self)
  local folder = getmetatable(self).folder
  if #self == 0 then return ("no run under %s/; spd.open \"DIR\" opens one elsewhere"):format(folder) end
  local rows = {{"run", "changed", ""}}
  for i = 1, math.min(SHOWN, #self) do
    local one = self[i]
    rows[i + 1] = {one.directory, os.date("%Y-%m-%d %H:%M", one.changed), state_of(one.directory)}
  end
  local lines = aligned.lines(rows, {})
  if #self > SHOWN then lines[#lines + 1] = ("... %d older ones"):format(#self - SHOWN) end
  lines[#lines + 1] = ("run = spd.open %q"):format(self[1].directory)
  return table.concat(lines, "\n")
end

--- run_list.of(folder) -> list of {directory =, changed = seconds since 1970}, newest first
-- The runs in a folder and in those in it, four deep. Printed as a table.
function run_list.of(folder)
  local list = scan(folder, 1, {})
  table.sort(list, function(a, b)
    if a.changed ~= b.changed then return a.changed > b.changed end
    return a.directory < b.directory
  end)
  return setmetatable(list, {__tostring = describe, folder = folder})
end

return run_list
