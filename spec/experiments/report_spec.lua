-- report.lua as a process, on runs of a few steps; and its page in a browser.
local browser = require "spec.support.browser"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local json = require "spd.json"

local SCRIPT = "experiments/report.lua"
local EVIL = "</script><img src=x onerror=\"document.title='broken'\">"

-- What is said about a config that is only "lr: [".
local BROKEN = "final_config.yaml:2: did not find expected node content (while parsing a flow node from line 2)"

local function report(...) return experiment.run{experiment.host, SCRIPT, ...} end

local function data_of(path)
  return assert(json.decode((experiment.read(path):match('id="data">(.-)</script>'))))
end

-- A run of a few steps in the folder.
local function make_run(folder, name)
  local run = folder .. "/" .. name
  local status, _, err = experiment.decompose("configs/tms_5-2.yaml",
    "pretrained_model_path=" .. experiment.make_target(folder), "steps=4", "print_freq=1", "batch_size=64",
    "n_eval_steps=2", "image_freq=null", "image_on_first_step=false", "tokenizer_name='" .. EVIL:gsub("'", "''") .. "'",
    "--out", run, "--quiet")
  assert.same({0, ""}, {status, err})
  return run
end

local function copy(from, to) assert(experiment.run{"cp", "-r", from, to} == 0) end

-- Change a file by a function of its text.
local function change(path, f) experiment.write(path, f(experiment.read(path))) end

-- Four trials: three that differ in lr and mmcs, of which one is not finished, and one that cannot be read.
local function make_study(folder, run)
  local trials = folder .. "/study/trials"
  assert(core.posix.make_directory(trials, true))
  for i = 0, 3 do
    local trial = ("%s/%d"):format(trials, i)
    copy(run, trial)
    change(trial .. "/final_config.yaml", function(text)
      return (text:gsub("\nlr: [^\n]*", ("\nlr: 0.%d"):format(i + 1)):gsub("\nseed: 0", "\nseed: " .. i % 2))
    end)
    change(trial .. "/summary.json", function(text)
      return (text:gsub('"mmcs": [^,]*', ('"mmcs": 0.99%d'):format(9 - i)))
    end)
  end
  os.remove(trials .. "/2/summary.json")
  experiment.write(trials .. "/3/final_config.yaml", "lr: [")
  return folder .. "/study"
end

