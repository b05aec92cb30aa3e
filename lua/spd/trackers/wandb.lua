--- Runs for Weights & Biases: an offline run's folder, which `wandb sync` sends.
--
-- A resumed run goes on in the same folder, with the same id: `wandb sync` sends a file as a whole, and what it sends
-- takes the place of what was sent before.
local core = require "spd.core"
local environment = require "spd.trackers.environment"
local errors = require "spd.errors"
local figure = require "spd.trackers.figure"
local files = require "spd.files"
local flat = require "spd.trackers.flat"
local json = require "spd.json"
local run_name = require "spd.trackers.run_name"
local transaction_log = require "spd.trackers.transaction_log"
local wandb_records = require "spd.trackers.wandb_records"
local posix = core.posix

local wandb = {}

local Observer = {name = "Weights & Biases"}
Observer.__index = Observer

--- wandb.observe(run, config [, quiet]) -> observer, or nil where WANDB_MODE says so
function wandb.observe(run, config, quiet)
  local variable = environment.read()
  local mode = (variable "WANDB_MODE" or "online"):lower()
  if mode == "disabled" then return nil end
  local tell = not quiet and mode ~= "offline" and mode ~= "dryrun"
  return setmetatable({run = run, config = config, variable = variable, tell = tell, summary = {}}, Observer)
end

-- ---- the folder ---------------------------------------------------------------------------------

local ID_LENGTH, ID_SIGNS = 8, "0123456789abcdefghijklmnopqrstuvwxyz"

local function new_id()
  local file <close> = assert(io.open("/dev/urandom", "rb"))
  return (file:read(ID_LENGTH):gsub(".", function(byte)
    local n = byte:byte() % #ID_SIGNS + 1
    return ID_SIGNS:sub(n, n)
  end))
end

local function check_id(id)
  if id:find("[:;,#?/'%c]") or not id:find("%S") then
    errors.raise(2, "WANDB_RUN_ID", ("'%s' cannot be the id of a run"):format(id:gsub("%c", "?")),
      "it has none of : ; , # ? / '")
  end
  return id
end

-- Whether a folder is one that was made for the run of that id: wandb.json may say anything.
local function is_place_of(folder, id)
  local made_for = folder:match("/offline%-run%-%d+_%d+%-([^/]+)$")
  return made_for == id and posix.is_directory(folder)
end

-- Where the run's data for Weights & Biases is, and its id: kept in the run's folder, so that resuming finds both.
function Observer:place()
  local path = self.run.directory .. "/wandb.json"
  local known = posix.is_file(path) and json.decode(files.read(path)) or {}
  local id = type(known) == "table" and type(known.run_id) == "string" and known.run_id
  local folder = id and type(known.directory) == "string" and known.directory
  if folder and is_place_of(folder, check_id(id)) then return folder, id end
  id = check_id(id or self.variable "WANDB_RUN_ID" or new_id())
  local parent = self.variable "WANDB_DIR"
  folder = ("%s/offline-run-%s-%s"):format(files.absolute(parent and parent .. "/wandb" or "wandb"),
    os.date("%Y%m%d_%H%M%S"), id)
  files.make_directory(folder .. "/files", true)
  files.write(path, json.encode_pretty{directory = folder, run_id = id})
  return folder, id
end

-- ---- records ------------------------------------------------------------------------------------

-- Add the record that make(number, ...) returns.
function Observer:add(make, ...)
  self.records = self.records + 1
  self.log:append(make(self.records, ...))
end

-- Trials of one study are a group.
local function group_of(trial) return trial and trial:match("([^/]+)/+trials/+[^/]+/*$") end

