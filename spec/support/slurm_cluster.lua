--- A Slurm cluster of one node for specs: munged, slurmctld and slurmd of Debian's packages, run by whoever runs the
--- specs, with configuration, key, ports and folders of its own. It knows nothing of a Slurm that the machine may have.
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local posix = core.posix

local M = {}

local PATH = os.getenv "PATH" .. ":/usr/sbin:/sbin" -- daemons are not on the path of an ordinary user
local PATIENCE = 30 -- seconds for what takes one or two

local CONFIGURATION = [[
ClusterName=spec
SlurmctldHost=HOST(127.0.0.1)
SlurmUser=USER
SlurmdUser=USER
SlurmctldPort=PORT1
SlurmdPort=PORT2
AuthType=auth/munge
# A task that is queued again waits for as long as a credential is good.
AuthInfo=socket=FOLDER/munge.socket,cred_expire=5
StateSaveLocation=FOLDER/state
SlurmdSpoolDir=FOLDER/spool
SlurmctldPidFile=FOLDER/slurmctld.pid
SlurmdPidFile=FOLDER/slurmd.pid
# No control groups: these need root, or systemd.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1
KillWait=5
ReturnToService=2
NodeName=HOST NodeAddr=127.0.0.1 CPUs=CORES State=UNKNOWN
PartitionName=spec Nodes=ALL Default=YES MaxTime=INFINITE State=UP
]]

--- The programs that are missing, or nil.
function M.missing()
  local missing = {}
  for _, name in ipairs{"munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo"} do
    local status = posix.run{"env", "PATH=" .. PATH, "sh", "-c", "command -v " .. name}
    if status ~= 0 then missing[#missing + 1] = name end
  end
  return #missing > 0 and table.concat(missing, ", ") or nil
end

-- A port that nobody listens to, from this one on.
local function free_port(port)
  local used = experiment.read "/proc/net/tcp"
  while used:find((":%04X "):format(port), 1, true) do port = port + 1 end
  return port
end

local function output_of(...) return (select(2, experiment.run{...}):match("^[^\n]*")) end

local function configuration(folder)
  local port = free_port(20000 + posix.pid() % 10000)
  local values = {
    HOST = experiment.read("/proc/sys/kernel/hostname"):match("^[^.\n]+"), USER = output_of("id", "-un"),
    PORT1 = port, PORT2 = free_port(port + 1), FOLDER = folder, CORES = output_of("nproc"),
  }
  return (CONFIGURATION:gsub("%f[%w]%u+%d?%f[%W]", values))
end

local Cluster = {}
Cluster.__index = Cluster

local function words_within(self, words)
  return {"env", "PATH=" .. PATH, "SLURM_CONF=" .. self.folder .. "/slurm.conf", table.unpack(words)}
end

-- A daemon in the foreground, so that it ends with this process's terminal; its messages go to NAME.log.
local function start_daemon(self, name, ...)
  local command = ('exec "$@" > %s/%s.log 2>&1'):format(self.folder, name)
  table.insert(self.daemons, 1, assert(posix.start(words_within(self, {"sh", "-c", command, "sh", name, ...}))))
end

--- Run a program of that cluster; returns status, stdout, stderr.
function Cluster:run(...) return experiment.run(words_within(self, {...})) end

--- Ask until the answer is not false, and give it; an error when that takes too long.
function Cluster:wait_until(what, ask, patience)
  local deadline = posix.monotonic_time() + (patience or PATIENCE)
  while posix.monotonic_time() < deadline do
    local answer = ask()
    if answer then return answer end
    posix.sleep(0.1)
  end
  local logs = select(2, posix.run{"sh", "-c", "tail -n 20 " .. self.folder .. "/*.log"})
  error(("%s: not within %g seconds\n%s"):format(what, patience or PATIENCE, logs), 2)
end

--- The jobs that there are, a line each: job, task, state, reason.
function Cluster:jobs()
  local _, lines = self:run("squeue", "--noheader", "--array", "--format=%F %K %T %r")
  return lines
end

--- End all jobs, then the daemons.
function Cluster:stop()
  self:run("scancel", "--quiet", "--full", "--user=" .. output_of("id", "-un"))
  pcall(self.wait_until, self, "an empty queue", function() return self:jobs() == "" end)
  for _, daemon in ipairs(self.daemons) do
    daemon:terminate()
    self:wait_until("the end of a daemon", function() return daemon:poll() end)
  end
end

--- Start a cluster in a folder, which should have a short name: sockets are in it.
function M.start(folder)
  local self = setmetatable({folder = folder, daemons = {}}, Cluster)
  for _, name in ipairs{"state", "spool"} do assert(posix.make_directory(folder .. "/" .. name, true)) end
  experiment.write(folder .. "/slurm.conf", configuration(folder))
  experiment.run{"sh", "-c", "umask 077 && head -c 128 /dev/urandom > " .. folder .. "/munge.key"}
  start_daemon(self, "munged", "--foreground", "--socket=" .. folder .. "/munge.socket",
    "--key-file=" .. folder .. "/munge.key", "--pid-file=" .. folder .. "/munged.pid",
    "--log-file=" .. folder .. "/munge.log", "--seed-file=" .. folder .. "/munge.seed")
  self:wait_until("a socket of munged", function() return posix.run{"test", "-S", folder .. "/munge.socket"} == 0 end)
  start_daemon(self, "slurmctld", "-D")
  start_daemon(self, "slurmd", "-D")
  self:wait_until("an idle node", function()
    return select(2, self:run("sinfo", "--noheader", "--format=%T")):match("^idle")
  end)
  return self
end

return M