describe("report.lua", function()
  local folder, run, study

  setup(function()
    folder = experiment.make_folder()
    run = make_run(folder, "a <b>run")
    study = make_study(folder, run)
  end)
  teardown(function() experiment.remove_folder(folder) end)

  it("writes a page about a run into its folder, and changes nothing else there", function()
    local before = experiment.contents(run)
    local status, out, err = report(run, "--threads", "1")
    assert.same({0, ("page: %s/report.html\n"):format(run), ""}, {status, out, err})
    local after = experiment.contents(run, "report%.html$")
    assert.same(before, after)
    local data = data_of(run .. "/report.html")
    local one = data.runs[1]
    assert.same({"a <b>run", true, 4, 4}, {one.name, one.finished, one.step, one.steps})
    assert.same({"linear1", "linear2"}, {one.matrices[1].name, one.matrices[2].name})
    assert.same({5, "identity"}, {one.matrices[1].wanted, one.matrices[1].kind})
    assert.is_truthy(math.type(one.matrices[1].error_0p2) == "integer" and #one.misses > 0)
    local names = {}
    for _, series in ipairs(one.curves.series) do names[series.name] = #series.values end
    assert.same({5, 5, 5, 5}, {names["loss/total"], names.lr, names["linear1/ci_l0"], names.grad_norm})
    assert.same({5, 20, 20}, {#one.importances.features, #one.importances.matrices[1].norms,
      #one.importances.matrices[2].top})
    assert.is_true(#one.figures > 5)
    assert.equal(0, one.figures_left_out)
    assert.same({}, data.swept)
  end)

  it("compares the trials of a study, and names what it cannot read", function()
    local status, out, err = report(study)
    assert.same({0, ("page: %s/report.html\n"):format(study)}, {status, out})
    assert.equal(("spdlua: warning: left out: %s/trials/3/%s\n"):format(study, BROKEN), err)
    local data = data_of(study .. "/report.html")
    assert.same({"study: 4 runs", {"seed", "lr"}, {0, 1, 2}}, {data.title, data.swept, data.best})
    assert.same({"0", "1", "2"}, {data.runs[1].name, data.runs[2].name, data.runs[3].name})
    assert.equal("3", data.unreadable[1].name)
    local unfinished, mmcs = data.runs[3], nil
    for k, score in ipairs(data.scores) do mmcs = score.key == "mmcs" and k or mmcs end
    assert.same({false, 4, 0.999}, {unfinished.finished, unfinished.step, data.runs[1].scores[mmcs]})
    assert.is_number(unfinished.scores[mmcs]) -- of its checkpoint
    assert.equal("", select(3, report(study, run, "--out", folder .. "/both.html", "--quiet")))
    assert.equal(4, #data_of(folder .. "/both.html").runs)
  end)

  it("goes on without what a run lacks, and says why", function()
    local bare = folder .. "/bare"
    copy(run, bare)
    experiment.run{"rm", "-r", bare .. "/checkpoints", bare .. "/target", bare .. "/summary.json", bare .. "/figures"}
    assert.equal(0, (report(bare)))
    local one = data_of(bare .. "/report.html").runs[1]
    assert.equal("the folder has no target/target.safetensors", one.importances_problem)
    assert.same({false, 4, {}}, {one.finished, one.step, one.figures})
    assert.is_false(core.posix.is_directory(bare .. "/target"))

    local own = folder .. "/own"
    assert.equal(0, (experiment.run{experiment.host, "experiments/own_model.lua", "steps=2", "n_eval_steps=1",
      "batch_size=8", "--out", own, "--quiet"}))
    assert.equal(0, (report(own)))
    one = data_of(own .. "/report.html").runs[1]
    assert.equal("only the script that made this run knows its model", one.importances_problem)
    assert.equal("fc1", one.matrices[1].name)
  end)

  it("refuses what is no run, and a file that is no report, in one line", function()
    local function refused(message, ...)
      local status, out, err = report(...)
      assert.same({2, "", "spdlua: " .. message .. "\n"}, {status, out, err})
    end
    refused(folder .. "/none: no such folder", folder .. "/none")
    refused(study .. "/trials/0/target: is not a run's folder, and holds none", study .. "/trials/0/target")
    refused(study .. "/trials/3/" .. BROKEN, study .. "/trials/3")
    experiment.write(folder .. "/notes.html", "notes")
    refused(folder .. "/notes.html: exists, and is no page of this script (name another file with --out)", run, "--out",
      folder .. "/notes.html")
    assert.equal("notes", experiment.read(folder .. "/notes.html"))
    refused(folder .. "/none/x.html: there is no such folder", run, "--out", folder .. "/none/x.html")
    refused("command line: DIR is missing (spdlua experiments/report.lua --help explains)")
  end)
end)

-- ---- the page in a browser ------------------------------------------------------------------------

-- What the reader does, for the scripts of the specs below.
local TOOLS = [[
  const at = (plot, x, y) => {
    const frame = plot.getBoundingClientRect();
    const place = { clientX: frame.left + x * frame.width, clientY: frame.top + y * frame.height };
    return { ...place, bubbles: true, button: 0, pointerId: 1 };
  };
  const pointer = (plot, kind, x, y) => plot.dispatchEvent(new PointerEvent("pointer" + kind, at(plot, x, y)));
  const plots = () => [...document.querySelectorAll("svg.plot")];
  const words = (plot, anchor) =>
    [...plot.querySelectorAll(`text[text-anchor=${anchor}]`)].map((one) => one.textContent);
  const ticks = (plot) => words(plot, "middle").join(" ");
  const told = (plot) => plot.parentNode.querySelector(".told");
  const rows = (id) => [...document.querySelectorAll("#" + id + " tbody tr")];
  const results = [];
  const done = () => { document.body.dataset.results = JSON.stringify(results); };
  // After the plots were drawn.
  const later = (work) => setTimeout(() => { work(); done(); }, 500);
]]

describe("the page of report.lua in Chromium #slow", function()
  local folder, run, study

  setup(function()
    folder = experiment.make_folder()
    run = make_run(folder, "a <b>run")
    study = make_study(folder, run)
    for _, path in ipairs{run, study} do assert.equal(0, (report(path, "--quiet"))) end
  end)
  teardown(function() experiment.remove_folder(folder) end)

  -- The page's document, and what the script left in `results`.
  local function show(path, address, script, width)
    script = script and TOOLS .. "later(() => {" .. script .. "});"
    local dom, complaints = browser.document(folder, experiment.read(path .. "/report.html"), address, script, width)
    assert.same({}, complaints)
    assert.is_truthy(dom:find 'id="failure"[^>]* hidden')
    local results = script and dom:match 'data%-results="(.-)"':gsub("&quot;", '"'):gsub("&amp;", "&")
    return dom, script and assert(json.decode(results))
  end

  local function section(dom, id) return browser.text_of(assert(dom:match('id="' .. id .. '".-</section>'), id)) end

  it("shows a run: its status, scores, known solution, figures and config, as text only", function()
    local dom = show(run, "")
    assert.is_nil(dom:find "<img src=\"x\"")
    assert.is_nil(dom:find "<b>run")
    local text = browser.text_of(dom:match "<header.-</header>")
    assert.matches("a &lt;b&gt;run finished, 4 steps ✗ misses the known solution", text)
    assert.matches("mmcs ±", section(dom, "scores"))
    assert.matches("linear1 %d+ %S+ 5 identity %d+ %S+", section(dom, "truth"))
    assert.matches("tokenizer_name &lt;/script&gt;&lt;img src=x", section(dom, "config"))
    local _, pictures = dom:gsub('<img src="data:image/png;base64,iVBOR', "")
    assert.is_true(pictures > 5)
  end)

  it("tells values at the pointer, zooms by dragging and by the wheel, and goes back", function()
    local _, results = show(run, "", [[
      const [plot, other] = plots();
      results.push(told(plot).hidden);
      pointer(plot, "move", 0.5, 0.5);
      results.push(told(plot).hidden, told(plot).querySelector(".told-head").textContent,
        told(plot).querySelectorAll(".told-row").length);
      pointer(plot, "leave", 0, 0);
      results.push(told(plot).hidden, ticks(plot));
      pointer(plot, "down", 0.3, 0.5); pointer(plot, "move", 0.6, 0.5); pointer(plot, "up", 0.6, 0.5);
      results.push(ticks(plot) !== results[5], ticks(other) === ticks(plot));
      plot.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
      results.push(ticks(plot) === results[5]);
      const turn = (deltaY) => plot.dispatchEvent(new WheelEvent("wheel",
        { ...at(plot, 0.5, 0.5), deltaY, ctrlKey: true, cancelable: true }));
      turn(-300);
      results.push(ticks(plot) !== results[5]);
      turn(1000);
      results.push(ticks(plot) === results[5]);
    ]])
    assert.same({true, false, "step 2", 5, true, "0 1 2 3 4 step"}, table.move(results, 1, 6, 1, {}))
    assert.same({true, true, true, true, true}, table.move(results, 7, 11, 1, {}))
  end)

  it("hides series, and changes to a logarithmic axis", function()
    local _, results = show(run, "", [[
      const curve = document.querySelector(".curve"), plot = curve.querySelector("svg.plot");
      const count = () => plot.querySelectorAll(".series").length;
      const heights = () => words(plot, "end").join();
      const log = heights();
      results.push(count());
      curve.querySelector(".entry").click();
      results.push(count());
      curve.querySelector(".choice").click();
      results.push(log !== heights());
    ]])
    assert.same({5, 4, true}, results)
  end)

  it("shows what lights up for a feature, and on which features a subcomponent fires", function()
    local _, results = show(run, "", [[
      const { features, matrices } = data.runs[0].importances;
      const lights = () => [...document.querySelectorAll("#explorer .card")].map((card) =>
        [...card.querySelectorAll(".light")].map((row) => Number(row.dataset.component)));
      const wanted = (f) => matrices.map(({ active }) => active[f].filter((_, i) => i % 2 === 0));
      const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
      const slider = document.getElementById("feature-slider");
      results.push(same(lights(), wanted(0)));
      slider.value = 3;
      slider.dispatchEvent(new Event("input"));
      results.push(same(lights(), wanted(3)), document.getElementById("feature").value);
      const key = new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true, cancelable: true });
      document.getElementById("explorer").dispatchEvent(key);
      results.push(same(lights(), wanted(2)));
      const light = document.querySelector(".light"), c = Number(light.dataset.component);
      light.click();
      const fires = [...document.querySelectorAll(".fires")].map((row) => Number(row.dataset.feature)).sort();
      results.push(same(fires, features.filter((f) => wanted(f)[0].includes(c))));
      document.querySelector(".fires").click();
      results.push(document.querySelector(".reverse h3").textContent === `Subcomponent ${c} of linear1`);
    ]])
    assert.same({true, true, "3", true, true, true}, results)
  end)

  it("sorts and filters tables, and enlarges figures", function()
    local _, results = show(run, "", [[
      const column = (k) => rows("components-table").map((row) => row.children[k].textContent);
      const heads = [...document.querySelectorAll("#components-table .sorter")];
      heads[1].click();
      const order = (sign) => column(1).every((x, i, all) => i === 0 || sign * (all[i - 1] - x) >= 0);
      results.push(order(1), heads[1].closest("th").getAttribute("aria-sort"));
      heads[1].click();
      results.push(order(-1), column(1).length > 4);
      const search = document.querySelector("#config .search");
      search.value = "LEARNING RATE";
      search.dispatchEvent(new Event("input"));
      results.push(rows("config-table").every((row) => row.textContent.includes("lr")));
      document.querySelector(".picture").click();
      results.push(document.querySelector("dialog").open);
    ]])
    assert.same({true, "descending", true, true, true, true}, results)
  end)

  it("compares runs, and opens one at a click", function()
    local dom, results = show(study, "", [[
      const runs = () => rows("runs-table").map((row) => row.dataset.run).join();
      results.push(runs());
      document.querySelectorAll("#runs-table .sorter")[0].click();
      results.push(runs(), document.querySelectorAll("#heat-map .heat").length);
      const scatter = plots()[0], overlay = plots()[1];
      results.push(scatter.querySelectorAll(".series circle").length >= 3, overlay.querySelectorAll("path").length);
      const metric = document.querySelector("#curves select");
      metric.value = "grad_norm";
      metric.dispatchEvent(new Event("change"));
      results.push(document.querySelector("#curves select").value);
      rows("runs-table")[1].click();
    ]])
    assert.matches("^0,1,2", results[1])
    assert.same({"0,1,2", 6, true, 3, "grad_norm"}, table.move(results, 2, 6, 1, {}))
    assert.matches("<h1[^>]*>run [0-2]<", dom)
    assert.matches("1 not shown, because they cannot be read 3 ", browser.text_of(dom))
    dom = show(study, "#run=1")
    assert.matches("run 1 finished, 4 steps .*lr 0.2.*all 3 runs", browser.text_of(dom:match "<header.-</header>"))
    assert.is_truthy(dom:find 'id="explorer"')
    show(study, "#run=99") -- no such run: all of them
  end)

  it("fits into a narrow window", function()
    for _, path in ipairs{run, study} do
      local _, results = show(path, "", "results.push(document.documentElement.scrollWidth <= innerWidth)", 800)
      assert.same({true}, results)
    end
  end)
end)
