--- Protects what trackers write of a run, that resuming repeats and loses nothing, and that they never stop a run.
local config_module = require "spd.config"
local core = require "spd.core"
local json = require "spd.json"
local observers = require "spd.observers"
local run_module = require "spd.run"
local run_name = require "spd.trackers.run_name"
local support = require "spec.support.experiment"
local trackers = require "spec.support.trackers"
local posix = core.posix

local function png(width, height) -- as far as trackers look into it
  return "\137PNG\r\n\26\n" .. (">I4c4I4I4BBBBB"):pack(13, "IHDR", width, height, 8, 6, 0, 0, 0) .. "...."
end

describe("trackers", function()
  local base, environment, stderr, warnings, getenv

  before_each(function()
    base, warnings, stderr, getenv = support.make_folder(), {}, io.stderr, os.getenv
    environment = {WANDB_DIR = base, WANDB_MODE = "offline"}
    -- luacheck: push ignore 122
    io.stderr = {write = function(_, ...) warnings[#warnings + 1] = table.concat{...} end}
    os.getenv = function(name)
      if name:find("^WANDB_") or name:find("^SPDLUA_") then return environment[name] end
      return getenv(name)
    end
    -- luacheck: pop
  end)

  after_each(function()
    io.stderr, os.getenv = stderr, getenv -- luacheck: ignore 122
    support.remove_folder(base)
  end)

  local function load(...)
    return (config_module.load("configs/tms_5-2.yaml", {"wandb_run_name=mine", "wandb_run_name_prefix=ours_", ...}))
  end

  local function create(config)
    return run_module.create{directory = base .. "/run", case = "c", seed = 0,
      config_writer = function(path) config_module.write(path, config) end}
  end

  local function draw(run, step, suffix)
    run:make_figures_folder()
    local path = run:figure_path("ci" .. (suffix or ""))
    support.write(path, png(30 + step, 20))
    run:tell("drawn", step, path)
  end

  -- Work as a process does, from one step to before another: numbers at even steps, a figure every third.
  local function work(run, config, from, to)
    observers.attach(run, config)
    run:cut_metrics(from)
    for step = from, to - 1 do
      if step % 2 == 0 then run:log(step, {["loss/total"] = step / 4, lr = 0.5}) end
      if step % 3 == 0 then draw(run, step, "_step_" .. step) end
    end
  end

  -- As if the process had been killed: nobody is told. Returns the run as the next process finds it.
  local function kill(run)
    run.observers = {}
    run:close()
    collectgarbage() -- its files are closed
    return run_module.open(run.directory)
  end

  local function finish(run, step)
    run:log(step, {["loss/total"] = step / 4, lr = 0.25})
    draw(run, step)
    run:write_summary{
      steps = step, ["loss/total"] = step / 4, mmcs = 0.75, wall_s = 0 / 0, version = "x",
      target_ci_error = {linear1 = 2},
    }
    run:close()
  end

  it("are not loaded into a run, and write nothing, where no key asks for them", function()
    local config = load()
    local run = create(config)
    observers.attach(run, config)
    assert.equal(1, #run.observers)
    assert.equal("index of runs", run.observers[1].name)
    work(run, config, 0, 4)
    finish(run, 4)
    for _, name in ipairs{"tensorboard", "wandb.json"} do
      assert.is_nil(table.concat(support.names_in(run.directory), " "):find(name, 1, true))
    end
    assert.same({"run", "runs.db"}, support.names_in(base))
  end)

  describe("TensorBoard:", function()
    local function event_files(run)
      local folder, files = run.directory .. "/tensorboard", {}
      for i, name in ipairs(support.names_in(folder)) do
        assert.matches("^events%.out%.tfevents%.%d%d%d%d%d%d%d%d%d%d%..+%.%d+%.0$", name)
        files[i] = trackers.events(support.read(folder .. "/" .. name))
      end
      return files
    end

    it("an event file has all numbers and figures, the config, and the scores", function()
      local config = load("tensorboard=true")
      local run = create(config)
      work(run, config, 0, 4)
      local events = event_files(run)[1] -- while the run goes on
      assert.equal(2 + 2 + 2, #events)
      finish(run, 4)
      events = event_files(run)[1]
      assert.equal("brain.Event:2", events[1].version)
      local start = trackers.fields(trackers.fields(events[2].plugins["_hparams_/session_start_info"])[3][1])
      local settings = {}
      for _, entry in ipairs(start[1]) do
        entry = trackers.fields(entry)
        local kind, value = next(trackers.fields(entry[2][1]))
        settings[entry[1][1]] = {kind, value[1]}
      end
      assert.same({2, 0.05}, settings["task_config.feature_probability"])
      assert.same({3, "mse"}, settings.output_loss_type)
      assert.same({4, 1}, settings.tensorboard)
      assert.same({3, '["linear1","linear2"]'}, settings.target_module_patterns)
      assert.equal(0, events[3].step)
      assert.same({["loss/total"] = 0.0, lr = 0.5}, events[3].scalars)
      assert.same({["figures/ci"] = png(30, 20)}, events[4].images)
      assert.same({["loss/total"] = 0.5, lr = 0.5}, events[5].scalars)
      local last = events[#events]
      assert.equal(4, last.step)
      assert.is_true(last.scalars.wall_s ~= last.scalars.wall_s)
      last.scalars.wall_s = nil
      -- what was logged at this step is not there again
      assert.same({steps = 4.0, mmcs = 0.75, ["linear1/target_ci_error"] = 2.0}, last.scalars)
      assert.is_string(last.plugins["_hparams_/session_end_info"])
    end)

    it("a resumed run says from which step on earlier files do not count, in a file that is read later", function()
      local config = load("tensorboard=true")
      local run = create(config)
      work(run, config, 0, 9)
      run = kill(run)
      work(run, config, 5, 8)
      run = kill(run)
      work(run, config, 0, 2)
      local files = event_files(run)
      assert.equal(3, #files)
      assert.same({5, 0}, {files[2][2].restart, files[3][2].restart})
      assert.equal(6, files[2][4].step)
      assert.is_nil(files[1][2].restart)
    end)
  end)

  describe("Weights & Biases:", function()
    local function folder_of()
      local names = support.names_in(base .. "/wandb")
      assert.equal(1, #names)
      local id = names[1]:match("^offline%-run%-%d%d%d%d%d%d%d%d_%d%d%d%d%d%d%-(.+)$")
      return base .. "/wandb/" .. names[1], id
    end

    local function offline_run()
      local folder, id = folder_of()
      return trackers.offline_run(support.read(("%s/run-%s.wandb"):format(folder, id)))
    end

    local function without_clock(rows)
      for _, row in ipairs(rows) do
        assert.is_true(row._timestamp > 1e9 and row._runtime >= 0)
        row._timestamp, row._runtime = nil, nil
      end
      return rows
    end

    -- What a run from step 0 to 9 and its end gives, however often it was resumed.
    local function expect_whole_run(found)
      for i, number in ipairs(found.numbers) do assert.equal(i, number) end
      local steps = {}
      for i, row in ipairs(without_clock(found.rows)) do
        steps[i] = row._step
        assert.equal(row._step % 2 == 0 and row._step / 4 or nil, row["loss/total"])
        assert.equal(row._step % 3 == 0 or row._step == 10, row["figures/ci"] ~= nil)
      end
      assert.same({0, 2, 3, 4, 6, 8, 9, 10}, steps)
      assert.equal(0, found.exit)
      assert.equal(18, found.kinds[#found.kinds])
    end

    it("an offline run has config, rows, figures, summary and the status", function()
      environment.WANDB_ENTITY, environment.WANDB_RUN_GROUP, environment.WANDB_TAGS = "me", "these", "a, b c ,d"
      environment.WANDB_RUN_ID, environment.WANDB_NAME = "abc-1", "not this"
      local config = load("wandb_project=p")
      local run = create(config)
      work(run, config, 0, 10)
      finish(run, 10)
      local folder, id = folder_of()
      local found = offline_run()
      assert.same({21, 17, 26}, table.move(found.kinds, 1, 3, 1, {}))
      assert.equal("abc-1", id)
      assert.same({{"abc-1"}, {"me"}, {"p"}, {"these"}, {"ours_mine"}, {"a", "b c", "d"}},
        {found.run[1], found.run[2], found.run[3], found.run[6], found.run[8], found.run[10]})
      assert.same(config, found.config)
      expect_whole_run(found)
      local last = found.rows[#found.rows]
      local figure = last["figures/ci"]
      assert.same({"image-file", 40, 20, "png", #png(1, 1)},
        {figure._type, figure.width, figure.height, figure.format, figure.size})
      assert.equal(png(40, 20), support.read(folder .. "/files/" .. figure.path))
      assert.matches("^media/images/figures/ci_10_" .. figure.sha256:sub(1, 20) .. "%.png$", figure.path)
      assert.equal(figure.path, found.media[#found.media])
      local summary = json.decode(support.read(folder .. "/files/wandb-summary.json"))
      for name, value in pairs{_step = 10, lr = 0.25, mmcs = 0.75, ["linear1/target_ci_error"] = 2} do
        assert.equal(value, found.summary[name])
        assert.equal(value, summary[name])
      end
      assert.equal("NaN", found.summary.wall_s)
      assert.matches("\nseed:\n    value: 0\n", support.read(folder .. "/files/config.yaml"))
      assert.same({}, warnings)
    end)

    for name, from in pairs{["at the step after the last one"] = 9, ["at an earlier step"] = 4,
                            ["at the first step"] = 0} do
      it("a run that is killed and goes on " .. name .. " repeats and loses nothing", function()
        local config = load("wandb_project=p")
        local run = create(config)
        work(run, config, 0, 9)
        run = kill(run)
        local folder, id = folder_of()
        support.write(("%s/run-%s.wandb.synced"):format(folder, id), "")
        work(run, config, from, 10)
        finish(run, 10)
        assert.is_false(posix.is_file(("%s/run-%s.wandb.synced"):format(folder, id)))
        expect_whole_run(offline_run())
        assert.equal(id, offline_run().run[1][1])
      end)
    end

    it("goes on behind half a record, and anew where the folder was removed, with the same id", function()
      local config = load("wandb_project=p")
      local run = create(config)
      work(run, config, 0, 9)
      run = kill(run)
      local folder, id = folder_of()
      local path = ("%s/run-%s.wandb"):format(folder, id)
      support.write(path, support.read(path):sub(1, -4))
      work(run, config, 7, 8)
      run = kill(run)
      support.remove_folder(folder)
      work(run, config, 7, 10)
      finish(run, 10)
      expect_whole_run(offline_run())
      assert.equal(id, select(2, folder_of()))
    end)

    it("a folder that wandb.json names and that was not made for the run stays as it is", function()
      local config = load("wandb_project=p")
      local run = create(config)
      local foreign = base .. "/mine"
      assert(posix.make_directory(foreign))
      support.write(run.directory .. "/wandb.json", json.encode{directory = foreign, run_id = "abc"})
      work(run, config, 0, 10)
      finish(run, 10)
      assert.same({}, support.names_in(foreign))
      expect_whole_run(offline_run())
      assert.equal("abc", select(2, folder_of()))
    end)

    it("an interrupted run has a status, and goes on from there", function()
      local config = load("wandb_project=p")
      local run = create(config)
      work(run, config, 0, 5)
      run:close(setmetatable({status = 130, message = "stopped"}, {}))
      assert.equal(130, offline_run().exit)
      assert.equal(4, offline_run().summary._step)
      run = run_module.open(run.directory)
      work(run, config, 5, 10)
      finish(run, 10)
      expect_whole_run(offline_run())
    end)

    it("a trial's group is its study", function()
      environment.SPDLUA_TRIAL = "out/my_study/trials/12"
      local config = load("wandb_project=p")
      local run = create(config)
      work(run, config, 0, 1)
      assert.same({"my_study"}, offline_run().run[6])
      run:close()
    end)

    it("writes no key, and nothing at all if it is disabled", function()
      environment.WANDB_API_KEY, environment.WANDB_MODE = "secret-key", "disabled"
      local config = load("wandb_project=p")
      local run = create(config)
      work(run, config, 0, 1)
      assert.is_false(posix.is_directory(base .. "/wandb"))
      run = kill(run)
      environment.WANDB_MODE = "online"
      work(run, config, 0, 4)
      finish(run, 4)
      for path, bytes in pairs(support.contents(base)) do assert.is_nil(bytes:find("secret-key", 1, true), path) end
      assert.equal(1, #warnings) -- once, how to send it
      assert.matches("`wandb sync " .. folder_of():gsub("%p", "%%%0") .. "`", warnings[1])
    end)

    it("names runs as the public code does", function()
      local config = (config_module.load("configs/tms_5-2.yaml", {"wandb_run_name_prefix=x_"}))
      local folder = base .. "/r"
      posix.make_directory(folder .. "/target", true)
      support.write(folder .. "/target/target_config.yaml", support.read("configs/targets/tms_5-2.yaml"))
      assert.equal("x_nmasks1_stochrecon1.00e+00_stochreconlayer1.00e+00_p1.00e+00_impmin3.00e-03_C20_sd0_" ..
        "lr1.00e-03_bs4096_ft5_hid2hid-layers0", run_name.of(config, folder))
      config = (config_module.load("configs/resid_mlp2.yaml"))
      support.write(folder .. "/target/target_config.yaml", support.read("configs/targets/resid_mlp2.yaml"))
      assert.matches("_bs%d+_ft100_lay2_resid1000_mlp25$", run_name.of(config, folder))
      config = (config_module.load("configs/ss.yaml"))
      assert.matches("_bs%d+__pretrained.*SimpleStories.*_seq%d+$", run_name.of(config, folder))
    end)
  end)

  describe("that fail are one warning, and the run goes on:", function()
    local function expect_one_warning(run, pattern)
      assert.equal(1, #warnings)
      assert.matches("^spdlua: warning: " .. pattern .. "\n$", warnings[1])
      assert.equal(6, #run:metrics_rows())
      assert.equal(10, run:summary().steps)
    end

    it("a folder that cannot be made", function()
      support.write(base .. "/wandb", "a file")
      local config = load("wandb_project=p", "tensorboard=true")
      local run = create(config)
      work(run, config, 0, 10)
      finish(run, 10)
      expect_one_warning(run, "Weights & Biases: .*/wandb/offline%-run.*: .+")
      assert.equal(1, #support.names_in(run.directory .. "/tensorboard"))
    end)

    it("one that cannot begin", function()
      local config = load("wandb_project=p")
      local run = create(config)
      os.getenv = function() error "no environment" end -- luacheck: ignore 122
      observers.attach(run, config)
      os.getenv = getenv -- luacheck: ignore 122
      assert.equal(1, #warnings)
      assert.matches("^spdlua: warning: spd%.trackers%.wandb: .*no environment\n$", warnings[1])
      assert.equal(1, #run.observers)
    end)

    it("an id that Weights & Biases does not take", function()
      environment.WANDB_RUN_ID = "a/../b"
      local config = load("wandb_project=p")
      local run = create(config)
      work(run, config, 0, 10)
      finish(run, 10)
      expect_one_warning(run, "Weights & Biases: WANDB_RUN_ID: 'a/%.%./b' cannot be .*")
    end)

    for name, key in pairs{TensorBoard = "tensorboard=true", ["Weights & Biases"] = "wandb_project=p"} do
      it("a full disk, " .. name, function()
        local config = load(key)
        local run = create(config)
        work(run, config, 0, 3)
        local holder = run.observers[1].log or run.observers[1]
        holder.file:close()
        holder.file = assert(io.open("/dev/full", "wb"))
        for step = 3, 9 do run:log(step, {lr = 1}) end
        finish(run, 10)
        assert.equal(1, #warnings)
        assert.matches("^spdlua: warning: " .. name .. ": .*: No space left on device\n$", warnings[1])
        assert.equal(10, run:summary().steps)
      end)
    end
  end)
end)
