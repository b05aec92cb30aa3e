/*
** What the units of core.text share: a text on its way through a tokenizer (text.c), regular expressions (regex.c) and
** the Unicode forms (unicode.c).
*/
#ifndef SPDL_TEXT_H
#define SPDL_TEXT_H

#include "spdl.h"

/* A range of bytes of the original text; last is exclusive. */
typedef struct {
  uint32_t first, last;
} spdL_span;

/* Bytes in UTF-8, and for each of them the part of the original that it stands for. */
typedef struct {
  char *bytes;
  spdL_span *spans;
  size_t length, capacity;
} spdL_buffer;

/* Append bytes that all stand for one span; raises an error if memory runs out, the buffer stays valid. */
void spdL_append(lua_State *L, spdL_buffer *buffer, const char *bytes, size_t length, spdL_span span);
void spdL_append_code_point(lua_State *L, spdL_buffer *buffer, int32_t code_point, spdL_span span);

/* The code point at bytes[0..], which is valid UTF-8, and its length in bytes. */
int32_t spdL_code_point(const char *bytes, size_t *length);

/* A transformation of a piece: append to `to` what the bytes become. */
typedef void spdL_transform(lua_State *L, spdL_buffer *to, const char *bytes, const spdL_span *spans, size_t length);
void spdL_lower(lua_State *L, spdL_buffer *to, const char *bytes, const spdL_span *spans, size_t length);
/* NULL if there is no such form. */
spdL_transform *spdL_normal_form(const char *name);

/* Regular expressions. A search goes through one subject, which is valid UTF-8. */
typedef struct spdL_regex spdL_regex;
typedef struct {
  spdL_regex *regex;
  const char *subject;
  size_t length, from; /* where the next search begins */
} spdL_search;
spdL_regex *spdL_check_regex(lua_State *L, int argument);
/* The next match, which is never empty; false if there is none. Raises an error if the match costs too much. */
bool spdL_next_match(lua_State *L, spdL_search *search, size_t *first, size_t *last);

/* Add the functions to the table on top of the stack. */
void spdL_open_regex(lua_State *L);

#endif
