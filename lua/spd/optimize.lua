--- The training loop of a decomposition: batches in, subcomponents and gates out.
--
-- Nothing here depends on the clock but when a checkpoint is written: every random number is named by seed,
-- purpose and step, so a run that is interrupted and resumed, on any number of threads, ends with the same
-- bits.
local core = require "spd.core"
local errors = require "spd.errors"
local evaluate = require "spd.evaluate"
local interrupts = require "spd.interrupts"
local losses = require "spd.losses"
local posix = core.posix

local optimize = {}

--- optimize.learning_rate(config, step) -> number
-- Linear warm-up over w = floor(steps x lr_warmup_pct) steps, then, with s = step - w and S = steps - w:
-- constant; linear 1 - s/S; cosine cos(pi/2 s/(S-1)), a quarter period; exponential
-- 0.5^(s/lr_exponential_halflife).
function optimize.learning_rate(config, step)
  local warmup = math.floor(config.steps * (config.lr_warmup_pct or 0))
  if step < warmup then return config.lr * step / warmup end
  local s, S = step - warmup, config.steps - warmup
  local schedule = config.lr_schedule or "constant"
  local factor = 1
  if schedule == "linear" then
    factor = S == 0 and 1 or 1 - s / S
  elseif schedule == "cosine" then
    factor = S <= 1 and 1 or math.cos(0.5 * math.pi * s / (S - 1))
  elseif schedule == "exponential" then
    factor = 0.5 ^ (s / config.lr_exponential_halflife)
  end
  return config.lr * factor
end

-- ---- one step -----------------------------------------------------------------------------------

--- optimize.require_finite(number, where, what)
-- Raise an error of status 1 if a number is NaN or infinite; `what` names it.
function optimize.require_finite(number, where, what)
  if number ~= number or math.abs(number) == math.huge then
    errors.raise(1, where, ("%s is %s"):format(what, number ~= number and "nan" or number),
      "a lower lr or another seed may help")
  end
end

--- optimize.step(components, tape, config, x, step) -> numbers
-- Record step `step` for the batch x on the open tape and add its gradients to those of the parameters. numbers: the
-- losses by "loss/NAME", with "loss/total". A loss that is not finite is an error.
function optimize.step(components, tape, config, x, step)
  local target, inputs = components:run_target(x)
  local lower, upper = components:importances(inputs)
  local terms = losses.terms{
    components = components, config = config, step = step, x = x,
    target = target, inputs = inputs, lower = lower, upper = upper,
  }
  local values, total = losses.backward(tape, terms)
  local numbers = {["loss/total"] = total}
  for _, term in ipairs(terms) do
    local key = "loss/" .. term.name
    numbers[key] = values[term.name]
    optimize.require_finite(numbers[key], "step " .. step, key)
  end
  return numbers
end

-- ---- state --------------------------------------------------------------------------------------

--- optimize.state(components, optimizer [, data]) -> name -> tensor
-- All that a checkpoint holds: components.MATRIX.V [d_in, C] and .U [C, d_out], gates.MATRIX.w1, b1, w2 [C, n]
-- and b2 [C] (or w, b [C]), and of each the Adam moments adam.m.NAME and adam.v.NAME. Of data with a state that, too
-- (see spd.text_data).
function optimize.state(components, optimizer, data)
  local tensors = data and data.state and data:state() or {}
  for i, parameter in ipairs(components.parameters) do
    local m, v = optimizer:moments(i)
    tensors[parameter.name] = parameter.tensor
    tensors["adam.m." .. parameter.name], tensors["adam.v." .. parameter.name] = m, v
  end
  return tensors
end

--- optimize.restore(tensors, components [, optimizer], where)
-- Overwrite the state from a checkpoint's tensors; where names the file in errors.
function optimize.restore(tensors, components, optimizer, where)
  local function take(name, into)
    local from = tensors[name]
    if not from then errors.raise(2, where, "tensor '" .. name .. "' is missing") end
    local expected, found = table.concat(into.shape, ", "), table.concat(from.shape, ", ")
    if expected ~= found or from.dtype ~= into.dtype then
      errors.raise(2, where, ("tensor '%s': expected [%s], found [%s]"):format(name, expected, found))
    end
    into:copy_from(from)
  end
  for i, parameter in ipairs(components.parameters) do
    take(parameter.name, parameter.tensor)
    if optimizer then
      local m, v = optimizer:moments(i)
      take("adam.m." .. parameter.name, m)
      take("adam.v." .. parameter.name, v)
    end
  end
