-- The page of a language model: the data in it, and which files it may replace.
local analysis_language = require "spd.analysis.language"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local explore_page = require "spd.explore_page"
local json = require "spd.json"
local language = require "spec.support.language"

local subject = language.subject{{{0, 1, 2, 3, 4, 5}, {1, 1, 5, 5, 5, 11}}, {{8, 9, 2, 4, 7, 6}, {5, 5, 5, 5, 5, 5}}}

local function page_data()
  return explore_page.data{
    run = "run </script>", step = 40, subject = subject,
    prompts = {analysis_language.prompt(subject, "0 2 3 8"), analysis_language.prompt(subject, "5 5")},
    statistics = analysis_language.components(subject, {contexts = 2, tokens = 2}),
  }
end

-- The JSON in a page.
local function embedded(html)
  return assert(json.decode((html:match('<script type="application/json" id="data">(.-)</script>'))))
end

describe("explore_page.html", function()
  local html, data

  setup(function()
    html = explore_page.html(page_data())
    data = embedded(html)
  end)

  it("has the prompts with the active subcomponents of every token, in thousandths", function()
    assert.same({0, 2, 3, 8}, data.prompts[1].ids)
    assert.same({{}, {0, 500, 1, 250}, {1, 1000}, {}}, data.prompts[1].active[1])
    assert.same({{0, 500}, {2, 500}, {0, 1000}, {}}, data.prompts[1].active[2])
    assert.same({{}, {}}, data.prompts[2].active[1])
  end)

  it("has the statistics of every subcomponent, rounded to three digits", function()
    assert.same({"embed", "fc"}, {data.matrices[1].name, data.matrices[2].name})
    assert.same({24, 0.1, 40}, {data.tokens, data.threshold, data.step})
    local component = data.matrices[1].components[1]
    assert.same({8, 0.333}, {component.firings, component.rate})
    assert.same({{1, 3, 0.375, 1, 750}, {4, 2, 0.25, 1, 1000}}, component.tokens)
    assert.same({4, {0, 1, 2, 3, 4, 5}, {0, 750, 500, 0, 1000, 63}}, component.contexts[1])
    assert.same({tokens = {}, contexts = {}, firings = 0, rate = 0, mean = 0}, data.matrices[1].components[3])
  end)

  it("has the text of every token that is named, of half a character its name", function()
    for id = 0, 9 do assert.equal(language.texts[id + 1], data.texts[tostring(id)]) end
    assert.is_nil(data.texts["10"])
  end)

  it("writes lists without entries as lists", function()
    assert.is_truthy(html:find('"active":[[[],[]],[[],[]]]', 1, true))
    assert.is_truthy(html:find('"contexts":[],', 1, true))
  end)

  it("has no tag that comes from the data", function()
    local scripts = 0
    for _ in html:gmatch("</script>") do scripts = scripts + 1 end
    assert.equal(2, scripts)
    assert.is_nil(html:find("<img", 1, true))
    assert.equal("run </script>", data.run)
  end)

  it("loads nothing", function()
    local template = experiment.read "lua/spd/pages/explore.html"
    for _, word in ipairs{"http:", "https:", " src=", " href=", "@import", "url(", "fetch(", "import("} do
      assert.is_nil(template:find(word, 1, true), word)
    end
    assert.is_truthy(html:find("default-src 'none'", 1, true))
  end)

  it("repairs bytes that are no text", function()
    local odd = setmetatable({
      tokenizer = {decode = function() return "\xff" end, token = function() return "a\xe2\x82\xf0b" end},
    }, {__index = subject})
    local found = explore_page.data{
      run = "\x80run", step = 1, subject = odd, statistics = analysis_language.components(subject),
      prompts = {{text = "\xc3(", ids = {3}, active = {embed = {{}}, fc = {{}}}}},
    }
    assert.equal("a\u{FFFD}\u{FFFD}\u{FFFD}b", found.texts["3"])
    assert.same({"\u{FFFD}(", "\u{FFFD}run"}, {found.prompts[1].text, found.run})
    assert.is_truthy(utf8.len(explore_page.html(found)))
  end)
end)

describe("explore_page.write", function()
  local folder

  before_each(function() folder = experiment.make_folder() end)
  after_each(function() experiment.remove_folder(folder) end)

  local function refusal(path)
    local ok, err = pcall(explore_page.write, path, page_data())
    assert.is_false(ok)
    assert.equal(2, err.status)
    return tostring(err)
  end

  it("replaces its own pages only", function()
    local path = folder .. "/explore.html"
    explore_page.write(path, page_data())
    local first = experiment.read(path)
    explore_page.write(path, page_data())
    assert.equal(first, experiment.read(path))
    assert.same({"explore.html"}, core.posix.list_directory(folder))

    for _, bytes in ipairs{"", "<!doctype html>\n<html>notes"} do
      experiment.write(folder .. "/other.html", bytes)
      assert.equal(folder .. "/other.html: exists, and is no page of this script (name another file with --out)",
        refusal(folder .. "/other.html"))
      assert.equal(bytes, experiment.read(folder .. "/other.html"))
    end
  end)

  it("refuses folders, and paths in folders that are not there", function()
    assert.equal(folder .. ": is a folder", refusal(folder))
    assert.equal(folder .. "/a/b.html: there is no such folder", refusal(folder .. "/a/b.html"))
  end)
end)
