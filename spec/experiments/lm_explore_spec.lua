-- lm_explore.lua as a process on a small decomposed language model, and its page in a browser.
local analysis_language = require "spd.analysis.language"
local browser = require "spec.support.browser"
local core = require "spd.core"
local experiment = require "spec.support.experiment"
local explore_page = require "spd.explore_page"
local json = require "spd.json"
local known = require "spec.support.language"
local language = require "spd.models.language"

local SCRIPT = "experiments/lm_explore.lua"
local TOKENIZER = "spec/fixtures/simplestories-4096.json"

describe("lm_explore.lua", function()
  local folder, run

  local function explore(...) return experiment.run{experiment.host, SCRIPT, ...} end

  local function refused(message, ...)
    local status, out, err = explore(...)
    assert.same({2, "", "spdlua: " .. message .. "\n"}, {status, out, err})
  end

  setup(function()
    folder = experiment.make_folder()
    local model = folder .. "/model"
    language.save(language.new({
      model_type = "llama", vocab_size = 4096, hidden_size = 8, intermediate_size = 8, num_hidden_layers = 1,
      num_attention_heads = 2, max_position_embeddings = 16,
    }, 1), model)
    experiment.write(model .. "/tokenizer.json", experiment.read(TOKENIZER))
    experiment.write(folder .. "/text.txt", ("Once upon a time a cat ran to Lily, and she smiled!\n"):rep(200))
    run = folder .. "/run"
    local status, _, err = experiment.run{experiment.host, "experiments/lm_decomposition.lua", "configs/ss.yaml",
      "pretrained_model_name_hf=" .. model, "tokenizer_name=null", "task_config.dataset_name=" .. folder .. "/text.txt",
      "task_config.column_name=text", "task_config.max_seq_len=16", "C=5", "steps=2", "n_eval_steps=3",
      "target_module_patterns=[model.embed_tokens, \"*.up_proj\"]", "image_freq=null", "image_on_first_step=false",
      "--out", run, "--quiet"}
    assert.same({0, ""}, {status, err})
  end)
  teardown(function() experiment.remove_folder(folder) end)

  it("writes the page into the run's folder", function()
    local status, out, err = explore(run, "A cat smiled.", "once", "--threads", "1", "--quiet")
    assert.same({0, ("page: %s/explore.html\n"):format(run), ""}, {status, out, err})
    local page = experiment.read(run .. "/explore.html")
    local data = json.decode((page:match('id="data">(.-)</script>')))
    assert.same({"run", 2, 3 * 4 * 16}, {data.run, data.step, data.tokens})
    assert.same({"A cat smiled.", "once"}, {data.prompts[1].text, data.prompts[2].text})
    assert.same({"a", "cat", "smiled", "."}, (function()
      local texts = {}
      for i, id in ipairs(data.prompts[1].ids) do texts[i] = data.texts[tostring(id)] end
      return texts
    end)())
    assert.equal(0, (explore(run, "A dog", "--quiet"))) -- its own page may be replaced
    assert.not_equal(page, experiment.read(run .. "/explore.html"))
  end)

  it("writes where it is told", function()
    local out = folder .. "/page.html"
    assert.equal(0, (explore(run, "once", "--out", out, "--step", "2")))
    assert.is_truthy(experiment.read(out):find '"run":"run"')
  end)

  it("refuses what is no run, no language model, no prompt or no page, in one line", function()
    refused(folder .. "/none: no such folder", folder .. "/none", "a")
    refused(folder .. ": is not a run's folder (it has no final_config.yaml)", folder, "a")
    refused("prompt '  ': is empty", run, "  ")
    refused("prompt '" .. ("cat "):rep(10) .. "...': 17 tokens are more than the model's maximum, 16", run,
      ("cat "):rep(17))
    refused(folder .. "/text.txt: exists, and is no page of this script (name another file with --out)", run, "a",
      "--out", folder .. "/text.txt")
    refused(run .. ": no checkpoint of step 1 (there is 2)", run, "a", "--step", "1")
    refused("command line: PROMPT is missing (spdlua experiments/lm_explore.lua --help explains)", run)
  end)

  it("refuses a run without a checkpoint, and one of a toy model", function()
    local bare = folder .. "/bare"
    core.posix.make_directory(bare)
    experiment.write(bare .. "/final_config.yaml", experiment.read(run .. "/final_config.yaml"))
    refused(bare .. ": has no checkpoint yet", bare, "a")
    local target = experiment.make_target(folder)
    local toy = folder .. "/toy"
    assert.equal(0, (experiment.decompose("configs/tms_5-2.yaml", "pretrained_model_path=" .. target, "steps=2",
      "image_freq=null", "image_on_first_step=false", "--out", toy, "--quiet")))
    refused(toy .. ": is a run of kind tms, not of a language model", toy, "a")
  end)
end)

