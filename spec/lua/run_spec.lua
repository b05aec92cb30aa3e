local core = require "spd.core"
local errors = require "spd.errors"
local run = require "spd.run"
local posix = core.posix

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local function remove_tree(path)
  if posix.is_directory(path) then
    for _, name in ipairs(posix.list_directory(path)) do remove_tree(path .. "/" .. name) end
  end
  os.remove(path)
end

local function config_writer(path) write(path, "steps: 3\n") end

local function refused(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  assert.is_nil(err.message:find("\n"))
  return err.message, err.status
end

describe("a run", function()
  local base, opened

  before_each(function()
    base, opened = os.tmpname(), {}
    os.remove(base)
    assert(posix.make_directory(base))
  end)

  after_each(function()
    for _, r in ipairs(opened) do r:close() end
    remove_tree(base)
  end)

  local function create(directory)
    local r = run.create{
      case = "tms_5-2", seed = 0, directory = directory or base .. "/run", config_writer = config_writer,
    }
    opened[#opened + 1] = r
    return r
  end

  describe("create", function()
    it("makes the folder and its parents and writes the config first", function()
      local r = create(base .. "/a/b/")
      assert.equal(base .. "/a/b", r.directory)
      assert.equal("steps: 3\n", read(r.directory .. "/final_config.yaml"))
      assert.equal(r.directory .. "/final_config.yaml", r:config_path())
    end)

    it("takes a folder that exists and is empty", function()
      posix.make_directory(base .. "/empty")
      assert.equal(base .. "/empty", create(base .. "/empty").directory)
    end)

    it("refuses one that is not empty, hints at --resume, and adds nothing to it", function()
      write(base .. "/notes.txt", "mine")
      local message, status = refused(create, base)
      assert.equal(2, status)
      assert.equal(base .. ": is not empty (--resume goes on with the run in it)", message)
      assert.same({"notes.txt"}, posix.list_directory(base))
    end)

    it("refuses a path that cannot be made, in one line", function()
      write(base .. "/file", "")
      local message, status = refused(create, base .. "/file/run")
      assert.equal(2, status)
      assert.matches(base, message, 1, true)
      message, status = refused(create, base .. "/file")
      assert.equal(2, status)
      assert.matches(base .. "/file", message, 1, true)
    end)

    it("refuses one that another process filled before it was locked", function()
      local try_lock = posix.try_lock
      finally(function() posix.try_lock = try_lock end)
      posix.try_lock = function(path)
        write(base .. "/run/final_config.yaml", "theirs\n")
        local lock, message = try_lock(path)
        opened[#opened + 1] = lock
        return lock, message
      end
      local message, status = refused(create)
      assert.equal(2, status)
      assert.equal(base .. "/run: is not empty (--resume goes on with the run in it)", message)
      assert.equal("theirs\n", read(base .. "/run/final_config.yaml"))
    end)

    it("names its own folder by case, seed and time, a new one for each run of a second", function()
      local made = {}
      finally(function()
        for _, path in ipairs(made) do remove_tree(path) end
      end)
      for i = 1, 3 do
        local r = run.create{case = "specs/of run", seed = 7, config_writer = config_writer}
        opened[#opened + 1], made[i] = r, r.directory
        assert.matches("^out/specs_of_run_seed7_%d%d%d%d%d%d%d%d%-%d%d%d%d%d%d", r.directory)
        for j = 1, i - 1 do assert.are_not.equal(made[j], made[i]) end
      end
    end)
  end)

  describe("open", function()
    it("finds a run that was made", function()
      local directory = create().directory
      assert.equal(directory, run.open(directory .. "//").directory)
    end)

    it("refuses what is no folder or no run's folder", function()
      local message, status = refused(run.open, base .. "/none")
      assert.equal(base .. "/none: no such folder", message)
      assert.equal(2, status)
      assert.matches("is not a run's folder (it has no final_config.yaml)", refused(run.open, base), 1, true)
    end)
  end)

  describe("lock", function()
    it("keeps a second user out until the first closes", function()
      local first = create()
      local second = run.open(first.directory)
      local message, status = refused(second.lock, second)
      assert.equal(first.directory .. ": another process is working on this run (wait for it, or end it)", message)
      assert.equal(2, status)
      first:close()
      second:lock()
      second:close()
    end)

    it("can be taken twice by the one who has it, and is dropped at the end of a scope", function()
      local directory
      do
        local r <close> = create()
        r:lock()
        directory = r.directory
      end
      local again = run.open(directory)
      again:lock()
      again:close()
    end)
  end)

  describe("metrics", function()
    it("are one object per line, the step first, keys sorted, NaN and infinities null", function()
      local r = create()
      r:log(0, {["loss/total"] = 0.1 + 0.2, ["linear1/ci_l0"] = 2, lr = 0 / 0})
      r:log(10, {})
      r:log(20, {x = -math.huge})
      assert.equal('{"step":0,"linear1/ci_l0":2,"loss/total":0.30000000000000004,"lr":null}\n'
        .. '{"step":10}\n{"step":20,"x":null}\n', read(r.directory .. "/metrics.jsonl"))
    end)

    it("are cut back to the lines before a step, and then go on", function()
      local r = create()
      for step = 0, 40, 10 do r:log(step, {a = step}) end
      r:cut_metrics(20)
      r:log(20, {a = "again"})
      assert.equal('{"step":0,"a":0}\n{"step":10,"a":10}\n{"step":20,"a":"again"}\n',
        read(r.directory .. "/metrics.jsonl"))
    end)

    it("lose a torn line, a line that is not JSON and one without a step", function()
      local r = create()
      local path = r.directory .. "/metrics.jsonl"
      write(path, '{"step":0}\nnonsense\n{"a":1}\n[]\n3\n{"step":1,"a":0.1')
      r:cut_metrics(5)
      assert.equal('{"step":0}\n', read(path))
    end)

    it("are cut together with half-written files of a killed process", function()
      local r = create()
      write(r.directory .. "/summary.json.123.tmp", "{")
      r:cut_metrics(0)
      assert.is_false(posix.is_file(r.directory .. "/summary.json.123.tmp"))
      assert.is_true(posix.is_file(r:config_path()))
    end)

    it("are left alone when nothing is to be cut, and need not be there", function()
      local r = create()
      r:cut_metrics(0)
      assert.is_false(posix.is_file(r.directory .. "/metrics.jsonl"))
      r:log(0, {a = 1})
      r:cut_metrics(1)
      assert.equal('{"step":0,"a":1}\n', read(r.directory .. "/metrics.jsonl"))
      r:cut_metrics(0)
      assert.equal("", read(r.directory .. "/metrics.jsonl"))
    end)
  end)

  it("whose metrics.jsonl is a pipe has no metrics, and does not go on", function()
    local r = create()
    posix.run{"mkfifo", r.directory .. "/metrics.jsonl"}
    assert.is_nil(r:last_metrics())
    assert.same({}, r:metrics_rows())
    local ok, problem = pcall(r.cut_metrics, r, 0)
    assert.is_false(ok)
    assert.equal(r.directory .. "/metrics.jsonl: is not a regular file", tostring(problem))
  end)

  describe("checkpoints", function()
    local function tensors(value) return {["components.linear1.V"] = core.tensor{{value, 0.1}}} end

    it("come back with their tensors and metadata", function()
      local r = create()
      r:save_checkpoint(100, tensors(1), {step = "100"})
      local loaded, metadata, path = run.open(r.directory):load_checkpoint(100)
      assert.same(tensors(1)["components.linear1.V"]:totable(), loaded["components.linear1.V"]:totable())
      assert.equal("100", metadata.step)
      assert.equal(r.directory .. "/checkpoints/step_100.safetensors", path)
    end)

    it("are listed by number, and the last two are kept", function()
      local r = create()
      assert.same({}, r:checkpoints())
      r:save_checkpoint(90, tensors(1))
      r:save_checkpoint(100, tensors(2))
      assert.same({90, 100}, r:checkpoints())
      write(r.directory .. "/checkpoints/notes.txt", "")
      write(r.directory .. "/checkpoints/step_110.safetensors.123-0.tmp", "half")
      r:save_checkpoint(1000, tensors(3))
      assert.same({100, 1000}, r:checkpoints())
      assert.is_true(posix.is_file(r.directory .. "/checkpoints/notes.txt"))
      assert.is_false(posix.is_file(r.directory .. "/checkpoints/step_110.safetensors.123-0.tmp"))
    end)

    it("the latest is the newest that can be read", function()
      local r = create()
      assert.is_nil(r:latest_checkpoint())
      r:save_checkpoint(1, tensors(1))
      r:save_checkpoint(2, tensors(2))
      write(r.directory .. "/checkpoints/step_3.safetensors", "torn")
      local warnings, stderr = {}, io.stderr
      finally(function() io.stderr = stderr end) -- luacheck: ignore 122
      io.stderr = { -- luacheck: ignore 122
        write = function(_, ...) warnings[#warnings + 1] = table.concat{...} end,
      }
      local step, loaded, path = r:latest_checkpoint()
      assert.equal(2, step)
      assert.equal(2, loaded["components.linear1.V"]:get(1, 1))
      assert.equal(r.directory .. "/checkpoints/step_2.safetensors", path)
      assert.equal(1, #warnings)
      assert.matches("step_3.safetensors", warnings[1], 1, true)
      -- one of another step's state is none
      local checkpoint = r.directory .. "/checkpoints/step_%d.safetensors"
      assert(os.rename(checkpoint:format(2), checkpoint:format(3)))
      assert.equal(1, (r:latest_checkpoint()))
      assert.matches("holds the state of step 2", warnings[2], 1, true)
      r:save_checkpoint(2, tensors(2))
      -- the one that cannot be read does not count among the last two
      r:save_checkpoint(4, tensors(4))
      assert.same({2, 4}, r:checkpoints())
      write(r.directory .. "/checkpoints/step_9.safetensors", "torn")
      r:save_checkpoint(5, tensors(5))
      assert.same({4, 5}, r:checkpoints())
    end)

    it("a missing one is an error that lists those there are", function()
      local r = create()
      assert.matches("no checkpoint of step 7 (there is none)", refused(r.load_checkpoint, r, 7), 1, true)
      r:save_checkpoint(1, tensors(1))
      r:save_checkpoint(2, tensors(1))
      assert.matches("no checkpoint of step 7 (there is 1, 2)", refused(r.load_checkpoint, r, 7), 1, true)
    end)
  end)

  describe("summary", function()
    it("comes back as it was, without what is NaN", function()
      local r = create()
      assert.is_nil(r:summary())
      r:write_summary{steps = 3, mmcs = 0 / 0, wall_s = 0.1, n_alive = {linear1 = 5}}
      assert.same({steps = 3, wall_s = 0.1, n_alive = {linear1 = 5}}, r:summary())
      assert.equal('{\n  "mmcs": null,\n  "n_alive": {\n    "linear1": 5\n  },\n  "steps": 3,\n'
        .. '  "wall_s": 0.1\n}\n', read(r.directory .. "/summary.json"))
    end)

    it("that is no JSON is an error with its path", function()
      local r = create()
      write(r.directory .. "/summary.json", "{")
      local message, status = refused(r.summary, r)
      assert.matches("^" .. r.directory:gsub("%p", "%%%0") .. "/summary.json: ", message)
      assert.equal(2, status)
    end)

    it("together with the last checkpoint says that the run is finished", function()
      local r = create()
      assert.is_false(r:is_finished())
      r:save_checkpoint(3, {a = core.tensor{1}})
      assert.is_false(r:is_finished())
      r:write_summary{steps = 3}
      assert.is_true(r:is_finished())
      r:write_summary{steps = 4}
      assert.is_false(r:is_finished())
    end)
  end)

  describe("observers", function()
    it("are told what is logged and finished, and how it ended, and only once that it did", function()
      local r, told = create(), {}
      local observer = {name = "observer"}
      for _, event in ipairs{"logged", "finished", "ended"} do
        observer[event] = function(_, ...) told[#told + 1] = {event, ...} end
      end
      r:observe(observer)
      r:log(3, {lr = 0.5})
      r:tell("drawn", 3, "a.png") -- of which it does not want to hear
      r:write_summary{steps = 3}
      r:close "a problem"
      r:close()
      assert.same({{"logged", 3, {lr = 0.5}}, {"finished", {steps = 3}}, {"ended", "a problem"}}, told)
    end)

    it("that fail are a warning, and are told nothing any more, while others are", function()
      local r, told, warnings, stderr = create(), {}, {}, io.stderr
      r:observe{name = "tracker", logged = function() errors.raise(1, "host", "not found") end,
                finished = function() told[#told + 1] = "finished" end}
      r:observe{name = "other", logged = function(_, step) told[#told + 1] = step end}
      finally(function() io.stderr = stderr end) -- luacheck: ignore 122
      io.stderr = {write = function(_, ...) warnings[#warnings + 1] = table.concat{...} end} -- luacheck: ignore 122
      r:log(1, {})
      r:log(2, {})
      r:write_summary{steps = 2}
      assert.same({1, 2}, told)
      assert.same({"spdlua: warning: tracker: host: not found\n"}, warnings)
    end)
  end)

  describe("files", function()
    -- A second name of a file: what is written into the file itself is seen there, what replaces it is not.
    local function second_name(path)
      assert.equal(0, (posix.run{"ln", path, path .. ".kept"}))
      return path .. ".kept"
    end

    it("are replaced, not overwritten: the summary", function()
      local r = create()
      r:write_summary{steps = 1}
      local kept = second_name(r.directory .. "/summary.json")
      local before = read(kept)
      r:write_summary{steps = 2}
      assert.equal(before, read(kept))
      assert.same({steps = 2}, r:summary())
    end)

    it("are replaced, not overwritten: metrics that are cut", function()
      local r = create()
      r:log(0, {a = 1})
      r:log(1, {a = 2})
      local kept = second_name(r.directory .. "/metrics.jsonl")
      r:cut_metrics(1)
      assert.equal('{"step":0,"a":1}\n{"step":1,"a":2}\n', read(kept))
      assert.equal('{"step":0,"a":1}\n', read(r.directory .. "/metrics.jsonl"))
    end)

    it("are replaced, not overwritten: a checkpoint", function()
      local r = create()
      r:save_checkpoint(1, {a = core.tensor{1}})
      local kept = second_name(r.directory .. "/checkpoints/step_1.safetensors")
      r:save_checkpoint(1, {a = core.tensor{2}})
      assert.same({1}, core.safetensors_load(kept).a:totable())
      assert.same({2}, r:load_checkpoint(1).a:totable())
    end)
  end)

  it("leaves no folder of a path that cannot be made", function()
    local top = base .. "/deep"
    local ok = pcall(run.create, {case = "a", seed = 0, directory = top .. "/er/" .. ("x"):rep(300),
      config_writer = function() end})
    assert.is_false(ok)
    assert.is_false(posix.is_directory(top))
  end)

  it("gives figures a place", function()
    local r = create()
    assert.equal(r.directory .. "/figures/ci.png", r:figure_path("ci"))
    assert.is_true(r:make_figures_folder())
    assert.is_true(posix.is_directory(r.directory .. "/figures"))
    assert(posix.remove(r.directory .. "/figures"))
    write(r.directory .. "/figures", "a file")
    local made, reason = r:make_figures_folder()
    assert.is_falsy(made)
    assert.matches(r.directory .. "/figures", reason, 1, true)
  end)
end)
