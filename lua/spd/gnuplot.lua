--- Pages drawn by gnuplot: panels, text and shapes placed in pixels, written as PNG.
--
--   local page = gnuplot.page(400, 300)
--   local data = page:columns({1, 2, 3}, {2, 4, 8})
--   page:panel{x = 60, y = 20, width = 320, height = 230, x_range = {1, 3}, y_range = {0, 8},
--     plot = {data .. " using 1:2 with lines"}}
--   page:text(220, 285, "step")
--   assert(page:write("a.png"))
--
-- Pixels count from the upper left corner of the page. gnuplot reads one script on its standard input, data
-- included, and answers with the PNG; text reaches it only through gnuplot.quote.
local core = require "spd.core"

local gnuplot = {}

local Page = {}
Page.__index = Page

local FONT = "DejaVu Sans"
local POINTS_PER_PIXEL = 0.75 -- gnuplot takes font sizes in points of 1/72 inch and draws 96 pixels per inch
local CHARACTER_WIDTH = 0.61 -- of the mean character, as a fraction of the font size
local TICK_SIZE, TICK_COLOR, TEXT_COLOR = 14, "#444444", "#111111"
local FILLED = "fillcolor rgb '%s' fillstyle solid noborder"
local PNG_START, PNG_END = "\137PNG\r\n\26\n", "IEND\xAEB`\x82"

--- gnuplot.palettes: name -> colours from the lowest to the highest value.
gnuplot.palettes = {
  blues = {"#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"},
  reds = {"#fff5f0", "#fee0d2", "#fcbba1", "#fc9272", "#fb6a4a", "#ef3b2c", "#cb181d", "#a50f15", "#67000d"},
  coolwarm = {"#3b4cc0", "#6282ea", "#8db0fe", "#b8d0f9", "#dddddd", "#f5c4ad", "#f49a7b", "#de604d",
    "#b40426"},
  viridis = {"#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30",
    "#fde725"},
}

--- gnuplot.series_colors: a list that people with any colour vision can tell apart.
gnuplot.series_colors = {
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b",
}

-- ---- text and numbers ---------------------------------------------------------------------------

--- gnuplot.quote(text) -> a gnuplot string that stands for the text, whatever it holds
-- Between single quotes gnuplot interprets nothing, but it misreads doubled ones: they become apostrophes.
-- Control characters become blanks, bytes that are not UTF-8 question marks.
function gnuplot.quote(text)
  text = tostring(text)
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end
  return "'" .. text:gsub("%c", " "):gsub("'", "’") .. "'"
end

--- gnuplot.number(x) -> text; infinities, like NaN, become NaN, which gnuplot leaves out.
function gnuplot.number(x)
  if x ~= x or x == math.huge or x == -math.huge then return "NaN" end
  return ("%.7g"):format(x)
end

