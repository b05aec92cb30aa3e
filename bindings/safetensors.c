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

/* An open file in a box on the stack. */
static spd_safetensors *open_file(lua_State *L, const char *path) {
  spd_safetensors **box = lua_newuserdatauv(L, sizeof(*box), 0);
  *box = NULL;
  luaL_setmetatable(L, FILE_BOX);
  *box = spd_safetensors_open(spdL_context(L), path);
  if (*box == NULL) spdL_core_error(L, 2);
  return *box;
}

static void fill_box(lua_State *L, spd_tensor **box, const spd_safetensors *file, int i) {
  *box = spd_safetensors_read(file, i);
  if (*box == NULL) spdL_core_error(L, 2);
  spdL_account(L, *box);
}

static int core_safetensors_load(lua_State *L) {
  const spd_safetensors *file = open_file(L, luaL_checkstring(L, 1));
  lua_toclose(L, -1); /* closed when this returns, also by an error */
  const int count = spd_safetensors_count(file);
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    fill_box(L, spdL_new_tensor_box(L), file, i);
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

/* ---- files that stay open ------------------------------------------------------------------ */

static int core_safetensors_open(lua_State *L) {
  spdL_check_count(L, 1);
  open_file(L, luaL_checkstring(L, 1));
  return 1;
}

static const spd_safetensors *check_file(lua_State *L) {
  spd_safetensors **box = spdL_check_object(L, 1, FILE_BOX);
  spdL_argument_check(L, *box != NULL, 1, "the file is closed");
  return *box;
}

/* Every allocation can run a finalizer, and that can close the file: it is checked again before each use. */
static int file_list(lua_State *L) {
  lua_createtable(L, 0, spd_safetensors_count(check_file(L)));
  for (int i = 0; i < spd_safetensors_count(check_file(L)); i++) {
    lua_pushstring(L, spd_safetensors_name(check_file(L), i));
    lua_createtable(L, 0, 2);
    lua_pushstring(L, spd_safetensors_dtype(check_file(L), i));
    lua_setfield(L, -2, "dtype");
    int dimensions;
    int64_t shape[SPD_MAX_DIMENSIONS];
    memcpy(shape, spd_safetensors_shape(check_file(L), i, &dimensions), sizeof shape);
    spdL_push_shape(L, dimensions, shape);
    lua_setfield(L, -2, "shape");
    lua_rawset(L, -3);
  }
  return 1;
}

static int file_read(lua_State *L) {
  const char *name = luaL_checkstring(L, 2);
  spd_tensor **box = spdL_new_tensor_box(L);
  const spd_safetensors *file = check_file(L);
  const int i = spd_safetensors_find(file, name);
  spdL_argument_check(L, i >= 0, 2, "no such tensor in the file");
  fill_box(L, box, file, i);
  return 1;
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
    {"safetensors_open", core_safetensors_open,
     "safetensors_open(path) -> file\n"
     "Open and check a safetensors file without reading its tensors: file:list() says what is in it, file:read(name)\n"
     "reads one tensor. Write `local file <close> = spd.safetensors_open(path)`."},
    {"safetensors_save", core_safetensors_save,
     "safetensors_save(path, {name = tensor} [, metadata])\n"
     "Write tensors and metadata (a table of strings) to a safetensors file, atomically: after a crash at any\n"
     "moment the path holds the old file or the new one. Equal tensors give equal bytes."},
    {NULL, NULL, NULL}};

static const spdL_function methods[] = {
    {"list", file_list,
     "file:list() -> {name = {dtype =, shape =}}\nThe tensors of the file, dtype as \"F32\", \"BF16\", ..."},
    {"read", file_read, "file:read(name) -> tensor\nRead one tensor, as safetensors_load does."},
    {"close", file_close, "file:close()\nTensors that were read stay."},
    {NULL, NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", file_close}, {"__close", file_close}, {NULL, NULL}};

void spdL_open_safetensors(lua_State *L) {
  spdL_new_type(L, FILE_BOX, metamethods, "__index", methods);
  spdL_register(L, functions);
}
