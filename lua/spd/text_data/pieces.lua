--- Where a long text can be cut so that its parts have the tokens of the whole.
--
-- A text is tokenized in pieces, so that a book takes no more memory than a story.
local pieces = {}

--- pieces.SIZE: no piece is longer, in bytes.
pieces.SIZE = 1 << 16

-- The last byte at or before `at` that begins a character.
local function character_start(text, at)
  for start = at, at - 3, -1 do
    if text:byte(start) & 0xC0 ~= 0x80 then return start end
  end
  return at
end

--- pieces.next(text, at) -> where the piece after the one that begins at byte `at` begins
-- #text + 1 if the rest is one piece. A cut is before a single space between words, where every tokenizer in use starts
-- a new token; where a piece has none, after a line break, else anywhere between two characters.
function pieces.next(text, at)
  if #text - at < pieces.SIZE then return #text + 1 end
  local piece = text:sub(at, at + pieces.SIZE)
  local length = piece:match("^.*%S() %S") or piece:match("^.*\n()%S")
  return length and at + length - 1 or character_start(text, at + pieces.SIZE)
end

return pieces
