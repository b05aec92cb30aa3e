-- The index of runs says what the folders say, can be made again from them, and never does a run any harm.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local facts = require "spd.runs.facts"
local index = require "spd.runs.index"
local query = require "spd.runs.query"
local run_module = require "spd.run"
local runs = require "spec.support.runs"
local runs_index = require "spd.runs_index"
local database = require "spd.database"
local posix = core.posix

describe("the index of runs", function()
  local folder

  before_each(function() folder = posix.real_path(experiment.make_folder()) end)
  after_each(function() experiment.remove_folder(folder) end)

  local function list(settings)
    settings = settings or {}
    settings.folder, settings.columns = settings.folder or folder, settings.columns or {"name", "status"}
    local rows, _, notes = query.list(settings)
    local lines = {}
    for i, row in ipairs(rows) do
      for k = 1, #settings.columns do row[k] = tostring(row[k]) end
      lines[i] = table.concat(row, " ")
    end
    return lines, notes
  end

  -- Collect what is written to stderr until the returned function is called.
  local function catch_warnings(warnings)
    local stderr = io.stderr
    local function restore() rawset(io, "stderr", stderr) end
    finally(restore)
    rawset(io, "stderr", {write = function(_, ...) warnings[#warnings + 1] = table.concat{...} end})
    return restore
  end

  -- What happens to a run, as its observer hears of it; warnings are returned.
  local function observed(path, ending)
    local run, warnings = run_module.open(path), {}
    run:lock()
    run:observe(runs_index.observe(run))
    local restore = catch_warnings(warnings)
    run:tell("started", 0)
    local during = posix.is_file(folder .. "/runs.db") and select(2, pcall(list)) or {}
    run:close(ending)
    restore()
    return table.concat(warnings), during
  end

  local function rebuild(path)
    local troubles = {}
    local index_path, count = runs_index.rebuild(path or folder, function(where, problem)
      troubles[#troubles + 1] = where .. " " .. tostring(problem)
    end)
    return count, troubles, index_path
  end

  describe("what a folder says", function()
    it("settings with points, lists as text, numbers of the summary, those per matrix, and how far it came", function()
      local found = facts.read(runs.make(folder .. "/a", {seed = 3, summary = {
        ["loss/total"] = 0.5, lr = 9, mmcs = 0.75, n_alive = {linear1 = 5}, ["linear1/n_alive"] = 5, version = "0.1",
      }}))
      assert.same({
        seed = 3, steps = 40, lr = 0.001, pnorm = 2.0, target_module_patterns = "[linear1, linear2]",
        ["task_config.task_name"] = "tms", ["task_config.feature_probability"] = 0.05, ["loss/total"] = 0.5,
        mmcs = 0.75, ["linear1/n_alive"] = 5, version = "0.1", step = 40,
      }, found.values)
      assert.same({"finished", 8}, {found.status, found.settings})
      assert.equal("wandb_project", found.keys[5])
      assert.matches("^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$", found.started)
    end)

    it("the last whole row of metrics.jsonl where a run is not finished", function()
      local path = runs.make(folder .. "/a", {rows = {{step = 0, ["loss/total"] = 2}, {step = 20, ["loss/total"] = 1}}})
      local file <close> = assert(io.open(path .. "/metrics.jsonl", "a"))
      file:write '{"step": 40, "loss'
      file:flush()
      local found = facts.read(path)
      assert.same({1, 20, "stopped"}, {found.values["loss/total"], found.values.step, found.status})
      local lock <close> = posix.try_lock(path .. "/run.lock")
      assert.equal("running", facts.read(path).status)
    end)
  end)

  it("is out/runs.db for all beneath out, by whatever path, and else beside the run", function()
    runs.make(folder .. "/out/seeds/seed_1")
    runs.make(folder .. "/other/a")
    local code = ([[
      package.path = %q .. package.path
      local index = require "spd.runs.index"
      for _, path in ipairs{"out/seeds/seed_1", "./other/../out/seeds/seed_1/", %q, "other/a"} do
        print(index.of_run(path))
      end
      for _, path in ipairs{"out", "out/seeds/", "other/"} do print(index.of_folder(path)) end]]):format(
      posix.real_path "lua" .. "/?.lua;", folder .. "/out/seeds/seed_1")
    local status, text, message = posix.run{"sh", "-c", 'cd "$1" && exec "$2" -e "$3"', "sh", folder,
      posix.real_path(experiment.host), code}
    assert.same({0, ""}, {status, message})
    assert.equal(("out/runs.db\tseeds/seed_1\n"):rep(3) .. folder .. "/other/runs.db\ta\n" ..
      "out/runs.db\t\nout/runs.db\tseeds/\nother/runs.db\t\n", text)
  end)

  it("follows a run from its start to its end", function()
    local path = runs.make(folder .. "/a", {rows = {{step = 20, mmcs = 0.5}}})
    local warnings, during = observed(path, setmetatable({status = 130, message = "interrupted"}, {}))
    assert.same({"", {"a running"}}, {warnings, during})
    assert.same({"a interrupted 0.5 nil"}, list{columns = {"name", "status", "mmcs", "problem"}})
    assert.equal("", (observed(path, "a: loss is NaN")))
    assert.same({"a failed a: loss is NaN"}, (list{columns = {"name", "status", "problem"}}))
    runs.make(path, {summary = {mmcs = 0.9}})
    assert.equal("", (observed(path)))
    assert.same({"a finished 0.9 nil"}, (list{columns = {"name", "status", "mmcs", "problem"}}))
  end)

  it("says of a process that was killed that its run is stopped, not running", function()
    runs.make(folder .. "/a")
    local db = index.open(folder .. "/runs.db")
    index.put(db, "a", facts.read(folder .. "/a", "running"), {})
    db:close()
    assert.same({"a stopped"}, (list()))
    assert.same({"a stopped"}, (list{where = "status = stopped"}))
    local lock <close> = posix.try_lock(folder .. "/a/run.lock")
    assert.same({"a running"}, (list()))
  end)

  it("has the numbers that a run in work has logged by now", function()
    local path = runs.make(folder .. "/a", {rows = {{step = 0, mmcs = 0.1}}})
    local db = index.open(folder .. "/runs.db")
    index.put(db, "a", facts.read(path, "running"), {})
    db:close()
    local lock <close> = posix.try_lock(path .. "/run.lock")
    runs.make(path, {rows = {{step = 0, mmcs = 0.1}, {step = 20, mmcs = 0.5}}})
    assert.same({"a running 20 0.5"}, (list{columns = {"name", "status", "step", "mmcs"}}))
    assert.same({"a running"}, (list{where = "mmcs > 0.4 and status = running"}))
  end)

  it("that is damaged, newer, or no file is a warning, and the run goes on", function()
    local path = runs.make(folder .. "/a")
    for what, text in pairs{["not a database but something else"] = "is damaged", newer = "from a newer spdlua"} do
      if what == "newer" then
        os.remove(folder .. "/runs.db")
        core.sqlite.open(folder .. "/runs.db"):run "CREATE TABLE t (a); PRAGMA user_version = 9"
      else
        experiment.write(folder .. "/runs.db", what)
      end
      local warnings = observed(path)
      assert.matches("^spdlua: warning: index of runs: " .. folder .. "/runs%.db: .*" .. text .. ".*\n$", warnings)
      assert.equal(1, select(2, warnings:gsub("\n", "")))
    end
    os.remove(folder .. "/runs.db")
    posix.make_directory(folder .. "/runs.db")
    assert.matches("unable to open database file\n$", (observed(path)))
  end)

  it("that another process keeps locked makes a run wait for a moment only #slow", function()
    local path = runs.make(folder .. "/a")
    rebuild()
    local db <close> = core.sqlite.open(folder .. "/runs.db")
    db:run "BEGIN EXCLUSIVE"
    local run = run_module.open(path)
    run:lock()
    run:observe(runs_index.observe(run))
    local start, restore = posix.monotonic_time(), catch_warnings{}
    run:tell("started", 0)
    restore()
    assert.is_true(posix.monotonic_time() - start < 5)
    assert.same({}, run.observers)
  end)

  it("is written by several processes at once", function()
    local programs = {}
    for i = 1, 4 do
      local path = runs.make(("%s/run%d"):format(folder, i), {summary = {mmcs = i}})
      programs[i] = assert(posix.start{experiment.host, "-e", ([[
        package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
        local run = require("spd.run").open(%q)
        run:observe(require("spd.runs_index").observe(run))
        for i = 1, 5 do run:tell("started", 0) end
        run:close()]]):format(path)})
    end
    for _, program in ipairs(programs) do
      local status, _, message = program:poll()
      while not status do
        posix.sleep(0.01)
        status, _, message = program:poll()
      end
      assert.same({0, ""}, {status, message})
    end
    assert.same({"run1 1", "run2 2", "run3 3", "run4 4"}, (list{columns = {"name", "mmcs"}, sort = "name"}))
  end)

  describe("made again from the folders", function()
    it("has runs at any depth, follows no link, keeps how runs ended, and leaves out what it cannot read", function()
      for _, name in ipairs{"a", "seeds/seed_1", "study/trials/3"} do
        runs.make(folder .. "/" .. name, {seed = #name})
      end
      runs.make(folder .. "/bad")
      experiment.write(folder .. "/bad/final_config.yaml", "a: [")
      posix.run{"ln", "-s", folder .. "/seeds", folder .. "/link"}
      posix.run{"ln", "-s", folder, folder .. "/seeds/cycle"}
      observed(folder .. "/a", "a: loss is NaN")
      local count, troubles, path = rebuild()
      assert.same({3, folder .. "/runs.db"}, {count, path})
      assert.equal(1, #troubles)
      assert.matches("/bad/final_config.yaml:2: ", troubles[1])
      assert.same({"a failed 1", "seeds/seed_1 stopped 12", "study/trials/3 stopped 14"},
        (list{columns = {"name", "status", "seed"}, sort = "name"}))
      assert.same({"a", "bad", "link", "runs.db", "seeds", "study"}, experiment.names_in(folder))
    end)

    it("takes the place of a damaged one with its journal, and of one of another version", function()
      runs.make(folder .. "/a")
      -- what a process leaves that is killed while it writes: a journal to be played back
      local db = core.sqlite.open(folder .. "/runs.db")
      db:run "PRAGMA cache_size = 1; CREATE TABLE t (a)"
      for i = 1, 30 do db:run("INSERT INTO t VALUES (?)", ("x"):rep(3000) .. i) end
      db:run "BEGIN; UPDATE t SET a = a || 'y'"
      local journal = experiment.read(folder .. "/runs.db-journal")
      db:close()
      assert.is_true(#journal > 10000)
      experiment.write(folder .. "/runs.db-journal", journal)
      experiment.write(folder .. "/runs.db", ("x"):rep(2000))
      assert.equal(1, (rebuild()))
      assert.same({"a stopped"}, (list()))
      core.sqlite.open(folder .. "/runs.db"):run "PRAGMA user_version = 7"
      assert.equal(1, (rebuild()))
      assert.same({"a stopped"}, (list()))
    end)

    it("takes no notice of what killed processes left, and removes it", function()
      runs.make(folder .. "/a")
      local own, dead = ("/runs.db.%d.tmp"):format(posix.pid()), "/runs.db.999999999.tmp"
      for _, name in ipairs{own, own .. "-journal", own .. "-wal", dead, dead .. "-journal"} do
        experiment.write(folder .. name, "no database")
      end
      experiment.write(folder .. "/runs.db.1.tmp", "of a living process")
      assert.equal(1, (rebuild()))
      assert.same({"a", "runs.db", "runs.db.1.tmp"}, experiment.names_in(folder))
    end)

    it("has nothing of a run that cannot be written whole, and a setting named twice once", function()
      runs.make(folder .. "/a")
      experiment.write(folder .. "/a/final_config.yaml", "a.b: 1\na: {b: 2}\n")
      assert.equal(1, (rebuild()))
      assert.same({"a 2"}, (list{columns = {"name", "a.b"}}))
      local db <close> = index.open(folder .. "/runs.db")
      local keys = index.keys(db)
      local found = {status = "stopped", keys = {"new", "bad"}, values = {new = 1, bad = {}}}
      local ok = pcall(index.put, db, "b", found, keys)
      assert.is_false(ok)
      assert.same({{name = "a"}}, db:rows "SELECT name FROM runs")
      assert.same(keys, index.keys(db))
    end)

    it("is not put in the place of one that a process writes to", function()
      runs.make(folder .. "/a")
      rebuild()
      local before = experiment.read(folder .. "/runs.db")
      local db <close> = core.sqlite.open(folder .. "/runs.db")
      db:run "BEGIN IMMEDIATE"
      local open = core.sqlite.open
      finally(function() core.sqlite.open = open end)
      core.sqlite.open = function(...)
        local other = open(...)
        other:run "PRAGMA busy_timeout = 20"
        return other
      end
      local ok, problem = pcall(rebuild)
      assert.is_false(ok)
      assert.matches("another process keeps it locked", tostring(problem))
      assert.equal(before, experiment.read(folder .. "/runs.db"))
      assert.same({"a", "runs.db"}, experiment.names_in(folder))
    end)
  end)

  describe("asked", function()
    before_each(function()
      for i = 1, 4 do
        runs.make(("%s/run%d"):format(folder, i), {seed = i, summary = {
          mmcs = i ~= 4 and i / 4 or nil, ["loss/total"] = 10.0 ^ -i, word = i == 2 and "it's" or "two words",
        }})
      end
      runs.make(folder .. "/more/run5", {seed = 5})
      rebuild()
    end)

    -- condition -> numbers of the runs for which it is true
    local CONDITIONS = {
      ["mmcs > 0.25"] = "2 3", ["mmcs>=0.25 and mmcs<0.75"] = "1 2", ["loss/total < 1e-2"] = "3 4",
      ["not mmcs > 0.25"] = "1 4 5", ["mmcs != 0.5"] = "1 3", ["mmcs = null"] = "4 5", ["mmcs <> null"] = "1 2 3",
      ["seed = 1 or seed = 2 and mmcs = 9"] = "1", ["(seed = 1 or seed = 2) AND NOT (mmcs = 0.5)"] = "1",
      ["task_config.feature_probability = 0.05 and pnorm == 2"] = "1 2 3 4 5", ["wandb_project = null"] = "1 2 3 4 5",
      [ [[word = "it's"]] ] = "2", ["word = 'two words'"] = "1 3 4",
      ["word like 'two%' and word ~ *words"] = "1 3 4", ["word > 5"] = "", ["mmcs > a"] = "",
      ["name ~ more/*"] = "5", ["name = run3"] = "3", ["status = finished"] = "1 2 3 4", ["status != finished"] = "5",
      ["started > 2001-01-01"] = "1 2 3 4 5", ["started > 2999-01-01"] = "", ["word = \"'; DROP TABLE runs; --\""] = "",
      ["problem = null"] = "1 2 3 4 5", ["seed"] = "", ["target_module_patterns = '[linear1, linear2]'"] = "1 2 3 4 5",
    }

    it("finds the runs for which a condition is true", function()
      for where, expected in pairs(CONDITIONS) do
        local found = {}
        for i, name in ipairs((list{where = where, columns = {"name"}, sort = "seed"})) do
          found[i] = name:match "%d$"
        end
        assert.equal(expected, table.concat(found, " "), where)
      end
    end)

    local REFUSED = {
      ["mmcz > 1"] = "key 'mmcz': no run has it %(the nearest one is 'mmcs'%)",
      ["mmcs >"] = "expected a value after '>'",
      ["> 1"] = "expected a key, found '>'", ["(mmcs > 1"] = "expected '%)', found its end", [""] = "expected a key",
      ["mmcs > 1 seed"] = "expected 'and' or 'or', found 'seed'", ["mmcs > 'x"] = "the quote ' is not closed",
      ["mmcs = 1; DELETE"] = "unexpected ';'", ["mmcs < null"] = "null can only be compared",
      ["\xff"] = "expected text in UTF%-8", ["a\nb & é"] = "unexpected '&'", ["é"] = "unexpected 'é'",
      [("("):rep(500)] = "is too long",
      [("("):rep(11) .. "seed" .. (")"):rep(11)] = "more than 10 brackets",
      ["word like '" .. ("é"):rep(101) .. "'"] = "pattern is longer than 200 bytes",
      ["seed = 1 or " .. ("seed = 1 or "):rep(300)] = "is too long",
    }

    it("refuses conditions that it does not understand", function()
      for where, message in pairs(REFUSED) do
        local ok, problem = pcall(list, {where = where})
        assert.is_false(ok)
        assert.equal(2, problem.status, tostring(problem))
        assert.matches(message, tostring(problem))
        assert.is_nil(tostring(problem):find "%c")
      end
    end)

    local function columns(count)
      local names = {}
      for i = 1, count do names[i] = "task_config.feature_probability" end
      return names
    end

    it("a condition is as long as it may be", function()
      assert.equal(5, #list{where = ("seed > 0 and "):rep(99) .. "seed > 0"})
      assert.equal(5, #list{where = ("not "):rep(390) .. "seed > 0"})
      local nested = "mmcs = 1 or not seed > 9 and not (" -- the most that a bracket can be in SQL
      assert.equal(5, #list{where = nested:rep(10) .. "seed > 0" .. (")"):rep(10)})
      assert.equal(5, #list{where = "name ~ " .. ("*"):rep(200)})
      assert.equal(5, #list{columns = columns(500)})
    end)

    it("sorts, with runs without the key last, and limits", function()
      assert.same({"run3", "run2", "run1", "more/run5", "run4"}, (list{columns = {"name"}, sort = "-mmcs"}))
      assert.same({"run4", "run3"}, (list{columns = {"name"}, sort = "loss/total", limit = 2}))
      assert.has_error(function() list{sort = "mmsc"} end)
      assert.has_error(function() list{columns = {"mmsc"}} end)
      local ok, problem = pcall(list, {columns = columns(501)})
      assert.is_false(ok)
      assert.equal("--columns: expected at most 500 keys, found 501", tostring(problem))
    end)

    it("leaves out and counts runs whose folder is gone, and counts folders that it does not know", function()
      experiment.remove_folder(folder .. "/run1")
      experiment.remove_folder(folder .. "/more")
      runs.make(folder .. "/new")
      local lines, notes = list{columns = {"name"}, sort = "name"}
      assert.same({"run2", "run3", "run4"}, lines)
      assert.same({gone = 2, unknown = 1}, notes)
    end)

    it("is one that exists", function()
      os.remove(folder .. "/runs.db")
      local ok, problem = pcall(list)
      assert.is_false(ok)
      assert.equal(folder .. "/runs.db: there is no index of runs (spdlua experiments/runs.lua rebuild " .. folder ..
        " makes it from the folders)", tostring(problem))
    end)
  end)

  -- An idle core takes 0.2 s for all of them, a busy machine several times as long.
  it("of 10000 runs answers in a moment #slow", function()
    local found, keys = facts.read(runs.make(folder .. "/a", {summary = {mmcs = 0.5}})), {}
    do
      local db <close> = index.open(folder .. "/runs.db")
      database.transaction(db, function()
        for i = 1, 10000 do
          local name = ("tms_5-2_seed%d"):format(i)
          assert(posix.make_directory(folder .. "/" .. name))
          found.values.seed, found.values.mmcs = i, i / 10000
          index.put(db, name, found, keys)
        end
      end)
    end
    for words, count in pairs{[""] = 10001, ["--where=mmcs > 0.99"] = 101} do
      local start = posix.monotonic_time()
      local status, text, message = posix.run{experiment.host, "experiments/runs.lua", "list", "--in", folder,
        words ~= "" and words or nil}
      local seconds = posix.monotonic_time() - start
      assert.equal(0, status, message)
      assert.equal(count, select(2, text:gsub("\n", "")))
      assert.is_true(seconds < 2, ("took %.2f s"):format(seconds))
    end
  end)
end)