-- ---- the page in a browser ----------------------------------------------------------------------

local function part(dom, id) return assert(dom:match('id="' .. id .. '".->(.*)'), id) end

-- Subcomponents in the list of active ones with their importances as shown.
local function active_in(dom)
  local list = {}
  for row in part(dom, "active"):match("^(.-)</section>"):gmatch('data%-component="%d+">.-</button>') do
    list[#list + 1] = {tonumber(row:match 'component="(%d+)"'), row:match "(%d%.%d%d%d)</span>"}
  end
  return list
end

describe("the page of lm_explore.lua in Chromium #slow", function()
  local folder, html

  setup(function()
    folder = experiment.make_folder()
    local subject = known.subject{{{0, 1, 2, 3, 4, 5}, {1, 1, 5, 5, 5, 11}}, {{8, 9, 2, 4, 7, 6}, {5, 5, 5, 5, 5, 5}}}
    html = explore_page.html(explore_page.data{
      run = "a <b>run</b>", step = 40, subject = subject, statistics = analysis_language.components(subject),
      prompts = {analysis_language.prompt(subject, "0 2 3 8 4 7"), analysis_language.prompt(subject, "1 5")},
    })
  end)
  teardown(function() experiment.remove_folder(folder) end)

  local function show(address, script)
    local dom, complaints = browser.document(folder, html, address, script)
    assert.same({}, complaints)
    assert.is_truthy(dom:find 'id="failure"[^>]* hidden')
    return dom
  end

  it("shows the first token where the address says nothing, or nothing right", function()
    for _, address in ipairs{"", "#prompt=7&token=-1&matrix=none&component=x"} do
      local dom = show(address)
      assert.same({}, active_in(dom))
      assert.is_truthy(dom:find("No subcomponent is active here.", 1, true))
    end
  end)

  it("shows what is active at the token of the address, with its importance, and the subcomponent", function()
    local dom = show "#prompt=0&token=1&matrix=embed&component=0"
    assert.same({{0, "0.500"}, {1, "0.250"}}, active_in(dom))
    local panel = browser.text_of(part(dom, "component"):match "^(.-)</section>")
    assert.matches("Subcomponent 0 of embed", panel)
    assert.matches("active on 33.3 %% of tokens %(8 of 24%), mean importance", panel)
    assert.matches("· cat 3 37.5 %% 100 %% 0.750", panel) -- the first of the top tokens
    assert.matches("In the prompts ⏎ · dog · cat", panel)
    local _, count = part(dom, "top%-contexts"):match("^(.-)</section>"):gsub("peak", "")
    assert.equal(3, count)
  end)

  it("shows text as text, and marks what cannot be seen", function()
    local dom = show "#prompt=0&token=2&matrix=embed&component=1"
    assert.is_nil(dom:find "<img")
    assert.is_nil(dom:match "<title>([^<]*)</title>":find "broken")
    local tokens = browser.text_of(part(dom, "tokens"):match "^(.-)</section>")
    assert.matches("the ⏎ &lt;/script&gt;&lt;img · src=x · onerror=", tokens)
    assert.matches("‹00›", tokens)
    assert.matches("a &lt;b&gt;run&lt;/b&gt;, step 40", dom:match "<h1.-</h1>")
  end)

  it("follows clicks and keys, and keeps the address", function()
    local function press(key)
      return ("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: '%s', bubbles: true}));"):format(
        key)
    end
    local report = "document.title = location.hash;"
    local function address(...) return show("", table.concat{...} .. report):match "<title>(.-)</title>" end
    assert.equal("#prompt=0&amp;token=1&amp;matrix=embed", address(press "ArrowLeft", press "ArrowRight"))
    assert.equal("#prompt=0&amp;token=1&amp;matrix=embed&amp;component=1",
      address(press "ArrowRight", press "ArrowDown", press "ArrowDown", press "ArrowDown"))
    assert.equal("#prompt=0&amp;token=5&amp;matrix=fc", address(press "]", press "]", press("ArrowRight"):rep(9)))
    assert.equal("#prompt=1&amp;token=0&amp;matrix=embed&amp;component=0", address(
      "document.querySelectorAll('#tokens button')[1].click();",
      "document.querySelector('#active [data-component=\"0\"]').click();",
      "document.querySelector('#places button:last-child').click();"))
    assert.equal("#prompt=0&amp;token=0&amp;matrix=embed", address(
      "document.querySelector('#overview button').click();", press "Escape"))
  end)
end)
