--- Compute one SPD step from the inputs of oracle files and compare every result with theirs.
--
--     spdlua experiments/oracle_check.lua FILE.safetensors ...
--
-- A row per tensor: the worst error relative to the tensor's largest entry. Exit status 1 if one exceeds 1e-5, is
-- missing, or does not belong to the step.
local oracle = require "spd.oracle"
local cli = require "spd.cli"

cli.main(function()
  local files = cli.files(arg, "usage: spdlua experiments/oracle_check.lua FILE.safetensors ...")
  local passed, failed = 0, 0
  for _, path in ipairs(files) do
    for _, row in ipairs(oracle.check(path)) do
      print(("%-60s %10s  %s"):format(row.name, row.error and ("%.2e"):format(row.error) or "-", row.verdict))
      if row.verdict == "ok" then passed = passed + 1 else failed = failed + 1 end
    end
  end
  print(("%d passed, %d failed"):format(passed, failed))
  if failed > 0 then os.exit(1, true) end
end)
