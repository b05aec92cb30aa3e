--- What an opened run prints: numbers, tokens, lists that go on in further lines.
local aligned = require "spd.aligned"
local core = require "spd.core"
local html_page = require "spd.html_page"
local progress = require "spd.progress"

local text = {}

local WIDEST = 100

--- text.width() -> columns that a line may have: those of the terminal, 100 at most
function text.width() return math.min(WIDEST, core.posix.terminal_width()) end

--- text.number(x) -> four digits of it; "-" for what is no number
function text.number(x) return type(x) == "number" and progress.number(x) or "-" end

--- text.importance(g) -> a causal importance with three decimals
function text.importance(g) return (("%.3f"):format(g):gsub("^%-(0%.000)$", "%1")) end

--- text.token(tokenizer, id) -> what a token stands for, in one line; "#ID" without a tokenizer
function text.token(tokenizer, id)
  if not tokenizer then return "#" .. id end
  return (html_page.token_text(tokenizer, id):gsub("\n", "\\n"):gsub("%c", "?"))
end

--- text.listed(first, items, separator) -> list of lines
-- Items after what stands at the beginning of the first line; further lines begin below them.
function text.listed(first, items, separator)
  local length = aligned.width
  local indent, width = (" "):rep(length(first)), text.width()
  local lines, line = {}, first
  for i, item in ipairs(items) do
    local more = item .. (i < #items and separator or "")
    if length(line) + length((more:gsub(" +$", ""))) > width and line ~= indent and line ~= first then
      lines[#lines + 1], line = line:gsub(" +$", ""), indent
    end
    line = line .. more
  end
  lines[#lines + 1] = line:gsub(" +$", "")
  return lines
end

--- text.first_of(items, most) -> the first items; the last one then says how many there are beyond them
function text.first_of(items, most)
  if #items <= most then return items end
  local first = table.move(items, 1, most, 1, {})
  first[most + 1] = ("... %d more"):format(#items - most)
  return first
end

return text