end

local Loop = {}
Loop.__index = Loop

function Loop:save(step)
  if not self.run or self.saved == step then return end
  self.run:save_checkpoint(step, optimize.state(self.components, self.optimizer, self.data))
  self.saved, self.saved_at = step, posix.monotonic_time()
end

function Loop:resume()
  local step, tensors, path = self.run:latest_checkpoint()
  if not step then
    self.run:cut_metrics(0)
    return 0
  end
  if step > self.config.steps then
    errors.raise(2, path, ("is of a later step than the last one, %d"):format(self.config.steps), "remove it")
  end
  optimize.restore(tensors, self.components, self.optimizer, path)
  if self.data.restore then self.data:restore(tensors, path) end
  self.optimizer:steps(step)
  self.run:cut_metrics(step)
  self.saved = step
  return step
end

local function is_due(step, frequency) return frequency and frequency > 0 and step % frequency == 0 end

-- Save the state before this step, whose losses are known to be finite by now, where it is time.
function Loop:save_when_due(step)
  local late = posix.monotonic_time() - self.saved_at >= self.config.checkpoint_seconds
  if step > 0 and (late or is_due(step, self.config.save_freq)) then self:save(step) end
end

-- One training step; at the last one only the numbers are taken. Returns what is to be logged.
function Loop:advance(step)
  local config, components, optimizer = self.config, self.components, self.optimizer
  local last = step == config.steps
  self.x = self.data:batch(step, self.x)
  local logging = last or is_due(step, config.print_freq)
  local numbers
  do
    local tape <close> = core.tape()
    numbers = optimize.step(components, tape, config, core.compact(self.x), step)
  end
  if not last then self:save_when_due(step) end
  numbers.lr = optimize.learning_rate(config, step)
  if logging then
    numbers.grad_norm = optimizer:gradient_norm()
    for key, value in pairs(evaluate.batch(components, self.x, config)) do numbers[key] = value end
    for name, count in pairs(evaluate.alive(components, self.evaluation_data, config)) do
      numbers[name .. "/n_alive"] = count
    end
    if self.run then self.run:log(step, numbers) end
  end
  if not last then optimizer:step(numbers.lr) end
  optimizer:zero_gradients()
  return numbers, logging
end

function Loop:after(step, numbers, logging)
  local config = self.config
  self.progress:update(step, numbers, logging)
  if step == config.steps then self:save(step) end
  local first = step == 0 and config.image_on_first_step
  if self.draw and step < config.steps and (first or (step > 0 and is_due(step, config.image_freq))) then
    self.draw(step)
  end
  if interrupts.pending() and step < config.steps then
    self:save(step + 1)
    self.progress:finish()
    interrupts.stop(("stopped after step %d"):format(step), self.how_to_resume)
  end
end

--- optimize.run{components =, data =, evaluation_data =, config =, progress = [, run =, draw =, how_to_resume =]}
--   -> numbers, seconds, steps
-- Train from the run's latest checkpoint, or from step 0, to config.steps. data and evaluation_data have
-- :batch(step [, tensor]). run keeps metrics and checkpoints; draw(step) is called every image_freq steps;
-- how_to_resume is said after Ctrl-C.
-- Returns the numbers of the last step, and the seconds and steps of this call.
function optimize.run(settings)
  local loop = setmetatable({
    components = settings.components, data = settings.data, evaluation_data = settings.evaluation_data,
    config = settings.config, run = settings.run, progress = settings.progress, draw = settings.draw,
    how_to_resume = settings.how_to_resume,
    optimizer = settings.components:optimizer(), saved_at = posix.monotonic_time(),
  }, Loop)
  local first = loop.run and loop:resume() or 0
  if first > 0 then loop.progress:message(("goes on at step %d"):format(first)) end
  local guard <close> = interrupts.catch()
  local started, numbers = posix.monotonic_time(), nil
  for step = first, loop.config.steps do
    local logging
    numbers, logging = loop:advance(step)
    loop:after(step, numbers, logging)
  end
  loop.progress:finish()
  return numbers, posix.monotonic_time() - started, loop.config.steps - first
end

return optimize
