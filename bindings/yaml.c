/*
** YAML in Lua, by libyaml: text becomes a tree of tables that keep the order of keys, the lines, and how a scalar
** was written. What a scalar means is decided in Lua (spd.yaml), where its expected type is known.
**
** Aliases are expanded. Depth and the number of nodes are limited, so that neither a cycle nor an expansion that
** grows exponentially does harm.
*/
#include <string.h>
#include <yaml.h>

#include "spdl.h"

#define DOCUMENT SPDL_NAME("yaml")

enum { MAX_DEPTH = 32, MAX_NODES = 100000, MAX_QUOTED = 80 };

typedef struct {
  yaml_parser_t parser;
  yaml_document_t document;
  bool has_parser, has_document;
  const char *source; /* for messages; held by the stack */
  int nodes;          /* made so far */
} reader;

static int reader_close(lua_State *L) {
  reader *r = luaL_checkudata(L, 1, DOCUMENT);
  if (r->has_document) yaml_document_delete(&r->document);
  if (r->has_parser) yaml_parser_delete(&r->parser);
  r->has_document = r->has_parser = false;
  return 0;
}

/* ---- errors -------------------------------------------------------------------------------- */

static int line_of(const yaml_mark_t mark) { return (int)mark.line + 1; }

/* Push text from the file for a message: shortened, without what could break the line. */
static const char *push_quoted(lua_State *L, const char *text) {
  char quoted[MAX_QUOTED + 4];
  size_t length = strlen(text);
  if (length > MAX_QUOTED) {
    length = MAX_QUOTED;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) length--; /* whole characters */
  }
  memcpy(quoted, text, length);
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)quoted[i] < ' ' || quoted[i] == 127) quoted[i] = '?';
  strcpy(quoted + length, text[length] != '\0' ? "..." : "");
  return lua_pushstring(L, quoted);
}

/* What libyaml found wrong. Its reader knows the byte, the others the line. */
static int syntax_error(lua_State *L, const reader *r, const char *text, size_t length) {
  const yaml_parser_t *parser = &r->parser;
  if (parser->error == YAML_MEMORY_ERROR) return spdL_error(L, 2, "%s: not enough memory to read it", r->source);
  const char *problem = parser->problem == NULL ? "not valid YAML" : parser->problem;
  if (parser->error == YAML_READER_ERROR) {
    int line = 1;
    for (size_t i = 0; i < parser->problem_offset && i < length; i++) line += text[i] == '\n';
    return spdL_error(L, 2, "%s:%d: expected text in UTF-8 (%s)", r->source, line, problem);
  }
  if (parser->context == NULL) return spdL_error(L, 2, "%s:%d: %s", r->source, line_of(parser->problem_mark), problem);
  return spdL_error(L, 2, "%s:%d: %s (%s from line %d)", r->source, line_of(parser->problem_mark), problem,
                    parser->context, line_of(parser->context_mark));
}

/* ---- the tree ------------------------------------------------------------------------------ */

static void push_node(lua_State *L, reader *r, int index, int depth);

/* A node's table with what all kinds share. */
static void push_table(lua_State *L, const char *kind, const yaml_node_t *node) {
  lua_newtable(L);
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  lua_pushinteger(L, line_of(node->start_mark));
  lua_setfield(L, -2, "line");
}

static void push_scalar(lua_State *L, const yaml_node_t *node) {
  push_table(L, "scalar", node);
  lua_pushlstring(L, (const char *)node->data.scalar.value, node->data.scalar.length);
  lua_setfield(L, -2, "value");
  lua_pushboolean(L, node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE);
  lua_setfield(L, -2, "plain");
}

static void push_sequence(lua_State *L, reader *r, const yaml_node_t *node, int depth) {
  push_table(L, "sequence", node);
  const yaml_node_item_t *items = node->data.sequence.items.start;
  const lua_Integer count = node->data.sequence.items.top - items;
  for (lua_Integer i = 0; i < count; i++) {
    push_node(L, r, items[i], depth + 1);
    lua_seti(L, -2, i + 1);
  }
}

/* Push the key of an entry; an error if it is not a scalar or was seen before (the lines of the keys are in the table
** at index seen). */
static void push_key(lua_State *L, const reader *r, const yaml_node_t *key, int seen) {
  const int line = line_of(key->start_mark);
  if (key->type != YAML_SCALAR_NODE) spdL_error(L, 2, "%s:%d: expected a word as key", r->source, line);
  const char *text = (const char *)key->data.scalar.value;
  if (strlen(text) != key->data.scalar.length) spdL_error(L, 2, "%s:%d: a key contains a zero byte", r->source, line);
  if (lua_getfield(L, seen, text) != LUA_TNIL) {
    const int first = (int)lua_tointeger(L, -1);
    spdL_error(L, 2, "%s:%d: key '%s' is given twice (first in line %d)", r->source, line, push_quoted(L, text), first);
  }
  lua_pop(L, 1);
  lua_pushinteger(L, line);
  lua_setfield(L, seen, text);
  lua_pushstring(L, text);
}

