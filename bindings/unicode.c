/*
** The Unicode forms and lower case of texts, by utf8proc, with the alignment that Hugging Face's tokenizers (0.23)
** gives them. That library's tables are of Unicode 9 for the forms and 17 for lower case; utf8proc's are of 14 or 15.
** The tables below say where that matters.
*/
#include <string.h>
#include <utf8proc.h>

#include "text.h"

typedef struct {
  int32_t first, last;
} range;

/* Characters with a decomposition that are newer than Unicode 9. */
static const range without_decomposition[] = {
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xab69, 0xab69},   {0x10781, 0x10785}, {0x10787, 0x107b0},
    {0x107b2, 0x107ba}, {0x11938, 0x11938}, {0x1e030, 0x1e06d}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

/* Characters with a combining class that are newer than Unicode 9. */
static const range without_class[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef},
};

/* Lower case that came with Unicode 16 and 17: the distance from the characters to theirs. */
static const struct {
  range upper;
  int32_t distance;
} newer_case[] = {
    {{0x1c89, 0x1c89}, 1},      {{0xa7cb, 0xa7cb}, 0x264 - 0xa7cb},
    {{0xa7cc, 0xa7cc}, 1},      {{0xa7ce, 0xa7ce}, 1},
    {{0xa7d2, 0xa7d2}, 1},      {{0xa7d4, 0xa7d4}, 1},
    {{0xa7da, 0xa7da}, 1},      {{0xa7dc, 0xa7dc}, 0x19b - 0xa7dc},
    {{0x10d50, 0x10d65}, 0x20}, {{0x16ea0, 0x16eb8}, 0x1b},
};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static bool is_in(const range *ranges, int count, int32_t code_point) {
  for (int i = 0; i < count; i++)
    if (ranges[i].first <= code_point && code_point <= ranges[i].last) return true;
  return false;
}

/* ---- lower case ---------------------------------------------------------------------------- */

static int32_t lower(int32_t code_point) {
  for (int i = 0; i < COUNT(newer_case); i++)
    if (is_in(&newer_case[i].upper, 1, code_point)) return code_point + newer_case[i].distance;
  return utf8proc_tolower(code_point);
}

void spdL_lower(lua_State *L, spdL_buffer *to, const char *bytes, const spdL_span *spans, size_t length) {
  size_t size;
  for (size_t i = 0; i < length; i += size) {
    const unsigned char byte = (unsigned char)bytes[i];
    if (byte < 0x80) {
      const char small = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
      size = 1;
      spdL_append(L, to, &small, 1, spans[i]);
      continue;
    }
    const int32_t code_point = spdL_code_point(bytes + i, &size);
    /* The one character whose lower case is two (Unicode's SpecialCasing, the part without conditions). */
    if (code_point == 0x130)
      spdL_append(L, to, "i\xcc\x87", 3, spans[i]);
    else
      spdL_append_code_point(L, to, lower(code_point), spans[i]);
  }
}

/* ---- the forms ----------------------------------------------------------------------------- */

/* A character on its way to the output. `change` says how it uses up characters of the input, as the reference counts:
** 1 stands for none of its own (it shares the span before), 0 for one, -n for one and n more that vanish. */
typedef struct {
  int32_t code_point;
  int combining_class;
  int change;
} character;

/* The characters of a piece; `spare` is room for as many again. */
typedef struct {
  character *list, *spare;
  size_t count;
} characters;

static int combining_class(int32_t code_point) {
  if (code_point < 0x300) return 0;
  const int class = utf8proc_get_property(code_point)->combining_class;
  return class != 0 && is_in(without_class, COUNT(without_class), code_point) ? 0 : class;
}

enum { MOST_DECOMPOSED = 32 }; /* Unicode's longest is 18 */

/* The decomposition of a character, and its length. */
static int decompose(int32_t code_point, utf8proc_option_t form, utf8proc_int32_t *to) {
  to[0] = code_point;
  if (code_point < 0x80 || is_in(without_decomposition, COUNT(without_decomposition), code_point)) return 1;
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(code_point, to, MOST_DECOMPOSED, form, &boundary);
  return count >= 1 && count <= MOST_DECOMPOSED ? (int)count : 1;
}

/* The decomposed characters of a piece, in memory that the collector frees, on the stack. */
static characters push_decomposed(lua_State *L, utf8proc_option_t form, const char *bytes, size_t length) {
  utf8proc_int32_t parts[MOST_DECOMPOSED];
  size_t size, count = 0;
  for (size_t i = 0; i < length; i += size) count += (size_t)decompose(spdL_code_point(bytes + i, &size), form, parts);
  if (count > SIZE_MAX / (2 * sizeof(character))) spdL_error(L, 1, "not enough memory for a text");
  characters all = {lua_newuserdatauv(L, 2 * count * sizeof(character), 0), NULL, 0};
  all.spare = all.list + count;
  for (size_t i = 0; i < length; i += size) {
    const int n = decompose(spdL_code_point(bytes + i, &size), form, parts);
    for (int j = 0; j < n; j++) all.list[all.count++] = (character){parts[j], combining_class(parts[j]), j > 0};
  }
  return all;
}

