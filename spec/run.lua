-- Runs the specs with busted, inside the interpreter that runs this file:
--
--   ./spdlua spec/run.lua [--jobs N] [--run-slow] [busted options] [spec files or folders]
--
-- Without --run-slow, specs with #slow in the title are left out; those with #long are left out under sanitizers. With
-- --jobs, every file is run in a process of its own, N at the same time. Run it from the top of the checkout.
-- The last line is `N passed, N failed`; the exit status is 1 if anything failed or nothing ran.

package.path = "lua/?.lua;lua/?/init.lua;./?.lua;spec/?.lua;" .. package.path
package.cpath = "build/release/?.so;build/double/?.so;" .. package.cpath

local here <close> = io.open("spec/run.lua", "r")
if not here then error("spec/run.lua: not found (run from the top of the checkout)", 0) end

local slow, chosen, jobs, options = false, false, nil, {}
for i, option in ipairs(arg) do
  if option == "--run-slow" then
    slow = true
  elseif option == "--jobs" then
    jobs = math.tointeger(tonumber(arg[i + 1])) or error("spec/run.lua: --jobs: expected a number", 0)
  elseif arg[i - 1] ~= "--jobs" then
    chosen = chosen or option:find("^%-%-tags") or option:find("^%-%-exclude%-tags") or option == "-t"
    options[#options + 1] = option
  end
end
if not slow and not chosen then table.insert(options, 1, "--exclude-tags=slow") end
if jobs and slow then table.insert(options, 1, "--run-slow") end
if jobs then os.exit(require "spec.support.parallel"(options, jobs), true) end
for i = 1, math.max(#arg, #options) do arg[i] = options[i] end

-- busted forgets the modules that a spec file loaded when the file ends. The C modules hold the state
-- of the process and are loaded once, before the first file.
require "spd.core"
pcall(require, "spd.core_double")

require "busted.runner" { standalone = false, output = "spec.support.report" }
