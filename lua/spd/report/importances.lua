--- The subcomponents of a run for a report: a row for each of them, and the inputs on which each is important.
--
-- Inputs are features, as one-hot inputs, or, of a language model, tokens. Importances in the result are whole
-- thousandths, subcomponents and features count from 0.
local analysis_language = require "spd.analysis.language"
local core = require "spd.core"
local evaluate = require "spd.evaluate"
local html_page = require "spd.html_page"
local json = require "spd.json"

local importances = {}

local function four_digits(x) return html_page.rounded(x, 4) end

-- By subcomponent |V_c| |U_c|, the norm of the matrix that it is.
local function norms_of(components, name)
  local V, U = components:V(name), components:U(name)
  local v2, u2 = core.sum_rows(V * V):totable(), core.sum_columns(U * U):totable()
  local norms = {}
  for c = 1, #v2 do norms[c] = four_digits(math.sqrt(v2[c] * u2[c])) end
  return norms
end

-- ---- entries: {feature, subcomponent, importance} -----------------------------------------------

local function entries_of(tensor, threshold, first_feature, entries)
  local rows, columns, values = tensor:above(threshold)
  for i, row in ipairs(rows) do
    entries[#entries + 1] = {first_feature + row - 1, columns[i] - 1, math.min(1.0, values[i])}
  end
  return entries
end

-- By matrix the importances for one-hot inputs.
local function toy_entries(subject)
  local components, by_matrix = subject.components, {}
  local tape <close> = core.tape()
  local _, inputs = components:run_target(core.eye(subject.n_features) * evaluate.magnitude)
  for name, g in pairs((components:importances(inputs))) do
    by_matrix[name] = entries_of(g:tensor(), evaluate.active_threshold, 0, {})
  end
  return by_matrix
end

local CHUNK = 1024 -- tokens whose importances are computed at a time

-- Those of an embedding depend on the token alone; of other matrices, the means over the text where they are active.
local function language_entries(subject, statistics)
  local components, by_matrix = subject.components, {}
  for _, matrix in ipairs(components.matrices) do
    local entries = {}
    if matrix.kind == "embedding" then
      local vocabulary = matrix.weight:size(1)
      for first = 0, vocabulary - 1, CHUNK do
        local g <close> = analysis_language.embedding_importances(components, matrix.name, first,
          math.min(CHUNK, vocabulary - first))
        entries_of(g, statistics.threshold, first, entries)
      end
    else
      for c, component in ipairs(statistics.matrices[matrix.name].components) do
        for _, token in ipairs(component.tokens) do entries[#entries + 1] = {token.id, c - 1, token.mean} end
      end
    end
    by_matrix[matrix.name] = entries
  end
  return by_matrix
end

-- The threshold above which at most `most` of all entries are.
local function raised_threshold(by_matrix, threshold, most)
  local values = {}
  for _, entries in pairs(by_matrix) do
    for _, entry in ipairs(entries) do values[#values + 1] = entry[3] end
  end
  if #values <= most then return threshold end
  table.sort(values, function(a, b) return a > b end)
  return values[most + 1]
end

-- ---- features -----------------------------------------------------------------------------------

-- The features that are listed, and feature -> its place among them from 1: of a toy model all, of a language model the
-- tokens that have an entry.
local function features_of(subject, by_matrix, threshold)
  local list, places = {}, {}
  if subject.n_features then
    for f = 0, subject.n_features - 1 do list[f + 1], places[f] = f, f + 1 end
    return list, places
  end
  for _, entries in pairs(by_matrix) do
    for _, entry in ipairs(entries) do
      if entry[3] > threshold and not places[entry[1]] then
        list[#list + 1] = entry[1]
        places[entry[1]] = true
      end
    end
  end
  table.sort(list)
  for place, feature in ipairs(list) do places[feature] = place end
  return list, places
end

-- By listed feature a flat list of subcomponent, importance, ..., the strongest first.
local function by_feature(entries, threshold, count, places)
  table.sort(entries, function(a, b)
    if a[3] ~= b[3] then return a[3] > b[3] end
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  local active = {}
  for i = 1, count do active[i] = {} end
  for _, entry in ipairs(entries) do
    if entry[3] > threshold then
      local list = active[places[entry[1]]]
      list[#list + 1] = entry[2]
      list[#list + 1] = html_page.thousandths(entry[3])
    end
  end
  return html_page.mapped(active, function(list) return #list > 0 and list or json.empty_list end)
end

-- By subcomponent the feature that it is most important for, and how much; entries: the strongest first.
local function top_features(entries, C)
  local features, values = {}, {}
  for c = 1, C do features[c], values[c] = json.null, json.null end
  for _, entry in ipairs(entries) do
    local c = entry[2] + 1
    if features[c] == json.null then features[c], values[c] = entry[1], html_page.thousandths(entry[3]) end
  end
  return features, values
end

-- Of a language model, the token that has most of a subcomponent's importance in the text.
local function top_tokens(components)
  local features, values = {}, {}
  for c, component in ipairs(components) do
    local token = component.tokens[1]
    features[c] = token and token.id or json.null
    values[c] = token and html_page.thousandths(token.mean) or json.null
  end
  return features, values
end

-- ---- all ----------------------------------------------------------------------------------------

-- By matrix, lists by subcomponent: the mean importance, and the fraction of examples on which it is above 0.1.
local function toy_statistics(subject)
  local components, data, config = subject.components, subject.evaluation_data, subject.config
  local means = evaluate.mean_importances(components, data, config)
  local counts, examples = evaluate.activation_counts(components, data, config)
  local statistics = {}
  for name, list in pairs(counts) do
    local rates = {}
    for c, count in ipairs(list) do rates[c] = count / examples end
    statistics[name] = {means = means[name], rates = rates}
  end
  return statistics
end

local function language_statistics(found)
  local statistics = {}
  for name, matrix in pairs(found.matrices) do
    local means, rates = {}, {}
    for c, component in ipairs(matrix.components) do means[c], rates[c] = component.mean, component.rate end
    statistics[name] = {means = means, rates = rates}
  end
  return statistics
end

local function texts_of(subject, features, matrices)
  local texts = {}
  local function add(id)
    if id ~= json.null then texts[tostring(id)] = html_page.token_text(subject.tokenizer, id) end
  end
  for _, id in ipairs(features) do add(id) end
  for _, matrix in ipairs(matrices) do
    for _, id in ipairs(matrix.top) do add(id) end
  end
  return texts
end

--- importances.data(subject, most) -> {threshold =, raised =, features =, texts =, matrices =}
-- The subcomponents of a toy or language model. matrices: list of {name =, norms =, means =, rates =, top =, top_values
-- =, active =}: lists by subcomponent, of |V_c| |U_c|, the mean importance, the fraction of examples on which it is
-- above 0.1, the feature that it is most important for, and how much; and by feature of the list `features` a flat list
-- of subcomponent, importance, ... for those above the threshold. That is raised so that there are at most `most` of
-- these in all. texts: of tokens, by id.
function importances.data(subject, most)
  local found = subject.kind == "lm" and analysis_language.components(subject)
  local by_matrix = found and language_entries(subject, found) or toy_entries(subject)
  local statistics = found and language_statistics(found) or toy_statistics(subject)
  local least = found and found.threshold or evaluate.active_threshold
  local threshold = raised_threshold(by_matrix, least, most)
  local features, places = features_of(subject, by_matrix, threshold)
  local matrices = {}
  for m, matrix in ipairs(subject.components.matrices) do
    local name = matrix.name
    local active = by_feature(by_matrix[name], threshold, #features, places)
    local top, top_values = top_features(by_matrix[name], subject.components.C)
    if found then top, top_values = top_tokens(found.matrices[name].components) end
    matrices[m] = {
      name = name, kind = matrix.kind, active = active, top = top, top_values = top_values,
      norms = norms_of(subject.components, name),
      means = html_page.mapped(statistics[name].means, four_digits),
      rates = html_page.mapped(statistics[name].rates, four_digits),
    }
  end
  return {
    threshold = html_page.rounded(threshold), raised = threshold > least, matrices = matrices,
    features = #features > 0 and features or json.empty_list,
    texts = subject.tokenizer and texts_of(subject, features, matrices) or nil,
  }
end

return importances
