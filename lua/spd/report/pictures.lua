--- The figures of a run for a report: PNG files as base64, as far as a page has room for them.
local files = require "spd.files"
local posix = require("spd.core").posix

local pictures = {}

-- ---- base64 -------------------------------------------------------------------------------------

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- Two characters for every 12 bits.
local PAIRS = {}
for bits = 0, 4095 do
  local high, low = bits >> 6, bits & 63
  PAIRS[bits] = ALPHABET:sub(high + 1, high + 1) .. ALPHABET:sub(low + 1, low + 1)
end

--- pictures.base64(bytes) -> text
function pictures.base64(bytes)
  local parts, padding = {}, -#bytes % 3
  local padded = bytes .. ("\0"):rep(padding)
  for i = 1, #padded, 3 do
    local a, b, c = padded:byte(i, i + 2)
    parts[#parts + 1] = PAIRS[a << 4 | b >> 4]
    parts[#parts + 1] = PAIRS[(b & 15) << 8 | c]
  end
  local text = table.concat(parts)
  return text:sub(1, #text - padding) .. ("="):rep(padding)
end

-- ---- figures ------------------------------------------------------------------------------------

-- In the order in which they are shown; others come after them, by name.
local ORDER = {
  "training_curves", "causal_importances", "causal_importances_upper_leaky", "embedding_importances", "tms_diagram",
  "hidden_layers", "neuron_contributions", "contribution_pairs", "feature_responses", "subcomponents",
  "mean_importances", "activation_rates", "importance_histograms",
}

local CAPTIONS = {
  training_curves = "Losses and the numbers of active and of live subcomponents over the training.",
  causal_importances = "Causal importances (lower-leaky, as in masks) of the subcomponents for one-hot inputs.",
  causal_importances_upper_leaky = "The same, upper-leaky, as in the importance loss.",
  embedding_importances = "Causal importances of the subcomponents of an embedding, by token.",
  tms_diagram = "The target, the sum of its subcomponents, and single ones: weights as vectors, and as a network.",
  hidden_layers = "The fixed hidden matrices, the sums of their subcomponents, and single ones.",
  neuron_contributions = "What each neuron contributes to a feature, in the target and through a subcomponent.",
  contribution_pairs = "The same contributions, of the subcomponents against the target's.",
  feature_responses = "Outputs for single features of growing magnitude.",
  subcomponents = "V and U of every matrix.",
  mean_importances = "Mean causal importance of every subcomponent, in descending order.",
  activation_rates = "How often every subcomponent is important, in descending order.",
  importance_histograms = "How causal importances are distributed over a batch.",
}

local PLACE = {}
for place, name in ipairs(ORDER) do PLACE[name] = place end

local function earlier(a, b)
  local x, y = PLACE[a.name] or #ORDER + 1, PLACE[b.name] or #ORDER + 1
  if x ~= y then return x < y end
  if a.name ~= b.name then return a.name < b.name end
  return a.step > b.step
end

-- The PNG files of a run as {name =, step =, path =}; the last ones, which name no step, have step math.huge.
local function files_of(directory)
  local folder, list = directory .. "/figures", {}
  for _, file in ipairs(posix.is_directory(folder) and files.list(folder) or {}) do
    local name = file:match("^(.+)%.png$")
    local base, step = (name or ""):match("^(.+)_step_(%d+)$")
    if name then
      list[#list + 1] = {name = base or name, step = tonumber(step) or math.huge, path = folder .. "/" .. file}
    end
  end
  table.sort(list, earlier)
  return list
end

local SIGNATURE = "\137PNG\r\n\26\n"

-- Put the file into the list of figures, in which those of one name are together.
local function add(figures, file, bytes)
  local figure = figures[#figures]
  if not figure or figure.name ~= file.name then
    figure = {name = file.name, caption = CAPTIONS[file.name], images = {}}
    figures[#figures + 1] = figure
  end
  local step = file.step < math.huge and math.tointeger(file.step) or nil
  table.insert(figure.images, {step = step, png = pictures.base64(bytes)})
end

--- pictures.data(directory, room [, earlier_steps]) -> list of {name =, caption =, images =}, left out, bytes
-- The figures of a run's folder: the last ones first, then, where earlier_steps is true, those of earlier steps, the
-- latest first; images: {step =, png = base64 text}, without a step for the last ones. At most `room` bytes of files;
-- how many files had no room, and the bytes of those that had.
function pictures.data(directory, room, earlier_steps)
  local kept, left_out, used = {}, 0, 0
  local all = files_of(directory)
  local by_step = table.move(all, 1, #all, 1, {})
  table.sort(by_step, function(a, b)
    if a.step ~= b.step then return a.step > b.step end
    return earlier(a, b)
  end)
  for _, file in ipairs(by_step) do
    local bytes = (file.step == math.huge or earlier_steps) and files.read(file.path)
    if bytes and bytes:sub(1, #SIGNATURE) == SIGNATURE and used + #bytes <= room then
      kept[file], used = bytes, used + #bytes
    else
      left_out = left_out + 1
    end
  end
  local figures = {}
  for _, file in ipairs(all) do
    if kept[file] then add(figures, file, kept[file]) end
  end
  return figures, left_out, used
end

return pictures
