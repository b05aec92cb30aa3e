--- Shows a page in headless Chromium, for specs tagged #slow.
local experiment = require "spec.support.experiment"

local M = {}

--- The document as Chromium has it after the page's scripts and `script` ran, and what it printed to its console.
-- html: the page; address: what follows its name, such as "#run=1"; width: of the window (1400 pixels). The page is
-- written into the folder.
function M.document(folder, html, address, script, width)
  local path = folder .. "/page.html"
  experiment.write(path, html:gsub("</body>", function() return "<script>" .. (script or "") .. "</script></body>" end))
  local status, dom, log = experiment.run{"chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
    "--user-data-dir=" .. folder .. "/profile", "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom",
    ("--window-size=%d,1000"):format(width or 1400), "file://" .. path .. address}
  if status ~= 0 then error(log, 2) end
  local complaints = {}
  for line in log:gmatch "[^\n]*CONSOLE[^\n]*" do complaints[#complaints + 1] = line end
  return dom, complaints
end

--- HTML without its tags, with single spaces.
function M.text_of(html) return (html:gsub("<[^>]*>", " "):gsub("%s+", " ")) end

return M