/* Sort list[first..last) by combining class; equal ones keep their order. */
static void sort(characters *all, size_t first, size_t last) {
  bool sorted = true;
  for (size_t i = first + 1; i < last; i++)
    sorted = sorted && all->list[i - 1].combining_class <= all->list[i].combining_class;
  if (sorted) return;
  size_t to = first;
  for (int class = 0; class < 256; class ++)
    for (size_t i = first; i < last; i++)
      if (all->list[i].combining_class == class) all->spare[to++] = all->list[i];
  memcpy(all->list + first, all->spare + first, (last - first) * sizeof(character));
}

/* Unicode's canonical order: runs of combining characters are sorted. */
static void order(characters *all) {
  size_t first = 0;
  for (size_t i = 0; i <= all->count; i++) {
    if (i < all->count && all->list[i].combining_class != 0) continue;
    sort(all, first, i);
    first = i + 1;
  }
}

/* The character that two compose to; 0 if none. */
static int32_t composed(int32_t first, int32_t second) {
  if (second < 0x300) return 0;
  utf8proc_int32_t pair[2] = {first, second};
  if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1) return 0;
  return is_in(without_decomposition, COUNT(without_decomposition), pair[0]) ? 0 : pair[0];
}

/* Unicode's canonical composition, in place. */
static void compose(characters *all) {
  character *starter = NULL; /* what later characters can compose with */
  int last_class = -1;       /* of a combining character between the two; -1: none */
  size_t to = 0;
  for (size_t i = 0; i < all->count; i++) {
    const character c = all->list[i];
    if (starter != NULL && c.combining_class > last_class) {
      const int32_t both = composed(starter->code_point, c.code_point);
      if (both != 0) {
        starter->code_point = both;
        starter->change += c.change - 1;
        continue;
      }
    }
    all->list[to] = c;
    if (c.combining_class == 0) {
      starter = &all->list[to];
      last_class = -1;
    } else if (starter != NULL) {
      last_class = c.combining_class;
    }
    to++;
  }
  all->count = to;
}

/* Append the characters with the spans of what they stand for. */
static void put(lua_State *L, spdL_buffer *to, const characters *all, const char *bytes, const spdL_span *spans,
                size_t length) {
  size_t used = 0; /* bytes of the input that were used up */
  for (size_t i = 0; i < all->count; i++) {
    const character *c = &all->list[i];
    const size_t at = c->change > 0 && used > 0 ? used - 1 : used;
    spdL_append_code_point(L, to, c->code_point, spans[at < length ? at : length - 1]);
    for (int n = c->change; n <= 0 && used < length; n++) {
      size_t size;
      spdL_code_point(bytes + used, &size);
      used += size;
    }
  }
}

static bool is_ascii(const char *bytes, size_t length) {
  unsigned char all = 0;
  for (size_t i = 0; i < length; i++) all |= (unsigned char)bytes[i];
  return all < 0x80;
}

static void normalize(lua_State *L, spdL_buffer *to, const char *bytes, const spdL_span *spans, size_t length,
                      utf8proc_option_t form, bool composes) {
  if (is_ascii(bytes, length)) {
    for (size_t i = 0; i < length; i++) spdL_append(L, to, bytes + i, 1, spans[i]);
    return;
  }
  characters all = push_decomposed(L, form, bytes, length);
  order(&all);
  if (composes) compose(&all);
  put(L, to, &all, bytes, spans, length);
  lua_pop(L, 1);
}

#define FORM(name, form, composes)                                                                            \
  static void name(lua_State *L, spdL_buffer *to, const char *bytes, const spdL_span *spans, size_t length) { \
    normalize(L, to, bytes, spans, length, form, composes);                                                   \
  }
FORM(nfd, UTF8PROC_DECOMPOSE, false)
FORM(nfc, UTF8PROC_DECOMPOSE, true)
FORM(nfkd, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, false)
FORM(nfkc, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, true)

spdL_transform *spdL_normal_form(const char *name) {
  if (strcmp(name, "NFC") == 0) return nfc;
  if (strcmp(name, "NFD") == 0) return nfd;
  if (strcmp(name, "NFKC") == 0) return nfkc;
  if (strcmp(name, "NFKD") == 0) return nfkd;
  return NULL;
}
