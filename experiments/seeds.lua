--- Run a decomposition with several seeds and print how many of them reach the target solution.
--
--     spdlua experiments/seeds.lua configs/tms_5-2.yaml --seeds 0,1,2 --out out/seeds/tms_5-2 [key=value ...]
--
-- Each seed is a run of its own in DIR/seed_N. Runs that are finished are kept and others resumed, so the same
-- command goes on where it was stopped.
local cli = require "spd.cli"
local core = require "spd.core"
local errors = require "spd.errors"
local seeds = require "spd.seeds"
local posix = core.posix

local options = cli.parse(arg, {
  script = "experiments/seeds.lua",
  summary = "Run a TMS decomposition with several seeds, and print a table of what they found.",
  arguments = {{name = "CONFIG.yaml", key = "config", help = "the settings"}},
  overrides = true,
  options = {
    {name = "seeds", value = "A,B", kind = "list", help = "the seeds (default: 0 to 9)"},
    {name = "out", value = "DIR", help = "a folder for the runs; each is DIR/seed_N"},
    cli.threads,
    {name = "quiet", help = "print the table only"},
  },
})
if not options then return end
if not options.out then errors.raise(2, "--out", "expected a folder for the runs", "--out out/seeds/NAME") end

local function run(seed)
  local folder = ("%s/seed_%d"):format(options.out, seed)
  local words = {posix.executable(), (arg[0]:gsub("[^/]*$", "tms_decomposition.lua"))}
  if posix.is_file(folder .. "/final_config.yaml") then
    table.move({"--resume", folder}, 1, 2, #words + 1, words)
  else
    table.move({options.config, "seed=" .. seed, "--out", folder}, 1, 4, #words + 1, words)
    table.move(options.overrides, 1, #options.overrides, #words + 1, words)
  end
  if options.threads then table.move({"--threads", tostring(options.threads)}, 1, 2, #words + 1, words) end
  words[#words + 1] = "--quiet"
  local status, _, message = posix.run(words)
  if status ~= 0 then errors.raise(status or 1, folder, (tostring(message):gsub("^spdlua: ", ""):gsub("\n.*", ""))) end
  return folder
end

local rows = {}
for i, text in ipairs(options.seeds or {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}) do
  local seed = math.tointeger(tonumber(text))
  if not seed then errors.raise(2, "--seeds", ("expected integers, found '%s'"):format(text)) end
  rows[i] = seeds.row(run(seed))
  if not options.quiet then io.stderr:write(("seed %d: %s\n"):format(seed, rows[i].solved and "solved" or "missed")) end
end
print(seeds.table(rows))
