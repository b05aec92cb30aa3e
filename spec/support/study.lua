--- Sweeps for specs: files, commands, and processes that are killed.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local posix = core.posix

local M = {}

M.script = "experiments/sweep.lua"

--- Run a sweep with these words after the script's name; returns status, stdout, stderr.
function M.run(...) return experiment.run{experiment.host, M.script, ...} end

-- A trial that is no run: its score is its x.
local TRIVIAL = [[
local overrides, folder = os.getenv "SPDLUA_OVERRIDES", os.getenv "SPDLUA_TRIAL"
local x = overrides:match("x=([%d.]+)")
local file = assert(io.open(folder .. "/summary.json", "w"))
file:write('{"score": ' .. x .. '}\n')
file:close()
]]

--- Write a trivial program and a sweep over its x; returns the sweep file's path. lines: of the sweep file besides
-- program, method and metric.
function M.trivial(folder, lines, program)
  experiment.write(folder .. "/program.lua", program or TRIVIAL)
  local path = folder .. "/trivial.yaml"
  experiment.write(path, ("program: %s/program.lua\n"):format(folder) ..
    'command: ["${env}", "${interpreter}", "${program}"]\n' .. (lines or
    "method: grid\nmetric: {name: score, goal: maximize}\nparameters: {x: {values: [1, 3, 2]}}") .. "\n")
  return path
end

--- A started program with its pid: {program =, pid =}.
function M.start(folder, ...)
  local pid_file = os.tmpname()
  local program = assert(posix.start{"sh", "-c", 'echo $$ > "$0"; exec "$@"', pid_file, experiment.host, M.script, ...})
  local pid
  while not pid do
    posix.sleep(0.002)
    pid = experiment.read(pid_file):match("^(%d+)\n")
  end
  os.remove(pid_file)
  return {program = program, pid = pid}
end

--- Kill a process with SIGKILL.
function M.kill(pid) posix.run{"kill", "-9", pid} end

--- The processes that a process has started.
function M.children(pid)
  local list, _, text = {}, posix.run{"pgrep", "-P", pid}
  for child in text:gmatch("%d+") do list[#list + 1] = child end
  return list
end

return M
