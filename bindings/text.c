/*
** core.text: a text on its way through a tokenizer. Its bytes change (normalization), it is cut into pieces
** (pre-tokenization), and every byte remembers the part of the original text that it stands for. The steps of a
** tokenizer.json are put together from these operations in Lua (spd.tokenizer); each works on the whole text at once.
**
** Pieces that have a token already (added tokens) are carried along unchanged.
*/
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define TEXT SPDL_NAME("text")

enum { NO_TOKEN = -1 };

/* Bytes first..last-1 of the text; token: its id, NO_TOKEN if that is still open. */
typedef struct {
  size_t first, last;
  lua_Integer token;
} piece;

typedef struct {
  piece *list;
  size_t count, capacity;
} pieces;

/* `now` and `now_pieces` are the text; an operation writes to the others, then they change places. While it is busy,
** or where it ended in an error, only the collector may free them: an allocation in Lua can run a finalizer, which can
** call any method. */
typedef struct {
  spdL_buffer now, next;
  pieces now_pieces, next_pieces;
  bool busy, closed;
} text;

/* The text at the first argument, busy from now on: look at the other arguments first. */
static text *begin(lua_State *L) {
  text *t = spdL_check_object(L, 1, TEXT);
  spdL_argument_check(L, !t->closed, 1, "the text is closed");
  spdL_argument_check(L, !t->busy, 1, "the text is in use");
  t->busy = true;
  return t;
}

/* The end of an operation that changed the text, and returns it. */
static int end(lua_State *L, text *t) {
  t->busy = false;
  lua_settop(L, 1);
  return 1;
}

static int text_free(lua_State *L) {
  text *t = luaL_checkudata(L, 1, TEXT);
  free(t->now.bytes);
  free(t->now.spans);
  free(t->next.bytes);
  free(t->next.spans);
  free(t->now_pieces.list);
  free(t->next_pieces.list);
  memset(t, 0, sizeof *t);
  t->closed = true;
  return 0;
}

static int text_close(lua_State *L) {
  text *t = luaL_checkudata(L, 1, TEXT);
  return t->busy ? 0 : text_free(L);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void out_of_memory(lua_State *L) { spdL_error(L, 1, "not enough memory for a text"); }

/* Room for `more` bytes. */
static void reserve(lua_State *L, spdL_buffer *b, size_t more) {
  if (more > UINT32_MAX - b->length) spdL_error(L, 1, "a text of more than 4 GB");
  const size_t needed = b->length + more;
  if (needed <= b->capacity) return;
  const size_t capacity = needed < 64 ? 64 : needed + needed / 2;
  char *bytes = realloc(b->bytes, capacity);
  if (bytes == NULL) out_of_memory(L);
  b->bytes = bytes;
  spdL_span *spans = realloc(b->spans, capacity * sizeof *spans);
  if (spans == NULL) out_of_memory(L);
  b->spans = spans;
  b->capacity = capacity;
}

void spdL_append(lua_State *L, spdL_buffer *buffer, const char *bytes, size_t length, spdL_span span) {
  reserve(L, buffer, length);
  for (size_t i = 0; i < length; i++) {
    buffer->bytes[buffer->length] = bytes[i];
    buffer->spans[buffer->length++] = span;
  }
}

/* Append bytes with their own spans. */
static void append_range(lua_State *L, spdL_buffer *to, const spdL_buffer *from, size_t first, size_t last) {
  if (first == last) return;
  reserve(L, to, last - first);
  memcpy(to->bytes + to->length, from->bytes + first, last - first);
  memcpy(to->spans + to->length, from->spans + first, (last - first) * sizeof(spdL_span));
  to->length += last - first;
}

static size_t encode(int32_t code_point, char *bytes) {
  if (code_point < 0x80) {
    bytes[0] = (char)code_point;
    return 1;
  }
  const size_t length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; i--) {
    bytes[i] = (char)(0x80 | (code_point & 0x3f));
    code_point >>= 6;
  }
  bytes[0] = (char)((0xf00 >> length & 0xff) | code_point);
  return length;
}

void spdL_append_code_point(lua_State *L, spdL_buffer *buffer, int32_t code_point, spdL_span span) {
  char bytes[4];
  const size_t length = encode(code_point, bytes);
  spdL_append(L, buffer, bytes, length, span);
}

