-- What a sweep shows: a table that fits the terminal and is drawn again in place, or a line per trial.
local board = require "spd.sweep.board"
local experiment = require "spec.support.experiment"
local measured = require "spd.sweep.measured"
local core = require "spd.core"
local study_module = require "spd.sweep.study"

describe("the display of a sweep", function()
  local folder, study, shown, now

  -- 40 trials, of which 20 have ended, and two run.
  before_each(function()
    folder, now = experiment.make_folder(), 0
    study = study_module.open{
      directory = folder .. "/study", text = "", sweep = {
        path = "s.yaml", method = "grid", metric = {name = "mmcs", goal = "maximize"}, parameters = {
          {key = "lr", distribution = "categorical"}, {key = "C", distribution = "constant"},
        },
      },
      sampler = {
        count = function() return 40 end,
        values = function(_, n) return {{key = "lr", value = n / 4}, {key = "C", value = 20}} end,
      },
    }
    for number = 0, 19 do
      local failed = number == 7
      study.db:run("INSERT INTO trials (number, state, parameters, seconds, ended, metric, problem) " ..
        "VALUES (?, ?, ?, 10.0, 1, ?, ?)", number, failed and "failed" or "finished",
        ('[{"key":"lr","value":%g},{"key":"C","value":20}]'):format((number + 1) / 4),
        not failed and number / 100 or nil,
        failed and "so\tsorry" or nil)
    end
    for number = 20, 21 do
      study:claim()
      assert(core.posix.make_directory(study:folder(number)))
      experiment.write(study:folder(number) .. "/final_config.yaml", "seed: 0\nsteps: 100\n")
      experiment.write(study:folder(number) .. "/metrics.jsonl", '{"step":50,"mmcs":0.75}\n')
    end
  end)
  after_each(function()
    study:close()
    experiment.remove_folder(folder)
  end)

  local function new(settings)
    shown = {}
    settings.study, settings.readings = study, measured.readings(study)
    settings.output = {write = function(_, ...) shown[#shown + 1] = table.concat{...} end, flush = function() end}
    settings.clock = function() return now end
    return board.new(settings)
  end

  local function terminal(width, height)
    return new{terminal = true, width = function() return width end, height = function() return height end}
  end

  it("says on a terminal how far it is, what is best, what runs, and what ended last", function()
    local display = terminal(100, 9)
    now = 100
    assert.same({
      "20 of 40 trials, 1 failed, 2 running, 1:40 gone, 1:35 left",
      "best mmcs so far: 0.1900, trial 19, lr=5",
      "trial  state     step                   mmcs  time  values",
      "   20  running   [#####-----] 50/100  0.7500        lr=5.25",
      "   21  running   [#####-----] 50/100  0.7500        lr=5.5",
      "   19  finished                       0.1900  0:10  lr=5",
      "   18  finished                       0.1800  0:10  lr=4.75",
      "   17  finished                       0.1700  0:10  lr=4.5",
    }, board.lines(display))
  end)

  it("says why a trial has failed", function()
    assert.matches("\n    7  failed  +%-  0:10  so%?sorry\n", table.concat(board.lines(terminal(100, 40)), "\n"))
  end)

  it("fits every terminal", function()
    for _, size in ipairs{{20, 3}, {40, 5}, {80, 24}, {200, 60}} do
      local lines = board.lines(terminal(size[1], size[2]))
      assert.is_true(#lines <= math.max(3, size[2] - 1), #lines)
      for _, line in ipairs(lines) do assert.is_true(#line < size[1], line) end
    end
  end)

  it("is drawn over itself in one piece", function()
    local display = terminal(80, 10)
    display:update()
    display:update()
    assert.equal(2, #shown)
    assert.is_nil(shown[1]:find "\27%[%d*A")
    assert.matches("^\27%[9A\r20 of 40", shown[2])
    local _, count = shown[2]:gsub("\27%[K\n", "")
    assert.equal(9, count)
    assert.matches("\27%[J$", shown[2])
  end)

  it("is a line per trial where there is no terminal", function()
    local display = new{terminal = false}
    display:update()
    display:ended(study:recent(1)[1])
    assert.same({"trial 19 finished, after 0:10, mmcs 0.1900, lr=5 (20 of 40 trials, 1 failed, 2 running)\n"}, shown)
  end)

  it("is nothing when it is to be quiet", function()
    local display = new{terminal = true, quiet = true}
    display:update()
    display:ended(study:recent(1)[1])
    assert.same({}, shown)
  end)
end)
