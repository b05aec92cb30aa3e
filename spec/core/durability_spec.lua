-- What was written is on disk before its name says so: a crash leaves the old file or the new one, whole.
local experiment = require "spec.support.experiment"

describe("a file that is replaced", function()
  local folder, library

  setup(function()
    folder = experiment.make_folder()
    library = folder .. "/trace_sync.so"
    local status, _, message = experiment.run{"sh", "-c", [[${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror \
      -shared -fPIC -o "$0" spec/fixtures/trace_sync.c]], library}
    assert(status == 0, message)
  end)
  teardown(function() experiment.remove_folder(folder) end)

  -- The events of a program of the release build (a library cannot go before those of a sanitizer).
  local function events_of(code, path)
    local trace = folder .. "/trace.txt"
    os.remove(trace)
    local status, _, message = experiment.run{"env", "TRACE=" .. trace, "LD_PRELOAD=" .. library, "./spdlua", "-e",
      ("local path, core = %q, require 'spd.core' %s"):format(path, code)}
    assert.same({0, ""}, {status, message})
    local events = {}
    for line in experiment.read(trace):gmatch("[^\n]+") do
      local words = {}
      for word in line:gmatch("%S+") do words[#words + 1] = word end
      events[#events + 1] = words
    end
    return events
  end

  for what, code in pairs{
    ["a safetensors file"] = "core.safetensors_save(path, {a = core.tensor{1, 2}})",
    ["a text file"] = "assert(core.posix.write_file(path, 'text'))",
  } do
    it("is synchronised before the rename, and its folder after it: " .. what, function()
      local path = folder .. "/file"
      for _ = 1, 2 do -- a new file, and one that replaces another
        local events = events_of(code, path)
        assert.equal(3, #events)
        local file, rename, last = table.unpack(events)
        assert.same({"rename", path}, {rename[1], rename[3]})
        assert.same({"fsync", rename[2]}, file)
        assert.same({"fsync", folder}, last)
      end
    end)
  end

  it("is so for the summary, cut metrics and checkpoint of a run", function()
    local events = events_of([[
      local run = require("spd.run")
      local r <close> = run.create{case = "spec", seed = 0, directory = path,
        config_writer = function(at) assert(core.posix.write_file(at, "steps: 1\n")) end}
      r:log(0, {})
      r:log(1, {})
      r:cut_metrics(1)
      r:save_checkpoint(1, {a = core.zeros(2)})
      r:write_summary{steps = 1}]], folder .. "/run")
    local renamed = {}
    for i, event in ipairs(events) do
      if event[1] == "rename" then
        local to = event[3]
        renamed[#renamed + 1] = to:sub(#folder + 6)
        assert.same({"fsync", event[2]}, events[i - 1])
        assert.same({"fsync", to:match("^(.*)/")}, events[i + 1])
      end
    end
    assert.same({"final_config.yaml", "metrics.jsonl", "checkpoints/step_1.safetensors", "summary.json"}, renamed)
  end)
end)