--- gnuplot.text_width(text, size) -> about how many pixels the text takes
function gnuplot.text_width(text, size)
  return (utf8.len(text) or #text) * size * CHARACTER_WIDTH
end

--- gnuplot.shorten(text, size, width) -> text
-- The text, with "…" in its middle where it is wider than `width` pixels.
function gnuplot.shorten(text, size, width)
  text = tostring(text)
  local most = math.max(3, math.floor(width / (size * CHARACTER_WIDTH)))
  local length = utf8.len(text)
  if not length or length <= most then return text end
  local right = (most - 1) // 2
  local left = most - 1 - right
  local first, last = utf8.offset(text, left + 1) - 1, utf8.offset(text, length - right + 1)
  return text:sub(1, first) .. "…" .. text:sub(last)
end

--- gnuplot.step(low, high, most) -> number
-- 1, 2 or 5 times a power of ten, so that at most `most` of them fit in between.
function gnuplot.step(low, high, most)
  local rough = math.max(high - low, 1e-300) / math.max(1, most)
  local power = 10.0 ^ math.floor(math.log(rough, 10))
  for _, factor in ipairs{1, 2, 5} do
    if factor * power >= rough * (1 - 1e-9) then return factor * power end
  end
  return 10 * power
end

--- gnuplot.color(palette, t) -> "#rrggbb" at t in [0, 1] of a palette of that name
function gnuplot.color(palette, t)
  local colors = gnuplot.palettes[palette]
  local position = math.min(1, math.max(0, t)) * (#colors - 1)
  local k = math.min(math.floor(position), #colors - 2)
  local from, to = colors[k + 1], colors[k + 2]
  local mixed = "#"
  for i = 2, 6, 2 do
    local a, b = tonumber(from:sub(i, i + 1), 16), tonumber(to:sub(i, i + 1), 16)
    mixed = mixed .. ("%02x"):format(math.floor(a + (b - a) * (position - k) + 0.5))
  end
  return mixed
end

local function font(size) return ("font '%s,%g'"):format(FONT, size * POINTS_PER_PIXEL) end

-- ---- ticks --------------------------------------------------------------------------------------

local SUPERSCRIPTS = {
  ["-"] = "⁻", ["0"] = "⁰", ["1"] = "¹", ["2"] = "²", ["3"] = "³", ["4"] = "⁴", ["5"] = "⁵",
  ["6"] = "⁶", ["7"] = "⁷", ["8"] = "⁸", ["9"] = "⁹",
}

local function power_of_ten(exponent)
  return exponent == 0 and "1" or "10" .. tostring(exponent):gsub(".", SUPERSCRIPTS)
end

-- The word "axis" in front of ticks places them at the zero axis, not at the border.
local function axis_ticks(axis, ticks)
  if not ticks then return ("unset %stics"):format(axis) end
  local place = ticks:find("^axis") and "" or "border "
  return ("set %stics %s%s nomirror out scale 0.6 %s textcolor '%s'"):format(axis, place, ticks,
    font(TICK_SIZE), TICK_COLOR)
end

--- gnuplot.ticks(low, high, most) -> ticks at round numbers of a linear axis, for page:panel
function gnuplot.ticks(low, high, most)
  return ("%.9g"):format(gnuplot.step(low, high, most))
end

--- gnuplot.index_ticks(count, most) -> ticks 0, step, ... below `count`, at whole numbers, for page:panel
function gnuplot.index_ticks(count, most)
  local step = math.ceil(math.max(1, gnuplot.step(0, count, math.max(1, math.floor(most)))))
  return ("0,%d,%d"):format(step, (count - 1) // step * step) -- gnuplot goes past a last one that is no tick
end

--- gnuplot.named_ticks(names [, every]) -> ticks at 0, 1, 2, ... that say the names, for page:panel
-- every: only at 0 and its multiples.
function gnuplot.named_ticks(names, every)
  local list = {}
  for i = 1, #names, every or 1 do list[#list + 1] = ("%s %d"):format(gnuplot.quote(names[i]), i - 1) end
  return "(" .. table.concat(list, ", ") .. ")"
end

--- gnuplot.log_ticks(low, high, most) -> ticks of a logarithmic axis, for page:panel
-- At most about `most` powers of ten have their number; where the axis holds only one or none, 2 and 5 times
-- them too.
function gnuplot.log_ticks(low, high, most)
  local first, last = math.floor(math.log(low, 10) + 1e-9), math.ceil(math.log(high, 10) - 1e-9)
  local every = math.max(1, math.ceil((last - first) / most))
  local few = last - first <= 2
  local list = {}
  local function tick(value, label)
    list[#list + 1] = ("'%s' %g %d"):format(label or "", value, label and 0 or 1)
  end
  for exponent = first, last do
    tick(10.0 ^ exponent, (exponent - first) % every == 0 and power_of_ten(exponent) or nil)
    for digit = 2, last - first <= 8 and 9 or 1 do
      local value = digit * 10.0 ^ exponent
      tick(value, few and (digit == 2 or digit == 5) and ("%g"):format(value) or nil)
    end
  end
  return "(" .. table.concat(list, ", ") .. ")"
end

-- ---- pages --------------------------------------------------------------------------------------

--- gnuplot.page(width, height) -> page, white, of that many pixels
function gnuplot.page(width, height)
  width, height = math.ceil(width), math.ceil(height)
  return setmetatable({width = width, height = height, blocks = {}, panels = {}, shapes = {}}, Page)
end

local function add(list, format, ...) list[#list + 1] = format:format(...) end

local function block(self, lines)
  local name = "$data" .. #self.blocks + 1
  self.blocks[#self.blocks + 1] = name .. " << END_OF_DATA\n" .. table.concat(lines, "\n") .. "\nEND_OF_DATA"
  return name
end

--- page:matrix(rows) -> name
-- Rows [n][m] as data that `matrix with image` reads.
function Page:matrix(rows)
  local lines, number = {}, gnuplot.number
  for i, row in ipairs(rows) do
    local cells = {}
    for j, value in ipairs(row) do cells[j] = number(value) end
    lines[i] = table.concat(cells, " ")
  end
  return block(self, lines)
end

--- page:columns(list, ...) -> name
-- Lists of one length as columns that `using 1:2` reads. A NaN breaks a line there.
function Page:columns(...)
  local lists, lines = {...}, {}
  for i = 1, #lists[1] do
    local cells = {}
    for k, list in ipairs(lists) do
      cells[k] = gnuplot.number(list[i])
    end
    lines[i] = table.concat(cells, " ")
  end
  return block(self, lines)
end

--- page:text(x, y, text [, style])
-- Text centred at (x, y) in height, and in width unless style.align is "left" or "right". Other styles: size
-- in pixels, color, rotate (upwards), within: the pixels that it may take; a longer one is shortened.
function Page:text(x, y, text, style)
  style = style or {}
  local size = style.size or 16
  if style.within then text = gnuplot.shorten(text, size, style.within) end
  add(self.shapes, "set label at %g,%g %s %s %s %s textcolor rgb '%s' front noenhanced", x, y,
    gnuplot.quote(text), style.align or "center", style.rotate and "rotate by 90" or "", font(size),
    style.color or TEXT_COLOR)
end

--- page:line(x1, y1, x2, y2 [, style])
-- A line from (x1, y1) to (x2, y2), below circles and text. style: width, color, dashed.
function Page:line(x1, y1, x2, y2, style)
  style = style or {}
  add(self.shapes, "set arrow from %g,%g to %g,%g nohead back linewidth %g linecolor rgb '%s' dashtype %d",
    x1, y1, x2, y2, style.width or 1, style.color or TEXT_COLOR, style.dashed and 2 or 1)
end

--- page:circle(x, y, radius, style)
-- A circle around (x, y). style: fill, border (colours).
function Page:circle(x, y, radius, style)
  add(self.shapes, "set object circle at %g,%g size first %g front fillcolor rgb '%s' " ..
    "fillstyle solid border linecolor rgb '%s'", x, y, radius, style.fill, style.border or style.fill)
end

--- page:rectangle(x, y, width, height, color)
-- A filled rectangle with its upper left corner at (x, y), below lines.
function Page:rectangle(x, y, width, height, color)
  add(self.shapes, "set object rectangle from %g,%g to %g,%g behind " .. FILLED, x, y, x + width, y + height,
    color)
end

-- What gnuplot calls margins, from pixels.
local function place(self, lines, x, y, width, height)
  add(lines, "set lmargin at screen %.8f", x / self.width)
  add(lines, "set rmargin at screen %.8f", (x + width) / self.width)
  add(lines, "set tmargin at screen %.8f", 1 - y / self.height)
  add(lines, "set bmargin at screen %.8f", 1 - (y + height) / self.height)
end

--- page:panel(panel)
-- A plot in the rectangle x, y, width, height. x_range, y_range: {low, high}; x_ticks, y_ticks: from
-- gnuplot.ticks and its like, none if nil or false; log_x, log_y; border: gnuplot's number for the sides drawn (3:
-- below and left); background: a colour; palette with color_range {low, high} for images; setup: further
-- commands; plot: the things to plot, in order.
function Page:panel(panel)
  local lines = self.panels
  place(self, lines, panel.x, panel.y, panel.width, panel.height)
  add(lines, "set border %d linewidth 1 linecolor rgb '%s'", panel.border or 3, TICK_COLOR)
  lines[#lines + 1] = axis_ticks("x", panel.x_ticks)
  lines[#lines + 1] = axis_ticks("y", panel.y_ticks)
  add(lines, "set xrange [%.9g:%.9g]", table.unpack(panel.x_range))
  add(lines, "set yrange [%.9g:%.9g]", table.unpack(panel.y_range))
  if panel.log_x then lines[#lines + 1] = "set logscale x" end
  if panel.log_y then lines[#lines + 1] = "set logscale y" end
  if panel.background then
    add(lines, "set object rectangle from graph 0,0 to graph 1,1 behind " .. FILLED, panel.background)
  end
  if panel.palette then
    local colors = {}
    for i, color in ipairs(gnuplot.palettes[panel.palette]) do colors[i] = ("%d '%s'"):format(i, color) end
    add(lines, "set palette defined (%s)", table.concat(colors, ", "))
    add(lines, "set cbrange [%.9g:%.9g]", table.unpack(panel.color_range))
  end
  if panel.setup then table.move(panel.setup, 1, #panel.setup, #lines + 1, lines) end
  lines[#lines + 1] = "plot " .. table.concat(panel.plot, ", ")
  lines[#lines + 1] = "unset logscale; unset object; unset grid; unset zeroaxis; set format '%g'"
end

--- page:color_bar(x, y, height, palette, range [, title])
-- A vertical scale of colours, `title` along its side, with room for its numbers to the right (80 pixels).
function Page:color_bar(x, y, height, palette, range, title)
  local steps, width, ticks = {}, 22, gnuplot.ticks(range[1], range[2], math.max(2, height // 60))
  for i = 1, 256 do
    local value = range[1] + (range[2] - range[1]) * (i - 0.5) / 256
    steps[i] = {value, value}
  end
  local data = self:matrix(steps)
  self:panel{
    x = x, y = y, width = width, height = height, border = 15, palette = palette, color_range = range,
    x_range = {-0.5, 1.5}, y_range = range,
    setup = {
      ("set y2range [%.9g:%.9g]"):format(range[1], range[2]),
      ("set y2tics %s out scale 0.6 %s textcolor '%s'"):format(ticks, font(TICK_SIZE), TICK_COLOR),
    },
    plot = {("%s matrix using 1:(%.9g + ($2 + 0.5) * %.9g):3 with image"):format(data, range[1],
      (range[2] - range[1]) / #steps)},
  }
  self.panels[#self.panels + 1] = "unset y2tics"
  if title then self:text(x + width + 66, y + height / 2, title, {rotate = true}) end
end

--- page:script() -> text
-- The whole gnuplot script of the page.
function Page:script()
  local lines = {
    ("set terminal pngcairo size %d,%d noenhanced background rgb 'white'"):format(self.width, self.height),
    "set encoding utf8",
    "unset key; unset colorbox",
    "set format '%g'",
  }
  table.move(self.blocks, 1, #self.blocks, #lines + 1, lines)
  lines[#lines + 1] = "set multiplot"
  table.move(self.panels, 1, #self.panels, #lines + 1, lines)
  place(self, lines, 0, 0, self.width, self.height)
  add(lines, "unset xtics; unset ytics; unset border")
  add(lines, "set xrange [0:%d]; set yrange [%d:0]", self.width, self.height)
  table.move(self.shapes, 1, #self.shapes, #lines + 1, lines)
  lines[#lines + 1] = "plot NaN\nunset multiplot\n"
  return table.concat(lines, "\n")
end

-- ---- running gnuplot ----------------------------------------------------------------------------

local function last_line(text)
  local last = "no message"
  for line in text:gmatch("[^\r\n]+") do
    line = line:match("^%s*(.-)%s*$")
    if line ~= "" and line ~= "^" then last = line end
  end
  return last
end

--- page:png([program]) -> bytes, or nil and the reason
-- The page as PNG; program: the gnuplot to run.
function Page:png(program)
  program = program or "gnuplot"
  local status, bytes, messages = core.posix.run({program, "-d", "-"}, {stdin = self:script(), apart = true})
  if not status then
    return nil, ("%s: %s (figures need gnuplot; on Debian: apt install gnuplot-nox)"):format(program, bytes)
  end
  if status ~= 0 then return nil, ("%s: %s"):format(program, last_line(messages)) end
  if bytes:sub(1, #PNG_START) ~= PNG_START or bytes:sub(-#PNG_END) ~= PNG_END then
    return nil, ("%s: no picture (%s)"):format(program, last_line(messages))
  end
  return bytes
end

--- page:write(path [, program]) -> true, or nil and the reason
-- Draw the page and put it at path, whole or not at all.
function Page:write(path, program)
  local bytes, reason = self:png(program)
  if not bytes then return nil, reason end
  local written, refusal = core.posix.write_file(path, bytes)
  if not written then return nil, refusal end
  return true
end

return gnuplot
