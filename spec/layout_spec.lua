-- The rules of the rooms: what each part of the tree may use, and that what is written about it is true.
local lfs = require "lfs"
local core = require "spd.core"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

--- Paths of all files below a folder whose name ends in `suffix`, sorted.
local function files_below(folder, suffix, found)
  found = found or {}
  for name in lfs.dir(folder) do
    local path = folder .. "/" .. name
    if name:sub(1, 1) ~= "." then
      if lfs.attributes(path, "mode") == "directory" then
        files_below(path, suffix, found)
      elseif name:sub(-#suffix) == suffix then
        found[#found + 1] = path
      end
    end
  end
  table.sort(found)
  return found
end

local function c_files(folder)
  local found = files_below(folder, ".c")
  table.move(files_below(folder, ".h"), 1, 1000, #found + 1, found)
  return found
end

--- C without its comments and strings.
local function code_of(path)
  return (read(path):gsub("/%*.-%*/", " "):gsub("//[^\n]*", " "):gsub('\\"', ""):gsub('"[^"\n]*"', '""'))
end

--- "PATH: WORD" for each of the words that a file of the list calls as a function.
local function calls(paths, words)
  local found = {}
  for _, path in ipairs(paths) do
    local code = code_of(path)
    for word in words:gmatch("%S+") do
      if code:find("%f[%w_]" .. word .. "%s*%(") then found[#found + 1] = path .. ": " .. word end
    end
  end
  return found
end

local function included(paths, pattern)
  local found = {}
  for _, path in ipairs(paths) do
    for name in read(path):gmatch('#include%s*[<"]([^>"]+)[>"]') do
      if name:find(pattern) then found[#found + 1] = path .. ": " .. name end
    end
  end
  return found
end

local function public_functions()
  local names, header = {}, read("core/spd.h"):gsub("/%*.-%*/", " "):gsub("//[^\n]*", " ")
  for name in header:gmatch("%f[%w_](spd_[%w_]+)%s*%(") do
    if name ~= "spd_ok" then names[#names + 1] = name end
  end
  return names
end

local function run(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read("a")
end

describe("the rooms", function()
  it("core/ knows nothing of Lua, the bindings or configs", function()
    assert.same({}, included(c_files("core"), "^lua"))
    assert.same({}, included(c_files("core"), "lauxlib"))
    assert.same({}, included(c_files("core"), "bindings/"))
    assert.same({}, included(c_files("core"), "yaml"))
  end)

  it("core/ neither prints nor ends the process", function()
    assert.same({}, calls(c_files("core"), "printf fprintf vprintf puts putchar perror exit _exit abort assert"))
  end)

  it("bindings/ see the core through its public header and hold no mathematics", function()
    local headers = included(c_files("bindings"), "core/")
    for _, entry in ipairs(headers) do assert.matches(": %.%./core/spd%.h$", entry) end
    for _, path in ipairs(c_files("bindings")) do assert.is_nil(code_of(path):match("cblas_[%w_]+%s*%("), path) end
    assert.same({}, calls(c_files("bindings"), "exp expf log logf pow powf sqrt sqrtf tanh erf erff sin cos"))
  end)

  it("lua/ requires nothing from above", function()
    for _, path in ipairs(files_below("lua", ".lua")) do
      for name in read(path):gmatch('require%s*%(?%s*"([^"]+)"') do
        assert.is_truthy(name == "cjson" or name:find("^spd%f[%z.]"), path .. " requires " .. name)
      end
    end
  end)

  it("experiments/ are scripts: no other file requires them", function()
    for _, folder in ipairs { "lua", "experiments", "spec" } do
      for _, path in ipairs(files_below(folder, ".lua")) do
        assert.is_nil(read(path):find('require%s*%(?%s*"experiments'), path)
      end
    end
  end)
end)

describe("core/spd.h", function()
  it("declares only functions that the core defines", function()
    local sources = {}
    for _, path in ipairs(files_below("core", ".c")) do sources[#sources + 1] = code_of(path) end
    local all = table.concat(sources, "\n")
    for _, name in ipairs(public_functions()) do
      assert.is_truthy(all:find("%f[%w_]" .. name .. "%s*%b()%s*{") or all:find("%(" .. name:gsub("^spd_", "") .. ","),
        name .. " is declared but not defined")
    end
  end)

  it("declares only functions that Lua, or a C program of the specs, reaches", function()
    local users = {}
    for _, folder in ipairs { "bindings", "spec" } do
      for _, path in ipairs(files_below(folder, ".c")) do users[#users + 1] = code_of(path) end
    end
    local all = table.concat(users, "\n")
    for _, name in ipairs(public_functions()) do
      local short = name:gsub("^spd_", "")
      -- Bindings of operators with one shape of call are made by a macro from the name without its prefix.
      assert.is_truthy(all:find("%f[%w_]" .. name .. "%f[^%w_]") or all:find("%f[%w_]" .. short .. "%f[^%w_]"),
        name .. " is used by no binding and no C program of the specs")
    end
  end)

  it("has a spec for every operator", function()
    local specs = { read("spec/support/operators.lua") }
    local elsewhere = { leaf = "parameter", leaf_compact = "compact", given_mask = "stochastic_mask" }
    for _, path in ipairs(files_below("spec/core", "_spec.lua")) do specs[#specs + 1] = read(path) end
    local all = table.concat(specs, "\n")
    for name in read("core/spd.h"):gmatch("\nspd_value spd_([%w_]+)%(") do
      name = elsewhere[name] or name
      assert.is_truthy(all:find("%f[%w_]" .. name .. "%f[^%w_]"), "no spec names " .. name)
    end
  end)
end)

describe("documentation", function()
  it("begins with the call, for every function of spd.core", function()
    for name, value in pairs(core) do
      if type(value) == "function" then
        local text = core.documentation[value]
        assert.is_string(text, "spd.core." .. name .. " has no documentation")
        assert.equal(name, text:match("^([%w_]+)[({]"))
      end
    end
  end)

  it("stands above every public function of lua/", function()
    for _, path in ipairs(files_below("lua", ".lua")) do
      local text, block = read(path), false
      local module = text:match("\nreturn ([%w_]+)\n$") or text:match("\nreturn setmetatable%(([%w_]+)")
      for line in text:gmatch("(.-)\n") do
        local owner, name = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
        if owner == module and owner then
          assert.is_true(block, ("%s: %s has no --- comment above it"):format(path, name))
        end
        block = line:find("^%-%-%-") ~= nil or block and line:find("^%-%-") ~= nil
      end
    end
  end)

  it("names only paths that exist in the README", function()
    if not lfs.attributes("README.md") then pending("no README.md yet") end
    local rooms = { core = true, bindings = true, lua = true, experiments = true, configs = true, spec = true }
    for path in read("README.md"):gmatch("%f[%w_./-]([%w_][%w_./-]*)") do
      local room = path:match("^(%w+)/")
      if rooms[room] and not path:find("NAME") then
        path = path:gsub("[./]+$", "")
        assert.is_truthy(lfs.attributes(path, "mode"), "README.md names " .. path .. ", which does not exist")
      end
    end
  end)
end)

describe("configs/", function()
  local command = require "spd.sweep.command"
  local config = require "spd.config"
  local definition = require "spd.sweep.definition"
  local sampling = require "spd.sweep.sampling"

  -- A sweep file that fits its config.
  local function check_sweep(path)
    local sweep, warnings = definition.read(path)
    assert.same({}, warnings)
    command.check(sweep, sampling.new(sweep))
  end

  for _, path in ipairs(files_below("configs", ".yaml")) do
    it(path .. " loads without a warning", function()
      if path:match("^configs/sweeps/") then return check_sweep(path) end
      local kind = path:match("/targets/tms") and "tms" or path:match("/targets/resid_mlp") and "residual_mlp"
        or path:match("/targets/lm") and "lm"
      local resolved, warnings
      if kind then
        resolved, warnings = config.load_target(path, kind)
      else
        resolved, warnings = config.load(path)
      end
      assert.is_table(resolved)
      assert.same({}, warnings)
    end)
  end
end)

describe("the shared modules", function()
  for name, symbol in pairs {
    ["build/release/spd/core.so"] = "luaopen_spd_core",
    ["build/double/spd/core_double.so"] = "luaopen_spd_core_double",
  } do
    it(name .. " exports " .. symbol .. " and nothing else", function()
      assert.equal(symbol .. "\n", run("nm -D --defined-only --format=posix " .. name .. " | cut -d' ' -f1"))
    end)
  end

  it("load into a stock lua5.4", function()
    local command = "LUA_CPATH='build/release/?.so' LUA_PATH= lua5.4 -e 'io.write(require(\"spd.core\").version)'"
    assert.equal(core.version, run(command))
  end)
end)
