--- What an opened run prints at the prompt: what it is, how far it is, what it found.
local aligned = require "spd.aligned"
local text = require "spd.opened_run.text"

local overview = {}

local function model_text(run)
  local settings = run.target.settings or {}
  if run.kind == "tms" then
    local hidden = settings.n_hidden_layers and settings.n_hidden_layers > 0
      and (", %d hidden layer%s"):format(settings.n_hidden_layers, settings.n_hidden_layers > 1 and "s" or "") or ""
    return ("toy model of superposition, %d features in %d dimensions%s"):format(run.n_features, settings.n_hidden,
      hidden)
  elseif run.kind == "residual_mlp" then
    return ("residual MLP, %d features, %d layer%s of %d neurons"):format(run.n_features, settings.n_layers,
      settings.n_layers > 1 and "s" or "", settings.d_mlp)
  elseif run.kind == "lm" then
    return ("language model %s, %d tokens in the vocabulary"):format(settings.architectures[1], settings.vocab_size)
  end
  return "a model of your own"
end

local function is_last(run) return run.summary ~= nil and run.step == run.config.steps end

-- The latest logged value of a key up to the step that is open.
local function logged(run, key)
  for i = #run.rows, 1, -1 do
    local row = run.rows[i]
    if type(row[key]) == "number" and math.type(row.step) == "integer" and row.step <= run.step then return row[key] end
  end
  return nil
end

local function score(run, key, name)
  local of_matrices = is_last(run) and run.summary[key]
  return type(of_matrices) == "table" and of_matrices[name] or nil
end

local function cell(value) return type(value) == "number" and text.number(math.tointeger(value) or value) or "-" end

local function matrix_lines(run)
  local rows = {{"matrix", "kind", "weight", "C", "n_alive", "ci_l0", "target_ci_error"}}
  for _, matrix in ipairs(run.components.matrices) do
    local name = matrix.name
    rows[#rows + 1] = {
      name, matrix.kind, ("[%s]"):format(table.concat(matrix.weight.shape, ", ")), tostring(run.components.C),
      cell(score(run, "n_alive", name) or logged(run, name .. "/n_alive")), cell(logged(run, name .. "/ci_l0")),
      cell(score(run, "target_ci_error", name)),
    }
  end
  if not run.subject.solution then
    for _, row in ipairs(rows) do row[#row] = nil end
  end
  return aligned.lines(rows, {[4] = true, [5] = true, [6] = true, [7] = true})
end

-- The scores of the summary that are single numbers, and the total loss.
local function score_items(run)
  local items = {}
  local function add(label, value)
    if type(value) == "number" then items[#items + 1] = label .. " " .. text.number(value) end
  end
  local summary = is_last(run) and run.summary or {}
  add("mmcs", summary.mmcs)
  add("ml2r", summary.ml2r)
  add("slope of neuron contributions", summary.contribution_slope)
  add("cross-entropy", summary.ce_masked)
  add("of the target", summary.ce_target)
  add("loss/total", logged(run, "loss/total"))
  add("loss/faithfulness", logged(run, "loss/faithfulness"))
  return items
end

-- What to try first.
local function hints(run)
  local name = run.matrices[1]
  local x = run.kind == "lm" and '"Once upon a time"' or run.n_features and "run:one_hot(0)" or "x"
  return text.listed("try ", {("run:components_on(%s)"):format(x), ("run:component(%q, 0)"):format(name), "help(run)"},
    "  ")
end

--- overview.text(run) -> text
function overview.text(run)
  local state = run.step == run.config.steps and (run.summary and "finished" or "trained, not scored yet")
    or run.summary and "not the last step" or "unfinished"
  local lines = {
    ("run %s: step %d of %d, %s"):format(run.directory, run.step, run.config.steps, state),
    model_text(run),
  }
  for _, more in ipairs{matrix_lines(run), text.listed("", score_items(run), ", "), hints(run)} do
    table.move(more, 1, #more, #lines + 1, lines)
  end
  return table.concat(lines, "\n")
end

return overview
