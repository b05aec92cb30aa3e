-- The README says what is so. That the paths in it exist is checked by layout_spec.lua.
local posix = require("spd.core").posix

local host = os.getenv("SPDLUA") or "./spdlua"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local readme = read("README.md")

-- The command lines of a program in indented blocks, each as a list of its words. Lines that end in a backslash go on.
local function commands(program)
  local found = {}
  for line in readme:gsub("%s*\\\n%s*", " "):gmatch("\n    ([^\n]+)") do
    line = line:gsub("%s+#.*$", ""):gsub("^%$ ", "")
    if line:match("^(%S+)") == program then
      local words = {}
      for word in line:gmatch("%S+") do words[#words + 1] = word end
      found[#found + 1] = words
    end
  end
  return found
end

-- Whether a word of a command names a file of the checkout, and not one that a run makes.
local function names_file(word)
  return word:find("^[%w_./-]+%.[ch]$") or (word:find("^[%w_./-]+%.%a+$") and not word:find("^out/"))
end

describe("README.md", function()
  it("names only scripts, configs and options that exist in its spdlua commands", function()
    local lines = commands "spdlua"
    assert.is_true(#lines >= 10)
    local help = {}
    for _, words in ipairs(lines) do
      local text, script = table.concat(words, " "), nil
      for _, word in ipairs(words) do
        if names_file(word) then assert.is_true(posix.is_file(word), text) end
        if word:find("^experiments/.*%.lua$") then script = word end
        if script and word:find("^%-%-") then
          help[script] = help[script] or select(2, posix.run{host, script, "--help"})
          assert.is_truthy(help[script]:find(" " .. word:gsub("%-", "%%-") .. "%f[^%w-]"), text)
        end
      end
    end
  end)

  it("names only targets of make that there are", function()
    local makefile, count = read("Makefile"), 0
    for target in readme:gmatch("`make ([%a-]+)`") do
      count = count + 1
      assert.is_truthy(makefile:find("\n" .. target:gsub("%-", "%%-") .. ":"), target)
    end
    for _, words in ipairs(commands "make") do
      count = count + 1
      assert.is_truthy(makefile:find("\n" .. words[2]:gsub("%-", "%%-") .. ":"), words[2])
    end
    assert.is_true(count >= 5)
  end)

  it("lists the packages that make setup installs", function()
    local makefile = read("Makefile"):gsub("\\\n%s*", "")
    local listed = readme:match("installs the packages(.-)`make check`"):gsub("%s+", " ")
    for package in makefile:match("\nDEBIAN_PACKAGES := ([^\n]+)"):gmatch("%S+") do
      assert.is_truthy(listed:find("[ %)]" .. package:gsub("%p", "%%%0") .. "[,.]"), package)
    end
  end)

  it("shows the C programs that the specs compile", function()
    for _, path in ipairs{"spec/fixtures/embedding.c", "spec/fixtures/embedding_lua.c"} do
      assert.is_truthy(readme:find("\n```c\n" .. read(path) .. "```\n", 1, true), path)
    end
  end)

  -- What is typed in a session at the prompt, whose lines are indented, and what stands on the terminal.
  local function session_of(text)
    local input, expected = {}, {}
    for line in text:gmatch("    ([^\n]*)\n") do
      local prompt, typed = line:match("^(>+ )(.*)")
      input[#input + 1] = typed
      expected[#expected + 1] = prompt or line .. "\n"
    end
    return table.concat(input, "\n") .. "\n", table.concat(expected) .. "> \n"
  end

  -- What the prompt prints in a folder.
  local function answers_to(input, folder)
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(input)
    file:close()
    local status, text, message = posix.run{"sh", "-c", ('cd "%s" && exec "%s" -i < "%s"'):format(folder,
      posix.executable(), path)}
    os.remove(path)
    assert.equal("", message)
    assert.equal(0, status)
    return text
  end

  it("shows what the prompt prints", function()
    local first = assert(readme:find("\n    spdlua [%d.]+ %("))
    local input, expected = session_of(readme:sub(first + 1):match("^(.-\n)\n%S"))
    assert.equal(expected, answers_to(input, "."))
  end)

  -- Words of a text, and of its numbers with a point their values; without the examples, which may be others where a
  -- processor rounds otherwise.
  local function words_of(text)
    local words = {}
    for line in text:gmatch("[^\n]+") do
      local is_example = line:find("^ *%d+ +1%.000 ")
      for word in (is_example and "" or line):gmatch("[^%s,()]+") do
        words[#words + 1] = word:find("^[+-]?%d+%.%d[%de-]*$") and tonumber(word) or word
      end
    end
    return words
  end

  it("shows what an opened run prints", function()
    local input, expected = session_of(readme:match("\n(    > run = spd%.open.-\n)\n%S"))
    local folder = os.tmpname()
    os.remove(folder)
    assert(posix.make_directory(folder .. "/out", true))
    assert.equal(0, (posix.run{"cp", "-r", "spec/fixtures/tms_run", folder .. "/out/tms"}))
    local text = answers_to(input, folder)
    local is_drawn = posix.is_file(folder .. "/out/component.png")
    posix.run{"rm", "-rf", folder}
    assert.is_true(is_drawn)
    local wanted, found = words_of(expected), words_of(text:gsub("^[^\n]*\n", ""))
    assert.equal(#wanted, #found, text)
    for i, word in ipairs(wanted) do
      if type(word) == "number" and type(found[i]) == "number" then
        assert.near(word, found[i], 0.002 + 0.01 * math.abs(word))
      else
        assert.equal(word, found[i])
      end
    end
  end)
end)