function Observer:add_beginning(id)
  local variable, config, now = self.variable, self.config, posix.wall_time()
  local tags = {}
  for tag in (variable "WANDB_TAGS" or ""):gmatch("[^,%s][^,]*") do tags[#tags + 1] = tag:match("^.*%S") end
  self:add(wandb_records.header, "spdlua " .. core.version)
  self:add(wandb_records.run, {
    id = id, project = config.wandb_project, config = config, host = posix.host_name(), start = now, tags = tags,
    name = not config.wandb_run_name and variable "WANDB_NAME" or run_name.of(config, self.run.directory),
    entity = variable "WANDB_ENTITY", group = variable "WANDB_RUN_GROUP" or group_of(os.getenv "SPDLUA_TRIAL"),
    job_type = variable "WANDB_JOB_TYPE", notes = variable "WANDB_NOTES",
  })
  self:add(wandb_records.environment, {
    os = "Linux", host = posix.host_name(), start = now, program = arg and arg[0],
    root = posix.working_directory(), executable = posix.executable(),
  })
end

-- The row of a step, to which all that is logged at the step is added. It is written when the next step's begins, since
-- Weights & Biases has one row for each step.
function Observer:row_of(step)
  if self.row and self.row._step ~= step then self:write_row() end
  self.row = self.row or {_step = step}
  return self.row
end

function Observer:write_row()
  local row = self.row
  if not row then return end
  self.row = nil
  row._timestamp, row._runtime = posix.wall_time(), self:runtime()
  for name, value in pairs(row) do self.summary[name] = value end
  self:add(wandb_records.history, row._step, row)
  self:add(wandb_records.summary, self.summary)
end

-- Seconds that processes have worked on the run.
function Observer:runtime() return self.runtime_before + posix.monotonic_time() - self.started_at end

-- ---- beginning and going on ---------------------------------------------------------------------

-- The records of an earlier process up to the last row before a step, that row's step, and its seconds.
local function earlier_records(path, step)
  local records = posix.is_file(path) and transaction_log.read(path) or {}
  local count, last, seconds = 0, -1, 0
  for i, record in ipairs(records) do
    local row_step, values = wandb_records.history_of(record)
    if row_step and row_step >= step then break end
    if row_step then count, last, seconds = i, row_step, tonumber(values._runtime) or 0 end
  end
  return table.move(records, 1, count, 1, {}), last, seconds
end

-- Log again what the run's folder has of steps after `last` and before `step`: the row that was not yet written when a
-- process was killed, or all of them if the data for Weights & Biases was removed.
function Observer:replay(last, step)
  local steps, rows, drawn = {}, {}, {}
  local function is_missing(n)
    if not n or n <= last or n >= step then return false end
    if not (rows[n] or drawn[n]) then steps[#steps + 1] = n end
    return true
  end
  for _, row in ipairs(self.run:metrics_rows()) do
    local n = row.step
    row.step = nil
    if is_missing(n) then rows[n] = row end
  end
  local folder = self.run.directory .. "/figures"
  for _, name in ipairs(posix.is_directory(folder) and files.list(folder) or {}) do
    local n = math.tointeger(tonumber(name:match("_step_(%d+)%.png$")))
    if is_missing(n) then
      drawn[n] = drawn[n] or {}
      table.insert(drawn[n], folder .. "/" .. name)
    end
  end
  table.sort(steps)
  for _, n in ipairs(steps) do
    self:logged(n, rows[n] or {})
    for _, path in ipairs(drawn[n] or {}) do self:drawn(n, path) end
  end
end

function Observer:write_descriptions()
  local lines, keys = {}, {}
  for name in pairs(self.config) do keys[#keys + 1] = name end
  table.sort(keys)
  for i, name in ipairs(keys) do lines[i] = ("%s:\n    value: %s\n"):format(name, json.encode(self.config[name])) end
  files.write(self.folder .. "/files/config.yaml", table.concat(lines))
  files.write(self.folder .. "/files/wandb-metadata.json", json.encode_pretty{
    os = "Linux", host = posix.host_name(), startedAt = os.date("!%Y-%m-%dT%H:%M:%SZ"), program = arg and arg[0],
    root = posix.working_directory(), executable = posix.executable(),
  })
end

function Observer:started(step)
  local id
  self.folder, id = self:place()
  local path = ("%s/run-%s.wandb"):format(self.folder, id)
  local records, last, seconds = earlier_records(path, step)
  self.runtime_before, self.started_at, self.records = seconds, posix.monotonic_time(), #records
  os.remove(path .. ".synced") -- which would keep `wandb sync` from sending what is added
  self.log = transaction_log.create(path, records)
  if #records == 0 then self:add_beginning(id) end
  self:write_descriptions()
  self:replay(last, step)
  if self.tell then
    io.stderr:write(("spdlua: Weights & Biases: nothing is sent now; `wandb sync %s` does it\n"):format(self.folder))
  end
end

-- ---- what is logged -----------------------------------------------------------------------------

function Observer:logged(step, numbers)
  local row = self:row_of(step)
  for name, number in pairs(numbers) do row[name] = number end
end

-- Ctrl-C does not reach the program, since the run goes on to the end of its step.
local function sha256(bytes)
  local status, out = posix.run({"sha256sum"}, {stdin = bytes, apart = true})
  if status ~= 0 then errors.raise(1, "sha256sum", status and "ended with status " .. status or out) end
  return out:match("^%x+")
end

function Observer:drawn(step, path)
  local drawn = figure.read(path)
  local hash, name = sha256(drawn.bytes), "figures/" .. drawn.name
  local media = ("media/images/%s_%d_%s.png"):format(name, step, hash:sub(1, 20))
  files.make_directory(self.folder .. "/files/media/images/figures", true)
  files.write(self.folder .. "/files/" .. media, drawn.bytes)
  self:row_of(step)[name] = {
    _type = "image-file", sha256 = hash, size = #drawn.bytes, path = media, width = drawn.width,
    height = drawn.height, format = "png",
  }
  self:add(wandb_records.media, media)
end

-- ---- the end ------------------------------------------------------------------------------------

function Observer:finish(status)
  self:write_row()
  self.summary._wandb = {runtime = math.floor(self:runtime())}
  self:add(wandb_records.summary, self.summary)
  self:add(wandb_records.exit, status, self:runtime())
  self.log:close()
  self.log = nil
  files.write(self.folder .. "/files/wandb-summary.json", json.encode_pretty(self.summary))
end

function Observer:finished(summary)
  self:write_row()
  for name, number in pairs(flat.summary(summary)) do self.summary[name] = number end
  self:finish(0)
end

function Observer:ended(problem)
  if self.log then self:finish(errors.is(problem) and problem.status or 1) end
end

return wandb
