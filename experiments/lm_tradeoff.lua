--- Decompose a language model with several importance coefficients, and show what active subcomponents buy:
--
--     spdlua experiments/lm_tradeoff.lua configs/lm_stories.yaml --out out/tradeoff --coefficients 1e-4,1e-3
--
-- Each coefficient is a run of its own in DIR/coefficient_X. Runs that are finished are kept and others resumed, so the
-- same command goes on where it was stopped.
local cli = require "spd.cli"
local errors = require "spd.errors"
local figures = require "spd.figures"
local interrupts = require "spd.interrupts"
local processes = require "spd.processes"
local run_module = require "spd.run"
local seeds = require "spd.seeds"

local options = cli.parse(arg, {
  script = "experiments/lm_tradeoff.lua",
  summary = "Decompose a language model with several importance coefficients, and show cross-entropy against active " ..
    "subcomponents.",
  arguments = {{name = "CONFIG.yaml", key = "config", help = "the settings"}},
  overrides = true,
  options = {
    {name = "out", value = "DIR", required = true, help = "a folder for the runs; each is DIR/coefficient_X"},
    {name = "coefficients", value = "A,B,...", kind = "list", required = true,
      help = "values of importance_minimality_coeff"},
    cli.threads,
    {name = "quiet", help = "print the table and the last line only"},
  },
})
if not options then return end

for _, word in ipairs(options.coefficients) do
  local number = tonumber(word)
  if not number or not (number >= 0 and number < math.huge) or word:find "[^%w.+-]" then
    errors.raise(2, "--coefficients", ("expected numbers of 0 or more, found '%s'"):format(word))
  end
end

local function say(text)
  if not options.quiet then io.stderr:write(text, "\n") end
end

-- ---- the runs -----------------------------------------------------------------------------------

local guard <close> = interrupts.catch()
local function folder_of(i) return ("%s/coefficient_%s"):format(options.out, options.coefficients[i]) end

local points = {}
processes.run(#options.coefficients, 1, function(i)
  say(("importance_minimality_coeff %s: %d of %d, in %s"):format(options.coefficients[i], i, #options.coefficients,
    folder_of(i)))
  local overrides = table.move(options.overrides, 1, #options.overrides, 1, {})
  overrides[#overrides + 1] = "importance_minimality_coeff=" .. options.coefficients[i]
  return seeds.command{
    config = options.config, overrides = overrides, folder = folder_of(i), threads = options.threads,
    scripts = (arg[0]:gsub("[^/]*$", "")),
  }
end, function(i, status, message)
  seeds.check_ended(folder_of(i), status, message)
  local summary = run_module.open(folder_of(i)):summary()
  if not summary.ce_masked then
    errors.raise(2, options.config, "is not the decomposition of a language model", "only those have cross-entropies")
  end
  local active = 0
  for _, l0 in pairs(summary.l0) do active = active + l0 end
  points[i] = {coefficient = options.coefficients[i], active = active, summary = summary}
end)
if interrupts.pending() then interrupts.stop("stopped in " .. options.out, "the same command goes on") end

-- ---- the curve ----------------------------------------------------------------------------------

table.sort(points, function(a, b) return a.active < b.active end)
local x, masked, unmasked, target = {}, {}, {}, {}
print "| importance coefficient | active per token | cross-entropy, active ones | all | target | active - target |"
print "| ---: | ---: | ---: | ---: | ---: | ---: |"
for i, point in ipairs(points) do
  local s = point.summary
  x[i], masked[i], unmasked[i], target[i] = point.active, s.ce_masked, s.ce_unmasked, s.ce_target
  print(("| %s | %.2f | %.4f | %.4f | %.4f | %.4f |"):format(point.coefficient, point.active, s.ce_masked,
    s.ce_unmasked, s.ce_target, s.ce_masked - s.ce_target))
end

local path = options.out .. "/tradeoff.png"
local drawn, problem = figures.curves(path, {{
  name = "Cross-entropy of the next token, on evaluation text", y_label = "nats per token", linear = true,
  series = {
    {name = "active subcomponents only", x = x, y = masked}, {name = "all subcomponents", x = x, y = unmasked},
    {name = "target", x = x, y = target},
  },
}}, {title = "What active subcomponents buy", x_label = "Active subcomponents per token"})
if not drawn then errors.warn(problem) end
print("figure: " .. path)
