--- The page on which a decomposed language model is explored: one HTML file with all its data in it.
--
-- Its text is pages/explore.html beside this file; JSON takes the place of @DATA@ there, and is described there, too.
local errors = require "spd.errors"
local files = require "spd.files"
local json = require "spd.json"
local posix = require("spd.core").posix

local explore_page = {}

local GENERATOR = '<meta name="generator" content="spdlua lm_explore">'

-- ---- texts of tokens ----------------------------------------------------------------------------

local REPLACEMENT = "\u{FFFD}"

-- Bytes that are not UTF-8 become replacement characters.
local function valid_text(text)
  local parts, from = {}, 1
  while true do
    local length, bad = utf8.len(text, from)
    if length then break end
    parts[#parts + 1] = text:sub(from, bad - 1) .. REPLACEMENT
    from = bad + 1
  end
  return table.concat(parts) .. text:sub(from)
end

--- explore_page.token_text(tokenizer, id) -> text
-- What a token stands for; of one that is no text by itself, such as half a character, the name in the vocabulary.
function explore_page.token_text(tokenizer, id)
  local text = tokenizer:decode{id}
  if text == "" or not utf8.len(text) or text:find(REPLACEMENT, 1, true) then
    text = tokenizer:token(id) or ("#%d"):format(id)
  end
  return valid_text(text)
end

-- The texts of all tokens that a page's data names, by id as text.
local function texts_of(data, tokenizer)
  local texts = {}
  local function add(id)
    local key = tostring(id)
    texts[key] = texts[key] or explore_page.token_text(tokenizer, id)
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

local function thousandths(importance) return math.floor(1000 * importance + 0.5) end

local function rounded(x) return tonumber(("%.3g"):format(x)) end

-- Lists that may be empty must still be lists in the page.
local function mapped(list, f)
  local out = {}
  for i, item in ipairs(list) do out[i] = f(item) end
  return #out > 0 and out or json.empty_list
end

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
  return {text = valid_text(prompt.text), ids = prompt.ids, active = active}
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
    run = valid_text(about.run), step = about.step, threshold = statistics.threshold, tokens = statistics.tokens,
    matrices = matrices, prompts = prompts,
  }
  data.texts = texts_of(data, about.subject.tokenizer)
  return data
end

-- ---- the file -----------------------------------------------------------------------------------

local function template()
  local path = assert(package.searchpath("spd.pages.explore", (package.path:gsub("%.lua", ".html"))))
  return files.read(path)
end

--- explore_page.html(data) -> text
-- The whole page. In JSON, "<" can only be part of a string, and is written so that no tag can begin there.
function explore_page.html(data)
  local text = json.encode(data):gsub("<", "\\u003c")
  return (template():gsub("@DATA@", function() return text end, 1))
end

--- explore_page.check(path)
-- Refuse a path where something else than such a page is, or that has no folder.
function explore_page.check(path)
  local folder = path:match("^(.*)/[^/]*$")
  if folder and not posix.is_directory(folder == "" and "/" or folder) then
    errors.raise(2, path, "there is no such folder")
  end
  if path:match("/$") or posix.is_directory(path) then errors.raise(2, path, "is a folder") end
  local file <close> = io.open(path, "rb")
  local beginning = file and (file:read(1000) or "")
  if beginning and not beginning:find(GENERATOR, 1, true) then
    errors.raise(2, path, "exists, and is no page of this script", "name another file with --out")
  end
end

--- explore_page.write(path, data)
-- Write a page, at once. What explore_page.check refuses is an error, and stays as it is.
function explore_page.write(path, data)
  explore_page.check(path)
  files.write(path, explore_page.html(data))
end

return explore_page
