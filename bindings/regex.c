/*
** Regular expressions in Lua, by PCRE2, for patterns that come from files: matching is limited, so that no pattern can
** hang, and patterns that match nothing at all (the empty string) are refused, because what splits at them would depend
** on details of an engine.
*/
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "text.h"

#define REGEX SPDL_NAME("regex")

/* Steps of one match, and KiB it may use: plenty for a sensible pattern, seconds at most for a bad one. */
enum { MATCH_LIMIT = 10000000, HEAP_LIMIT = 65536 };

struct spdL_regex {
  pcre2_code *code;
  pcre2_match_data *data;
  pcre2_match_context *context;
};

spdL_regex *spdL_check_regex(lua_State *L, int argument) {
  spdL_regex *regex = spdL_check_object(L, argument, REGEX);
  spdL_argument_check(L, regex->code != NULL, argument, "the regex is closed");
  return regex;
}

static int regex_close(lua_State *L) {
  spdL_regex *regex = luaL_checkudata(L, 1, REGEX);
  pcre2_code_free(regex->code);
  pcre2_match_data_free(regex->data);
  pcre2_match_context_free(regex->context);
  memset(regex, 0, sizeof *regex);
  return 0;
}

/* ---- compiling ----------------------------------------------------------------------------- */

static int push_problem(lua_State *L, int problem, size_t offset) {
  PCRE2_UCHAR message[256];
  if (pcre2_get_error_message(problem, message, sizeof message) < 0) strcpy((char *)message, "unknown error");
  lua_pushnil(L);
  lua_pushfstring(L, "%s at byte %I", (const char *)message, (LUAI_UACINT)offset);
  return 2;
}

static int text_regex(lua_State *L) {
  size_t length, offset;
  const char *pattern = luaL_checklstring(L, 1, &length);
  spdL_regex *regex = lua_newuserdatauv(L, sizeof *regex, 0);
  memset(regex, 0, sizeof *regex);
  luaL_setmetatable(L, REGEX);
  int problem;
  regex->code =
      pcre2_compile((PCRE2_SPTR)pattern, length, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                    &problem, &offset, NULL);
  if (regex->code == NULL) return push_problem(L, problem, offset);
  uint32_t matches_empty = 0;
  pcre2_pattern_info(regex->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "it can match the empty string");
    return 2;
  }
  regex->data = pcre2_match_data_create(1, NULL);
  regex->context = pcre2_match_context_create(NULL);
  if (regex->data == NULL || regex->context == NULL) return spdL_error(L, 1, "not enough memory for a pattern");
  pcre2_set_match_limit(regex->context, MATCH_LIMIT);
  pcre2_set_heap_limit(regex->context, HEAP_LIMIT);
  pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); /* without it, the same but slower */
  return 1;
}

/* ---- matching ------------------------------------------------------------------------------ */

/* What pcre2_match gives. The compiled pattern's stack is small: where it does not do, the interpreter matches. */
static int match(const spdL_search *s, uint32_t options) {
  const spdL_regex *r = s->regex;
  const int found = pcre2_match(r->code, (PCRE2_SPTR)s->subject, s->length, s->from, options, r->data, r->context);
  if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
  return pcre2_match(r->code, (PCRE2_SPTR)s->subject, s->length, s->from, options | PCRE2_NO_JIT, r->data, r->context);
}

/* The next match from search->from; `check` also checks that the subject is valid UTF-8. */
static bool next_match(lua_State *L, spdL_search *search, uint32_t check, size_t *first, size_t *last) {
  /* NOTEMPTY: lookarounds can hide from text_regex that a pattern matches the empty string. */
  const int found = match(search, check | PCRE2_NOTEMPTY);
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    PCRE2_UCHAR message[256];
    if (pcre2_get_error_message(found, message, sizeof message) < 0) strcpy((char *)message, "unknown error");
    spdL_error(L, 2, "a pattern of the tokenizer failed on this text: %s", (const char *)message);
  }
  const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(search->regex->data);
  /* \K in a group that is called within a lookaround moves the beginning of a match anywhere. */
  if (ends[0] < search->from || ends[0] >= ends[1])
    spdL_error(L, 2, "a pattern of the tokenizer matches backwards on this text");
  *first = ends[0];
  *last = search->from = ends[1];
  return true;
}

bool spdL_next_match(lua_State *L, spdL_search *search, size_t *first, size_t *last) {
  return next_match(L, search, PCRE2_NO_UTF_CHECK, first, last);
}

static int regex_find(lua_State *L) {
  spdL_search search = {.regex = spdL_check_regex(L, 1)};
  search.subject = luaL_checklstring(L, 2, &search.length);
  size_t first, last;
  if (!next_match(L, &search, 0, &first, &last)) return 0;
  lua_pushinteger(L, (lua_Integer)first + 1);
  lua_pushinteger(L, (lua_Integer)last);
  return 2;
}

static const spdL_function functions[] = {
    {"regex", text_regex,
     "regex(pattern) -> regex, or nil and the reason\n"
     "Compile a Perl-compatible regular expression over characters, with Unicode classes; ^ and $ also match at line\n"
     "breaks. One that can match the empty string is refused. regex:find(text) -> first, last byte; nothing if there\n"
     "is no match. Matching has limits, so that no pattern hangs."},
    {NULL, NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", regex_close}, {"__close", regex_close}, {NULL, NULL}};
static const spdL_function methods[] = {{"find", regex_find, NULL}, {NULL, NULL, NULL}};

void spdL_open_regex(lua_State *L) {
  spdL_new_type(L, REGEX, metamethods, "__index", methods);
  spdL_register(L, functions);
}