static size_t length_from_lead(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

int32_t spdL_code_point(const char *bytes, size_t *length) {
  const unsigned char *b = (const unsigned char *)bytes;
  *length = length_from_lead(b[0]);
  int32_t code_point = *length == 1 ? b[0] : b[0] & (0x7f >> *length);
  for (size_t i = 1; i < *length; i++) code_point = code_point << 6 | (b[i] & 0x3f);
  return code_point;
}

/* Bytes of the longest beginning of bytes[0..length) that begins a character in UTF-8, at least 1; *valid: it is one.
** Both Python's errors="replace" and Rust's from_utf8_lossy replace such a beginning by one U+FFFD. */
static size_t character_length(const unsigned char *bytes, size_t length, bool *valid) {
  const unsigned char lead = bytes[0];
  *valid = lead < 0x80;
  if (lead < 0xc2 || lead > 0xf4) return 1;
  const size_t whole = length_from_lead(lead);
  /* The second byte must make neither an overlong form, nor a surrogate, nor a code point above 10FFFF. */
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < whole; i++) {
    if (i >= length || bytes[i] < (i == 1 ? low : 0x80) || bytes[i] > (i == 1 ? high : 0xbf)) return i;
  }
  *valid = true;
  return whole;
}

/* The bytes at an argument, which must be valid UTF-8, as all texts are: what reads their characters does not look where
** a text ends. */
static const char *check_utf8(lua_State *L, int argument, size_t *length) {
  const char *bytes = luaL_checklstring(L, argument, length);
  bool valid = true;
  for (size_t i = 0; i < *length && valid;)
    i += character_length((const unsigned char *)bytes + i, *length - i, &valid);
  spdL_argument_check(L, valid, argument, "expected valid UTF-8");
  return bytes;
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* Add a piece; empty ones are left out. */
static void add_piece(lua_State *L, pieces *to, size_t first, size_t last, lua_Integer token) {
  if (first == last) return;
  if (to->count == to->capacity) {
    const size_t capacity = to->capacity < 8 ? 8 : to->capacity * 2;
    piece *list = capacity > SIZE_MAX / sizeof *list ? NULL : realloc(to->list, capacity * sizeof *list);
    if (list == NULL) out_of_memory(L);
    to->list = list;
    to->capacity = capacity;
  }
  to->list[to->count++] = (piece){first, last, token};
}

static void swap_pieces(text *t) {
  const pieces swapped = t->now_pieces;
  t->now_pieces = t->next_pieces;
  t->next_pieces = swapped;
}

static void swap_all(text *t) {
  const spdL_buffer swapped = t->now;
  t->now = t->next;
  t->next = swapped;
  swap_pieces(t);
}

/* An operation that changes bytes: call begin_change, append to t->next what each piece becomes, end_piece after each,
** swap_all at the end. */
static void begin_change(text *t) { t->next.length = t->next_pieces.count = 0; }
static void end_piece(lua_State *L, text *t, size_t first, lua_Integer token) {
  add_piece(L, &t->next_pieces, first, t->next.length, token);
}

/* Carry a piece along if it has its token. */
static bool keep_token(lua_State *L, text *t, const piece *p) {
  if (p->token == NO_TOKEN) return false;
  const size_t first = t->next.length;
  append_range(L, &t->next, &t->now, p->first, p->last);
  end_piece(L, t, first, p->token);
  return true;
}

static int transform(lua_State *L, spdL_transform *function) {
  text *t = begin(L);
  begin_change(t);
  for (size_t i = 0; i < t->now_pieces.count; i++) {
    const piece p = t->now_pieces.list[i];
    if (keep_token(L, t, &p)) continue;
    const size_t first = t->next.length;
    function(L, &t->next, t->now.bytes + p.first, t->now.spans + p.first, p.last - p.first);
    end_piece(L, t, first, NO_TOKEN);
  }
  swap_all(t);
  return end(L, t);
}

/* ---- making and reading -------------------------------------------------------------------- */

static void decode(lua_State *L, spdL_buffer *to, const char *bytes, size_t length) {
  size_t size;
  reserve(L, to, length);
  for (size_t i = 0; i < length; i += size) {
    bool valid;
    size = character_length((const unsigned char *)bytes + i, length - i, &valid);
    const spdL_span span = {(uint32_t)i, (uint32_t)(i + size)};
    if (valid)
      spdL_append(L, to, bytes + i, size, span);
    else
      spdL_append(L, to, "\xef\xbf\xbd", 3, span);
  }
}

static int text_new(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  text *t = lua_newuserdatauv(L, sizeof *t, 0);
  memset(t, 0, sizeof *t);
  luaL_setmetatable(L, TEXT);
  if (length > UINT32_MAX) return spdL_error(L, 1, "a text of more than 4 GB");
  decode(L, &t->now, bytes, length);
  add_piece(L, &t->now_pieces, 0, t->now.length, NO_TOKEN);
  return 1;
}

static int text_string(lua_State *L) {
  text *t = begin(L);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (size_t i = 0; i < t->now_pieces.count; i++) {
    const piece *p = &t->now_pieces.list[i];
    luaL_addlstring(&buffer, t->now.bytes + p->first, p->last - p->first);
  }
  luaL_pushresult(&buffer);
  t->busy = false;
  return 1;
}

static int text_pieces(lua_State *L) {
  text *t = begin(L);
  const size_t count = t->now_pieces.count;
  const int room = count < INT32_MAX ? (int)count : 0;
  lua_createtable(L, room, 0);
  lua_createtable(L, room, 0);
  lua_newtable(L);
  for (size_t i = 0; i < count; i++) {
    const piece p = t->now_pieces.list[i];
    lua_pushlstring(L, t->now.bytes + p.first, p.last - p.first);
    lua_rawseti(L, -4, (lua_Integer)i + 1);
    lua_pushinteger(L, (lua_Integer)p.first);
    lua_rawseti(L, -3, (lua_Integer)i + 1);
    if (p.token == NO_TOKEN) continue;
    lua_pushinteger(L, p.token);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  t->busy = false;
  return 3;
}

/* The integer at list[i] of the table at an argument, between 0 and `most`. */
static size_t check_position(lua_State *L, int argument, lua_Integer i, size_t most) {
  lua_rawgeti(L, argument, i);
  int is_integer;
  const lua_Integer value = lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  spdL_argument_check(L, is_integer && value >= 0 && (lua_Unsigned)value <= most, argument, "not a place in the text");
  return (size_t)value;
}

/* The same for a cut, which is not within a character. */
static size_t check_cut(lua_State *L, int argument, lua_Integer i, const text *t) {
  const size_t place = check_position(L, argument, i, t->now.length);
  const bool within = place < t->now.length && ((unsigned char)t->now.bytes[place] & 0xc0) == 0x80;
  spdL_argument_check(L, !within, argument, "a cut within a character");
  return place;
}

static int text_spans(lua_State *L) {
  spdL_check_table(L, 2);
  spdL_check_table(L, 3);
  text *t = begin(L);
  const lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  lua_createtable(L, count < INT32_MAX ? (int)count : 0, 0);
  for (lua_Integer i = 1; i <= count; i++) {
    const size_t first = check_position(L, 2, i, t->now.length), last = check_position(L, 3, i, t->now.length);
    spdL_span span = {0, 0};
    if (first < last) span = (spdL_span){t->now.spans[first].first, t->now.spans[last - 1].last};
    lua_createtable(L, 2, 0);
    lua_pushinteger(L, (lua_Integer)span.first + 1);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, (lua_Integer)span.last);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, i);
  }
  t->busy = false;
  return 1;
}

