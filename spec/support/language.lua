--- A small language model with subcomponents whose importances are known, for specs.
--
-- Twelve tokens, three subcomponents of the embedding, and a linear layer whose three subcomponents have the entries of
-- the embedding's row as importances.
local component_model = require "spd.component_model"
local core = require "spd.core"
local model = require "spd.model"

local M = {}

--- Texts of the tokens by id + 1; spaces, line ends, control characters, and what must not become a part of a page.
M.texts = {
  "the", " cat", "\n", "</script><img src=x onerror=\"document.title='broken'\">", " dog", "##ing", "&lt;b&gt;", "\0",
  "é", "\u{2028}", "\\", "end",
}

--- Importances of the embedding's subcomponents by id + 1.
M.importances = {
  {0, 0, 0}, {0.75, 0, 0}, {0.5, 0.25, 0}, {0, 1, 0}, {1, 0, 0}, {0.0625, 0, 0}, {0, 0.5, 0}, {0, 0, 0}, {0, 0, 0},
  {-1, 0, 0}, {0, 0, 0}, {0.25, 0, 0},
}

--- Rows of the embedding by id + 1, which are the importances of fc, up to 1.
M.embedding = {
  {0.5, 0, 0}, {0, 0.5, 0}, {0, 0, 0.5}, {2, 0, 0}, {3, 0, 0.125}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0},
  {0, 0, 0}, {0, 0, 0}, {0, 0, 0},
}

M.tokenizer = {
  encode = function(_, text)
    local ids = {}
    for word in text:gmatch "%d+" do ids[#ids + 1] = math.tointeger(tonumber(word)) end
    return ids, {}
  end,
  decode = function(_, ids)
    local texts = {}
    for i, id in ipairs(ids) do texts[i] = id == 8 and "\u{FFFD}" or M.texts[id + 1] end -- 8: half a character
    return table.concat(texts)
  end,
  token = function(_, id) return M.texts[id + 1] end,
}

local function identity_gates(matrix, C)
  matrix.gate = {w = core.zeros(C) + 1, b = core.zeros(C)}
end

--- A model whose layers are an embedding (rows [V][d]) and, as large as that, fc, as components with V set so that
--- importances are those given: rows [V][C] of the embedding, and the embedding's entries of fc.
function M.components(embedding, importances)
  local d, C = #embedding[1], #importances[1]
  local target = model.new{
    layers = {model.embedding("embed", core.tensor(embedding)), model.linear("fc", core.eye(d))},
    forward = function(_, ids, layer) return layer("fc", layer("embed", ids)) end,
  }
  local components = component_model.new{target = target, patterns = {"*"}, C = C, n_ci_mlp_neurons = 0}
  components.by_name.embed.V = core.tensor(importances)
  components.by_name.fc.V = core.eye(d)
  for _, matrix in ipairs(components.matrices) do identity_gates(matrix, C) end
  return components
end

--- A subject of that model, with batches of ids as evaluation data.
function M.subject(batches)
  return {
    kind = "lm", components = M.components(M.embedding, M.importances), config = {n_eval_steps = #batches},
    evaluation_data = {batch = function(_, step) return core.tensor(batches[step + 1], "int32") end},
    tokenizer = M.tokenizer,
  }
end

return M
