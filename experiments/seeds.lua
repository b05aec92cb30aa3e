--- Run a decomposition with several seeds and print how many of them reach the target solution.
--
--     spdlua experiments/seeds.lua configs/tms_5-2.yaml --seeds 0-4 --out out/seeds/tms_5-2 [key=value ...]
--
-- Each seed is a run of its own in DIR/seed_N. Runs that are finished are kept and others resumed, so the same
-- command goes on where it was stopped.
local cli = require "spd.cli"
local config_module = require "spd.config"
local errors = require "spd.errors"
local interrupts = require "spd.interrupts"
local processes = require "spd.processes"
local seeds = require "spd.seeds"

local options = cli.parse(arg, {
  script = "experiments/seeds.lua",
  summary = "Run a decomposition of a toy model with several seeds, and print a table of what they found.",
  arguments = {{name = "CONFIG.yaml", key = "config", help = "the settings"}},
  overrides = true,
  options = {
    {name = "out", value = "DIR", required = true, help = "a folder for the runs; each is DIR/seed_N"},
    {name = "seeds", value = "A,B-C", kind = "list", help = "the seeds (default: 0-9)"},
    cli.threads,
    {name = "quiet", help = "print the table only"},
  },
})
if not options then return end
for _, override in ipairs(options.overrides) do
  if override:match("^%-*seed%s*=") then errors.raise(2, override, "every run has a seed of its own", "--seeds A,B") end
end
local _, warnings = config_module.load(options.config, options.overrides)
local list = seeds.parse(options.seeds or {"0-9"})
seeds.require_own_folder(options.out)

local function say(text)
  if not options.quiet then io.stderr:write(text, "\n") end
end

for _, warning in ipairs(options.quiet and {} or warnings) do errors.warn(warning) end
local guard <close> = interrupts.catch()
local rows = {}
local function folder_of(seed) return ("%s/seed_%d"):format(options.out, seed) end
processes.run(#list, 1, function(i)
  say(("seed %d: %d of %d, in %s"):format(list[i], i, #list, folder_of(list[i])))
  return seeds.command{
    config = options.config, overrides = options.overrides, seed = list[i], folder = folder_of(list[i]),
    threads = options.threads, scripts = (arg[0]:gsub("[^/]*$", "")),
  }
end, function(i, status, message)
  seeds.check_ended(folder_of(list[i]), status, message)
  rows[i] = seeds.row(folder_of(list[i]))
  say(("seed %d: %s"):format(list[i], rows[i].solved and "solved" or "missed"))
end)
if interrupts.pending() then interrupts.stop("stopped in " .. options.out, "the same command goes on") end
print(seeds.table(rows))
