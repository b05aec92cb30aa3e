-- Runs the specs with busted, inside the interpreter that runs this file:
--
--   ./spdlua spec/run.lua [--run-slow] [busted options] [spec files or folders]
--
-- Without --run-slow, specs with #slow in the title are left out; those with #long are left out under sanitizers. Run
-- it from the top of the checkout.
-- The last line is `N passed, N failed`; the exit status is 1 if anything failed or nothing ran.

package.path = "lua/?.lua;lua/?/init.lua;./?.lua;spec/?.lua;" .. package.path
package.cpath = "build/release/?.so;build/double/?.so;" .. package.cpath

local here <close> = io.open("spec/run.lua", "r")
if not here then error("spec/run.lua: not found (run from the top of the checkout)", 0) end

local slow, chosen, options = false, false, {}
for _, option in ipairs(arg) do
  if option == "--run-slow" then
    slow = true
  else
    chosen = chosen or option:find("^%-%-tags") or option:find("^%-%-exclude%-tags") or option == "-t"
    options[#options + 1] = option
  end
end
if not slow and not chosen then table.insert(options, 1, "--exclude-tags=slow") end
for i = 1, math.max(#arg, #options) do arg[i] = options[i] end

-- One process holds what all files leave: a longer pause of the collector saves an eighth of the time.
collectgarbage("incremental", 400)

-- busted forgets the modules that a spec file loaded when the file ends. The C modules hold the state
-- of the process and are loaded once, before the first file.
require "spd.core"
pcall(require, "spd.core_double")

require "busted.runner" { standalone = false, output = "spec.support.report" }
