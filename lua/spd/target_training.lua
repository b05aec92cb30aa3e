--- The training loop of the toy targets.
local core = require "spd.core"
local interrupts = require "spd.interrupts"
local optimize = require "spd.optimize"

local target_training = {}

local PRINT_FREQ = 1000 -- of a config that has none

-- One step: the loss of a batch, with its gradients where an optimizer is given.
local function loss_of(settings, x, optimizer)
  local tape <close> = core.tape()
  local value = settings.loss(settings.model, core.compact(x))
  if optimizer then tape:backward{value} end
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

--- target_training.run{model =, parameters =, batches =, loss =, config =, progress =} -> loss
-- Train a model by AdamW with weight decay 0.01, as the public code does. parameters: a list of {tensor =,
-- transposed_of = (optional)}; batches have :batch(step, tensor); loss(model, x) is the scalar of a batch. The result
-- is the loss of the last batch, or the mean over config.n_batches_final_losses fresh ones. A loss that is not finite
-- is an error.
function target_training.run(settings)
  local guard <close> = interrupts.catch()
  local config, progress = settings.config, settings.progress
  local optimizer = core.adamw{weight_decay = 0.01}
  for _, parameter in ipairs(settings.parameters) do
    optimizer:add(parameter.tensor:parameter(), parameter.transposed_of)
  end
  local x, loss
  for step = 0, config.steps - 1 do
    x = settings.batches:batch(step, x)
    loss = loss_of(settings, x, optimizer)
    optimize.require_finite(loss, "target step " .. step, "its loss")
    optimizer:step(optimize.learning_rate(config, step))
    optimizer:zero_gradients()
    local done = step + 1
    local is_due = done % (config.print_freq or PRINT_FREQ) == 0 or done == config.steps
    progress:update(done, {["loss/total"] = loss}, is_due)
    if done < config.steps then stop_if_interrupted(progress, done) end
  end
  progress:finish()
  return config.n_batches_final_losses and final_loss(settings, config.n_batches_final_losses, x) or loss
end

return target_training
