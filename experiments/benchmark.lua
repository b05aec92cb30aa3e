--- Time per training step and peak memory of the paper's toy cases and a language model, as a JSON line per case.
--
-- Targets are random, so nothing is trained before; data generation is part of a step. Every case is measured
-- in a process of its own, after a warm-up.
local benchmark = require "spd.benchmark"
local cli = require "spd.cli"
local core = require "spd.core"
local errors = require "spd.errors"
local json = require "spd.json"
local posix = core.posix

local options = cli.parse(arg, {
  script = "experiments/benchmark.lua",
  summary = "Measure training steps: a JSON line per case, {case, ms_per_step, peak_mb, steps, threads}.",
  options = {
    {name = "cases", value = "A,B", kind = "list", help = "of " .. table.concat(benchmark.names, ", ")},
    {name = "steps", value = "N", kind = "count", help = "steps to measure (default: for about two seconds)"},
    {name = "products", help = "also products_ms and gflop: a step's matrix products alone"},
    cli.threads,
  },
})
if not options then return end

local cases = options.cases or benchmark.names
for _, name in ipairs(cases) do
  if not benchmark.cases[name] then
    errors.raise(2, "--cases", "no case '" .. name .. "'", "there is " .. table.concat(benchmark.names, ", "))
  end
end
if options.threads then core.threads(options.threads) end
if #cases == 1 then
  print(json.encode(benchmark.measure(cases[1], options.steps, options.products)))
  return
end
for _, name in ipairs(cases) do
  local words = {posix.executable(), arg[0], "--cases", name, "--threads", tostring(core.threads())}
  if options.steps then table.move({"--steps", tostring(options.steps)}, 1, 2, #words + 1, words) end
  if options.products then words[#words + 1] = "--products" end
  local status, out, err = posix.run(words)
  if status ~= 0 then errors.raise(1, name, (tostring(err or out):gsub("\n.*", ""))) end
  io.write(out)
  io.flush()
end