static int text_set_pieces(lua_State *L) {
  spdL_check_table(L, 2);
  text *t = begin(L);
  const lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  t->next_pieces.count = 0;
  for (lua_Integer i = 1; i + 2 <= count; i += 3) {
    const size_t first = check_cut(L, 2, i, t), last = check_cut(L, 2, i + 1, t);
    spdL_argument_check(L, first <= last, 2, "a piece ends before it begins");
    lua_rawgeti(L, 2, i + 2);
    add_piece(L, &t->next_pieces, first, last, lua_isinteger(L, -1) ? lua_tointeger(L, -1) : NO_TOKEN);
    lua_pop(L, 1);
  }
  swap_pieces(t);
  return end(L, t);
}

/* ---- changes of bytes ---------------------------------------------------------------------- */

static int text_lower(lua_State *L) { return transform(L, spdL_lower); }

static int text_normalize(lua_State *L) {
  spdL_transform *function = spdL_normal_form(luaL_checkstring(L, 2));
  luaL_argcheck(L, function != NULL, 2, "expected NFC, NFD, NFKC or NFKD");
  return transform(L, function);
}

/* GPT-2's alphabet, in which every byte is a character that can be printed: bytes that are such characters in Latin-1
** stand for themselves, the others are numbered from U+0100 on. */
static int32_t byte_character(unsigned char byte) {
  if (byte <= 0x20) return 0x100 + byte;
  if (byte >= 0x7f && byte <= 0xa0) return 0x121 + byte - 0x7f;
  if (byte == 0xad) return 0x143;
  return byte;
}

