--- The page on which a decomposed language model is explored: one HTML file with all its data in it.
--
-- Its text is pages/explore.html beside this file, where the data is described, too.
local files = require "spd.files"
local html_page = require "spd.html_page"
local json = require "spd.json"

local mapped, rounded, thousandths = html_page.mapped, html_page.rounded, html_page.thousandths

local explore_page = {}

-- The texts of all tokens that a page's data names, by id as text.
local function texts_of(data, tokenizer)
  local texts = {}
  local function add(id)
    local key = tostring(id)
    texts[key] = texts[key] or html_page.token_text(tokenizer, id)
  end
  local function add_all(ids)
    for _, id in ipairs(ids) do add(id) end
  end
  for _, prompt in ipairs(data.prompts) do add_all(prompt.ids) end
  for _, matrix in ipairs(data.matrices) do
    for _, component in ipairs(matrix.components) do
      for _, token in ipairs(component.tokens) do add(token[1]) end
      for _, context in ipairs(component.contexts) do add_all(context[2]) end
    end
  end
  return texts
end

-- ---- data ---------------------------------------------------------------------------------------

local function component_data(component)
  return {
    rate = rounded(component.rate), firings = component.firings, mean = rounded(component.mean),
    tokens = mapped(component.tokens, function(token)
      return {token.id, token.count, rounded(token.share), rounded(token.rate), thousandths(token.mean)}
    end),
    contexts = mapped(component.contexts, function(context)
      return {context.at - 1, context.ids, mapped(context.importances, thousandths)}
    end),
  }
end

local function active_data(list)
  local flat = {}
  for _, item in ipairs(list) do
    flat[#flat + 1] = item.component
    flat[#flat + 1] = thousandths(item.importance)
  end
  return #flat > 0 and flat or json.empty_list
end

local function prompt_data(prompt, matrices)
  local active = {}
  for m, matrix in ipairs(matrices) do active[m] = mapped(prompt.active[matrix.name], active_data) end
  return {text = html_page.valid_text(prompt.text), ids = prompt.ids, active = active}
end

--- explore_page.data{run =, step =, subject =, prompts =, statistics =} -> table
-- What a page shows, ready to be written as JSON. run: its name; prompts: a list made by analysis_language.prompt;
-- statistics: made by analysis_language.components with the same threshold.
function explore_page.data(about)
  local statistics, matrices, prompts = about.statistics, {}, {}
  for m, matrix in ipairs(about.subject.components.matrices) do
    local found = statistics.matrices[matrix.name]
    matrices[m] = {
      name = matrix.name, kind = matrix.kind, l0 = rounded(found.l0), alive = found.alive,
      components = mapped(found.components, component_data),
    }
  end
  for p, prompt in ipairs(about.prompts) do prompts[p] = prompt_data(prompt, matrices) end
  local data = {
    run = html_page.valid_text(about.run), step = about.step, threshold = statistics.threshold,
    tokens = statistics.tokens, matrices = matrices, prompts = prompts,
  }
  data.texts = texts_of(data, about.subject.tokenizer)
  return data
end

-- ---- the file -----------------------------------------------------------------------------------

--- explore_page.html(data) -> the text of the whole page
function explore_page.html(data) return html_page.html("explore", data) end

--- explore_page.check(path)
-- Refuse a path where something else than such a page is, or that has no folder.
function explore_page.check(path) html_page.check(path, "lm_explore") end

--- explore_page.write(path, data)
-- Write a page, at once. What explore_page.check refuses is an error, and stays as it is.
function explore_page.write(path, data)
  explore_page.check(path)
  files.write(path, explore_page.html(data))
end

return explore_page
