local progress = require "spd.progress"

-- A stand-in for a file and a clock that advances when told.
local function display(settings)
  local written, now = {}, 0
  settings.output = {
    write = function(_, ...) for _, text in ipairs{...} do written[#written + 1] = text end end,
    flush = function() end,
  }
  settings.title, settings.clock = "tms", function() return now end
  settings.width = settings.width or function() return 80 end
  return progress.new(settings), function(seconds) now = now + seconds end,
    function() return table.concat(written) end
end

describe("progress.number", function()
  it("shows four digits", function()
    for text, value in pairs{
      ["0.1000"] = 0.1, ["0.01235"] = 0.012346, ["1.235"] = 1.2346, ["12.35"] = 12.346, ["1234"] = 1234.4,
      ["1.235e-04"] = 1.2346e-4, ["1.235e+05"] = 123456.0, ["-0.5000"] = -0.5,
    } do
      assert.equal(text, progress.number(value))
    end
  end)

  it("shows integers, 0, NaN and infinities as what they are", function()
    assert.equal("0", progress.number(0.0))
    assert.equal("12", progress.number(12))
    assert.equal("-3", progress.number(-3.0))
    assert.equal("inf", progress.number(math.huge))
    assert.equal("-inf", progress.number(-math.huge))
    assert.equal("nan", progress.number(0 / 0))
  end)
end)

describe("progress.duration", function()
  it("grows with the time", function()
    for text, seconds in pairs{
      ["0:00"] = 0, ["0:08"] = 7.6, ["1:00"] = 59.7, ["12:34"] = 754, ["1:02:03"] = 3723,
      ["3d 04:05:06"] = 273906,
    } do
      assert.equal(text, progress.duration(seconds))
    end
  end)

  it("is ? when there is no telling", function()
    assert.equal("?", progress.duration(math.huge))
    assert.equal("?", progress.duration(0 / 0))
  end)
end)

describe("progress.rate", function()
  it("shows three digits, and - for none", function()
    assert.equal("412/s", progress.rate(412.4))
    assert.equal("41.2/s", progress.rate(41.24))
    assert.equal("4.12/s", progress.rate(4.124))
    assert.equal("-/s", progress.rate(0))
  end)
end)

describe("progress.losses", function()
  it("takes entries loss/NAME only, the total first, then by name", function()
    assert.same({{"total", 3}, {"faithfulness", 1}, {"recon", 2}}, progress.losses{
      ["loss/recon"] = 2, ["loss/total"] = 3, ["loss/faithfulness"] = 1, lr = 9, ["linear1/ci_l0"] = 4,
    })
  end)
end)

describe("progress lines", function()
  local state = {
    title = "tms", step = 300, steps = 1000, rate = 10, elapsed = 30,
    losses = {{"total", 0.0123}, {"faithfulness", 1e-5}, {"stochastic_recon", 0.5}},
  }
  local done = setmetatable({step = 1000}, {__index = state})

  it("a plain line has step, losses, rate and time left, in columns that stay", function()
    local line = progress.plain_line(state)
    assert.equal("tms  300/1000  total   0.01230  faithfulness 1.000e-05  stochastic_recon    0.5000  10.0/s"
      .. "     1:10 left", line)
    local later = progress.plain_line(setmetatable({step = 900, losses = {
      {"total", 1.5e-7}, {"faithfulness", 12}, {"stochastic_recon", 0.001},
    }}, {__index = state}))
    for _, word in ipairs{"total", "faithfulness", "stochastic_recon", "left"} do
      assert.equal(line:find(word, 1, true), (later:find(word, 1, true)))
    end
  end)

  it("the last line has the time it took", function()
    assert.matches("took 0:30$", progress.plain_line(done))
    assert.matches("100%%  1000/1000", progress.bar_line(done, 100))
  end)

  it("a bar is filled by the share of steps", function()
    assert.matches("^tms %[###%-%-%-%-%-%-%-%]  30%%", progress.bar_line(state, 50))
    assert.matches("^tms %[#+%]", progress.bar_line(done, 100))
    local fresh = setmetatable({step = 0, rate = 0}, {__index = state})
    assert.matches("^tms %[%-+%]   0%%", progress.bar_line(fresh, 100))
  end)

  it("a bar line shows the losses that fit, the first ones first", function()
    assert.is_nil(progress.bar_line(state, 60):find("total"))
    assert.matches("total", progress.bar_line(state, 80))
    assert.is_nil(progress.bar_line(state, 80):find("faithfulness"))
    assert.matches("stochastic_recon", progress.bar_line(state, 140))
  end)

  it("a bar line is never wider than the terminal", function()
    for width = 0, 200 do assert.is_true(#progress.bar_line(state, width) <= width) end
  end)

  it("zero steps are a full bar", function()
    local nothing = setmetatable({step = 0, steps = 0, rate = 0}, {__index = state})
    assert.matches("%[#+%] 100%%", progress.bar_line(nothing, 100))
  end)
end)

describe("a display", function()
  it("prints one plain line per logged step where there is no terminal", function()
    local p, wait, output = display{steps = 100, terminal = false}
    for step = 0, 100 do
      p:update(step, {["loss/total"] = 1 / (step + 1)}, step % 50 == 0)
      wait(0.25)
    end
    p:finish()
    local lines = {}
    for line in output():gmatch("[^\n]*\n") do lines[#lines + 1] = line end
    assert.equal(3, #lines)
    assert.matches("^tms   0/100  total         1     %-/s        %? left\n$", lines[1])
    assert.matches("^tms  50/100  total   0.01961  4.00/s     0:1[23] left\n$", lines[2])
    assert.matches("took 0:25\n$", lines[3])
    assert.is_nil(output():find("[\r\27]"))
  end)

  it("redraws on a terminal at most ten times a second, and ends with the last step and a newline", function()
    local p, wait, output = display{steps = 1000, terminal = true}
    for step = 0, 1000 do
      p:update(step, {["loss/total"] = step}, step % 10 == 0)
      wait(0.001)
    end
    p:finish()
    p:finish()
    local _, drawn = output():gsub("\r", "")
    assert.is_true(drawn >= 10 and drawn <= 13, drawn .. " times")
    assert.matches("1000/1000[^\n]*\27%[K\n$", output())
    local _, newlines = output():gsub("\n", "")
    assert.equal(1, newlines)
  end)

  it("adapts to a terminal whose width changes", function()
    local width = 100
    local p, wait, output = display{steps = 10, terminal = true, width = function() return width end}
    p:update(0)
    wait(1)
    width = 50
    p:update(1)
    local lines = {}
    for line in output():gmatch("\r([^\27]*)") do lines[#lines + 1] = #line end
    assert.is_true(lines[1] > 50 and lines[1] < 100)
    assert.is_true(lines[2] < 50)
  end)

  it("counts only its own steps when it starts in the middle", function()
    local p, wait, output = display{steps = 100, terminal = false}
    p:update(50, {}, false)
    wait(1)
    p:update(60, {}, true)
    assert.matches("10.0/s     0:04 left\n$", output())
  end)

  it("follows a rate that changes", function()
    local p, wait, output = display{steps = 100000, terminal = false}
    for step = 0, 1000 do p:update(step) wait(0.01) end
    for step = 1001, 4000 do p:update(step) wait(0.1) end
    p:update(4001, {}, true)
    assert.matches("  10.0/s", output())
  end)

  it("prints nothing when quiet", function()
    for _, terminal in ipairs{true, false} do
      local p, _, output = display{steps = 1, terminal = terminal, quiet = true}
      p:update(0, {}, true)
      p:message("hello")
      p:update(1, {}, true)
      p:finish()
      assert.equal("", output())
    end
  end)

  it("puts a message above the bar", function()
    local p, _, output = display{steps = 10, terminal = true}
    p:update(1)
    p:message("hello")
    assert.matches("\27%[K\r\27%[Khello\n\rtms", output())
  end)

  it("finishes when it goes out of scope", function()
    local p, _, output = display{steps = 10, terminal = true}
    do
      local scoped <close> = p
      scoped:update(1)
    end
    assert.matches("\n$", output())
  end)
end)