static void byte_level(lua_State *L, spdL_buffer *to, const char *bytes, const spdL_span *spans, size_t length) {
  for (size_t i = 0; i < length; i++) spdL_append_code_point(L, to, byte_character((unsigned char)bytes[i]), spans[i]);
}

static int text_byte_level(lua_State *L) { return transform(L, byte_level); }

/* Put `before`, the match itself if `keeps`, and `after` in the place of every match. */
static int substitute(lua_State *L, bool keeps) {
  size_t length, first, last;
  const char *content = check_utf8(L, 3, &length);
  spdL_search search = {.regex = spdL_check_regex(L, 2)};
  text *t = begin(L);
  begin_change(t);
  for (size_t i = 0; i < t->now_pieces.count; i++) {
    const piece p = t->now_pieces.list[i];
    if (keep_token(L, t, &p)) continue;
    const size_t begin = t->next.length;
    size_t done = p.first;
    search.subject = t->now.bytes + p.first;
    search.length = p.last - p.first;
    search.from = 0;
    while (spdL_next_match(L, &search, &first, &last)) {
      append_range(L, &t->next, &t->now, done, p.first + first);
      done = p.first + last;
      const spdL_span span = t->now.spans[done - 1];
      spdL_append(L, &t->next, content, length, span);
      if (!keeps) continue;
      append_range(L, &t->next, &t->now, p.first + first, done);
      spdL_append(L, &t->next, content, length, span);
    }
    append_range(L, &t->next, &t->now, done, p.last);
    end_piece(L, t, begin, NO_TOKEN);
  }
  swap_all(t);
  return end(L, t);
}

static int text_replace(lua_State *L) { return substitute(L, false); }
static int text_surround(lua_State *L) { return substitute(L, true); }

static int text_prepend(lua_State *L) {
  size_t length, unless_length = 0;
  const char *content = check_utf8(L, 2, &length);
  const char *unless = luaL_optlstring(L, 3, NULL, &unless_length);
  const bool at_start = lua_toboolean(L, 4);
  text *t = begin(L);
  begin_change(t);
  for (size_t i = 0; i < t->now_pieces.count; i++) {
    const piece p = t->now_pieces.list[i];
    if (keep_token(L, t, &p)) continue;
    const size_t begin = t->next.length;
    const bool has = unless != NULL && p.last - p.first >= unless_length &&
                     memcmp(t->now.bytes + p.first, unless, unless_length) == 0;
    const spdL_span span = t->now.spans[p.first];
    if (!has && !(at_start && span.first != 0)) spdL_append(L, &t->next, content, length, span);
    append_range(L, &t->next, &t->now, p.first, p.last);
    end_piece(L, t, begin, NO_TOKEN);
  }
  swap_all(t);
  return end(L, t);
}

/* ---- cutting ------------------------------------------------------------------------------- */

enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
static const char *const behaviors[] = {"Removed",        "Isolated",   "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous", NULL};

/* Cuts one piece: gets its segments, in turn matches of a pattern and what is between them. */
typedef struct {
  text *text;
  enum behavior behavior;
  bool before; /* whether the last segment was a match */
  bool any;    /* whether there was one */
} cutter;

static void cut(lua_State *L, cutter *c, size_t first, size_t last, bool is_match) {
  pieces *to = &c->text->next_pieces;
  bool joins = false; /* the piece before */
  if (first == last) return;
  switch (c->behavior) {
    case REMOVED: break;
    case ISOLATED: break;
    case MERGED_WITH_PREVIOUS: joins = is_match && !c->before; break;
    case MERGED_WITH_NEXT: joins = !is_match && c->before; break;
    case CONTIGUOUS: joins = is_match == c->before; break;
  }
  if (joins && c->any)
    to->list[to->count - 1].last = last;
  else if (c->behavior != REMOVED || !is_match)
    add_piece(L, to, first, last, NO_TOKEN);
  c->before = is_match;
  c->any = true;
}

