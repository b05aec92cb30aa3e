--- spd: Stochastic Parameter Decomposition in Lua.
-- All functions of the C core (`spd.core`), and the modules of this package by name: spd.model, spd.losses,
-- spd.optimize, ... are loaded when first used. In the REPL, help() lists what there is.
local core = require "spd.core"
local shape = require "spd.shape"

local spd = {}
for name, value in pairs(core) do spd[name] = value end
spd.core = core

--- spd.mse(prediction, target) -> scalar
-- Mean squared error over all elements of two tensors or values of one shape.
function spd.mse(prediction, target)
  return core.squared_error(prediction, target) / shape.count(prediction)
end

--- spd.rows(x) -> number of rows of x [..., n]: the product of its leading dimensions.
function spd.rows(x) return shape.rows(x) end

--- spd.open([directory [, {step =, model =, dataset =}]]) -> run
-- Open a run's folder to look into it: the trained subcomponents, their target, config and metrics, and methods that
-- show what they do, see help(run). step: that checkpoint (default: the last one). model and dataset: of a run that was
-- made with a model of your own, as for spd.experiment.decompose_own. spd.open() lists the newest runs under out/.
function spd.open(...) return spd.opened_run.open(...) end

--- The modules of the package, for help() and completion.
spd.modules = {
  "analysis", "assignment", "benchmark", "cli", "component_model", "config", "data", "errors", "evaluate",
  "experiment", "fields", "figures", "files", "gnuplot", "hugging_face", "interrupts", "json", "losses", "memory",
  "metrics", "model", "opened_run", "optimize", "oracle", "progress", "run", "schema", "shape", "seeds", "target",
  "text_data", "tokenizer", "yaml",
}

local is_module = {}
for _, name in ipairs(spd.modules) do is_module[name] = true end

return setmetatable(spd, {
  __index = function(self, name)
    if not is_module[name] then return nil end
    local module = require("spd." .. name)
    rawset(self, name, module)
    return module
  end,
})
