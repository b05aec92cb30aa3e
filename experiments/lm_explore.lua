--- Look into a decomposed language model: `spdlua experiments/lm_explore.lua out/RUN "a prompt" ["another" ...]`.
--
-- Writes a page that opens in any browser, without a network: which subcomponents are active at each token of the
-- prompts, and what each of them fires on in the evaluation data.
local analysis_language = require "spd.analysis.language"
local cli = require "spd.cli"
local core = require "spd.core"
local errors = require "spd.errors"
local experiment = require "spd.experiment"
local explore_page = require "spd.explore_page"
local progress = require "spd.progress"

local options = cli.parse(arg, {
  script = "experiments/lm_explore.lua",
  summary = "Write a page to click through the subcomponents of a decomposed language model.",
  arguments = {
    {name = "DIR", key = "directory", help = "a run's folder"},
    {name = "PROMPT", key = "prompts", many = true, help = "texts whose tokens are looked at"},
  },
  options = {
    {name = "out", value = "FILE.html", help = "the page (default: explore.html in the run's folder)"},
    {name = "step", value = "N", kind = "count", least = 0, help = "the checkpoint of that step (default: the last)"},
    cli.threads,
    {name = "quiet", help = "print errors and the last line only"},
  },
})
if not options then return end

if options.threads then core.threads(options.threads) end
local subject, run, step = experiment.open(options.directory, options.step)
if subject.kind ~= "lm" then
  errors.raise(2, options.directory, ("is a run of kind %s, not of a language model"):format(subject.kind))
end
if not subject.tokenizer then errors.raise(2, options.directory, "has no tokenizer", "its data are numbers already") end
local path = options.out or run.directory .. "/explore.html"
explore_page.check(path)
local prompts = {}
for i, text in ipairs(options.prompts) do prompts[i] = analysis_language.prompt(subject, text) end

local statistics
do
  local batches = subject.config.n_eval_steps
  local display <close> = progress.new{title = "batch", steps = batches, quiet = options.quiet}
  statistics = analysis_language.components(subject, {each_batch = function(done) display:update(done) end})
  display:update(batches)
end
explore_page.write(path, explore_page.data{
  run = run.directory:match("([^/]*)$"), step = step, subject = subject, prompts = prompts, statistics = statistics,
})
print("page: " .. path)
