--- Pages that open from disk: one HTML file with its style, its program and its data in it.
--
-- The text of a page is pages/NAME.html beside this file. In it @FILE@ stands for another file of pages/, such as
-- @style.css@, and @DATA@ for the page's data as JSON.
local errors = require "spd.errors"
local files = require "spd.files"
local json = require "spd.json"
local posix = require("spd.core").posix

local html_page = {}

local REPLACEMENT = "\u{FFFD}"

--- html_page.valid_text(text) -> text in which bytes that are not UTF-8 became replacement characters.
function html_page.valid_text(text)
  local parts, from = {}, 1
  while true do
    local length, bad = utf8.len(text, from)
    if length then break end
    parts[#parts + 1] = text:sub(from, bad - 1) .. REPLACEMENT
    from = bad + 1
  end
  return table.concat(parts) .. text:sub(from)
end

--- html_page.mapped(list, f) -> list of f(item)
-- One that may be empty, and must still be a list in JSON.
function html_page.mapped(list, f)
  local out = {}
  for i, item in ipairs(list) do out[i] = f(item) end
  return #out > 0 and out or json.empty_list
end

--- html_page.thousandths(importance) -> integer
function html_page.thousandths(importance) return math.floor(1000 * importance + 0.5) end

--- html_page.rounded(x [, digits]) -> x with so many significant digits (3)
function html_page.rounded(x, digits) return tonumber(("%." .. (digits or 3) .. "g"):format(x)) or x end

--- html_page.token_text(tokenizer, id) -> text
-- What a token stands for; of one that is no text by itself, such as half a character, the name in the vocabulary.
function html_page.token_text(tokenizer, id)
  local text = tokenizer:decode{id}
  if text == "" or not utf8.len(text) or text:find(REPLACEMENT, 1, true) then
    text = tokenizer:token(id) or ("#%d"):format(id)
  end
  return html_page.valid_text(text)
end

-- A file of pages/.
local function piece(name)
  local base, ending = name:match("^(.*)(%.%a+)$")
  local path = assert(package.searchpath("spd.pages." .. base:gsub("/", "."), (package.path:gsub("%.lua", ending))))
  return files.read(path)
end

--- html_page.html(name, data) -> text
-- The page of pages/NAME.html. In JSON, "<" can only be part of a string, and is written so that no tag can begin
-- there.
function html_page.html(name, data)
  local text = piece(name .. ".html"):gsub("@([%w_/]+%.%a+)@", piece)
  local encoded = html_page.valid_text(json.encode(data)):gsub("<", "\\u003c")
  return (text:gsub("@DATA@", function() return encoded end, 1))
end

--- html_page.check(path, generator)
-- Refuse a path where something else than a page of this generator (a word in its meta tag) is, or that has no folder.
function html_page.check(path, generator)
  local folder = path:match("^(.*)/[^/]*$")
  if folder and not posix.is_directory(folder == "" and "/" or folder) then
    errors.raise(2, path, "there is no such folder")
  end
  if path:match("/$") or posix.is_directory(path) then errors.raise(2, path, "is a folder") end
  local file <close> = io.open(path, "rb")
  local beginning = file and (file:read(1000) or "")
  if beginning and not beginning:find(('<meta name="generator" content="spdlua %s">'):format(generator), 1, true) then
    errors.raise(2, path, "exists, and is no page of this script", "name another file with --out")
  end
end

return html_page
