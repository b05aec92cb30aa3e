local core = require "spd.core"
local figures = require "spd.figures"
local gnuplot = require "spd.gnuplot"

local nan, infinity = 0 / 0, math.huge
local folder

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a")
end

--- Width and height in the header of a PNG that is complete.
local function png_size(path)
  local bytes = assert(read(path), path .. " does not exist")
  assert.equal("\137PNG\r\n\26\n", bytes:sub(1, 8))
  assert.equal("IEND\xAEB`\x82", bytes:sub(-8))
  local width, height = (">I4I4"):unpack(bytes, 17)
  return width, height
end

local function matrix(rows, columns, f)
  local out = {}
  for i = 1, rows do
    out[i] = {}
    for j = 1, columns do out[i][j] = f and f(i, j) or (i * 7 + j * 3) % 11 / 11 end
  end
  return out
end

local function identity(n, columns) return matrix(n, columns, function(i, j) return i == j and 1 or 0 end) end

--- A diagram's subject of a target with n features and h hidden dimensions.
local function tms_subject(n, h, bad)
  local W1, W2 = matrix(h, n), matrix(n, h)
  W1[1][1] = bad or W1[1][1]
  return {target = {W1 = W1, W2 = W2}, sum = {W1 = W1, W2 = W2}, components = {{index = 3, W = W1, W2 = W2}}}
end

local function path(name) return folder .. "/" .. name .. ".png" end

before_each(function()
  folder = os.tmpname()
  os.remove(folder)
  assert(core.posix.make_directory(folder))
end)

after_each(function()
  for _, name in ipairs(core.posix.list_directory(folder)) do core.posix.remove(folder .. "/" .. name) end
  core.posix.remove(folder)
end)

local function holds(script, text) return script:find(text, 1, true) ~= nil end

-- How many labels of a page are that text.
local function count_labels(script, text)
  local count = 0
  for label in script:gmatch("\nset label at [^ ]+ ('[^']*')") do
    if label == "'" .. text .. "'" then count = count + 1 end
  end
  return count
end

--- What the gnuplot of a page says on stderr; "" if it is content.
local function complaints(page)
  local status, _, messages = core.posix.run({"gnuplot", "-d", "-"}, {stdin = page:script()})
  assert.equal(0, status, messages)
  return messages
end

-- Counts of 100 bins, of which the first ones are given.
local function bins(first)
  local counts = {}
  for b = 1, 100 do counts[b] = first[b] or 0 end
  return counts
end

describe("gnuplot.quote", function()
  it("turns quotes into apostrophes and keeps what would be a command elsewhere", function()
    assert.equal("'it’s ’’`ls` @x \\n %d'", gnuplot.quote "it's ''`ls` @x \\n %d")
  end)

  it("has no line ends, control characters or broken UTF-8", function()
    assert.equal("'a b c ?'", gnuplot.quote "a\nb\tc \xff")
    assert.equal("'é'", gnuplot.quote "é")
  end)
end)

describe("gnuplot.number", function()
  it("is NaN for what is not finite", function()
    for _, x in ipairs{nan, infinity, -infinity} do assert.equal("NaN", gnuplot.number(x)) end
    assert.equal("0.5", gnuplot.number(0.5))
  end)
end)

describe("gnuplot.shorten", function()
  it("keeps a text that fits and both ends of one that does not", function()
    assert.equal("linear1", gnuplot.shorten("linear1", 10, 100))
    local short = gnuplot.shorten("model.layers.0.mlp.gate_proj", 10, 61)
    assert.equal(10, utf8.len(short))
    assert.matches("^model…proj$", short)
  end)
end)

describe("gnuplot: ticks", function()
  it("stand at 1, 2 or 5 times a power of ten", function()
    assert.equal(20, gnuplot.step(0, 100, 6))
    assert.equal(0.5, gnuplot.step(-1, 1, 4))
    assert.equal("0,1,4", gnuplot.index_ticks(5, 20))
    assert.equal("0,50,350", gnuplot.index_ticks(400, 10))
  end)

  it("of a logarithmic axis are powers of ten", function()
    local ticks = gnuplot.log_ticks(1e-6, 1, 10)
    assert.matches("'10⁻⁶' 1e%-06 0", ticks)
    assert.matches("'1' 1 0", ticks)
  end)
end)

describe("gnuplot.color", function()
  it("interpolates between the colours of a palette and clamps", function()
    assert.equal("#440154", gnuplot.color("viridis", -1))
    assert.equal("#fde725", gnuplot.color("viridis", 1))
    assert.equal("#dddddd", gnuplot.color("coolwarm", 0.5))
  end)
end)

