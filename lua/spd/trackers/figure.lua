--- A drawn figure, as trackers want to know it.
local files = require "spd.files"
local errors = require "spd.errors"

local figure = {}

local SIGNATURE = "\137PNG\r\n\26\n"
local CHANNELS = {[0] = 1, [2] = 3, [3] = 3, [4] = 2, [6] = 4} -- of a PNG's kinds of colour

--- figure.read(path) -> {name =, bytes =, width =, height =, channels =}
-- A PNG file of a run's figures. The name is the same at all steps.
function figure.read(path)
  local bytes = files.read(path)
  if #bytes < 26 or bytes:sub(1, 8) ~= SIGNATURE then errors.raise(1, path, "is not a PNG file") end
  local width, height, _, colour = (">I4I4I1I1"):unpack(bytes, 17)
  return {
    name = path:match("([^/]*)%.png$"):gsub("_step_%d+$", ""), bytes = bytes, width = width, height = height,
    channels = CHANNELS[colour],
  }
end

return figure
