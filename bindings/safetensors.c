/*
** Safetensors files in Lua: a file is a table of tensors by name, and a table of metadata.
*/
#include <stdlib.h>
#include <string.h>

#include "spdl.h"

#define FILE_BOX SPDL_NAME("safetensors")

/* ---- loading ------------------------------------------------------------------------------- */

static int file_close(lua_State *L) {
  spd_safetensors **box = luaL_checkudata(L, 1, FILE_BOX);
  spd_safetensors_close(*box);
  *box = NULL;
  return 0;
}

/* An open file in a box on the stack, closed when its scope ends, also by an error. */
static spd_safetensors *open_file(lua_State *L, const char *path) {
  spd_safetensors **box = lua_newuserdatauv(L, sizeof(*box), 0);
  *box = NULL;
  luaL_setmetatable(L, FILE_BOX);
  lua_toclose(L, -1);
  *box = spd_safetensors_open(spdL_context(L), path);
  if (*box == NULL) spdL_core_error(L, 2);
  return *box;
}

static void push_tensor(lua_State *L, const spd_safetensors *file, int i) {
  spd_tensor **box = spdL_new_tensor_box(L);
  *box = spd_safetensors_read(file, i);
  if (*box == NULL) spdL_core_error(L, 2);
  spdL_account(L, *box);
}

static int core_safetensors_load(lua_State *L) {
  const spd_safetensors *file = open_file(L, luaL_checkstring(L, 1));
  const int count = spd_safetensors_count(file);
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    push_tensor(L, file, i);
    lua_setfield(L, -2, spd_safetensors_name(file, i));
  }
  lua_newtable(L);
  const char *key, *value;
  for (int i = 0; (key = spd_safetensors_metadata(file, i, &value)) != NULL; i++) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
  }
  return 2;
}

/* ---- saving -------------------------------------------------------------------------------- */

/* Memory for the lists is allocated after their entries were counted, and an allocation can run finalizers. */
#define CHANGED "the table was changed by a finalizer while it was saved"

typedef struct {
  const char *key, *value;
} pair;

static int by_key(const void *left, const void *right) {
  return strcmp(((const pair *)left)->key, ((const pair *)right)->key);
}

static int count_entries(lua_State *L, int table) {
  int count = 0;
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) count++;
  return count;
}

/* The text at index, which must be a string without zero bytes. */
static const char *check_text(lua_State *L, int index, int argument, const char *message) {
  luaL_argcheck(L, lua_type(L, index) == LUA_TSTRING, argument, message);
  const char *text = lua_tostring(L, index);
  luaL_argcheck(L, strlen(text) == lua_rawlen(L, index), argument, "a name or value contains a zero byte");
  return text;
}

/* The metadata at argument 3 sorted by key, in memory that the stack holds. */
static pair *check_metadata(lua_State *L, int count) {
  pair *pairs = lua_newuserdatauv(L, (size_t)count * sizeof *pairs, 0);
  int i = 0;
  for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1), i++) {
    luaL_argcheck(L, i < count, 3, CHANGED);
    pairs[i] = (pair){check_text(L, -2, 3, "expected strings as keys of metadata"),
                      check_text(L, -1, 3, "expected strings as values of metadata")};
  }
  luaL_argcheck(L, i == count, 3, CHANGED);
  if (count > 1) qsort(pairs, (size_t)count, sizeof *pairs, by_key);
  return pairs;
}

static int core_safetensors_save(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  if (lua_isnoneornil(L, 3)) {
    lua_settop(L, 2);
    lua_newtable(L);
  }
  luaL_checktype(L, 3, LUA_TTABLE);
  const int count = count_entries(L, 2), metadata_count = count_entries(L, 3);
  /* a pair is two strings: the list of pairs is the list of strings that core expects */
  const pair *metadata = check_metadata(L, metadata_count);
  _Static_assert(sizeof(pair) == 2 * sizeof(char *), "a pair has no padding");
  const char **names = lua_newuserdatauv(L, (size_t)count * sizeof *names, 0);
  spd_tensor **tensors = lua_newuserdatauv(L, (size_t)count * sizeof *tensors, 0);
  int i = 0; /* from here on nothing is allocated, so that no finalizer can close a tensor */
  for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1), i++) {
    luaL_argcheck(L, i < count, 2, CHANGED);
    names[i] = check_text(L, -2, 2, "expected names as keys");
    tensors[i] = spdL_test_tensor(L, -1);
    luaL_argcheck(L, tensors[i] != NULL, 2, "expected tensors (open ones) as values");
  }
  luaL_argcheck(L, i == count, 2, CHANGED);
  if (!spd_safetensors_write(spdL_context(L), path, count, names, tensors, metadata_count,
                             (const char *const *)metadata))
    return spdL_core_error(L, 1);
  return 0;
}

/* ---- the unit ------------------------------------------------------------------------------ */

static const spdL_function functions[] = {
    {"safetensors_load", core_safetensors_load,
     "safetensors_load(path) -> {name = tensor}, metadata\n"
     "Read all tensors of a safetensors file. F64, F32, F16 and BF16 arrive as reals, integers and BOOL as int32;\n"
     "metadata is a table of strings. The file is checked in full; what is wrong with it is an error."},
    {"safetensors_save", core_safetensors_save,
     "safetensors_save(path, {name = tensor} [, metadata])\n"
     "Write tensors and metadata (a table of strings) to a safetensors file, atomically: after a crash at any\n"
     "moment the path holds the old file or the new one. Equal tensors give equal bytes."},
    {NULL, NULL, NULL}};

void spdL_open_safetensors(lua_State *L) {
  luaL_newmetatable(L, FILE_BOX);
  lua_pushcfunction(L, file_close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, file_close);
  lua_setfield(L, -2, "__close");
  spdL_protect_metatable(L);
  lua_pop(L, 1);
  spdL_register(L, functions);
}
