--- The numbers by which runs are compared: the scores of a summary, flat, in an order, and which of them are better.
local scores = {}

-- Patterns of names, in the order in which scores are shown, and whether high or low ones are better. `main` ones are
-- shown at once, the others when they are asked for.
local KINDS = {
  {"^solved$", better = "high", main = true},
  {"^mmcs$", better = "high", main = true},
  {"^ml2r$", main = true},
  {"^contribution_correlation$", better = "high", main = true},
  {"^contribution_slope$", main = true},
  {"^target_ci_error_total$", better = "low", main = true},
  {"^target_ci_error/", better = "low"},
  {"^target_ci_error_0p2/", better = "low"},
  {"^ce_masked$", better = "low", main = true},
  {"^ce_target$", main = true},
  {"/n_alive$", main = true},
  {"^ce_", better = "low"},
  {"^l0/", main = true},
  {"^loss/total$", better = "low", main = true},
  {"^loss/faithfulness$", better = "low", main = true},
  {"^loss/", better = "low"},
  {"/ci_l0$"},
  {"^misc/", better = "low"},
  {"^mmcs", better = "high"},
  {"^ml2r"},
  {""},
}

local function kind_of(key)
  for place, kind in ipairs(KINDS) do
    if key:find(kind[1]) then return kind, place end
  end
end

-- What says how the run was made, not what it found.
local NOT_SCORES = {seed = true, steps = true, threads = true, n_alive = true}

--- scores.flat(summary) -> key -> number
-- The numbers of a summary, those of its objects as "KEY/NAME"; n_alive of a matrix as "NAME/n_alive".
function scores.flat(summary)
  local flat = {}
  for key, value in pairs(summary) do
    if type(value) == "number" and not NOT_SCORES[key] then
      flat[key] = value
    elseif type(value) == "table" then
      for name, number in pairs(value) do
        if type(number) == "number" and type(name) == "string" then
          flat[key == "n_alive" and name .. "/n_alive" or key .. "/" .. name] = number
        end
      end
    end
  end
  for key, value in pairs(flat) do
    if value ~= value or math.abs(value) == math.huge then flat[key] = nil end
  end
  return flat
end

--- scores.columns(list) -> list of {key =, better =, main =}
-- All keys of a list of flat scores, in the order in which they are shown. better: "high" or "low", where one is;
-- main: true for those that are shown at once.
function scores.columns(list)
  local seen, columns = {}, {}
  for _, flat in ipairs(list) do
    for key in pairs(flat) do
      if not seen[key] then
        local kind, place = kind_of(key)
        columns[#columns + 1] = {key = key, better = kind.better, main = kind.main, place = place}
      end
      seen[key] = true
    end
  end
  table.sort(columns, function(a, b)
    if a.place ~= b.place then return a.place < b.place end
    return a.key < b.key
  end)
  for _, column in ipairs(columns) do column.place = nil end
  return columns
end

-- In the order of what they say about a run.
local RANKED_BY = {
  {"solved", 1}, {"target_ci_error_total", -1}, {"mmcs", 1}, {"contribution_correlation", 1}, {"ce_masked", -1},
  {"loss/total", -1},
}

--- scores.better(a, b) -> true, false, or nil where neither is
-- Whether flat scores a are those of a better run: by whether it is solved, then the target CI error, mmcs, the
-- correlation of contributions, the masked cross-entropy, and the loss. Runs without a score come after those with it.
function scores.better(a, b)
  for _, one in ipairs(RANKED_BY) do
    local key, sign = one[1], one[2]
    local x, y = a[key] and sign * a[key] or -math.huge, b[key] and sign * b[key] or -math.huge
    if x ~= y then return x > y end
  end
  return nil
end

return scores
