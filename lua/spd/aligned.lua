--- Text in aligned columns.
local aligned = {}

local MOST_FORMATTED = 99 -- characters that string.format can fill up to

--- aligned.width(text) -> columns that it takes: characters, or bytes where it is no UTF-8
function aligned.width(text) return utf8.len(text) or #text end

--- aligned.padded(text, width [, right]) -> text of that width, with blanks behind it, or before it
function aligned.padded(text, width, right)
  local blanks = (" "):rep(width - aligned.width(text))
  return right and blanks .. text or text .. blanks
end

--- aligned.widths(rows) -> list: the width of the widest cell of each column
function aligned.widths(rows)
  local widths = {}
  for i = 1, #rows[1] do
    local widest = 0
    for _, row in ipairs(rows) do
      if #row[i] > widest then widest = math.max(widest, aligned.width(row[i])) end
    end
    widths[i] = widest
  end
  return widths
end

-- The format of a line; nil where string.format cannot fill up to a width.
local function format_of(widths, right)
  local formats = {}
  for i, width in ipairs(widths) do
    if width > MOST_FORMATTED then return nil end
    formats[i] = width == 0 and "%s" or ("%%%s%ds"):format(right[i] and "" or "-", width)
  end
  return table.concat(formats, "  ")
end

local function padded_line(row, widths, right)
  local cells = {}
  for i, width in ipairs(widths) do cells[i] = aligned.padded(row[i], width, right[i]) end
  return table.concat(cells, "  ")
end

--- aligned.lines(rows, right) -> list of lines
-- Rows of cells, as many in each, below each other, two spaces apart, with no blanks behind the last one. right: set of
-- the columns that end at the right. (string.format is fast, but counts bytes and refuses zeros: where it does not do,
-- lines are padded cell by cell.)
function aligned.lines(rows, right)
  local widths, lines = aligned.widths(rows), {}
  local last = #widths
  if not right[last] then widths[last] = 0 end
  local format = format_of(widths, right)
  for k, row in ipairs(rows) do
    local ok, line = pcall(string.format, format, table.unpack(row, 1, last))
    if not ok or utf8.len(line) ~= #line then line = padded_line(row, widths, right) end
    lines[k] = row[last] == "" and line:gsub(" +$", "") or line
  end
  return lines
end

return aligned
