-- What a report says: which runs, thinned curves, scores, keys, figures, importances; and the page around it.
local config_module = require "spd.config"
local core = require "spd.core"
local curves = require "spd.report.curves"
local experiment = require "spec.support.experiment"
local folders = require "spd.report.folders"
local importances = require "spd.report.importances"
local json = require "spd.json"
local language = require "spec.support.language"
local pictures = require "spd.report.pictures"
local report = require "spd.report"
local scores = require "spd.report.scores"
local settings = require "spd.report.settings"

describe("report.folders", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  local function make_run(path)
    assert(core.posix.make_directory(folder .. "/" .. path, true))
    experiment.write(folder .. "/" .. path .. "/final_config.yaml", "")
    return folder .. "/" .. path
  end

  local function names_of(list)
    local names = {}
    for i, one in ipairs(list) do names[i] = one.name end
    return names
  end

  it("takes a run, once", function()
    local path = make_run "one"
    local list, title = folders.find{path}
    assert.same({{path = path, name = "one"}}, list)
    assert.equal("one", title)
    assert.same({{path = path, name = "one"}}, (folders.find{path, path .. "/"}))
  end)

  it("takes all trials of a study, in the order of their numbers, also without a config", function()
    for _, number in ipairs{10, 9, 100} do make_run("study/trials/" .. number) end
    assert(core.posix.make_directory(folder .. "/study/trials/11"))
    assert(core.posix.make_directory(folder .. "/study/trials/notes"))
    local list, title = folders.find{folder .. "/study"}
    assert.same({"9", "10", "11", "100"}, names_of(list))
    assert.equal("study: 4 runs", title)
  end)

  it("takes the runs in a folder, as that of several seeds", function()
    for seed = 0, 2 do make_run("seeds/seed_" .. seed) end
    assert(core.posix.make_directory(folder .. "/seeds/other"))
    assert.same({"seed_0", "seed_1", "seed_2"}, names_of((folders.find{folder .. "/seeds/"})))
  end)

  it("gives runs of several folders names that tell them apart", function()
    local list, title = folders.find{make_run "a/seed_0", make_run "b/seed_0"}
    assert.same({"a/seed_0", "b/seed_0"}, names_of(list))
    assert.equal("2 runs", title)
  end)

  it("refuses a folder without a run, and one that is not there", function()
    local function refusal(...) return tostring(select(2, pcall(folders.find, {...}))) end
    assert.equal(folder .. ": is not a run's folder, and holds none", refusal(folder))
    assert.equal(folder .. "/none: no such folder", refusal(folder .. "/none"))
    assert.same({"none", "one"}, names_of((folders.find{folder .. "/none", make_run "one"}))) -- found out when read
  end)
end)