describe("page:write", function()
  it("writes a PNG of the page's size, and nothing else", function()
    local page = gnuplot.page(321, 123)
    page:text(100, 50, "text")
    assert.is_true(page:write(path "a"))
    assert.same({321, 123}, {png_size(path "a")})
    assert.equal(1, #core.posix.list_directory(folder))
  end)

  it("names a gnuplot that is missing and leaves an older file alone", function()
    assert.is_true(gnuplot.page(50, 50):write(path "a"))
    local written, reason = gnuplot.page(60, 60):write(path "a", "no-such-gnuplot")
    assert.is_nil(written)
    assert.equal("no-such-gnuplot: No such file or directory "
      .. "(figures need gnuplot; on Debian: apt install gnuplot-nox)", reason)
    assert.same({50, 50}, {png_size(path "a")})
  end)

  it("gives one line of gnuplot's complaint about a script", function()
    local page = gnuplot.page(50, 50)
    page:panel{x = 0, y = 0, width = 50, height = 50, x_range = {0, 1}, y_range = {0, 1}, plot = {"nonsense("}}
    local bytes, reason = page:png()
    assert.is_nil(bytes)
    assert.matches("^gnuplot: line %d+: [^\n]+$", reason)
  end)

  it("refuses what a program prints that is no PNG", function()
    local bytes, reason = gnuplot.page(50, 50):png("echo")
    assert.is_nil(bytes)
    assert.matches("no picture", reason)
  end)
end)

describe("figures", function()
  local panels = {{name = "linear1", values = identity(5, 20)}, {name = "linear2", values = identity(5, 20)}}

  it("give nil and one line without gnuplot, without a folder and where there is nothing to draw", function()
    local made, reason = figures.causal_importances(path "a", panels, {program = "no-such-gnuplot"})
    assert.is_nil(made)
    assert.matches("a%.png: no%-such%-gnuplot: No such file", reason)
    made, reason = figures.causal_importances(folder .. "/none/a.png", panels)
    assert.is_nil(made)
    assert.matches("none/a%.png: No such file or directory$", reason)
    made, reason = figures.causal_importances(path "a", {})
    assert.is_nil(made)
    assert.matches("a%.png: figure: there is nothing to draw$", reason)
    made, reason = figures.histograms(path "a", {{name = "linear1", counts = {}, negative = 0}})
    assert.is_nil(made)
    assert.matches("linear1: there is nothing to draw$", reason)
    assert.same({}, core.posix.list_directory(folder))
  end)

  it("raise nothing for arguments of a wrong kind", function()
    for name, draw in pairs(figures) do
      for _, wrong in ipairs{{}, {{}}, {{name = "x", values = {{1, 2}, {3}}, x = {1}, y = {1, 2}}}, 7} do
        local made, reason = draw(path "a", wrong)
        assert.is_nil(made, name)
        assert.is_string(reason, name)
        assert.is_nil(reason:find("\n"), name)
      end
    end
    assert.same({}, core.posix.list_directory(folder))
  end)

  it("take tensors as well as tables", function()
    local values = core.tensor(identity(5, 20))
    assert.is_true(figures.causal_importances(path "a", {{name = "linear1", values = values}}))
    values:close()
  end)

  it("show names as they are: none is a command to gnuplot", function()
    local touch = "touch " .. folder .. "/touched"
    local name = "'\nset output 'x.png'\n!" .. touch .. "\n`" .. touch .. "` %s @x {/Symbol a} \xff"
    local options = {title = name, x_label = name, y_label = name}
    assert.is_true(figures.causal_importances(path "a", {{name = name, values = identity(3, 4)}}, options))
    local series = {{name = name, x = {1, 2}, y = {1, 2}}}
    assert.is_true(figures.curves(path "b", {{name = name, y_label = name, series = series}}, options))
    assert.is_true(figures.histograms(path "c", {{name = name, counts = bins{1, 2}, negative = 0}}))
    local files = core.posix.list_directory(folder)
    table.sort(files)
    assert.same({"a.png", "b.png", "c.png"}, files)
  end)
end)

describe("figures: heat maps", function()
  local heatmaps = require "spd.figures.heatmaps"

  it("draw causal importances of the usual shapes without a complaint", function()
    for _, shape in ipairs{{5, 20}, {1, 1}, {1, 20}, {5, 1}} do
      local rows = identity(shape[1], shape[2])
      for _, upper in ipairs{false, true} do
        local panels = {{name = "linear1", values = rows}}
        assert.equal("", complaints(heatmaps.causal_importances(panels, {upper = upper})))
      end
    end
  end)

  it("have cells of whole pixels on a page between 1000 and 2400 pixels wide", function()
    for _, shape in ipairs{{5, 20}, {40, 200}, {100, 400}, {102, 500}} do
      local page = heatmaps.causal_importances{{name = "linear1", values = identity(shape[1], shape[2])}}
      assert.is_true(page.width >= 1000 and page.width <= 2400, page.width)
      local script = page:script()
      local left, right = script:match("set lmargin at screen ([%d.]+)\nset rmargin at screen ([%d.]+)")
      local cell = (right - left) * page.width / shape[2]
      assert.is_near(math.floor(cell + 0.5), cell, 1e-4)
    end
  end)

  it("draw NaN and infinities", function()
    local rows = identity(5, 20)
    rows[1][1], rows[2][2], rows[3][3] = nan, infinity, -infinity
    assert.is_true(figures.causal_importances(path "a", {{name = "linear1", values = rows}}))
    assert.is_true(figures.components(path "b", {{name = "linear1", V = rows, U = matrix(20, 2)}}))
    local layer = {name = "h", target = {{nan, 0}, {0, 1}}, sum = {{nan, nan}, {nan, nan}}}
    assert.is_true(figures.hidden_layers(path "c", {layer}))
    assert.is_true(figures.heatmaps(path "d", {{name = "x", values = {{nan}}}}, {palette = "viridis"}))
  end)

  it("draw V above U, transposed, on one scale around 0", function()
    local V, U = matrix(2, 4, function() return 3 end), matrix(4, 2, function() return -3 end)
    local script = heatmaps.components{{name = "linear1", V = V, U = U}}:script()
    assert.is_truthy(script:find("linear1: V", 1, true) < script:find("linear1: U (transposed)", 1, true))
    assert.is_truthy(script:find("\n-3 -3 -3 -3\n-3 -3 -3 -3\nEND_OF_DATA", 1, true))
    for range in script:gmatch("set cbrange (%b[])") do assert.equal("[-3:3]", range) end
  end)

  it("draw V and U of a subcomponent with one norm and the product that they have", function()
    local script = heatmaps.components{{name = "linear1", V = {{8, 5}, {0, 0}}, U = {{0, 2}, {0, 0}}}}:script()
    assert.is_truthy(script:find("\n4 0\n0 0\nEND_OF_DATA", 1, true)) -- of the dead one nothing is left
    assert.is_truthy(script:find("\n0 0\n4 0\nEND_OF_DATA", 1, true))
  end)

  it("name both of two tied matrices, and the subcomponents once", function()
    local script = heatmaps.components{{name = "a", tied = "b", V = matrix(3, 2), U = matrix(2, 3)}}:script()
    assert.is_truthy(script:find("'a: V = b: U (transposed)'", 1, true))
    assert.is_truthy(script:find("'a: U (transposed) = b: V'", 1, true))
    assert.equal(1, select(2, script:gsub("'Subcomponent'", "")))
  end)

  it("say at reordered columns which subcomponents they are, or that there is no room for that", function()
    local function script(columns)
      return heatmaps.causal_importances{{name = "a", values = identity(5, #columns), columns = columns}}:script()
    end
    assert.is_truthy(script{3, 1, 0, 2}:find("('3' 0, '1' 1, '0' 2, '2' 3)", 1, true))
    local many = {}
    for i = 1, 200 do many[i] = 200 - i end
    assert.is_truthy(script(many):find("'Subcomponents, reordered'", 1, true))
    assert.is_truthy(script(many):find("unset xtics", 1, true))
    local made, reason = figures.causal_importances(path "a", {{name = "a", values = identity(5, 4), columns = {1}}})
    assert.is_nil(made)
    assert.matches("a: expected a number for each column", reason)
  end)

  it("of a vocabulary count its tokens and name every few of its subcomponents", function()
    local columns = {}
    for c = 1, 100 do columns[c] = 100 - c end
    local function page(count)
      return heatmaps.embedding_importances{
        {name = "embed", values = matrix(1000, 100), count = count, columns = columns},
      }
    end
    local script = page(4096):script()
    assert.is_truthy(script:find("0,500,4000", 1, true))
    assert.is_truthy(script:find("('99' 0, '96' 3, '93' 6,", 1, true))
    assert.is_true(page(50257).width > page(900).width) -- room for longer numbers
    assert.equal("", complaints(page(50257)))
    assert.is_true(figures.embedding_importances(path "a", {{name = "e", values = {{0, 1}, {0.5, 0}}, count = 2}}))
  end)

  it("refuse V and U that do not belong together", function()
    local made, reason = figures.components(path "a", {{name = "linear1", V = matrix(5, 4), U = matrix(3, 2)}})
    assert.is_nil(made)
    assert.matches("linear1: V and U differ", reason)
  end)

  it("compare importances of several runs: a row of maps for each matrix, one scale", function()
    local function run(name, values)
      return {name = name, panels = {{name = "mlp_in", values = values}, {name = "mlp_out", values = identity(2, 5)}}}
    end
    local runs = {run("seed 0", {{0.25, 0, 0}, {0, 1, 0}}), run("seed 1", {{0, 0.5, 0}, {0, 0, 2}})}
    local page = heatmaps.importance_comparison(runs, {title = "Several"})
    local script = page:script()
    assert.equal("", complaints(page))
    assert.is_true(holds(script, "\n0.25 0 0\n0 1 0\nEND_OF_DATA"))
    assert.is_true(holds(script, "\n0 0.5 0\n0 0 2\nEND_OF_DATA"))
    for text, count in pairs{
      ["seed 0"] = 2, ["seed 1"] = 2, mlp_in = 1, mlp_out = 1, Several = 1, ["Input feature"] = 2,
      ["Subcomponents, reordered"] = 4,
    } do
      assert.equal(count, count_labels(script, text), text)
    end
    for range in script:gmatch("set cbrange (%b[])") do assert.equal("[0:1]", range) end
    -- runs are beside each other, matrices below each other
    local places = {}
    for x, y, seed in script:gmatch("set label at ([%d.]+),([%d.]+) 'seed (%d)'") do
      places[#places + 1] = {x = tonumber(x), y = tonumber(y), seed = seed}
    end
    local first, beside, below = table.unpack(places)
    assert.same({"0", "1", "0"}, {first.seed, beside.seed, below.seed})
    assert.is_true(beside.x > first.x and beside.y == first.y and below.y > first.y)
    assert.is_true(figures.importance_comparison(path "a", runs))
    assert.equal(page.width, (png_size(path "a")))
    runs[1].panels[1].values[1][1], runs[2].panels[1].values[1][1] = nan, infinity
    assert.is_true(figures.importance_comparison(path "b", runs))
  end)

  it("compare importances of a single matrix without its name, and those of tensors", function()
    local values = core.tensor(identity(2, 3))
    local runs = {{name = "seed 0", panels = {{name = "mlp_in", values = values}}}}
    assert.equal(0, count_labels(heatmaps.importance_comparison(runs):script(), "mlp_in"))
    assert.is_true(figures.importance_comparison(path "a", runs))
    values:close()
  end)

  it("compare only runs with the same matrices", function()
    local function run(...)
      local panels = {}
      for i, name in ipairs{...} do panels[i] = {name = name, values = identity(2, 3)} end
      return {name = "run of " .. #panels, panels = panels}
    end
    for expected, runs in pairs{
      ["run of 1: expected the matrices of the first run"] = {run("a", "b"), run("a")},
      ["run of 2: expected the matrices of the first run"] = {run("a"), run("a", "b")},
      ["run of 3: expected the matrices of the first run"] = {run("a", "b", "c"), run("a", "c", "b")},
      ["there is nothing to draw"] = {run()},
      ["figure: there is nothing to draw"] = {run("a"), {name = "b"}},
      ["seed: expected rows of one length"] = {{name = "seed", panels = {{name = "a", values = {{1, 0}, {1}}}}}},
    } do
      local made, reason = figures.importance_comparison(path "a", runs)
      assert.is_nil(made)
      assert.truthy(reason:find(expected, 1, true), reason)
    end
    assert.same({}, core.posix.list_directory(folder))
  end)

  it("say how many subcomponents of a hidden layer they show", function()
    local layer = {name = "h", target = identity(2, 2), sum = identity(2, 2), C = 20}
    layer.components = {{index = 7, W = identity(2, 2)}}
    local script = heatmaps.hidden_layers{layer}:script()
    assert.is_truthy(script:find("'h: 1 of 20 subcomponents shown'", 1, true))
    for i = 1, 20 do layer.components[i] = layer.components[1] end
    assert.is_truthy(heatmaps.hidden_layers{layer}:script():find("'h: 14 of 20 subcomponents shown'", 1, true))
    for _, label in ipairs{"'Input'", "'Output'"} do assert.is_truthy(script:find(label, 1, true)) end
  end)

  it("print the values of small matrices only", function()
    local function script(n)
      return heatmaps.hidden_layers{{name = "h", target = identity(n, n), sum = identity(n, n)}}:script()
    end
    assert.is_truthy(script(2):find("'1.00'", 1, true))
    assert.is_nil(script(10):find("'1.00'", 1, true))
  end)

  it("show the strongest entry of a block where a matrix has more rows than there are pixels", function()
    local tables = require "spd.figures.tables"
    local rows, reduced = tables.reduce({{0, 1, 0}, {0, -5, nan}, {2, nan, nan}}, 2, 2)
    assert.is_true(reduced)
    assert.same({{-5, 0}, {2, "nan"}}, {rows[1], {rows[2][1], rows[2][2] ~= rows[2][2] and "nan"}})
    local page = heatmaps.components{{name = "embed", V = matrix(4096, 3), U = matrix(3, 8)}}
    assert.is_true(page.height < 1500)
  end)
end)

describe("figures: axes", function()
  local distributions = require "spd.figures.distributions"

  it("show the counts of all bins, and negative values apart", function()
    local given = bins{1}
    given[51], given[100] = 1, 2
    local script = distributions.histograms{{name = "linear1", counts = given, negative = 1}}:script()
    local counts = {}
    for count in script:match("<< END_OF_DATA\n(.-)\nEND_OF_DATA"):gmatch("%S+ (%S+)") do
      counts[#counts + 1] = tonumber(count)
    end
    assert.equal(100, #counts)
    assert.same({1, 1, 2}, {counts[1], counts[51], counts[100]})
    assert.is_truthy(script:find("\n-0.015 1\nEND_OF_DATA", 1, true))
    assert.is_truthy(script:find("'5 values, 1 negative (red)'", 1, true))
  end)

  it("draw negative values only, all zeros and one value without a complaint", function()
    local pages = {
      distributions.histograms{
        {name = "a", counts = bins{}, negative = 2}, {name = "b", counts = bins{0, 1}, negative = 0},
      },
      distributions.activation_counts{{name = "a", counts = {0, 0}}, {name = "b", counts = {0.2}}},
      distributions.mean_importances{{name = "a", values = {0, nan}}, {name = "b", values = {1e-9}}},
    }
    for _, page in ipairs(pages) do assert.equal("", complaints(page)) end
  end)

  it("sort subcomponents from the most active one", function()
    local panels, label = {{name = "linear1", counts = {0.1, 0.3, 0.2}}}, "Fraction with importance > 0.1"
    local script = distributions.activation_counts(panels, {threshold = 0.15, label = label}):script()
    assert.is_truthy(script:find("0 0.3\n1 0.2\n2 0.1\n", 1, true))
    assert.is_truthy(script:find("2 of 3 above 0.15", 1, true))
    assert.is_truthy(script:find("'" .. label .. "'", 1, true))
  end)

  it("show mean importances on a logarithmic scale only where they differ much, down to the smallest", function()
    local function script(...) return distributions.mean_importances{{name = "a", values = {...}}}:script() end
    assert.is_nil(script(0.4, 0.2, 0):find("logscale y", 1, true))
    assert.is_truthy(script(0.4, 0.002, 0):find("set yrange [0.001:1]", 1, true))
    assert.is_truthy(script(0.4, 0.002, 1e-12):find("set yrange [0.001:1]", 1, true))
  end)

  it("leave out of a logarithmic curve what is not positive", function()
    local series = {{name = "loss", x = {0, 1, 2, 3}, y = {1, 0, -1, 0.1}}}
    local log, linear = distributions.curves{{series = series}}, distributions.curves{{series = series, linear = true}}
    assert.is_truthy(log:script():find("0 1\n1 NaN\n2 NaN\n3 0.1\n", 1, true))
    assert.is_truthy(linear:script():find("0 1\n1 0\n2 -1\n3 0.1\n", 1, true))
  end)

  it("draw curves of one point and of constants; refuse those without a number", function()
    local point, constant = {name = "a", x = {5}, y = {2}}, {name = "b", x = {1, 2}, y = {3, 3}}
    local panels = {{name = "both", series = {point, constant}}, {name = "one", series = {point}, linear = true}}
    assert.equal("", complaints(distributions.curves(panels, {title = "title"})))
    local made, reason = figures.curves(path "b", {{name = "c", series = {{name = "a", x = {1, 2}, y = {nan, -1}}}}})
    assert.is_nil(made)
    assert.matches("c: there is no number to draw", reason)
  end)
end)

describe("figures: toy model of superposition", function()
  local tms = require "spd.figures.tms"

  it("have a column for target, sum and each component, with planes for two hidden dimensions", function()
    local with, without = tms.diagram(tms_subject(5, 2)), tms.diagram(tms_subject(5, 3))
    assert.is_truthy(with:script():find("'Subcomponent 3'", 1, true))
    assert.is_truthy(with:script():find("'Outputs (before bias & ReLU)'", 1, true))
    assert.is_true(with.height > without.height + 200)
    assert.equal("", complaints(with))
    assert.equal("", complaints(without))
  end)

  it("end at the hidden dimensions where there is no second matrix", function()
    local subject = tms_subject(5, 2)
    local both = select(2, tms.diagram(subject):script():gsub("set object circle", ""))
    subject.components[1].W2 = nil
    local page = tms.diagram(subject)
    assert.equal(both - 5, select(2, page:script():gsub("set object circle", "")))
    subject.target.W2, subject.sum.W2 = nil, nil
    assert.is_nil(tms.diagram(subject):script():find("'Outputs (before bias & ReLU)'", 1, true))
    assert.equal("", complaints(page))
  end)

  it("show some of many subcomponents and say of how many", function()
    local subject = tms_subject(5, 2)
    subject.C = 20
    for i = 1, 10 do subject.components[i] = subject.components[1] end
    assert.is_truthy(tms.diagram(subject):script():find("'8 of 20 subcomponents shown'", 1, true))
  end)

  it("have no dots at the origin, and numbers at the axes", function()
    local subject = tms_subject(3, 2)
    subject.components = {{index = 0, W = matrix(2, 3, function(_, j) return j == 1 and 1 or 1e-3 end)}}
    local script = tms.diagram(subject):script()
    assert.equal(7, select(2, script:gsub("with points", "")))
    assert.is_truthy(script:find("set xtics axis ('-", 1, true))
  end)

  it("are heat maps, the difference with colors of its own, where the network is large", function()
    local subject = tms_subject(40, 10)
    subject.names, subject.C = {"linear1", "linear2"}, 200
    subject.sum = {W1 = matrix(10, 40), W2 = matrix(40, 10)}
    subject.sum.W1[2][3] = subject.target.W1[2][3] - 0.25
    local page = tms.diagram(subject)
    local script = page:script()
    assert.equal("", complaints(page))
    assert.is_truthy(script:find("'Difference (colors: ±0.25)'", 1, true))
    assert.is_truthy(script:find("set cbrange [-0.25:0.25]", 1, true))
    assert.is_truthy(script:find("'linear2, transposed'", 1, true))
    assert.is_truthy(script:find("'linear1: 1 of 200 subcomponents shown'", 1, true))
    for _, label in ipairs{"'Feature'", "'Hidden dimension'"} do assert.is_truthy(script:find(label, 1, true)) end
    subject.tied = true
    assert.is_truthy(tms.diagram(subject):script():find("'linear1 (linear2 is its transpose)'", 1, true))
  end)

  it("draw NaN weights and leave the caller's matrices alone", function()
    local subject = tms_subject(5, 2, nan)
    assert.is_true(figures.tms_diagram(path "a", subject))
    assert.is_nil(tms.diagram(subject):script():gsub("plot NaN", ""):find("NaN", 1, true))
    assert.is_true(subject.target.W1[1][1] ~= subject.target.W1[1][1])
  end)

  it("show a target: plane, cosine similarities and responses", function()
    local W, outputs = {{1, 0, -1}, {0, 1, 0}}, {}
    for k = 1, 3 do outputs[k] = matrix(3, 3, function(i, j) return i == j and k / 3 or 0.1 end) end
    local subject = {W1 = W, magnitudes = {1 / 3, 2 / 3, 1}, outputs = outputs}
    local page = tms.target(subject)
    assert.is_truthy(page:script():find("\n1 0 -1\n0 1 0\n-1 0 1\nEND_OF_DATA", 1, true))
    assert.equal("", complaints(page))
    local many = {W1 = identity(2, 20), magnitudes = {0, 1}, outputs = {identity(20, 20), identity(20, 20)}}
    assert.is_nil(tms.target(many):script():find(gnuplot.color("viridis", 0), 1, true))
    subject.W1 = {{1, 0, 0}, {0, 1, 0}, {0, 0, 0}} -- a feature without a vector has no cosines
    assert.is_true(figures.target_tms(path "a", subject))
  end)
end)

describe("figures: residual MLP", function()
  local residual_mlp = require "spd.figures.residual_mlp"

  -- Contributions of two neurons to three features.
  local function layer_of(name)
    return {
      name = name, target = {{0.875, -0.25}, {0.0625, 0.625}, {0.25, 0}},
      components = {{0.75, -0.125}, {0.375, 0.6875}, {0.1875, 0.015625}}, chosen = {4, 17, 2},
    }
  end

  -- Outputs of three features for magnitudes -1 and 1, and labels.
  local function subject_of(name)
    return {
      magnitudes = {-1, 1}, labels = {{-1, -1.25, -1.5}, {2, 2.25, 2.5}},
      panels = {{name = name, outputs = {
        {{-0.75, 0.125, -0.25}, {0, -0.875, 0.5}, {0, 0, 0}}, {{1.75, 0.375, 0.0625}, {0, 1.875, 0}, {0, 0, 1.5}},
      }}},
    }
  end

  -- By colour, what is drawn in it: a list of data, sorted.
  local function data_by_color(script)
    local data, found = {}, {}
    for name, lines in script:gmatch("(%$data%d+) << END_OF_DATA\n(.-)\nEND_OF_DATA") do data[name] = lines end
    for name, color in script:gmatch("(%$data%d+) using 1:2 with [^,\n]- linecolor rgb '(#%x+)'") do
      found[color] = found[color] or {}
      table.insert(found[color], data[name])
    end
    for _, list in pairs(found) do table.sort(list) end
    return found
  end

  local function refused(expected, draw, ...)
    local made, reason = draw(path "a", ...)
    assert.is_nil(made)
    assert.truthy(reason:find(expected, 1, true), reason)
    assert.is_nil(reason:find("\n"))
    assert.same({}, core.posix.list_directory(folder))
  end

  describe("neuron contributions", function()
    it("are dots for each feature, of target and subcomponents, whose numbers are below", function()
      local page = residual_mlp.contributions({layer_of "layers.0.mlp_in"}, {title = "title"})
      local script = page:script()
      assert.equal("", complaints(page))
      assert.same({
        "0 0.75\n0 -0.125\n1 0.375\n1 0.6875\n2 0.1875\n2 0.015625",
        "0 0.875\n0 -0.25\n1 0.0625\n1 0.625\n2 0.25\n2 0",
      }, data_by_color(script)["#a0" .. gnuplot.series_colors[1]:sub(2)])
      assert.is_true(holds(script, "('4' 0, '17' 1, '2' 2)"))
      for _, text in ipairs{
        "Target model", "The best subcomponent of mlp_in for each feature", "title", "Input feature, the first 3 of 3",
        "Its number",
      } do
        assert.equal(1, count_labels(script, text), text)
      end
      assert.is_true(figures.neuron_contributions(path "a", {layer_of "layers.0.mlp_in"}))
      assert.equal(page.width, (png_size(path "a")))
    end)

    it("have one scale from below the smallest to above the largest", function()
      local ranges = {}
      for low, high in residual_mlp.contributions({layer_of "a"}, {}):script():gmatch("set yrange %[(.-):(.-)%]") do
        ranges[#ranges + 1] = {tonumber(low), tonumber(high)}
      end
      assert.same(ranges[1], ranges[2])
      assert.is_near(-0.25 - 0.06 * 1.125, ranges[1][1], 1e-6)
      assert.is_near(0.875 + 0.06 * 1.125, ranges[1][2], 1e-6)
    end)

    it("are of the first ten features, or as many as are wanted", function()
      local layer = layer_of "a"
      local script = residual_mlp.contributions({layer}, {features = 2}):script()
      assert.is_true(holds(script, "<< END_OF_DATA\n0 0.875\n0 -0.25\n1 0.0625\n1 0.625\nEND_OF_DATA"))
      assert.is_true(holds(script, "('4' 0, '17' 1)"))
      assert.equal(1, count_labels(script, "Input feature, the first 2 of 3"))
      for f = 4, 12 do layer.target[f], layer.components[f], layer.chosen[f] = {1, 1}, {1, 1}, f end
      script = residual_mlp.contributions({layer}, {}):script()
      assert.equal(1, count_labels(script, "Input feature, the first 10 of 12"))
      assert.is_true(holds(script, "\n9 1\nEND_OF_DATA") and not holds(script, "\n10 1\n"))
    end)

    it("have colours and numbers of subcomponents by layer, and a legend where there are several layers", function()
      local first, second = layer_of "layers.0.mlp_in", layer_of "layers.1.mlp_in"
      second.chosen = {5, 6, 8}
      local one = residual_mlp.contributions({first}, {}):script()
      local two = residual_mlp.contributions({first, second}, {}):script()
      assert.is_true(holds(two, "('4 / 5' 0, '17 / 6' 1, '2 / 8' 2)"))
      for name, count in pairs{["layers.0.mlp_in"] = 1, ["layers.1.mlp_in"] = 1, ["Its number, by layer"] = 1} do
        assert.equal(0, count_labels(one, name), name)
        assert.equal(count, count_labels(two, name), name)
      end
      for i, color in ipairs(gnuplot.series_colors) do
        color = "#a0" .. color:sub(2)
        assert.equal(i == 1 and 2 or 0, #(data_by_color(one)[color] or {}))
        assert.equal(i <= 2 and 2 or 0, #(data_by_color(two)[color] or {}))
      end
    end)

    it("have the numbers of neurons that contribute more than 0.1 in the target", function()
      local script = residual_mlp.contributions({layer_of "a"}, {}):script()
      assert.equal(4, count_labels(script, "0")) -- to features 0 and 2, in both rows
      assert.equal(2, count_labels(script, "1")) -- to feature 1
      local layer = {name = "a", target = {{0.11, 0.1, 0.0, -5}}, components = {{0.3, 0.6, 3, 0}}, chosen = {0}}
      script = residual_mlp.contributions({layer}, {}):script()
      for number, count in pairs{["0"] = 2, ["1"] = 0, ["2"] = 0, ["3"] = 0} do
        assert.equal(count, count_labels(script, number), number)
      end
    end)

    it("have those numbers wherever they do not overlap another, in whatever order the neurons are", function()
      local function counts(target, components)
        local script = residual_mlp.contributions({
          {name = "a", target = {target}, components = {components}, chosen = {7}},
        }, {}):script()
        local list = {}
        for m = 1, #target do list[m] = count_labels(script, tostring(m - 1)) end
        return list
      end
      assert.same({2, 2, 2}, counts({0.5, 0.45, 0.4}, {0.2, 0.4, 0.6}))
      assert.same({2, 2, 2}, counts({0.2, 0.4, 0.6}, {0.5, 0.45, 0.4}))
      -- one left, one right of the dots
      local total = 0
      for _, count in ipairs(counts({0.5, 0.5, 0.5, 0.499}, {0.5, 0.5, 0.5, 0.499})) do total = total + count end
      assert.equal(4, total)
    end)

    it("may be NaN, infinite or all zero", function()
      local bad, none, zero = layer_of "a", layer_of "a", layer_of "a"
      bad.target[1][1], bad.components[2][2], bad.target[2][1], bad.components[3][1] = nan, nan, infinity, -infinity
      none.target, none.components = matrix(3, 2, function() return nan end), matrix(3, 2, function() return nan end)
      zero.target, zero.components = matrix(3, 2, function() return 0 end), matrix(3, 2, function() return 0 end)
      for _, layer in ipairs{bad, none, zero} do
        assert.equal("", complaints(residual_mlp.contributions({layer}, {})))
        assert.is_true(figures.neuron_contributions(path "a", {layer}))
      end
      local script = residual_mlp.contributions({bad}, {}):script()
      assert.is_true(holds(script, "\n0 NaN\n0 -0.25\n1 NaN\n1 0.625\n"))
      for place in script:gmatch("set label at (%S+)") do assert.is_nil(place:find("[in]")) end -- inf or nan
    end)

    it("may be tensors", function()
      local layer = layer_of "a"
      local expected = residual_mlp.contributions({layer}, {}):script()
      layer.target, layer.components = core.tensor(layer.target), core.tensor(layer.components)
      assert.equal(expected, residual_mlp.contributions({layer}, {}):script())
      assert.is_true(figures.neuron_contributions(path "a", {layer}))
      layer.target:close()
      layer.components:close()
    end)

    it("are refused where they do not belong together", function()
      local draw = figures.neuron_contributions
      refused("figure: there is nothing to draw", draw, {})
      local layer = layer_of "layers.0"
      layer.components[3] = nil
      refused("layers.0: target and components differ in shape", draw, {layer})
      layer = layer_of "layers.0"
      for f = 1, 3 do layer.target[f][3] = 1 end
      refused("layers.0: target and components differ in shape", draw, {layer})
      layer = layer_of "layers.0"
      layer.target[2] = {1}
      refused("layers.0: expected rows of one length", draw, {layer})
      layer = layer_of "layers.0"
      layer.chosen[3] = nil
      refused("layers.0: expected a chosen number for each feature", draw, {layer})
      layer.chosen = nil
      refused("layers.0: expected a list of numbers", draw, {layer})
      local other = {name = "layers.1", target = {{1, 2}}, components = {{1, 2}}, chosen = {0}}
      refused("layers.1: expected the features of the first layer", draw, {layer_of "layers.0", other})
      refused("layers.0: expected the features of the first layer", draw, {other, layer_of "layers.0"})
    end)
  end)

  describe("contribution pairs", function()
    it("have the target across and the subcomponents up, in all features", function()
      local scores = {contribution_correlation = 0.98764, contribution_slope = 2}
      local page = residual_mlp.pairs({layer_of "layers.0"}, scores)
      local script = page:script()
      assert.equal("", complaints(page))
      assert.same({"0.875 0.75\n-0.25 -0.125\n0.0625 0.375\n0.625 0.6875\n0.25 0.1875\n0 0.015625"},
        data_by_color(script)["#a0" .. gnuplot.series_colors[1]:sub(2)])
      for _, text in ipairs{
        "Target model", "The best subcomponent of mlp_in", "Neuron contributions, 3 features, 1 layer",
        "correlation 0.9876, slope 2.0000 (dashed: y = x)",
      } do
        assert.equal(1, count_labels(script, text), text)
      end
      assert.equal(0, count_labels(script, "layers.0"))
      assert.is_true(figures.contribution_pairs(path "a", {layer_of "layers.0"}))
      assert.equal(page.width, (png_size(path "a")))
    end)

    it("have the same scale across and up, and the diagonal", function()
      local script = residual_mlp.pairs({layer_of "a"}, {}):script()
      local range = script:match("set xrange %[(.-)%]")
      assert.equal(range, script:match("set yrange %[(.-)%]"))
      local low, high = range:match("(.*):(.*)")
      assert.is_true(holds(script, ("<< END_OF_DATA\n%s %s\n%s %s\nEND_OF_DATA"):format(low, low, high, high)))
      assert.is_true(tonumber(low) < -0.25 and tonumber(high) > 0.875)
      assert.is_nil(script:find("correlation", 1, true))
    end)

    it("have colours and a legend by layer, and a title of one's own", function()
      local script = residual_mlp.pairs({layer_of "layers.0", layer_of "layers.1"}, {}):script()
      for _, text in ipairs{"layers.0", "layers.1", "Neuron contributions, 3 features, 2 layers"} do
        assert.equal(1, count_labels(script, text), text)
      end
      for i = 1, 2 do
        assert.equal(1, #data_by_color(script)["#a0" .. gnuplot.series_colors[i]:sub(2)])
      end
      script = residual_mlp.pairs({layer_of "layers.0"}, {title = "own"}):script()
      assert.equal(1, count_labels(script, "own"))
      assert.is_nil(script:find("Neuron contributions", 1, true))
    end)

    it("may be NaN, infinite, all zero or tensors", function()
      local bad, zero, tensors = layer_of "a", layer_of "a", layer_of "a"
      bad.target[1][1], bad.components[2][2], bad.target[2][1] = nan, nan, infinity
      zero.target, zero.components = matrix(3, 2, function() return 0 end), matrix(3, 2, function() return 0 end)
      tensors.target, tensors.components = core.tensor(tensors.target), core.tensor(tensors.components)
      local scores = {contribution_correlation = nan, contribution_slope = nan}
      for _, layer in ipairs{bad, zero, tensors} do
        assert.equal("", complaints(residual_mlp.pairs({layer}, scores)))
        assert.is_true(figures.contribution_pairs(path "a", {layer}, scores))
      end
      assert.is_true(holds(residual_mlp.pairs({bad}, {}):script(), "\nNaN 0.75\n-0.25 -0.125\nNaN 0.375\n0.625 NaN\n"))
      tensors.target:close()
      tensors.components:close()
    end)

    it("are refused where they do not belong together", function()
      local draw, layer = figures.contribution_pairs, layer_of "layers.0"
      refused("figure: there is nothing to draw", draw, {})
      layer.components[3] = nil
      refused("layers.0: target and components differ in shape", draw, {layer})
      layer.target[3] = nil
      refused("layers.1: expected the features of the first layer", draw, {layer, layer_of "layers.1"})
      refused("layers.0: expected the features of the first layer", draw, {layer_of "layers.1", layer})
    end)
  end)

  describe("feature responses", function()
    it("are a feature's own output, the largest and the smallest other one, and its label", function()
      local page = residual_mlp.responses(subject_of "Target")
      local script = page:script()
      assert.equal("", complaints(page))
      local data = data_by_color(script)
      assert.same({"-1 -0.75\n1 1.75", "-1 -0.875\n1 1.875", "-1 0\n1 1.5"}, data["#3a76af"])
      assert.same({"-1 -0.25\n1 0.0625", "-1 0\n1 0", "-1 0\n1 0", "-1 0\n1 0", "-1 0.125\n1 0.375", "-1 0.5\n1 0"},
        data["#d55e00"])
      assert.same({"-1 -1\n1 2", "-1 -1.25\n1 2.25", "-1 -1.5\n1 2.5"}, data["#111111"])
      for _, text in ipairs{
        "Target", "Responses to single features", "Input of a single feature", "Output", "label",
        "output of the feature", "largest and smallest other output",
      } do
        assert.equal(1, count_labels(script, text), text)
      end
      assert.is_true(figures.feature_responses(path "a", subject_of "Target", {title = "title"}))
      assert.equal(page.width, (png_size(path "a")))
    end)

    it("of several models are beside each other, on one scale that holds all", function()
      local subject = subject_of "Target"
      local alone = residual_mlp.responses(subject)
      subject.panels[2] = {name = "Decomposed", outputs = {identity(3, 3), matrix(3, 3, function() return 5 end)}}
      local page = residual_mlp.responses(subject, {title = "own"})
      local script, ranges = page:script(), {}
      assert.is_true(page.width > alone.width + 500 and page.height == alone.height)
      for _, text in ipairs{"Target", "Decomposed", "own"} do assert.equal(1, count_labels(script, text), text) end
      assert.equal(2, count_labels(script, "Input of a single feature"))
      assert.equal(2 * 3, #data_by_color(script)["#3a76af"])
      for range in script:gmatch("set xrange %[%-1:1%]\nset yrange (%b[])") do ranges[#ranges + 1] = range end
      assert.equal(2, #ranges)
      assert.equal(ranges[1], ranges[2])
      local low, high = ranges[1]:match("%[(.*):(.*)%]")
      assert.is_near(-1.5 - 0.05 * 6.5, tonumber(low), 1e-6)
      assert.is_near(5 + 0.05 * 6.5, tonumber(high), 1e-6)
    end)

    it("may be NaN, all the same, of one feature, or tensors", function()
      local bad, level, single, tensors = subject_of "a", subject_of "a", subject_of "a", subject_of "a"
      bad.panels[1].outputs[1][1][1], bad.panels[1].outputs[2][2][3], bad.labels[2][1] = nan, infinity, nan
      local zero = matrix(3, 3, function() return 0 end)
      level.labels, level.panels[1].outputs = matrix(2, 3, function() return 0 end), {zero, zero}
      single.labels, single.panels[1].outputs = {{-1}, {1}}, {{{-0.5}}, {{0.5}}}
      tensors.magnitudes, tensors.labels = core.tensor(tensors.magnitudes), core.tensor(tensors.labels)
      for k, rows in ipairs(tensors.panels[1].outputs) do tensors.panels[1].outputs[k] = core.tensor(rows) end
      for what, subject in pairs{bad = bad, level = level, single = single, tensors = tensors} do
        assert.is_true(figures.feature_responses(path "a", subject), what)
      end
      assert.equal("", complaints(residual_mlp.responses(bad)))
      assert.equal("", complaints(residual_mlp.responses(level)))
      assert.equal(residual_mlp.responses(subject_of "a"):script(), residual_mlp.responses(tensors):script())
      assert.is_true(holds(residual_mlp.responses(bad):script(), "\n-1 NaN\n1 1.75\n"))
      for _, tensor in ipairs{tensors.magnitudes, tensors.labels, table.unpack(tensors.panels[1].outputs)} do
        tensor:close()
      end
    end)

    it("of a model that gives nothing but NaN are drawn, with labels or without", function()
      local subject = subject_of "a"
      local none = matrix(3, 3, function() return nan end)
      subject.panels[1].outputs = {none, none}
      assert.equal("", complaints(residual_mlp.responses(subject)))
      subject.labels = matrix(2, 3, function() return nan end)
      assert.is_true(figures.feature_responses(path "a", subject))
    end)

    it("are refused where they do not belong together", function()
      local draw = figures.feature_responses
      local function refused_with(expected, change)
        local subject = subject_of "Target"
        change(subject)
        refused(expected, draw, subject)
      end
      refused_with("magnitudes: there is nothing to draw", function(s) s.magnitudes = {} end)
      refused_with("figure: there is nothing to draw", function(s) s.panels = {} end)
      refused_with("figure: there is nothing to draw", function(s) s.panels[1].outputs = {} end)
      refused_with("labels: expected rows of numbers, found nil", function(s) s.labels = nil end)
      refused_with("labels: expected a row for each magnitude", function(s) s.labels[2] = nil end)
      refused_with("Target: expected outputs for each magnitude", function(s) s.panels[1].outputs[2] = nil end)
      refused_with("Target: expected outputs for each magnitude", function(s)
        s.panels[1].outputs[3] = s.panels[1].outputs[1]
      end)
      refused_with("Target: outputs and labels differ in shape", function(s) s.labels = {{1, 2}, {3, 4}} end)
      refused_with("Target: outputs and labels differ in shape", function(s) s.panels[1].outputs[2][3] = nil end)
      refused_with("Target: outputs and labels differ in shape", function(s) s.panels[1].outputs[2] = matrix(3, 2) end)
      refused_with("Target: expected rows of one length", function(s) s.panels[1].outputs[2][3] = {1} end)
    end)
  end)

  it("shows names as they are, whatever they hold", function()
    local touch = "touch " .. folder .. "/touched"
    local name = "'\nset output 'x.png'\n!" .. touch .. "\n`" .. touch .. "` %s @x {/Symbol a} \xff"
    local options, layers = {title = name}, {layer_of(name), layer_of(name)}
    assert.is_true(figures.neuron_contributions(path "a", layers, options))
    assert.is_true(figures.contribution_pairs(path "b", layers, options))
    assert.is_true(figures.feature_responses(path "c", subject_of(name), options))
    local panels = {{name = name, values = identity(2, 3)}, {name = name, values = identity(2, 3)}}
    assert.is_true(figures.importance_comparison(path "d", {{name = name, panels = panels}}, options))
    local subject = subject_of(7)
    assert.is_true(figures.feature_responses(path "e", subject))
    assert.is_true(figures.neuron_contributions(path "f", {layer_of(nil), layer_of(7)}))
    local files = core.posix.list_directory(folder)
    table.sort(files)
    assert.same({"a.png", "b.png", "c.png", "d.png", "e.png", "f.png"}, files)
  end)
end)
