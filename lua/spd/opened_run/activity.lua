--- What is active for an input of an opened run, and what each of the active subcomponents is worth.
local aligned = require "spd.aligned"
local core = require "spd.core"
local losses = require "spd.losses"
local masks = require "spd.opened_run.masks"
local shape = require "spd.shape"
local text = require "spd.opened_run.text"

local activity = {}

local MOST_ROWS, MOST_SHOWN = 40, 60 -- of an input, and of the subcomponents in one row, that are printed

-- ---- active subcomponents -----------------------------------------------------------------------

local function stronger(a, b)
  if a.importance ~= b.importance then return a.importance > b.importance end
  return a.component < b.component
end

-- By row of importances [..., C], the subcomponents above a threshold, strongest first.
local function active_by_row(g, threshold)
  local rows, columns, values = g:above(threshold)
  local active = {}
  for r = 1, shape.rows(g) do active[r] = {} end
  for i, r in ipairs(rows) do
    table.insert(active[r], {component = columns[i] - 1, importance = values[i]})
  end
  for _, list in ipairs(active) do table.sort(list, stronger) end
  return active
end

-- How the rows of an input are called: nil where there is only one, token texts, or "row 0", "row 1", ...
local function row_names(run, x)
  local names = {}
  for _, ids in ipairs(run.kind == "lm" and x:totable() or {}) do
    for t, id in ipairs(ids) do
      names[#names + 1] = ("%3d  %s"):format(t - 1, text.token(run.subject.tokenizer, id))
    end
  end
  if #names > 0 then return names end
  for r = 1, shape.rows(x) do names[r] = "row " .. r - 1 end
  return #names > 1 and names or nil
end

local function items_of(list)
  local items = {}
  for i, one in ipairs(list) do items[i] = ("%d (%s)"):format(one.component, text.importance(one.importance)) end
  return #items > 0 and text.first_of(items, MOST_SHOWN) or {"none"}
end

-- Lines of names, padded, each with its list of subcomponents.
local function named_lines(names, lists, indent, lines)
  local widest = 0
  for i = 1, #lists do widest = math.max(widest, aligned.width(names[i])) end
  for i, list in ipairs(lists) do
    local more = text.listed(indent .. aligned.padded(names[i], widest) .. "  ", items_of(list), ", ")
    table.move(more, 1, #more, #lines + 1, lines)
  end
  return lines
end

local Active = {}

function Active.__tostring(self)
  local meta = getmetatable(self)
  local lines = {("subcomponents with importance above %g, strongest first"):format(meta.threshold)}
  if not meta.rows then
    local lists = {}
    for i, name in ipairs(meta.matrices) do lists[i] = self[name][1] end
    return table.concat(named_lines(meta.matrices, lists, "", lines), "\n")
  end
  for _, name in ipairs(meta.matrices) do
    lines[#lines + 1] = name
    named_lines(meta.rows, table.move(self[name], 1, math.min(MOST_ROWS, #self[name]), 1, {}), "  ", lines)
    if #self[name] > MOST_ROWS then lines[#lines + 1] = ("  ... %d more rows"):format(#self[name] - MOST_ROWS) end
  end
  return table.concat(lines, "\n")
end

--- activity.importances(run, x) -> lower, upper: by matrix a tensor [..., C]
function activity.importances(run, x)
  local tape <close> = core.tape()
  local _, inputs = run.components:run_target(x)
  local lower, upper = run.components:importances(inputs)
  for name in pairs(lower) do lower[name], upper[name] = lower[name]:tensor(), upper[name]:tensor() end
  return lower, upper
end

--- activity.active(run, x, threshold) -> by matrix and row, list of {component =, importance =}, strongest first
-- Printed as a table.
function activity.active(run, x, threshold)
  local active = {}
  for name, g in pairs((activity.importances(run, x))) do active[name] = active_by_row(g, threshold) end
  return setmetatable(active, {
    __tostring = Active.__tostring, threshold = threshold, matrices = run.matrices, rows = row_names(run, x),
  })
end

-- ---- ablations ----------------------------------------------------------------------------------

-- The active subcomponents of all matrices with the largest importance in any row, strongest first.
local function strongest(run, active)
  local list = {}
  for _, name in ipairs(run.matrices) do
    local largest = {}
    for _, row in ipairs(active[name]) do
      for _, one in ipairs(row) do
        largest[one.component] = math.max(largest[one.component] or 0, one.importance)
      end
    end
    for c, importance in pairs(largest) do
      list[#list + 1] = {matrix = name, component = c, importance = importance}
    end
  end
  local place = {}
  for i, name in ipairs(run.matrices) do place[name] = i end
  table.sort(list, function(a, b)
    if a.importance ~= b.importance or a.matrix == b.matrix then return stronger(a, b) end
    return place[a.matrix] < place[b.matrix]
  end)
  return list
end

local function distance(run, target, x, plan)
  local tape <close> = core.tape()
  return losses.output_distance(run.config.output_loss_type, target, masks.run(run, x, plan)):item()
end

local Ablation = {}

function Ablation.__tostring(self)
  local meta = getmetatable(self)
  local kind = meta.kind == "kl" and "KL divergence" or "mean squared error"
  local rows = {{"matrix", "without", "importance", "distance", "change"}}
  for _, one in ipairs(self) do
    rows[#rows + 1] = {one.matrix, tostring(one.component), text.importance(one.importance),
      text.number(one.distance), (one.change >= 0 and "+" or "") .. text.number(one.change)}
  end
  local lines = {("distance of the output from the target's: %s (%s)"):format(text.number(meta.distance), kind)}
  if #self == 0 then return lines[1] .. "\nno subcomponent is active" end
  local more = aligned.lines(rows, {[2] = true, [3] = true, [4] = true, [5] = true})
  table.move(more, 1, #more, 2, lines)
  if meta.left_out > 0 then lines[#lines + 1] = ("... %d more, less important ones"):format(meta.left_out) end
  return table.concat(lines, "\n")
end

-- NaN counts as the largest change.
local function by_change(a, b)
  local change_a = a.change == a.change and a.change or math.huge
  local change_b = b.change == b.change and b.change or math.huge
  if change_a ~= change_b then return change_a > change_b end
  return a.place < b.place
end

--- activity.target_output(run, x) -> tensor
function activity.target_output(run, x)
  local tape <close> = core.tape()
  return run.target:run(x):tensor()
end

--- activity.ablations(where, run, x, options) -> list of {matrix =, component =, importance =, distance =, change =}
-- options: those of a forward pass, threshold and most. Printed as a table.
function activity.ablations(where, run, x, options)
  local plan, target = masks.read(where, run, options), activity.target_output(run, x)
  local all, list = strongest(run, activity.active(run, x, options.threshold)), {}
  local base = distance(run, target, x, plan)
  for i = 1, math.min(options.most, #all) do
    local one = all[i]
    local without = masks.without(run, plan, one.matrix, one.component)
    one.place, one.distance = i, distance(run, target, x, without)
    one.change = one.distance - base
    list[i] = one
  end
  table.sort(list, by_change)
  for _, one in ipairs(list) do one.place = nil end
  return setmetatable(list, {
    __tostring = Ablation.__tostring, kind = run.config.output_loss_type, distance = base, left_out = #all - #list,
  })
end

return activity
