--- Train a small language model on stories: `spdlua experiments/train_lm.lua configs/targets/lm_stories.yaml`.
local experiment = require "spd.experiment"
local language_target = require "spd.models.language_target"

local function report(model, config, folder)
  local scores = language_target.scores(model, config, folder)
  print(("cross-entropy of the next token in the test stories: %.4f nats"):format(scores.model))
  print(("of a bigram model %.4f, of a unigram model %.4f"):format(scores.bigram, scores.unigram))
end

experiment.train_target{
  kind = "lm", script = "experiments/train_lm.lua", report = report,
  summary = "Train a Llama or GPT-2 on stories that are generated, and leave a folder in Hugging Face's layout.",
}
