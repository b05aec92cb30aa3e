--- How much memory a decomposition will need, before it starts.
local component_model = require "spd.component_model"
local core = require "spd.core"
local errors = require "spd.errors"

local memory = {}

-- Buffers of [rows, C] that one matrix holds at the peak of a step (activations, importances, masked
-- activations and the gradients that are under way), as measured on the toy models.
local BUFFERS_PER_MATRIX = 7
-- What the program itself and its libraries take.
local PROGRAM_BYTES = 16 * 2 ^ 20

--- memory.estimate(layers, config, rows) -> bytes
-- Peak memory of training the subcomponents of these layers on batches of that many rows: parameters with
-- gradient and two Adam moments, the matrix sums of the faithfulness loss, and the buffers of one step.
function memory.estimate(layers, config, rows)
  local numbers = 0
  local C, neurons = config.C + 0.0, config.n_ci_mlp_neurons + 0.0
  for _, layer in ipairs(layers) do
    local d1, d2 = layer.weight:size(1), layer.weight:size(2)
    local gate = neurons == 0 and 2 * C or C * (3 * neurons + 1)
    numbers = numbers + 4 * (C * (d1 + d2) + gate) + 2 * d1 * d2
    numbers = numbers + rows * (BUFFERS_PER_MATRIX * C + 2 * (d1 + d2))
  end
  return numbers * 4 + PROGRAM_BYTES
end

local function gigabytes(bytes)
  if bytes >= 2 ^ 50 then return ("%.3g PB"):format(bytes / 2 ^ 50) end
  if bytes >= 2 ^ 30 then return ("%.1f GB"):format(bytes / 2 ^ 30) end
  return ("%.0f MB"):format(bytes / 2 ^ 20)
end

--- memory.require(bytes, what, hint)
-- Refuse what needs more memory than is available. what: "the run", for the error.
function memory.require(bytes, what, hint)
  local available = core.posix.memory_available_bytes()
  if available and bytes > available then
    errors.raise(2, "memory", ("%s needs about %s, %s are available"):format(what, gigabytes(bytes),
      gigabytes(available)), hint)
  end
end

--- memory.check(target, config, rows)
-- Refuse a decomposition that cannot fit into the memory that is available.
function memory.check(target, config, rows)
  local layers = component_model.find(target, config.target_module_patterns)
  memory.require(memory.estimate(layers, config, rows + 0.0), "the run", "a smaller C or batch_size")
end

return memory
