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
      if not line:find("^spd%.%l+ ") then
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
    assert.matches("\n  errors%.raise%(status, where, what %[, hint%]%)\n +Raise an error object", text)
    assert.matches("\n  lock%(path%)", help.text(core.posix))
    assert.equal("no help: a table without functions", help.text {})
  end)

  it("shows a whole first sentence of each function, after a colon too", function()
    local text = help.text(spd.losses):gsub("\n +", " ")
    assert.matches("losses%.embedding_recon%(step%) +batch mean of the squared distance between the masked and the " ..
      "target's embedding; with", text)
    assert.is_nil(text:find(".lua:", 1, true))
    for line in help.text(spd.losses):gmatch("[^\n]+") do assert.is_true(#line <= 110, line) end
  end)

  it("lists the methods of an object", function()
    local x <close> = core.eye(2)
    local text = help.text(x)
    assert.matches("^tensor %[2, 2%]\n\n", text)
    assert.matches("\n  t:size%(i%) %-> n +Size of dimension i, from 1\n", text)
    assert.matches("for spd.relu%(t%):\n.*%f[%w]relu%f[%W]", text)
    assert.equal("no help: a number", help.text(1))
    assert.matches("^adamw\n\n.*\n  optimizer:close%(%) +Free the memory now\n", help.text(core.adamw()))
  end)

  it("lists the methods of a tape and of a value, open or closed", function()
    local value
    do
      local tape <close> = core.tape()
      value = core.relu(core.eye(1))
      assert.matches("^tape\n\n.*\n  tape:close%(%) +Forget all values", help.text(tape))
      assert.matches("^tensor %[1, 1%]\n\n  v:item%(%) %-> number +Compute a scalar\n", help.text(value))
    end
    assert.matches("^value\n\n  v:item", help.text(value))
  end)

  it("lists the methods behind a table's metatable", function()
    local methods = {}
    methods.__index = methods
    --- o:act(x) -> y
    -- Acts. More.
    function methods:act() end
    local object = setmetatable({ size = 1, run = documented }, methods)
    assert.equal("an object with the methods\n  o:act(x) -> y" .. (" "):rep(25) .. "Acts\n\n" ..
      "its own functions\n  run" .. (" "):rep(35) .. "Documented for this file\n\n" ..
      "and the fields\n  size", help.text(object))
    assert.equal("no help: a table without functions", help.text(setmetatable({}, { __index = {} })))
  end)

  it("says that nil is nothing", function()
    assert.matches("^nothing to explain: the value is nil", help.text(nil))
    assert.matches("^nothing to explain: the value is nil", help.text(spd.no_such_function))
  end)

  it("shows comments in chunks that were typed", function()
    local text = "--- Doubles x.\nfunction dbl(x) return 2 * x end"
    local environment = {}
    load(text, "=stdin[7]", "t", environment)()
    help.entered["=stdin[7]"] = text
    finally(function() help.entered["=stdin[7]"] = nil end)
    assert.equal("Doubles x.\n(stdin[7]:2)", help.text(environment.dbl))
  end)

  it("lists the keys of configs with type, default and description", function()
    local text = help.text(spd.schema)
    assert.matches("\nKeys of schema.decomposition:\n", text)
    assert.matches("\n  seed +integer, 0 or more; default 0%. Seed of all random numbers", text)
    assert.matches("\n  lr +number above 0; must be given%. Learning rate%.\n", text)
    assert.matches("\n  tied_update +one of summed, separate; default summed%.", text)
    assert.matches("\n  with task_config%.task_name: tms\n", text)
    assert.matches("\n  those of decomposition without pretrained_model_class,", text)
    for _, list in ipairs { spd.schema.decomposition, spd.schema.tms_target } do
      for _, field in ipairs(list) do assert.is_truthy(text:find("\n  " .. field.key .. " ", 1, true), field.key) end
    end
    assert.matches("^  wandb_project .*\n  synced_inputs ", help.text(spd.schema.tms_target))
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
