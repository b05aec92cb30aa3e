-- A study that several processes share: who has a trial, what becomes of it, and what the folder may hold.
local experiment = require "spec.support.experiment"
local core = require "spd.core"
local interrupts = require "spd.interrupts"
local json = require "spd.json"
local study_module = require "spd.sweep.study"
local posix = core.posix

describe("a study", function()
  local folder, path, sweep

  before_each(function()
    folder = experiment.make_folder()
    path = folder .. "/study"
    sweep = {path = "sweep.yaml", name = "example", method = "grid", metric = {name = "loss", goal = "minimize"}}
  end)
  after_each(function() experiment.remove_folder(folder) end)

  -- Trials with x = 1, 2, ..., `count` of them.
  local function sampler(count)
    return {
      count = function() return count end,
      values = function(_, n) return {{key = "x", value = n}, {key = "y", value = nil}} end,
    }
  end

  local function open(changes)
    local settings = {directory = path, sweep = sweep, text = "method: grid\n", sampler = sampler(3)}
    for key, value in pairs(changes or {}) do settings[key] = value end
    return study_module.open(settings)
  end

  local function refused(changes)
    local ok, err = pcall(open, changes)
    assert.is_false(ok)
    assert.equal(2, err.status)
    assert.is_nil(err.message:find "\n")
    return err.message
  end

  -- A claim as a process leaves it that is killed: in the database, without a lock.
  local function kill_claims()
    local db <close> = core.sqlite.open(path .. "/study.db", "write")
    db:run "UPDATE trials SET worker = '1-0e' WHERE state = 'running'"
  end

  it("gives each trial to one process, with values that stay", function()
    local one <close> = open()
    local other <close> = open()
    local first, second, third = one:claim(), other:claim(), one:claim()
    assert.same({0, 1, 2}, {first.number, second.number, third.number})
    assert.same({{key = "x", value = 2}, {key = "y"}}, second.values)
    assert.is_nil(one:claim())
    assert.is_nil(other:claim())
    assert.is_false(one:is_complete())
    first.metric = 0.5
    one:release(first, "finished")
    other:release(second, "failed")
    one:release(third, "stopped")
    assert.is_true(other:is_complete())
    assert.is_nil(other:claim())
    assert.same({finished = 1, failed = 1, stopped = 1, running = 0, interrupted = 0, total = 3, seconds = 0},
      other:counts())
  end)

  it("takes the trials of a process that has ended away from it, before it begins new ones", function()
    local one <close> = open()
    local other <close> = open()
    one:claim()
    kill_claims()
    local trial = other:claim()
    assert.same({0, "running"}, {trial.number, trial.state})
    assert.equal(1, other:claim().number)
  end)

  it("leaves the trials of a process that lives to it", function()
    local one <close> = open()
    local other <close> = open()
    for number = 0, 2 do assert.equal(number, one:claim().number) end
    assert.is_nil(other:claim())
    assert.equal(3, #other:trials "running")
  end)

  it("waits for a process that still works in a trial's folder", function()
    local one <close> = open()
    local trial = one:claim()
    assert(posix.make_directory(one:folder(0)))
    local lock = assert(posix.lock(one:folder(0) .. "/run.lock"))
    one:release(trial, "interrupted")
    assert.equal(1, one:claim().number)
    lock:close()
    assert.equal(0, one:claim().number)
  end)

  -- Until it has been asked so often, the study finds its database locked.
  local function lock_database(one, times)
    local locked, asked = core.sqlite.open(path .. "/study.db", "write"), 0
    locked:run "BEGIN IMMEDIATE"
    local db = one.db
    db:run "PRAGMA busy_timeout = 0"
    one.db = setmetatable({close = function() db:close() end, run = function(_, sql, ...)
      asked = asked + (sql:find "^BEGIN" and 1 or 0)
      if asked == times then locked:close() end
      return db:run(sql, ...)
    end}, {__index = function(_, name) return function(_, ...) return db[name](db, ...) end end})
    return locked
  end

  it("waits where the database is locked for long, and loses no trial", function()
    local one <close> = open()
    lock_database(one, 3)
    local trial = one:claim()
    assert.equal(0, trial.number)
    lock_database(one, 3)
    one:release(trial, "finished")
    assert.equal(1, one:counts().finished)
    one:claim()
    local locked = lock_database(one, 100)
    one:close()
    locked:close()
    local other <close> = open()
    assert.equal(1, other:claim().number)
  end)

  it("waits for the database no longer than until Ctrl-C to claim a trial", function()
    local one <close> = open()
    local guard <close> = interrupts.catch()
    posix.run{"kill", "-INT", tostring(posix.pid())}
    local locked <close> = lock_database(one, 100)
    assert.is_nil(one:claim())
    locked:run "ROLLBACK"
    assert.same({{}, "table"}, {one:trials(), type(guard)})
  end)

  it("gives back what a process has claimed when that leaves", function()
    local one <close>, other = open(), open()
    other:claim()
    other:close()
    other:close()
    assert.equal(0, one:claim().number)
    assert.equal(1, #experiment.names_in(path .. "/workers"))
  end)

  it("removes what killed processes have left when another one comes", function()
    open():close()
    experiment.write(path .. "/workers/1-0e", "")
    experiment.write(path .. "/records/0.json.77.tmp", "")
    local one <close> = open()
    assert.same({one.worker}, experiment.names_in(path .. "/workers"))
    assert.same({}, experiment.names_in(path .. "/records"))
  end)

  it("removes no file of others, whatever the database says", function()
    local one <close>, other = open(), open()
    for _, name in ipairs{"workers/notes", "records/notes.tmp", "kept"} do experiment.write(path .. "/" .. name, "") end
    for _, worker in ipairs{"notes", "../kept", "", "/"} do
      other:claim()
      do
        local db <close> = core.sqlite.open(path .. "/study.db", "write")
        db:run("UPDATE trials SET worker = ? WHERE state = 'running'", worker)
      end
      assert.equal(0, one:claim().number)
    end
    other:close()
    open():close()
    for _, name in ipairs{"workers/notes", "records/notes.tmp", "kept"} do
      assert.is_true(posix.is_file(path .. "/" .. name))
    end
  end)

  it("knows the best trial by the goal of the metric, failed ones apart", function()
    local one <close> = open()
    for _, result in ipairs{{0.5, "finished"}, {0.25, "stopped"}, {0.125, "failed"}} do
      local trial = one:claim()
      trial.metric = result[1]
      one:release(trial, result[2])
    end
    assert.equal(1, one:best().number)
    sweep.metric.goal = "maximize"
    assert.equal(0, one:best().number)
    sweep.metric = nil
    assert.is_nil(one:best())
  end)

  it("begins no trial any more when one has reached the metric's target", function()
    sweep.metric.target = 0.1
    local one <close> = open()
    local trial = one:claim()
    trial.metric = 0.1
    one:release(trial, "finished")
    assert.is_nil(one:claim())
    assert.is_true(one:is_complete())
    sweep.metric.goal, sweep.metric.target = "maximize", 0.2
    assert.equal(1, one:claim().number)
  end)

  it("tells the sampler of bayes what there was", function()
    sweep.method = "bayes"
    local heard
    local one <close> = open{sampler = {count = function() end, values = function(_, n, history)
      heard = history
      return {{key = "x", value = 1.5 * n}}
    end}}
    local trial = one:claim()
    trial.metric = 0.5
    one:release(trial, "finished")
    one:claim()
    assert.same({1, "finished", 0.5, {{key = "x", value = 1.5}}},
      {#heard, heard[1].state, heard[1].metric, heard[1].values})
  end)

  describe("that is opened", function()
    it("refuses another sweep file, another program's folder, and a file", function()
      open():close()
      assert.equal(path .. ": is the study of another sweep: its sweep.yaml has other trials than sweep.yaml " ..
        "(--out names another folder)", refused{text = "method: random\n"})
      experiment.write(folder .. "/notes", "")
      assert.equal(folder .. ": is not empty, and no study: it holds " .. "notes (--out names another folder)",
        (refused{directory = folder}:gsub("it holds study ", "it holds notes ")))
      assert.same({"notes", "study"}, experiment.names_in(folder))
      assert.equal(folder .. "/notes: is not a folder", refused{directory = folder .. "/notes"})
    end)

    it("refuses a folder of other things, where the sweep file may lie, but not what is left of a study", function()
      for _, name in ipairs{"sweep.yaml", "notes"} do experiment.write(folder .. "/" .. name, "method: grid\n") end
      assert.matches("is not empty, and no study: it holds notes", refused{directory = folder})
      assert.same({"notes", "sweep.yaml"}, experiment.names_in(folder))
      os.remove(folder .. "/notes")
      open{directory = folder}:close()
      for _, name in ipairs{"study.db", "study.lock"} do os.remove(folder .. "/" .. name) end
      open{directory = folder}:close()
    end)

    it("refuses a database of a newer version", function()
      open():close()
      do
        local db <close> = core.sqlite.open(path .. "/study.db", "write")
        db:run "PRAGMA user_version = 9"
      end
      assert.matches("study%.db: the study is of version 9, from a newer spdlua", refused())
    end)

    it("says how to make a damaged or missing database again, and does so", function()
      do
        local one <close> = open()
        local trial = one:claim()
        trial.metric, trial.seconds = 0.5, 2.5
        one:release(trial, "finished")
        trial = one:claim()
        trial.problem = "bad luck"
        one:release(trial, "failed")
        one:claim()
      end
      for _, damage in ipairs{"not a database, but some text that is long enough to be looked at", "", false} do
        for _, name in ipairs{"study.db", "study.db-wal", "study.db-shm"} do os.remove(path .. "/" .. name) end
        if damage then experiment.write(path .. "/study.db", damage:rep(100)) end
        assert.matches("study%.db: .*%(the same command with %-%-rebuild makes it again from records/%)$", refused())
        local one <close> = open{rebuild = true}
        local trials = one:trials()
        assert.same({"finished", 0.5, 2.5}, {trials[1].state, trials[1].metric, trials[1].seconds})
        assert.same({"failed", "bad luck"}, {trials[2].state, trials[2].problem})
        assert.same({"interrupted", {{key = "x", value = 3}, {key = "y"}}}, {trials[3].state, trials[3].values})
        assert.equal(2, one:claim().number)
      end
    end)

    it("goes on where the first process was killed between a trial's record and its row", function()
      do
        local one <close> = open()
        one:claim()
      end
      for _, name in ipairs{"study.db", "study.db-wal", "study.db-shm"} do os.remove(path .. "/" .. name) end
      experiment.write(path .. "/study.db", "")
      local one <close> = open()
      assert.equal(0, one:claim().number)
    end)

    it("leaves the database as it is when it cannot be made again", function()
      do
        local one <close> = open()
        one:release(one:claim(), "finished")
      end
      experiment.write(path .. "/records/1.json", "{")
      refused{rebuild = true}
      os.remove(path .. "/records/1.json")
      local one <close> = open()
      assert.equal("finished", one:trials()[1].state)
      for _, name in ipairs(experiment.names_in(path)) do assert.is_nil(name:find "%.tmp") end
    end)

    it("refuses to make the database again while another process works", function()
      local one <close> = open()
      assert.equal(path .. ": 1 other processes work on the study (end them first)", refused{rebuild = true})
      assert.equal(0, one:claim().number)
    end)

    it("refuses a damaged record", function()
      open():close()
      local function refuse(text)
        experiment.write(path .. "/records/0.json", text)
        assert.equal(path .. "/records/0.json: is damaged", refused{rebuild = true})
      end
      local good = {number = 0, state = "finished", parameters = "[]", kills = 0, seconds = 1.5}
      for _, text in ipairs{"{", "[]", '{"number": 0}'} do refuse(text) end
      for key, values in pairs{
        number = {"0", 1, -1, 0.5}, state = {"lost", 1}, parameters = {"1", "[1]", '[{"value":1}]', '{"x":1}', {}},
        kills = {"1", 0.5, {}}, seconds = {"1", {}}, ended = {"x"}, metric = {"x", {}}, problem = {1, {}},
      } do
        for _, value in ipairs(values) do
          local row = {[key] = value}
          for name, kept in pairs(good) do row[name] = row[name] or kept end
          refuse(json.encode(row))
        end
      end
      experiment.write(path .. "/records/0.json", json.encode(good))
      open{rebuild = true}:close()
    end)

    it("refuses rows that are no trials", function()
      local one <close> = open()
      one:release(one:claim(), "interrupted")
      local db <close> = core.sqlite.open(path .. "/study.db", "write")
      for _, change in ipairs{
        "state = 'running', worker = NULL", "state = 'lost'", "parameters = 'x'", "parameters = '{\"x\":1}'",
        "parameters = '[1]'", "kills = 'x'", "seconds = 'x'", "metric = 'x'", "ended = 'x'",
      } do
        db:run("UPDATE trials SET " .. change)
        local ok, problem = pcall(function()
          one:trials()
          one:counts()
          one:claim()
        end)
        assert.is_false(ok, change)
        assert.same({2, path .. "/study.db: is damaged (the same command with --rebuild makes it again from records/)"},
          {problem.status, problem.message})
        db:run("UPDATE trials SET state = 'interrupted', parameters = '[]', kills = 0, seconds = 0, metric = NULL, " ..
          "ended = NULL")
        assert.same({{}}, {one:trials()[1].values})
      end
    end)
  end)

  describe("that is discarded", function()
    it("leaves nothing, with the folders above it", function()
      path = folder .. "/a/b"
      local one <close> = open()
      assert(posix.make_directory(one:folder(one:claim().number)))
      one:discard()
      assert.same({}, experiment.names_in(folder))
    end)

    it("stays where a trial has ended or left something, or another process works", function()
      for _, keep in ipairs{
        function(one) one:release(one:claim(), "finished") end,
        function(one) assert(posix.make_directory(one:folder(one:claim().number) .. "/figures", true)) end,
        function() return open() end,
      } do
        local one <close> = open()
        local other = keep(one)
        one:discard()
        assert.is_true(posix.is_file(path .. "/study.db"))
        if other then other:close() end
        one:close()
        experiment.remove_folder(path)
      end
    end)

    it("stays where it was there before", function()
      open():close()
      local one <close> = open()
      one:discard()
      assert.is_true(posix.is_file(path .. "/study.db"))
    end)
  end)

  it("writes each row beside the database", function()
    local one <close> = open()
    local trial = one:claim()
    trial.problem = "bad luck"
    one:release(trial, "failed")
    local row = json.decode(experiment.read(path .. "/records/0.json"))
    assert.same({0, "failed", "bad luck", '[{"key":"x","value":1},{"key":"y","value":null}]'},
      {row.number, row.state, row.problem, row.parameters})
  end)
end)
