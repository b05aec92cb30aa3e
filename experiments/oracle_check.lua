--- Compute one SPD step from the inputs of oracle files and compare every result with theirs. Exit status 1 if
-- an error exceeds 1e-5, a tensor is missing, or one does not belong to the step.
local cli = require "spd.cli"
local oracle = require "spd.oracle"

local options = cli.parse(arg, {
  script = "experiments/oracle_check.lua",
  summary = "Compare single SPD steps with exact results: per tensor its worst error, relative to its largest entry.",
  arguments = {{name = "FILE.safetensors", key = "files", many = true, help = "oracle files"}},
})
if not options then return end

local passed, failed = 0, 0
for _, path in ipairs(options.files) do
  for _, row in ipairs(oracle.check(path)) do
    print(("%-64s %8s  %s"):format(row.name, row.error and ("%.1e"):format(row.error) or "-", row.verdict))
    if row.verdict == "ok" then passed = passed + 1 else failed = failed + 1 end
  end
end
print(("%d passed, %d failed"):format(passed, failed))
if failed > 0 then os.exit(1, true) end
