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

-- As in core/vocabulary.c: the logits of a target that are kept at most, and those that are in memory at a time.
local MOST_KEPT_LOGITS, LOGITS_PER_PART = 2 ^ 25, 2 ^ 21

-- Numbers in a row of what goes into a layer and comes out of it: ids are few, and logits over a vocabulary are counted
-- apart.
local function width(layer, vocabulary)
  local d1, d2 = layer.weight:size(1), layer.weight:size(2)
  if layer.kind == "embedding" or layer.kind == "linear" and d1 == vocabulary then return d2 end
  return d1 + d2
end

-- What a language model holds beside its decomposed layers: the outputs of those behind the first of them, through
-- which gradients pass, and logits, the target's for all losses where they are few enough.
local function language_numbers(target, layers, rows)
  local vocabulary = target.settings.vocab_size
  local logits = rows * vocabulary
  local numbers = 2 * LOGITS_PER_PART + (logits <= MOST_KEPT_LOGITS and logits or 0)
  local decomposed, behind = {}, false
  for _, layer in ipairs(layers) do decomposed[layer.name] = true end
  for _, layer in ipairs(target.layers) do
    if behind and not decomposed[layer.name] then numbers = numbers + rows * width(layer, vocabulary) end
    behind = behind or decomposed[layer.name]
  end
  return numbers
end

--- memory.estimate(layers, config, rows [, target]) -> bytes
-- Peak memory of training the subcomponents of these layers on batches of that many rows: parameters with
-- gradient and two Adam moments, the matrix sums of the faithfulness loss, and the buffers of one step; of a target
-- that is a language model the outputs of its other layers and logits, too. The target's weights are not counted.
function memory.estimate(layers, config, rows, target)
  local is_language = target and target.kind == "lm"
  local numbers = is_language and language_numbers(target, layers, rows) or 0
  local C, neurons = config.C + 0.0, config.n_ci_mlp_neurons + 0.0
  for _, layer in ipairs(layers) do
    local d1, d2 = layer.weight:size(1), layer.weight:size(2)
    local gate = neurons == 0 and 2 * C or C * (3 * neurons + 1)
    numbers = numbers + 4 * (C * (d1 + d2) + gate) + 2 * d1 * d2
    numbers = numbers + rows * (BUFFERS_PER_MATRIX * C + 2 * width(layer, is_language and target.settings.vocab_size))
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
  memory.require(memory.estimate(layers, config, rows + 0.0, target), "the run", "a smaller C or batch_size")
end

return memory
