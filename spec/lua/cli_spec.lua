local cli = require "spd.cli"
local errors = require "spd.errors"

local experiment = cli.experiment("experiments/NAME.lua", "Decompose something.")
local analyse = {
  script = "experiments/analyse.lua",
  summary = "Score a checkpoint.",
  arguments = {{name = "DIR", key = "directory", help = "a run's folder"}},
  options = {{name = "step", value = "N", kind = "count", least = 0, help = "that checkpoint"}},
}
local check = {
  script = "experiments/oracle_check.lua",
  summary = "Compare.",
  arguments = {{name = "FILE", key = "files", many = true, help = "files"}},
}
local benchmark = {
  script = "experiments/benchmark.lua",
  summary = "Measure.",
  options = {{name = "cases", value = "a,b", kind = "list", help = "which"}, cli.threads},
}

local function parse(usage, line)
  local words = {}
  for word in line:gmatch("%S+") do words[#words + 1] = word end
  return cli.parse(words, usage)
end

-- The message of the error that a command line is.
local function refused(usage, line)
  local ok, err = pcall(parse, usage, line)
  assert.is_false(ok, "accepted: " .. line)
  assert.is_true(errors.is(err), tostring(err))
  assert.equal(2, err.status)
  assert.is_nil(err.message:find("\n"), "more than one line: " .. err.message)
  return err.message
end

describe("cli.parse", function()
  it("takes words for another program as they are, and no option in place of another value", function()
    local usage = {
      script = "experiments/NAME.lua", options = {{name = "words", value = "WORDS", kind = "words"}, cli.threads},
    }
    assert.same({words = "--a --b=1", overrides = {}}, cli.parse({"--words", "--a --b=1"}, usage))
    assert.same({words = "--a", overrides = {}}, cli.parse({"--words=--a"}, usage))
    assert.matches("expected WORDS after it, found nothing", refused(usage, "--words"))
    assert.matches("expected N after it, found '%-%-words'", refused(usage, "--threads --words --a"))
  end)
end)

describe("cli.parse for an experiment", function()
  it("takes the config alone", function()
    assert.same({config = "configs/tms.yaml", overrides = {}}, parse(experiment, "configs/tms.yaml"))
  end)

  it("takes everything together, in any order, with = or a space", function()
    local expected = {
      config = "c.yaml", overrides = {"steps=5", "task_config.feature_probability=0.1"},
      out = "d", threads = 4, quiet = true,
    }
    assert.same(expected, parse(experiment,
      "c.yaml steps=5 task_config.feature_probability=0.1 --out d --threads 4 --quiet"))
    assert.same(expected, parse(experiment,
      "--quiet --threads=4 --steps=5 --out=d c.yaml --task_config.feature_probability=0.1"))
    assert.equal("integer", math.type(parse(experiment, "c.yaml --threads 4").threads))
  end)

  it("keeps an override's value as it is, = and spaces and all", function()
    assert.same({"a=b=c d"}, cli.parse({"c.yaml", "a=b=c d"}, experiment).overrides)
    assert.same({"a="}, cli.parse({"c.yaml", "--a="}, experiment).overrides)
  end)

  it("takes a path with = in a folder's name for the config", function()
    assert.equal("runs/lr=3/c.yaml", parse(experiment, "runs/lr=3/c.yaml").config)
  end)

  it("takes words after -- as they are", function()
    assert.equal("--odd", parse(experiment, "-- --odd").config)
  end)

  it("takes --resume alone, or with --threads and --quiet", function()
    assert.same({resume = "d", overrides = {}}, parse(experiment, "--resume d"))
    assert.same({resume = "d", threads = 2, quiet = true, overrides = {}},
      parse(experiment, "--resume d --threads 2 --quiet"))
  end)

  it("refuses --resume with a config, an override or --out", function()
    assert.matches("^%-%-resume: together with CONFIG.yaml", refused(experiment, "c.yaml --resume d"))
    assert.matches("^%-%-resume: together with steps=5", refused(experiment, "--resume d steps=5"))
    assert.matches("^%-%-resume: together with %-%-out", refused(experiment, "--resume d --out e"))
  end)

  it("refuses an unknown option by name and lists those there are", function()
    local message = refused(experiment, "c.yaml --thread 4")
    assert.matches("^%-%-thread: unknown option", message)
    assert.matches("--threads", message, 1, true)
    assert.matches("^%-q: unknown option", refused(experiment, "c.yaml -q"))
  end)

  it("refuses --threads that is not an integer from 1 to 1024", function()
    for _, value in ipairs{"0", "-1", "1025", "4.0", "1e3", "x", "0x10", "99999999999999999999"} do
      assert.matches("^%-%-threads: expected an integer from 1 to 1024, found '", refused(experiment,
        "c.yaml --threads=" .. value))
    end
    assert.equal(1024, parse(experiment, "c.yaml --threads 1024").threads)
  end)

  it("refuses an option without its value, with one it does not take, and twice", function()
    assert.matches("^%-%-out: expected DIR after it, found nothing", refused(experiment, "c.yaml --out"))
    assert.matches("^%-%-out: expected DIR after it, found '%-%-quiet'",
      refused(experiment, "c.yaml --out --quiet"))
    assert.matches("^%-%-out: expected something", refused(experiment, "c.yaml --out="))
    assert.matches("^%-%-quiet: takes no value", refused(experiment, "c.yaml --quiet=1"))
    assert.matches("^%-%-out: given twice", refused(experiment, "c.yaml --out a --out b"))
  end)

  it("refuses a missing config and a second one", function()
    assert.matches("^command line: CONFIG.yaml is missing", refused(experiment, ""))
    assert.matches("^command line: CONFIG.yaml is missing", refused(experiment, "steps=5"))
    assert.matches("^'d.yaml': unexpected argument", refused(experiment, "c.yaml d.yaml"))
  end)
end)

describe("cli.parse for other scripts", function()
  it("takes a count from its least on", function()
    assert.same({directory = "d", step = 0, overrides = {}}, parse(analyse, "d --step 0"))
    assert.matches("^%-%-step: expected an integer, at least 0, found 'x'", refused(analyse, "d --step x"))
  end)

  it("takes many arguments, one at least", function()
    assert.same({"a", "b", "c"}, parse(check, "a b c").files)
    assert.matches("FILE is missing", refused(check, ""))
  end)

  it("takes a list", function()
    assert.same({"tms_5-2", "tms_40-10"}, parse(benchmark, "--cases tms_5-2,tms_40-10").cases)
    assert.matches("^%-%-cases: expected names", refused(benchmark, "--cases a,,b"))
  end)

  it("takes no key=value where there is no config", function()
    assert.equal("a=1", parse(analyse, "a=1").directory)
    assert.matches("^%-%-a: unknown option", refused(analyse, "d --a=1"))
  end)
end)

describe("cli.help", function()
  it("shows the two ways to call an experiment, and explains every word", function()
    local text = cli.help(experiment)
    assert.matches("usage: spdlua experiments/NAME.lua CONFIG.yaml [key=value ...] [--out DIR] "
      .. "[--threads N] [--quiet]\n"
      .. "       spdlua experiments/NAME.lua --resume DIR [--threads N] [--quiet]\n", text, 1, true)
    for _, form in ipairs{
      "CONFIG.yaml", "key=value", "--out DIR", "--resume DIR", "--threads N", "--quiet",
    } do
      assert.matches("\n  " .. form:gsub("%p", "%%%0") .. "  ", text)
    end
  end)

  it("is printed for -h and --help wherever they stand, and nothing is returned", function()
    local printed, print_before = {}, print
    finally(function() _G.print = print_before end)
    _G.print = function(text) printed[#printed + 1] = text end
    for i, line in ipairs{"-h", "--help", "c.yaml --threads 4 --help"} do
      assert.is_nil(parse(experiment, line))
      assert.equal(cli.help(experiment), printed[i])
    end
  end)
end)
