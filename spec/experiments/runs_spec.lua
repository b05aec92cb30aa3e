-- experiments/runs.lua as people use it: on folders of runs, and with runs that write the index themselves.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local folders = require "spd.runs.folders"
local json = require "spd.json"
local runs = require "spec.support.runs"
local posix = core.posix

describe("runs.lua", function()
  local folder

  before_each(function()
    folder = posix.real_path(experiment.make_folder())
    local rows = {{step = 0, l = 1}, {step = 9, l = 2}}
    runs.make(folder .. "/one", {seed = 1, summary = {mmcs = 0.5, ["loss/total"] = 2}, rows = rows})
    runs.make(folder .. "/two", {seed = 2, summary = {mmcs = 1.0, ["loss/total"] = 1e-7}, rows = {{step = 0, l = 3}}})
    runs.make(folder .. "/deep/twin", {seed = 2})
  end)
  after_each(function() experiment.remove_folder(folder) end)

  local function call(...) return experiment.run{experiment.host, "experiments/runs.lua", ...} end

  -- Status 0 and nothing on stderr; returns stdout.
  local function answer(...)
    local status, text, message = call(...)
    assert.same({0, ""}, {status, message})
    return text
  end

  local function refusal(...)
    local status, text, message = call(...)
    assert.same({2, ""}, {status, text}, message)
    assert.equal(1, select(2, message:gsub("\n", "")))
    return message
  end

  it("makes the index, lists, shows and compares runs", function()
    assert.equal(folder .. "/runs.db: 3 runs\n", answer("rebuild", folder))
    assert.equal([[
name       status    seed  step  loss/total  mmcs
one        finished     1    40           2   0.5
two        finished     2    40       1e-07     1
deep/twin  stopped      2     -           -     -
]], answer("list", "--in", folder, "--columns", "name,status,seed,step,loss/total,mmcs", "--sort", "-loss/total"))
    assert.equal("name  mmcs\ntwo      1\n", answer("list", "--in", folder, "--where", "seed = 2 and mmcs > 0.5",
      "--columns", "name,mmcs"))
    assert.equal("no runs\n", answer("list", "--in", folder, "--where", "seed = 3"))
    local rows = json.decode(answer("list", "--in", folder, "--json", "--columns", "name,mmcs", "--sort", "name"))
    assert.same({{name = "deep/twin"}, {name = "one", mmcs = 0.5}, {name = "two", mmcs = 1}}, rows)
    assert.matches("^folder +" .. folder .. "/two\n", answer("show", "tw", "--in", folder))
    assert.matches("\ntask_config.feature_probability +0.05\n.*\nmmcs +1\n", answer("show", folder .. "/two"))
    local difference = answer("diff", "one", "two", "deep/", "--in", folder)
    assert.matches("\nseed +1 +2 +2\n", difference)
    assert.matches("\nmmcs +0.5 +1 +%-\n", difference)
    assert.is_nil(difference:find "pnorm")
  end)

  it("shows keys of any bytes as harmless text", function()
    local key = "a\0\27[31m\u{9b}é"
    runs.make(folder .. "/one", {summary = {[key] = 1}})
    assert.matches("\na%?%?%[31m%?é +1\n", answer("show", "one", "--in", folder))
    assert.matches("\na%?%?%[31m%?é +1 +%-\n", answer("diff", "one", "two", "--in", folder))
    answer("rebuild", folder)
    runs.make(folder .. "/two", {rows = {{step = 0, ["l\27"] = 1}}})
    assert.matches("the nearest one is 'l%?'", refusal("plot", "ll", "two", "--in", folder))
  end)

  it("draws a key of several runs", function()
    assert.equal("figure: " .. folder .. "/l.png\n", answer("plot", "l", "one", "two", "--in", folder))
    assert.equal("\137PNG", experiment.read(folder .. "/l.png"):sub(1, 4))
    local status, _, message = call("plot", "l", "one", "deep/twin", "--in", folder, "--out", folder .. "/x.png")
    assert.same({0, "spdlua: warning: deep/twin: has no l\n"}, {status, message})
    assert.matches("key 'll': .*the nearest one is 'l'", refusal("plot", "ll", "one", "--in", folder))
    local other = folder .. "/one/summary.json"
    assert.matches("expected a name FILE.png", refusal("plot", "l", "one", "--in", folder, "--out", other))
  end)

  it("removes runs, and nothing else", function()
    answer("rebuild", folder)
    experiment.write(folder .. "/kept", "kept")
    posix.run{"ln", "-s", folder .. "/kept", folder .. "/one/link"}
    posix.run{"ln", "-s", folder .. "/two", folder .. "/one/checkpoints/two"}
    posix.run{"ln", "-s", folder .. "/two", folder .. "/also_two"}
    assert.matches("nobody can be asked", refusal("rm", "one", "--in", folder))
    assert.matches("is a symbolic link", refusal("rm", folder .. "/also_two", "--yes"))
    assert.matches("is neither a run's folder nor the name", refusal("rm", folder .. "/deep", "--yes"))
    runs.make(folder .. "/two/inner")
    assert.matches("holds other runs, such as .*/two/inner", refusal("rm", "one", "two", "--in", folder, "--yes"))
    experiment.remove_folder(folder .. "/two/inner")
    do
      local lock <close> = posix.try_lock(folder .. "/two/run.lock")
      assert.matches("another process is working on this run", refusal("rm", "one", "two", "--in", folder, "--yes"))
    end
    runs.make(folder .. "/study/trials/0")
    experiment.write(folder .. "/study/study.db", "")
    assert.matches("is a trial of the study", refusal("rm", folder .. "/study/trials/0", "--yes"))
    assert.is_true(posix.is_directory(folder .. "/one"))
    assert.matches("a run is named by an empty word", refusal("rm", "", "--in", folder, "--yes"))
    assert.matches("%-%-in: expected something", refusal("rm", "one", "--in", "", "--yes"))
    assert.matches("on: is only the beginning of a name", refusal("rm", "on", "--in", folder, "--yes"))
    assert.matches("%.%.: is not a run's folder", refusal("rm", "..", "--in", folder .. "/one/checkpoints", "--yes"))
    assert.equal("removed " .. folder .. "/one\n",
      answer("rm", folder .. "/one/checkpoints/..", "one", folder .. "/one/", "--in", folder, "--yes"))
    assert.is_false(posix.is_directory(folder .. "/one"))
    assert.equal("kept", experiment.read(folder .. "/kept"))
    assert.is_true(posix.is_file(folder .. "/two/summary.json"))
    assert.equal("name\ndeep/twin\ntwo\n", answer("list", "--in", folder, "--columns", "name", "--sort", "name"))
  end)

  it("removes nothing behind a link that cannot be removed", function()
    posix.run{"ln", "-s", folder .. "/two", folder .. "/one/link"}
    local remove = posix.remove
    finally(function() posix.remove = remove end)
    posix.remove = function(path)
      if posix.is_link(path) then return nil, "Operation not permitted" end
      return remove(path)
    end
    local ok, problem = pcall(folders.remove, folder .. "/one")
    assert.is_false(ok)
    assert.equal(folder .. "/one/link: Operation not permitted", tostring(problem))
    assert.is_true(posix.is_file(folder .. "/two/summary.json"))
  end)

  it("says what is wrong in a line", function()
    assert.matches("there is no index of runs %(spdlua experiments/runs.lua rebuild", refusal("list", "--in", folder))
    answer("rebuild", folder)
    assert.matches("the nearest one is 'mmcs'", refusal("list", "--in", folder, "--where", "mmc > 1"))
    assert.matches("no such command; the nearest one is list", refusal "lst")
    assert.matches("expected a command", refusal())
    assert.matches("expected 2 runs or more", refusal("diff", "one", "--in", folder))
    runs.make(folder .. "/twos")
    assert.matches("^folder +" .. folder .. "/two\n", answer("show", "two", "--in", folder)) -- the name itself
    assert.matches("tw: is the beginning of 2 runs %(two, twos%)", refusal("show", "tw", "--in", folder))
    assert.matches("no such folder", refusal("list", "--in", folder .. "/none"))
    local status, _, message = call("list", "--in", folder)
    assert.equal(0, status)
    assert.matches("^spdlua: warning: 1 folder is not in the index: spdlua experiments/runs.lua rebuild ", message)
    experiment.write(folder .. "/runs.db", ("no database "):rep(99))
    assert.matches("is damaged, or no database %(spdlua experiments/runs.lua rebuild", refusal("list", "--in", folder))
    os.remove(folder .. "/runs.db")
    core.sqlite.open(folder .. "/runs.db"):run "PRAGMA user_version = 9"
    assert.matches("of version 9, from a newer spdlua", refusal("list", "--in", folder))
  end)

  it("knows runs from their start, without a rebuild #slow", function()
    local target = experiment.make_target(folder)
    answer("rebuild", folder)
    local function train(name, ...)
      return experiment.decompose("configs/tms_5-2.yaml", "pretrained_model_path=" .. target, "batch_size=64",
        "n_eval_steps=2", "image_on_first_step=false", "print_freq=10", "--out", folder .. "/" .. name, "--quiet", ...)
    end
    local function list()
      return "\n" .. answer("list", "--in", folder, "--columns", "name,status,step", "--where", "C = 20")
    end
    local status, text, message = train("done", "steps=20")
    assert.same({0, ""}, {status, message}, text)
    assert.equal(1, (train("exploded", "steps=20", "lr=1e30")))
    experiment.decompose_until("KILL", 1.5, "configs/tms_5-2.yaml", "pretrained_model_path=" .. target,
      "steps=1000000", "--out", folder .. "/killed", "--quiet")
    assert.matches("\ndone +finished +20\n", list())
    assert.matches("\nexploded +failed +", list())
    assert.matches("\nkilled +stopped +", list())
    answer("rebuild", folder)
    assert.matches("\nexploded +failed +", list())
    assert.matches("\nkilled +stopped +%d", list())
  end)
end)
