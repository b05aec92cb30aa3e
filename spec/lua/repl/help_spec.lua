local core = require "spd.core"
local help = require "spd.repl.help"
local spd = require "spd"

--- Documented for this file.
-- Second line.
local function documented() end

local function bare() end

describe("spd.repl.help", function()
  it("names every function and module in the overview, and none that is not there", function()
    local text = help.text()
    local functions, modules = text:match("\nFunctions of spd:\n(.*)\n\nModules, spd.NAME:\n(.*)$")
    for name, value in pairs(spd) do
      if type(value) == "function" then assert.is_truthy(functions:find("%f[%w_]" .. name .. "%f[^%w_]"), name) end
    end
    for line in (functions .. "\n"):gmatch("  (.-)\n") do
      if not line:find("spd.posix", 1, true) then
        for name in line:sub(15):gmatch("%S+") do assert.is_function(spd[name], name) end
      end
    end
    for _, name in ipairs(spd.modules) do assert.is_truthy(modules:find("  " .. name .. " ", 1, true), name) end
    for line in text:gmatch("[^\n]*") do assert.is_true(#line <= 100, line) end
  end)

  it("runs the examples of the overview", function()
    local environment = setmetatable({ spd = spd }, { __index = _G })
    for example in help.text():gmatch("\n  (%w = [^\n]-)  ") do assert(load(example, example, "t", environment))() end
    assert.equal(4, environment.n)
    assert.same({ 4, 3 }, environment.y.shape)
    environment.x:close()
    environment.y:close()
  end)

  it("shows the text of a C function", function()
    assert.equal(core.documentation[core.linear], help.text(core.linear))
    assert.equal("no help: a C function without documentation", help.text(print))
  end)

  it("shows the comment above a Lua function, and where it is", function()
    assert.matches("^Documented for this file%.\nSecond line%.\n%(.*help_spec%.lua:%d+%)$", help.text(documented))
    assert.matches("^no help: defined at .*help_spec%.lua:%d+, without a %-%-%- comment above it$", help.text(bare))
    assert.matches("^no help: defined at ", help.text(load("return function() end", "=stdin")()))
  end)

  it("shows what begins a module's file, and its functions", function()
    local text = help.text(require "spd.errors")
    assert.matches("^Errors that a user can cause", text)
    assert.matches("\n  errors%.raise%(status, where, what %[, hint%]%)\n", text .. "\n")
    assert.matches("\n  lock%(path%)", help.text(core.posix))
    assert.equal("no help: a table without functions", help.text {})
  end)

  it("lists the methods of an object", function()
    local x <close> = core.eye(2)
    local text = help.text(x)
    assert.matches("^tensor %[2, 2%]\n\n", text)
    assert.matches("\n  t:size%(i%) %-> n\n", text)
    assert.matches("for spd.relu%(t%):\n.*%f[%w]relu%f[%W]", text)
    assert.equal("no help: a number", help.text(1))
  end)

  it("finds what a string names", function()
    assert.equal(help.text(core.linear), help.text "linear")
    assert.equal(help.text(core.linear), help.text "spd.linear")
    assert.equal(help.text(require "spd.errors"), help.text "errors")
    assert.equal(help.text(spd.errors.raise), help.text "spd.errors.raise")
    assert.matches("t:fill%(value%)", help.text "fill")
    assert.matches("t:fill%(value%)", help.text "t:fill")
    assert.matches("^no help for 'nosuch'; help%(%) lists what there is$", help.text "nosuch")
    assert.matches("^no help for 'safetens'; but:\n  safetensors_load", help.text "safetens")
    assert.matches("^no help for ''", help.text "")
  end)
end)