describe("report.curves", function()
  it("keeps ends and extremes when it thins", function()
    local series = {name = "loss", steps = {}, values = {}}
    for i = 1, 1000 do series.steps[i], series.values[i] = 10 * i, i % 7 / 100 end
    series.values[400], series.values[401] = 9, -9
    local thin = curves.thin(series, 50)
    assert.is_true(#thin.values <= 50)
    assert.same({10, 10000}, {thin.steps[1], thin.steps[#thin.steps]})
    local at = {}
    for i, step in ipairs(thin.steps) do
      at[step] = thin.values[i]
      assert.is_true(i == 1 or step > thin.steps[i - 1])
      assert.equal(series.values[step // 10], thin.values[i])
    end
    assert.same({9, -9}, {at[4000], at[4010]})
    assert.equal(series, curves.thin(series, 1000))
  end)

  it("leaves out repeated steps, and what is no number", function()
    local data = curves.data({
      {step = 0, a = 1, b = 2, c = "x"}, {step = 5, a = 1.23456789, b = 3}, {step = "x", a = 9}, {step = 9, b = 4},
    }, 100)
    assert.same({
      {name = "a", steps = {0, 5}, values = {1, 1.2346}}, {name = "b", steps = {0, 5, 9}, values = {2, 3, 4}},
    }, data.series)
    assert.is_false(data.thinned)
    data = curves.data({{step = 0, a = 1, b = 2}, {step = 5, a = 2, b = 3}}, 100)
    assert.same({{0, 5}, nil}, {data.series[1].steps, data.series[2].steps})
  end)
end)

describe("report.scores", function()
  it("makes a summary flat, numbers only", function()
    assert.same({mmcs = 0.5, ["target_ci_error/a"] = 3, ["a/n_alive"] = 2}, scores.flat{
      mmcs = 0.5, seed = 3, steps = 9, threads = 1, version = "1", target_ci_error = {a = 3},
      n_alive = {a = 2, b = "x"}, odd = 0 / 0, list = {"x"},
    })
  end)

  it("orders the scores, and says which are better", function()
    local columns = scores.columns{{["loss/b"] = 1, mmcs = 1}, {ml2r = 1, wall_s = 1, ["loss/total"] = 1}}
    assert.same({
      {key = "mmcs", better = "high", main = true}, {key = "ml2r", main = true},
      {key = "loss/total", better = "low", main = true}, {key = "loss/b", better = "low"}, {key = "wall_s"},
    }, columns)
  end)

  it("ranks the solved ones first, then by error, then by similarity; those without scores last", function()
    assert.is_true(scores.better({solved = 1, mmcs = 0.1}, {solved = 0, mmcs = 0.9}))
    assert.is_false(scores.better({target_ci_error_total = 4, mmcs = 0.9}, {target_ci_error_total = 3, mmcs = 0.1}))
    assert.is_true(scores.better({mmcs = 0.1}, {}))
    assert.is_true(scores.better({["loss/total"] = 1}, {["loss/total"] = 2}))
    assert.is_nil(scores.better({}, {}))
  end)
end)

describe("report.settings", function()
  it("says which keys there are, their defaults, and in which the runs differ", function()
    local function load(...) return (config_module.load("configs/tms_5-2.yaml", {...})) end
    local data = settings.data{load(), load("lr=2e-3", "seed=4"), (config_module.load "configs/ss.yaml")}
    local by_path, swept = {}, {}
    for k, key in ipairs(data.keys) do
      by_path[key.path] = {key.default, data.rows[1][k], data.rows[2][k], data.rows[3][k]}
    end
    for _, path in ipairs(data.swept) do swept[path] = true end
    assert.same({0, 0, 4, 0}, by_path.seed)
    assert.same({nil, 0.001, 0.002, 0.0001}, by_path.lr)
    assert.same({nil, 0.05, 0.05, json.null}, by_path["task_config.feature_probability"])
    assert.same({1000, json.null, json.null, 1000}, by_path["task_config.buffer_size"])
    assert.same({"null", "null", "null", "null"}, by_path.schatten_coeff)
    assert.is_nil(by_path.importance_minimality_coeff[1]) -- may be null, but must be given
    assert.same({true, true, nil}, {swept.lr, swept.seed, swept.tied_update})
    assert.equal(json.empty_list, settings.data{load()}.swept)
  end)
end)

describe("report.pictures", function()
  local PNG = "\137PNG\r\n\26\n"

  it("writes base64", function()
    for bytes, text in pairs{[""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", ["foobar\0\255"] = "Zm9vYmFyAP8="} do
      assert.equal(text, pictures.base64(bytes))
    end
  end)

  it("takes the last figures first, as long as there is room, and PNG files only", function()
    local folder = experiment.make_folder()
    assert(core.posix.make_directory(folder .. "/figures"))
    for name, bytes in pairs{
      ["mean_importances.png"] = PNG .. "m", ["mean_importances_step_5.png"] = PNG .. "5",
      ["mean_importances_step_10.png"] = PNG .. "10", ["training_curves.png"] = PNG .. "t", ["mine.png"] = PNG .. "x",
      ["broken.png"] = "<script>", ["notes.txt"] = PNG,
    } do experiment.write(folder .. "/figures/" .. name, bytes) end
    local figures, left_out, used = pictures.data(folder, 1000, true)
    assert.same({"training_curves", "mean_importances", "mine"}, {figures[1].name, figures[2].name, figures[3].name})
    assert.same({{png = pictures.base64(PNG .. "m")}, {step = 10, png = pictures.base64(PNG .. "10")},
      {step = 5, png = pictures.base64(PNG .. "5")}}, figures[2].images)
    assert.same({1, 46}, {left_out, used})
    figures, left_out = pictures.data(folder, 1000)
    assert.same({1, 3}, {#figures[2].images, left_out})
    figures, left_out = pictures.data(folder, 40, true)
    assert.same({3, 2, 2}, {#figures, #figures[2].images, left_out})
    assert.same({}, (pictures.data(folder .. "/none", 1000)))
    experiment.remove_folder(folder)
  end)
end)

describe("report.importances", function()
  local subject = language.subject{{{0, 1, 2, 3, 4, 5}, {1, 1, 5, 5, 5, 11}}, {{8, 9, 2, 4, 7, 6}, {5, 5, 5, 5, 5, 5}}}

  it("has the tokens on which a subcomponent of an embedding is important, and their texts", function()
    local data = importances.data(subject, 1000)
    local embed = data.matrices[1]
    local active = {}
    for i, id in ipairs(data.features) do active[id] = embed.active[i] end
    assert.same({nil, {0, 750}, {0, 500, 1, 250}, {1, 1000}, {0, 1000}, nil, {1, 500}},
      {active[0][1], active[1], active[2], active[3], active[4], active[5], active[6]})
    assert.same({0, 1, 2, 3, 4, 6, 11}, data.features)
    assert.equal(" cat", data.texts["1"])
    assert.same({1, 750}, {embed.top[1], embed.top_values[1]})
    assert.equal(json.null, embed.top[3])
    assert.same({0.1, false}, {data.threshold, data.raised})
  end)

  it("raises the threshold where there are too many importances, and says so", function()
    local data = importances.data(subject, 5)
    local count = 0
    for _, matrix in ipairs(data.matrices) do
      for _, list in ipairs(matrix.active) do count = count + #list // 2 end
    end
    assert.is_true(data.raised and count <= 5)
    for _, matrix in ipairs(data.matrices) do
      for _, list in ipairs(matrix.active) do
        for k = 2, #list, 2 do assert.is_true(list[k] > 1000 * data.threshold) end
      end
    end
  end)
end)

describe("report.html", function()
  local EVIL = "</script><img src=x onerror=\"document.title='broken'\">"

  it("has no tag that comes from the data, and repairs bytes that are no text", function()
    local html = report.html{title = EVIL, runs = {{name = "\xff" .. EVIL}}}
    assert.is_nil(html:find("<img", 1, true))
    assert.equal(2, select(2, html:gsub("</script>", "")))
    local data = json.decode((html:match('id="data">(.-)</script>')))
    assert.same({EVIL, "\u{FFFD}" .. EVIL}, {data.title, data.runs[1].name})
    assert.is_truthy(utf8.len(html))
  end)

  it("loads nothing", function()
    local html = report.html{}
    for _, word in ipairs{"https:", " src=", "@import", "fetch(", "import(", "XMLHttp", "innerHTML", "@DATA@"} do
      assert.is_nil(html:find(word, 1, true), word)
    end
    assert.is_truthy(html:find("default-src 'none'", 1, true))
    for link in html:gmatch("http:[^\"' ]*") do assert.equal("http://www.w3.org/2000/svg", link) end -- only a name
    for link in html:gmatch("url%([^)]*%)") do assert.equal("url(#${id})", link) end
  end)

  it("replaces only its own pages", function()
    local folder = experiment.make_folder()
    local path = folder .. "/report.html"
    report.write(path, {})
    report.write(path, {title = "again"})
    assert.same({"report.html"}, experiment.names_in(folder))
    experiment.write(path, "notes")
    local ok, err = pcall(report.write, path, {})
    assert.is_false(ok)
    assert.equal(path .. ": exists, and is no page of this script (name another file with --out)", tostring(err))
    assert.equal("notes", experiment.read(path))
    experiment.remove_folder(folder)
  end)
end)
