--- Sweep files for specs, from their text.
local definition = require "spd.sweep.definition"
local experiment = require "spec.support.experiment"

local M = {}

--- Read the text as a sweep file that is gone afterwards; returns sweep, warnings. In errors the file is called FILE.
function M.read(text)
  local path = os.tmpname()
  experiment.write(path, text)
  local ok, sweep, warnings = pcall(definition.read, path)
  os.remove(path)
  if not ok then
    if type(sweep) == "table" and sweep.message then
      sweep.message = sweep.message:gsub(path:gsub("%p", "%%%0"), "FILE")
    end
    error(sweep, 0)
  end
  for i, warning in ipairs(warnings) do warnings[i] = warning:gsub(path:gsub("%p", "%%%0"), "FILE") end
  return sweep, warnings
end

--- A sweep with these lines below `parameters:`, and others above.
function M.with(parameters, others)
  return M.read((others or "method: grid") .. "\nprogram: train.py\nparameters:\n" .. parameters)
end

--- The message and the status of the error that f(...) raises.
function M.error_of(f, ...)
  local ok, problem = pcall(f, ...)
  assert(not ok, "expected an error")
  assert(type(problem) == "table", tostring(problem))
  return problem.message, problem.status
end

return M
