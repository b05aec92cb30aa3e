-- spd.database: what is opened is the database of this version, or one line says what it is and what to do.
local core = require "spd.core"
local database = require "spd.database"
local experiment = require "spec.support.experiment"
local sqlite = core.sqlite

describe("spd.database", function()
  local folder, path

  before_each(function()
    folder = experiment.make_folder()
    path = folder .. "/things.db"
  end)
  after_each(function() experiment.remove_folder(folder) end)

  local function open(changes)
    local settings = {
      path = path, version = 2, schema = "CREATE TABLE things (a, b); CREATE INDEX by_a ON things (a);",
      what = "the things", rebuild = "make rebuilds it",
    }
    for key, value in pairs(changes or {}) do settings[key] = value end
    return database.open(settings)
  end

  local function refused(text, changes)
    local ok, problem = pcall(open, changes)
    assert.is_false(ok)
    assert.equal(path .. ": " .. text, tostring(problem))
    assert.equal(2, problem.status)
  end

  it("makes the tables once, and keeps what is in them", function()
    do
      local db <close> = open()
      db:run("INSERT INTO things VALUES (?, ?)", 1, "x")
    end
    for _, mode in ipairs{"create", "write", "read"} do
      local db <close> = open{mode = mode}
      assert.same({{a = 1, b = "x"}}, db:rows "SELECT * FROM things")
    end
  end)

  it("chooses the journal of a new database, and keeps that of one that is there", function()
    for _, journal in ipairs{"wal", "delete"} do
      for _, settings in ipairs{{journal = journal}, {journal = "wal"}, {}, {mode = "read"}} do
        local db <close> = open(settings)
        assert.equal(journal, db:rows("PRAGMA journal_mode")[1].journal_mode)
      end
      os.remove(path)
    end
  end)

  it("refuses a missing file where none is made, a newer version, other tables, and what is no database", function()
    refused("no such file", {mode = "read"})
    open():close()
    refused("the things is of version 2, from a newer spdlua; this one knows version 1 " ..
      "(use that one, or another folder)", {version = 1})
    refused("is not the database of the things (make rebuilds it)", {version = 3})
    refused("is not the database of the things (make rebuilds it)", {schema = "CREATE TABLE things (a)"})
    os.remove(path)
    sqlite.open(path):run "CREATE TABLE others (a)"
    refused("is not the database of the things (make rebuilds it)")
    os.remove(path)
    experiment.write(path, ("nothing\n"):rep(1000))
    refused("is damaged, or no database (make rebuilds it)")
    experiment.write(path, "")
    refused("is not the database of the things (make rebuilds it)", {mode = "read"})
    open():close()
  end)

  it("a transaction is kept as a whole or not at all", function()
    local db <close> = open()
    local function insert(a)
      db:run("INSERT INTO things VALUES (?, ?)", a, a)
      if a == 2 then error "two" end
      return a, nil, "done"
    end
    assert.same({1, nil, "done"}, {database.transaction(db, function() return insert(1) end)})
    assert.has_error(function()
      database.transaction(db, function()
        insert(3)
        insert(2)
      end)
    end)
    assert.same({{a = 1}}, db:rows "SELECT a FROM things")
    assert.equal(4, (database.transaction(db, function() return insert(4) end)))
  end)

  it("is made once by several processes that open it at the same time", function()
    local code = ([[
      package.path = "lua/?.lua;" .. package.path
      local database = require "spd.database"
      for i = 1, 5 do
        local db <close> = database.open{
          path = %q, version = 1, schema = "CREATE TABLE t (a)", what = "the numbers", journal = "wal",
        }
        database.transaction(db, function() db:run("INSERT INTO t VALUES (?)", i) end)
      end]]):format(path)
    local programs = {}
    for i = 1, 4 do programs[i] = assert(core.posix.start{experiment.host, "-e", code}) end
    for _, program in ipairs(programs) do
      local status, _, message = program:poll()
      while not status do
        core.posix.sleep(0.01)
        status, _, message = program:poll()
      end
      assert.equal("", message)
      assert.equal(0, status)
    end
    local db <close> = sqlite.open(path)
    assert.equal(20, db:rows("SELECT count(*) AS n FROM t")[1].n)
  end)
end)
