--- Protects what trackers read from the environment and from .env.
local environment = require "spd.trackers.environment"

describe("spd.trackers.environment", function()
  it("reads a .env file as others do", function()
    assert.same({
      PLAIN = "value", SPACED = "a b", EXPORTED = "x", SINGLE = "a # \\n b", DOUBLE = 'line\nsaid "yes" \\ #1',
      EMPTY = "", COMMENTED = "value", HASH = "a#b", AFTER = "v", EQUALS = "a=b", ONLY_COMMENT = "", LAST = "1",
    }, environment.parse([[
# a comment
PLAIN=value
  SPACED = a b
export EXPORTED=x
SINGLE='a # \n b'
DOUBLE="line\nsaid \"yes\" \\ #1"  # more
EMPTY=
COMMENTED=value # not this
HASH=a#b
AFTER='v' rest
EQUALS=a=b
ONLY_COMMENT= # nothing
1BAD=x
no line
=x]] .. "\r\nLAST=1\r\n"))
    assert.same({}, environment.parse("\0\1\255="))
  end)

  it("lets the environment win, and needs no file", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("HOME=elsewhere\nSPDLUA_SPEC_ONLY_HERE=x\nSPDLUA_SPEC_EMPTY=\n")
    file:close()
    local variable = environment.read(path)
    os.remove(path)
    assert.equal(os.getenv "HOME", variable "HOME")
    assert.equal("x", variable "SPDLUA_SPEC_ONLY_HERE")
    assert.is_nil(variable "SPDLUA_SPEC_EMPTY")
    assert.is_nil(environment.read(path) "SPDLUA_SPEC_ONLY_HERE")
    assert.is_nil(environment.read("/") "SPDLUA_SPEC_ONLY_HERE") -- a folder
  end)
end)
