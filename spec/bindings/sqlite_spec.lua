-- core.sqlite: values go in and out unchanged, every mistake and every damaged file is an error that says what it is.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local posix = core.posix
local sqlite = core.sqlite

describe("core.sqlite", function()
  local folder, path

  before_each(function()
    folder = experiment.make_folder()
    path = folder .. "/a.db"
  end)
  after_each(function()
    collectgarbage()
    experiment.remove_folder(folder)
  end)

  local function error_of(f, ...)
    local ok, problem = pcall(f, ...)
    assert.is_false(ok)
    return problem
  end

  local function problem_of(kind, status, f, ...)
    local problem = error_of(f, ...)
    assert.same({kind, status}, {problem.kind, problem.status}, tostring(problem))
    assert.is_nil(tostring(problem):find("%c"))
    assert.equal(path .. ": ", tostring(problem):sub(1, #path + 2))
    return tostring(problem)
  end

  local function filled()
    local db = sqlite.open(path)
    db:run "PRAGMA synchronous = OFF; BEGIN; CREATE TABLE t (a, b)"
    for i = 1, 500 do db:run("INSERT INTO t VALUES (?, ?)", i, ("text %d "):format(i):rep(20)) end
    db:run "COMMIT"
    db:close()
  end

  it("keeps integers, floats, texts with any bytes, booleans as 0 and 1, and nil as absent", function()
    local db <close> = sqlite.open(path)
    assert.equal(0, db:run "CREATE TABLE t (a, b, c, d, e, f)")
    local text = "\0\xff'; DROP TABLE t; --\n"
    assert.equal(1, db:run("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", math.mininteger, 0.1, text, true, nil, ""))
    local row = db:rows("SELECT * FROM t")[1]
    assert.same({a = math.mininteger, b = 0.1, c = text, d = 1, f = ""}, row)
    assert.equal("integer", math.type(row.a))
    assert.equal("float", math.type(row.b))
    assert.same({}, db:rows("SELECT * FROM t WHERE a = ?", 7))
    assert.same({b = "blob\0"}, db:rows("SELECT x'626c6f6200' AS b")[1])
  end)

  it("says how many rows a statement changed, and runs several statements", function()
    local db <close> = sqlite.open(path)
    assert.equal(2, db:run "CREATE TABLE t (a); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);\n -- end")
    assert.equal(2, db:run("UPDATE t SET a = a + ?", 1))
    assert.equal(0, db:run("DELETE FROM t WHERE a > ?", 9))
    assert.same({{a = 4}}, db:rows("UPDATE t SET a = a + 1 WHERE a = 3 RETURNING a"))
    assert.same({{a = 2}, {a = 4}}, db:rows "SELECT a FROM t ORDER BY a")
  end)

  it("goes through rows one by one, also in two loops at once, and closes a loop that is left", function()
    filled()
    local db <close> = sqlite.open(path, "read")
    local pairs_seen = 0
    for row in db:each("SELECT a FROM t WHERE a <= ?", 3) do
      for inner in db:each("SELECT a FROM t WHERE a < ?", row.a) do pairs_seen = pairs_seen + inner.a end
    end
    assert.equal(1 + (1 + 2), pairs_seen)
    for row in db:each "SELECT a FROM t" do
      if row.a == 2 then break end
    end
    for row in db:each_list "SELECT a, NULL, b FROM t WHERE a = 1" do
      assert.same({1, nil, ("text 1 "):rep(20)}, row)
    end
    local next_row, _, _, statement = db:each "SELECT a FROM t"
    assert.equal(1, next_row().a)
    db:close()
    assert.equal(2, next_row().a) -- what is being read stays valid
    do local closed <close> = statement end -- luacheck: ignore 211
    assert.is_nil(next_row())
  end)

  it("a finalizer that closes the database or runs the same statement does no harm", function()
    filled()
    for _, harm in ipairs{"close", "step"} do
      local db = sqlite.open(path, "read")
      local next_row, _, _, statement = db:each "SELECT a, b FROM t"
      local function arm()
        setmetatable({}, {__gc = function()
          if harm == "close" then db:close() else pcall(next_row) end
          arm()
        end})
      end
      collectgarbage "generational"
      arm()
      for _ = 1, 400 do
        local ok, row = pcall(next_row)
        if ok and row then assert.equal(("text %d "):format(row.a):rep(20), row.b) end
        collectgarbage "step"
      end
      arm = function() end
      collectgarbage "incremental"
      do local closed <close> = statement end -- luacheck: ignore 211
    end
  end)

  it("modes: read does not write, write wants a file, create makes one", function()
    problem_of("missing", 2, sqlite.open, path, "read")
    problem_of("missing", 2, sqlite.open, path, "write")
    assert.is_false(posix.is_file(path))
    filled()
    do
      local db <close> = sqlite.open(path, "read")
      assert.matches("readonly", problem_of("other", 1, db.run, db, "DELETE FROM t"))
    end
    do
      local db <close> = sqlite.open(path, "write")
      assert.equal(500, db:run "DELETE FROM t")
    end
    path = folder
    problem_of("other", 1, sqlite.open, folder)
    path = folder .. "/none/a.db"
    problem_of("other", 1, sqlite.open, path)
    assert.matches("invalid option 'append'", error_of(sqlite.open, path, "append"))
  end)

  it("mistakes in a statement or its values are errors", function()
    local db <close> = sqlite.open(path)
    assert.matches("no such table: t", problem_of("other", 1, db.rows, db, "SELECT * FROM t"))
    assert.matches("syntax error", problem_of("other", 1, db.run, db, "SELEKT"))
    db:run "CREATE TABLE t (a UNIQUE)"
    assert.matches("expected 1 values for the statement, found 0", error_of(db.run, db, "INSERT INTO t VALUES (?)"))
    assert.matches("expected 1 values for the statement, found 2", error_of(db.rows, db, "SELECT ?", 1, nil))
    assert.matches("found table", error_of(db.run, db, "INSERT INTO t VALUES (?)", {}))
    assert.matches("expected one statement", error_of(db.rows, db, "SELECT 1; SELECT 2"))
    assert.matches("expected a statement", error_of(db.each, db, " -- nothing"))
    db:run "INSERT INTO t VALUES (1)"
    assert.matches("UNIQUE", problem_of("other", 1, db.run, db, "INSERT INTO t VALUES (1)"))
    db:close()
    db:close()
    assert.matches("the database is closed", error_of(db.rows, db, "SELECT 1"))
    assert.matches("expected a database", error_of(db.rows, io.stdout, "SELECT 1"))
  end)

  it("undoes a transaction that was not committed", function()
    filled()
    do
      local db <close> = sqlite.open(path)
      db:run "BEGIN IMMEDIATE"
      db:run "DELETE FROM t"
    end
    local db <close> = sqlite.open(path)
    assert.equal(500, db:rows("SELECT count(*) AS n FROM t")[1].n)
  end)

  it("a database that another one keeps locked is busy, after its timeout", function()
    filled()
    local writer <close> = sqlite.open(path)
    writer:run "BEGIN EXCLUSIVE"
    local db <close> = sqlite.open(path)
    db:run "PRAGMA busy_timeout = 50"
    assert.matches("another process keeps it locked", problem_of("busy", 1, db.rows, db, "SELECT * FROM t"))
    writer:run "COMMIT"
    assert.equal(500, #db:rows "SELECT * FROM t")
  end)

  it("a file that was replaced is not written to", function()
    filled()
    local db <close> = sqlite.open(path)
    db:rows "SELECT * FROM t"
    experiment.write(folder .. "/new", experiment.read(path))
    assert(posix.rename(folder .. "/new", path))
    problem_of("busy", 1, db.run, db, "DELETE FROM t")
  end)

  it("attaches no file, and makes neither views nor triggers of a file work", function()
    local db <close> = sqlite.open(path)
    assert.matches("too many attached", problem_of("other", 1, db.run, db, "ATTACH 'b.db' AS b"))
    assert.is_false(posix.is_file "b.db")
    assert.matches("not authorized", problem_of("other", 1, db.rows, db, "SELECT load_extension('x')"))
    db:run "CREATE TABLE t (a); CREATE VIEW v AS SELECT 1"
    assert.matches("access to view", problem_of("other", 1, db.rows, db, "SELECT * FROM v"))
    db:run "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END; INSERT INTO t VALUES (1)"
    assert.equal(1, #db:rows "SELECT * FROM t")
  end)

  describe("a damaged file", function()
    it("that is none says so, with what to do", function()
      experiment.write(path, ("no database\n"):rep(100))
      local db <close> = sqlite.open(path, "read")
      assert.equal(path .. ": is damaged, or no database",
        problem_of("damaged", 2, db.rows, db, "SELECT * FROM t"))
      local hinted <close> = sqlite.open(path, "read", "rebuild it")
      assert.equal(path .. ": is damaged, or no database (rebuild it)",
        problem_of("damaged", 2, hinted.rows, hinted, "SELECT * FROM t"))
    end)

    -- An inner page of a table has 12 bytes, then the places of its cells, which begin with the number of a page.
    it("whose inner pages lead to one page many times is not read without end", function()
      do
        local db <close> = sqlite.open(path)
        db:run "PRAGMA page_size = 512; PRAGMA synchronous = OFF; CREATE TABLE t (a)"
        db:run [[
          INSERT INTO t WITH RECURSIVE c (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM c LIMIT 20000) SELECT a FROM c]]
      end
      local pages, inner = {}, {}
      for page in experiment.read(path):gmatch(("."):rep(512)) do pages[#pages + 1] = page end
      for i = 2, #pages do
        if pages[i]:byte() == 5 then inner[#inner + 1] = i end
      end
      assert.is_true(#inner > 5)
      for k = 1, #inner - 1 do
        local page, child = pages[inner[k]], (">I4"):pack(inner[k + 1])
        page = page:sub(1, 8) .. child .. page:sub(13)
        for cell = 1, (">I2"):unpack(page, 4) do
          local at = (">I2"):unpack(page, 11 + 2 * cell)
          page = page:sub(1, at) .. child .. page:sub(at + 5)
        end
        pages[inner[k]] = page
      end
      experiment.write(path, table.concat(pages))
      local db <close> = sqlite.open(path)
      problem_of("damaged", 2, db.rows, db, "SELECT max(a + 0) FROM t")
      problem_of("damaged", 2, db.run, db, "DELETE FROM t WHERE a < 0")
      assert.equal(1, #db:rows "SELECT 1")
    end)

    it("never does harm, wherever it is damaged", function()
      filled()
      local bytes = experiment.read(path)
      math.randomseed(5)
      local damaged = 0
      for i = 1, 150 do
        local at, long = math.random(#bytes), math.random(1, 400)
        local changed = i % 3 == 0 and bytes:sub(1, at)
          or bytes:sub(1, at - 1) .. string.char(math.random(0, 255)):rep(long) .. bytes:sub(at + long)
        experiment.write(path, changed:sub(1, #bytes))
        local ok, problem = pcall(function()
          local db <close> = sqlite.open(path)
          db:run "PRAGMA synchronous = OFF"
          for _ in db:each "SELECT * FROM t ORDER BY b" do end -- luacheck: ignore 542
          db:run "DELETE FROM t WHERE a > 100"
          return db:rows "PRAGMA integrity_check"
        end)
        if not ok then
          assert.is_string(problem.kind, tostring(problem))
          damaged = damaged + (problem.kind == "damaged" and 1 or 0)
        end
      end
      assert.is_true(damaged > 20)
    end)
  end)
end)