static int text_split(lua_State *L) {
  const enum behavior behavior = (enum behavior)luaL_checkoption(L, 3, NULL, behaviors);
  const bool invert = lua_toboolean(L, 4);
  spdL_search search = {.regex = spdL_check_regex(L, 2)};
  text *t = begin(L);
  size_t first, last;
  t->next_pieces.count = 0;
  for (size_t i = 0; i < t->now_pieces.count; i++) {
    const piece p = t->now_pieces.list[i];
    if (p.token != NO_TOKEN) {
      add_piece(L, &t->next_pieces, p.first, p.last, p.token);
      continue;
    }
    cutter c = {t, behavior, false, false};
    size_t done = p.first;
    search.subject = t->now.bytes + p.first;
    search.length = p.last - p.first;
    search.from = 0;
    while (spdL_next_match(L, &search, &first, &last)) {
      cut(L, &c, done, p.first + first, invert);
      cut(L, &c, p.first + first, p.first + last, !invert);
      done = p.first + last;
    }
    cut(L, &c, done, p.last, invert);
  }
  swap_pieces(t);
  return end(L, t);
}

/* ---- the module ---------------------------------------------------------------------------- */

static const spdL_function functions[] = {
    {"new", text_new,
     "new(string) -> text\n"
     "A text of one piece. What is not valid UTF-8 is replaced by U+FFFD. Every byte knows the bytes of the string that\n"
     "it stands for. Close a text, or keep it in a <close> variable: the collector does not see its memory. Methods that\n"
     "change it return it; all but string, pieces and spans leave pieces that have their token alone:\n"
     "  text:string() -> the bytes of all pieces\n"
     "  text:pieces() -> strings, places, tokens: of each piece its bytes, the place of its first byte (counted from 0),\n"
     "    and the id of its token if it has one\n"
     "  text:spans(firsts, lasts) -> list of {first, last}: for bytes firsts[i] .. lasts[i] - 1 of the text (counted from\n"
     "    0), the bytes of the original string (counted from 1, both inclusive)\n"
     "  text:set_pieces(list): cut it anew; the list has first, last and token of each (as above; false: none)\n"
     "  text:lower(), text:normalize(\"NFC\" | \"NFD\" | \"NFKC\" | \"NFKD\")\n"
     "  text:byte_level(): each byte becomes a character of GPT-2's alphabet\n"
     "  text:replace(regex, content), text:surround(regex, content)\n"
     "  text:prepend(content [, unless [, at_start]]): before each piece; not if it begins with `unless`, nor, with\n"
     "    at_start, if it is not at the start of the original\n"
     "  text:split(regex, behavior [, invert]): cut pieces at matches; behavior as in tokenizer.json: \"Removed\",\n"
     "    \"Isolated\", \"MergedWithPrevious\", \"MergedWithNext\", \"Contiguous\""},
    {NULL, NULL, NULL}};

/* Lua code must not reach __gc: it frees a text that is in use. */
static const luaL_Reg metamethods[] = {{"__gc", text_free}, {"__close", text_close}, {NULL, NULL}};

/* said of core.text.new */
static const spdL_function methods[] = {{"close", text_close, NULL},
                                        {"string", text_string, NULL},
                                        {"pieces", text_pieces, NULL},
                                        {"spans", text_spans, NULL},
                                        {"set_pieces", text_set_pieces, NULL},
                                        {"lower", text_lower, NULL},
                                        {"normalize", text_normalize, NULL},
                                        {"byte_level", text_byte_level, NULL},
                                        {"replace", text_replace, NULL},
                                        {"surround", text_surround, NULL},
                                        {"prepend", text_prepend, NULL},
                                        {"split", text_split, NULL},
                                        {NULL, NULL, NULL}};

void spdL_open_text(lua_State *L) {
  spdL_new_type(L, TEXT, metamethods, "__index", methods);
  lua_newtable(L);
  spdL_register(L, functions);
  spdL_open_regex(L);
  lua_setfield(L, -2, "text");
}
