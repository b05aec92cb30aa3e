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

  it("refuse V and U that do not belong together", function()
    local made, reason = figures.components(path "a", {{name = "linear1", V = matrix(5, 4), U = matrix(3, 2)}})
    assert.is_nil(made)
    assert.matches("linear1: V and U differ", reason)
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