static void push_mapping(lua_State *L, reader *r, const yaml_node_t *node, int depth) {
  push_table(L, "mapping", node);
  lua_newtable(L);
  const int seen = lua_gettop(L);
  const yaml_node_pair_t *pairs = node->data.mapping.pairs.start;
  const lua_Integer count = node->data.mapping.pairs.top - pairs;
  for (lua_Integer i = 0; i < count; i++) {
    const yaml_node_t *key = yaml_document_get_node(&r->document, pairs[i].key);
    lua_createtable(L, 0, 3);
    push_key(L, r, key, seen);
    lua_setfield(L, -2, "key");
    lua_pushinteger(L, line_of(key->start_mark));
    lua_setfield(L, -2, "line");
    push_node(L, r, pairs[i].value, depth + 1);
    lua_setfield(L, -2, "value");
    lua_seti(L, -3, i + 1);
  }
  lua_pop(L, 1);
}

static bool has_default_tag(const yaml_node_t *node) {
  const char *tag = (const char *)node->tag;
  return tag == NULL || strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, YAML_SEQ_TAG) == 0 ||
         strcmp(tag, YAML_MAP_TAG) == 0;
}

static void push_node(lua_State *L, reader *r, int index, int depth) {
  const yaml_node_t *node = yaml_document_get_node(&r->document, index);
  const int line = line_of(node->start_mark);
  luaL_checkstack(L, 8, "YAML");
  if (depth > MAX_DEPTH) spdL_error(L, 2, "%s:%d: nested more than %d levels deep", r->source, line, MAX_DEPTH);
  if (++r->nodes > MAX_NODES) spdL_error(L, 2, "%s:%d: more than %d values", r->source, line, MAX_NODES);
  if (!has_default_tag(node))
    spdL_error(L, 2, "%s:%d: the tag %s is not supported", r->source, line, push_quoted(L, (const char *)node->tag));
  if (node->type == YAML_SCALAR_NODE)
    push_scalar(L, node);
  else if (node->type == YAML_SEQUENCE_NODE)
    push_sequence(L, r, node, depth);
  else
    push_mapping(L, r, node, depth);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Load the next document; false if there is none. */
static bool load_document(lua_State *L, reader *r, const char *text, size_t length) {
  if (!yaml_parser_load(&r->parser, &r->document)) syntax_error(L, r, text, length);
  r->has_document = true;
  return yaml_document_get_root_node(&r->document) != NULL;
}

static int core_yaml_parse(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  const char *source = luaL_optstring(L, 2, "YAML");
  reader *r = lua_newuserdatauv(L, sizeof *r, 0);
  memset(r, 0, sizeof *r);
  luaL_setmetatable(L, DOCUMENT);
  lua_toclose(L, -1);
  r->source = source;
  r->has_parser = yaml_parser_initialize(&r->parser) != 0;
  if (!r->has_parser) return spdL_error(L, 1, "%s: not enough memory to read it", source);
  yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, length);
  if (!load_document(L, r, text, length)) return 0;
  push_node(L, r, 1, 1); /* the root is the first node */
  yaml_document_delete(&r->document);
  r->has_document = false;
  if (load_document(L, r, text, length)) {
    const int line = line_of(r->document.start_mark);
    return spdL_error(L, 2, "%s:%d: expected one document, found a second one", source, line);
  }
  return 1;
}

static const spdL_function functions[] = {
    {"yaml_parse", core_yaml_parse,
     "yaml_parse(text [, source]) -> node\n"
     "Parse one YAML document to a tree; nothing is returned for an empty one. Every node has kind and line, and\n"
     "  scalar: value (the text), plain (written without quotes)\n"
     "  sequence: the nodes at 1, 2, ...\n"
     "  mapping: entries {key =, line =, value = node} at 1, 2, ..., in the order of the text\n"
     "Errors name the source and the line: syntax, a key given twice, a second document, text that is not UTF-8."},
    {NULL, NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", reader_close}, {"__close", reader_close}, {NULL, NULL}};

void spdL_open_yaml(lua_State *L) {
  spdL_new_type(L, DOCUMENT, metamethods, NULL, NULL);
  spdL_register(L, functions);
}
