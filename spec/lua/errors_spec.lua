local posix = require("spd.core").posix

local host = os.getenv("SPDLUA") or "./spdlua"

describe("a warning", function()
  it("is one line on stderr, whatever its text holds", function()
    local code = 'require("spd.errors").warn("a folder\\nspdlua: done\\27[2J")'
    local status, out, err = posix.run{host, "-e", code}
    assert.equal(0, status)
    assert.equal("", out)
    assert.equal("spdlua: warning: a folder?spdlua: done?[2J\n", err)
  end)
end)
