--- The training loop of the toy targets.
local core = require "spd.core"
local interrupts = require "spd.interrupts"
local optimize = require "spd.optimize"

local target_training = {}

local PRINT_FREQ = 1000 -- of a config that has none
local WEIGHT_DECAY = 0.01

-- The loss of a batch, and where asked for its gradients.
local function loss_of(settings, x, with_gradients)
  local tape <close> = core.tape()
  local value = settings.loss(settings.model, x.dtype == "int32" and x or core.compact(x))
  if with_gradients then tape:backward{value} end
  return value:item()
end

local function stop_if_interrupted(progress, done)
  if not interrupts.pending() then return end
  progress:finish()
  interrupts.stop(("the target's training stopped after %d steps"):format(done), "nothing of it is kept")
end

-- The mean loss over the fresh batches that follow those of the training.
local function final_loss(settings, count, x)
  local sum = 0
  for i = 0, count - 1 do
    x = settings.batches:batch(settings.config.steps + i, x)
    sum = sum + loss_of(settings, x)
    stop_if_interrupted(settings.progress, settings.config.steps)
  end
  return sum / count
end

-- The optimizers of the parameters with weight decay and of those without.
local function optimizers_of(settings)
  local with, without = core.adamw{weight_decay = settings.weight_decay or WEIGHT_DECAY}, core.adamw()
  for _, parameter in ipairs(settings.parameters) do
    local optimizer = parameter.without_decay and without or with
    optimizer:add(parameter.tensor:parameter(), parameter.transposed_of)
  end
  return {with, without}
end

--- target_training.run{model =, parameters =, batches =, loss =, config =, progress = [, weight_decay =]} -> loss
-- Train a model by AdamW with weight decay, 0.01 by default as in the public code. parameters: a list of {tensor =
-- [, transposed_of =] [, without_decay = true]}; batches have :batch(step, tensor), which gives ids, or numbers that
-- are put on the tape compactly; loss(model, x) is the scalar of a batch. The result is the loss of the last batch, or
-- the mean over config.n_batches_final_losses fresh ones. A loss that is not finite is an error.
function target_training.run(settings)
  local guard <close> = interrupts.catch()
  local config, progress = settings.config, settings.progress
  local optimizers = optimizers_of(settings)
  local x, loss
  for step = 0, config.steps - 1 do
    x = settings.batches:batch(step, x)
    loss = loss_of(settings, x, true)
    optimize.require_finite(loss, "target step " .. step, "its loss")
    for _, optimizer in ipairs(optimizers) do
      optimizer:step(optimize.learning_rate(config, step))
      optimizer:zero_gradients()
    end
    local done = step + 1
    local is_due = done % (config.print_freq or PRINT_FREQ) == 0 or done == config.steps
    progress:update(done, {["loss/total"] = loss}, is_due)
    if done < config.steps then stop_if_interrupted(progress, done) end
  end
  progress:finish()
  return config.n_batches_final_losses and final_loss(settings, config.n_batches_final_losses, x) or loss
end

return target_training
