--- Checksums of bytes: what the files of trackers are framed with.
local crc = {}

-- What a byte does to the remainder, for a reflected polynomial.
local function table_of(polynomial)
  local remainders = {}
  for byte = 0, 255 do
    local remainder = byte
    for _ = 1, 8 do remainder = remainder & 1 == 1 and remainder >> 1 ~ polynomial or remainder >> 1 end
    remainders[byte] = remainder
  end
  return remainders
end

local IEEE, CASTAGNOLI = table_of(0xedb88320), table_of(0x82f63b78)

-- Eight bytes at a time; the rest one by one.
local function checksum(bytes, remainders)
  local remainder, whole = 0xffffffff, #bytes & ~7
  for i = 1, whole, 8 do
    local a, b, c, d, e, f, g, h = bytes:byte(i, i + 7)
    remainder = remainders[remainder & 255 ~ a] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ b] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ c] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ d] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ e] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ f] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ g] ~ remainder >> 8
    remainder = remainders[remainder & 255 ~ h] ~ remainder >> 8
  end
  for i = whole + 1, #bytes do remainder = remainders[remainder & 255 ~ bytes:byte(i)] ~ remainder >> 8 end
  return remainder ~ 0xffffffff
end

--- crc.crc32(bytes) -> CRC-32, as zlib computes it
function crc.crc32(bytes) return checksum(bytes, IEEE) end

--- crc.crc32c(bytes) -> CRC-32C, with the polynomial of Castagnoli
function crc.crc32c(bytes) return checksum(bytes, CASTAGNOLI) end

return crc
