--- What a process is told when it is a trial of a sweep, by its environment.
--
--     SPDLUA_TRIAL       the trial's folder, its whole path, which the sweep has made; a run that is in it already is
--                        gone on with
--     SPDLUA_OVERRIDES   a JSON list of texts "key=value", values in YAML: what is swept, laid over the config
--     SPDLUA_THREADS     how many threads to use
--
-- Every experiment honours them, so a sweep's command need not carry the values; those on the command line win. A
-- program that is none of ours can read the same variables: it finds its values in SPDLUA_OVERRIDES, and a metric that
-- it writes into SPDLUA_TRIAL/summary.json or, while it runs, as lines {"step": N, "NAME": NUMBER} of
-- SPDLUA_TRIAL/metrics.jsonl, is seen by the sweep.
--
-- A program may be run more than once for a trial: when it was ended before its time, and when the sweep was killed
-- after the program's end, before that was written down. It finds in its folder what it has left there.
local cli = require "spd.cli"
local errors = require "spd.errors"
local files = require "spd.files"
local json = require "spd.json"
local posix = require("spd.core").posix

local trial = {}

-- The program may change its working directory.
--- trial.environment(folder, overrides, threads) -> table of environment variables
-- What a trial's process is to be started with.
function trial.environment(folder, overrides, threads)
  return {
    SPDLUA_TRIAL = files.absolute(folder), SPDLUA_THREADS = tostring(threads), OMP_NUM_THREADS = tostring(threads),
    SPDLUA_OVERRIDES = json.encode(#overrides > 0 and overrides or json.empty_list),
  }
end

local function overrides_of(text)
  local list = json.decode(text)
  local ok = type(list) == "table"
  for key, value in pairs(ok and list or {}) do
    ok = ok and math.type(key) == "integer" and type(value) == "string" and value:find("=", 1, true) ~= nil
  end
  if not ok then errors.raise(2, "SPDLUA_OVERRIDES", 'expected a JSON list such as ["lr=1e-3"]') end
  return list
end

local function threads_of(text)
  local count = text:match("^%d+$") and math.tointeger(tonumber(text))
  if not count or count < 1 or count > cli.most_threads then
    errors.raise(2, "SPDLUA_THREADS", ("expected an integer from 1 to %d"):format(cli.most_threads))
  end
  return count
end

--- trial.read([variable]) -> {folder =, overrides =, threads =}, or nil where this process is no trial
-- Only what the environment has. variable(name): in place of os.getenv, for tests.
function trial.read(variable)
  variable = variable or os.getenv
  local folder = variable "SPDLUA_TRIAL"
  if not folder or folder == "" then return nil end
  local overrides, threads = variable "SPDLUA_OVERRIDES", variable "SPDLUA_THREADS"
  return {
    folder = folder, overrides = overrides and overrides_of(overrides) or {},
    threads = threads and threads_of(threads),
  }
end

--- trial.apply(options [, told]) -> options
-- The options of an experiment's command line as a trial has them (see cli.experiment); the same where this process is
-- none. told: what trial.read gives.
function trial.apply(options, told)
  told = told or trial.read()
  if not told then return options end
  for _, name in ipairs{"out", "resume"} do
    if options[name] then
      errors.raise(2, "--" .. name, "a trial of a sweep has a folder of its own", "leave it out of the sweep's command")
    end
  end
  local applied = {}
  for key, value in pairs(options) do applied[key] = value end
  applied.threads = options.threads or told.threads
  if posix.is_file(told.folder .. "/final_config.yaml") then
    applied.resume, applied.config, applied.overrides = told.folder, nil, {}
  else
    applied.out = told.folder
    applied.overrides = table.move(told.overrides, 1, #told.overrides, 1, {})
    table.move(options.overrides, 1, #options.overrides, #applied.overrides + 1, applied.overrides)
  end
  return applied
end

return trial
