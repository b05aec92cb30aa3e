/*
** Tensors in Lua: making, reading, writing, printing.
*/
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "spdl.h"

#define TENSOR SPDL_NAME("tensor")

enum { ACCOUNT_BYTES = 64 << 20 };

/* ---- boxes --------------------------------------------------------------------------------- */

spd_tensor *spdL_test_tensor(lua_State *L, int argument) {
  spd_tensor **box = luaL_testudata(L, argument, TENSOR);
  return box == NULL ? NULL : *box;
}

spd_tensor *spdL_check_tensor(lua_State *L, int argument) {
  spd_tensor **box = spdL_check_object(L, argument, TENSOR);
  spdL_argument_check(L, *box != NULL, argument, "the tensor is closed");
  return *box;
}

spd_tensor **spdL_new_tensor_box(lua_State *L) {
  spd_tensor **box = lua_newuserdatauv(L, sizeof(*box), 0);
  *box = NULL;
  luaL_setmetatable(L, TENSOR);
  return box;
}

spd_tensor *spdL_hold_tensor(lua_State *L, int argument) {
  if (lua_gettop(L) < argument) lua_settop(L, argument); /* a missing one is not the box */
  spd_tensor **box = spdL_new_tensor_box(L);
  *box = spd_tensor_retain(spdL_check_tensor(L, argument));
  return *box;
}

/* The collector sees only the box, so it is stepped by hand. */
void spdL_account(lua_State *L, const spd_tensor *tensor) {
  spdL_state *state = spdL_get_state(L);
#if defined(SPDL_GCSTRESS)
  lua_gc(L, LUA_GCCOLLECT);
#endif
  state->unaccounted += (size_t)spd_tensor_count(tensor) * sizeof(spd_real);
  if (state->unaccounted < ACCOUNT_BYTES) return;
  const size_t kilobytes = state->unaccounted >> 10;
  state->unaccounted = 0;
  lua_gc(L, LUA_GCSTEP, kilobytes > INT32_MAX ? INT32_MAX : (int)kilobytes);
}

static spd_tensor *new_tensor(lua_State *L, spd_dtype dtype, int dimensions, const int64_t *shape) {
  spd_tensor **box = spdL_new_tensor_box(L);
  *box = spd_tensor_new(spdL_context(L), dtype, dimensions, shape);
  if (*box == NULL) spdL_call_error(L);
  spdL_account(L, *box);
  return *box;
}

static int tensor_close(lua_State *L) {
  spd_tensor **box = spdL_check_object(L, 1, TENSOR);
  spd_tensor_release(*box);
  *box = NULL;
  return 0;
}

/* ---- arguments ----------------------------------------------------------------------------- */

int spdL_check_shape(lua_State *L, int argument, int64_t *shape) {
  const bool table = lua_istable(L, argument);
  const lua_Integer count = table ? luaL_len(L, argument) : lua_gettop(L) - argument + 1;
  spdL_argument_check(L, count >= 0 && count <= SPD_MAX_DIMENSIONS, argument, "expected at most 4 sizes");
  for (int i = 0; i < count; i++) {
    if (table) lua_geti(L, argument, i + 1);
    int is_integer;
    const lua_Integer size = lua_tointegerx(L, table ? -1 : argument + i, &is_integer);
    spdL_argument_check(L, is_integer && size >= 0, table ? argument : argument + i,
                        "a size must be an integer, 0 or more");
    shape[i] = size;
    if (table) lua_pop(L, 1);
  }
  return (int)count;
}

void spdL_push_shape(lua_State *L, int dimensions, const int64_t *shape) {
  lua_createtable(L, dimensions, 0);
  for (int i = 0; i < dimensions; i++) {
    lua_pushinteger(L, shape[i]);
    lua_seti(L, -2, i + 1);
  }
}

static uint64_t draw_field(lua_State *L, int argument, const char *name, uint64_t limit) {
  lua_getfield(L, argument, name);
  int is_integer = 1;
  const lua_Integer value = lua_isnil(L, -1) ? 0 : lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  if (!is_integer || value < 0 || (uint64_t)value > limit)
    luaL_error(L, "draw: %s must be an integer from 0 to %I", name, (lua_Integer)limit);
  return (uint64_t)value;
}

/* A purpose is a word; its hash (FNV-1a) goes into the name of the draw. */
static uint32_t purpose_of(lua_State *L, int argument) {
  size_t length = 0;
  lua_getfield(L, argument, "purpose");
  const char *text = lua_isnil(L, -1) ? "" : lua_tolstring(L, -1, &length);
  if (text == NULL) luaL_error(L, "draw: purpose must be a string");
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 16777619u;
  lua_pop(L, 1);
  return hash;
}

spd_draw spdL_check_draw(lua_State *L, int argument) {
  static const char *const known[] = {"seed", "purpose", "matrix", "sample", "step", NULL};
  if (!lua_istable(L, argument))
    spdL_argument_error(L, argument, "expected a draw such as {seed = 0}, found %s", spdL_type_name(L, argument));
  spdL_check_keys(L, argument, "draw", known);
  return (spd_draw){.seed = draw_field(L, argument, "seed", INT64_MAX),
                    .purpose = purpose_of(L, argument),
                    .matrix = (uint32_t)draw_field(L, argument, "matrix", UINT16_MAX),
                    .sample = (uint32_t)draw_field(L, argument, "sample", UINT16_MAX),
                    .step = (uint32_t)draw_field(L, argument, "step", UINT32_MAX)};
}

/* ---- nested tables ------------------------------------------------------------------------- */

static int table_shape(lua_State *L, int64_t *shape) {
  int dimensions = 0;
  lua_pushvalue(L, 1);
  while (lua_istable(L, -1)) {
    if (dimensions == SPD_MAX_DIMENSIONS) luaL_error(L, "tensor: more than 4 levels of tables");
    shape[dimensions++] = luaL_len(L, -1);
    luaL_checkstack(L, 2, NULL);
    lua_geti(L, -1, 1);
  }
  lua_settop(L, 2);
  return dimensions;
}

static void store_number(lua_State *L, spd_tensor *tensor, int64_t at) {
  if (lua_type(L, -1) != LUA_TNUMBER) luaL_error(L, "tensor: expected a number, found %s", luaL_typename(L, -1));
  if (spd_tensor_dtype(tensor) == SPD_REAL) {
    spd_tensor_write_real(tensor)[at] = (spd_real)lua_tonumber(L, -1);
    return;
  }
  int is_integer;
  const lua_Integer value = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || value < INT32_MIN || value > INT32_MAX)
    luaL_error(L, "tensor: %s does not fit into int32", luaL_tolstring(L, -1, NULL));
  spd_tensor_write_int32(tensor)[at] = (int32_t)value;
}

/* Copy the nested table on top of the stack to the tensor from `at` on; returns what follows. */
static int64_t store_table(lua_State *L, spd_tensor *tensor, int level, int64_t at) {
  const int64_t *shape = spd_tensor_shape(tensor);
  if (level == spd_tensor_dimensions(tensor)) {
    store_number(L, tensor, at);
    return at + 1;
  }
  if (!lua_istable(L, -1) || luaL_len(L, -1) != shape[level])
    luaL_error(L, "tensor: the nested tables are not of one shape (level %d: expected %I entries)", level + 1,
               (lua_Integer)shape[level]);
  for (int64_t i = 1; i <= shape[level]; i++) {
    lua_geti(L, -1, i);
    at = store_table(L, tensor, level + 1, at);
    lua_pop(L, 1);
  }
  return at;
}

static void push_number(lua_State *L, const spd_tensor *tensor, int64_t at) {
  if (spd_tensor_dtype(tensor) == SPD_REAL)
    lua_pushnumber(L, (lua_Number)spd_tensor_real(tensor)[at]);
  else
    lua_pushinteger(L, spd_tensor_int32(tensor)[at]);
}

static int64_t push_table(lua_State *L, const spd_tensor *tensor, int level, int64_t at) {
  if (level == spd_tensor_dimensions(tensor)) {
    push_number(L, tensor, at);
    return at + 1;
  }
  luaL_checkstack(L, 2, NULL);
  const int64_t size = spd_tensor_shape(tensor)[level];
  lua_createtable(L, size < INT32_MAX ? (int)size : 0, 0);
  for (int64_t i = 1; i <= size; i++) {
    at = push_table(L, tensor, level + 1, at);
    lua_seti(L, -2, i);
  }
  return at;
}

/* ---- making -------------------------------------------------------------------------------- */

static spd_dtype check_dtype(lua_State *L, int argument) {
  if (lua_isnoneornil(L, argument)) return SPD_REAL;
  const char *name = lua_tostring(L, argument);
  if (name != NULL && strcmp(name, "real") == 0) return SPD_REAL;
  if (name == NULL || strcmp(name, "int32") != 0)
    spdL_argument_error(L, argument, "expected \"real\" or \"int32\", found %s",
                        name == NULL ? spdL_type_name(L, argument) : name);
  return SPD_INT32;
}

static int core_tensor(lua_State *L) {
  if (!lua_istable(L, 1) && lua_type(L, 1) != LUA_TNUMBER)
    return spdL_argument_error(L, 1, "expected nested tables or a number, found %s", spdL_type_name(L, 1));
  spdL_check_count(L, 2);
  const spd_dtype dtype = check_dtype(L, 2);
  int64_t shape[SPD_MAX_DIMENSIONS];
  lua_settop(L, 2);
  const int dimensions = table_shape(L, shape);
  spd_tensor *tensor = new_tensor(L, dtype, dimensions, shape);
  lua_pushvalue(L, 1);
  store_table(L, tensor, 0, 0);
  lua_pop(L, 1);
  return 1;
}

static int core_zeros(lua_State *L) {
  int64_t shape[SPD_MAX_DIMENSIONS];
  const bool table = lua_istable(L, 1);
  if (table) spdL_check_count(L, 2);
  const spd_dtype dtype = table ? check_dtype(L, 2) : SPD_REAL;
  const int dimensions = spdL_check_shape(L, 1, shape);
  new_tensor(L, dtype, dimensions, shape);
  return 1;
}

static int core_eye(lua_State *L) {
  spdL_check_count(L, 1);
  const lua_Integer n = spdL_check_integer(L, 1);
  spdL_argument_check(L, n >= 0, 1, "expected 0 or more");
  spd_tensor *tensor = new_tensor(L, SPD_REAL, 2, (int64_t[]){n, n});
  spd_real *data = spd_tensor_write_real(tensor);
  for (lua_Integer i = 0; i < n; i++) data[i * n + i] = 1;
  return 1;
}

static int random_tensor(lua_State *L, bool fill(spd_tensor *, spd_draw)) {
  int64_t shape[SPD_MAX_DIMENSIONS];
  spdL_check_table(L, 1);
  spdL_check_count(L, 2);
  const int dimensions = spdL_check_shape(L, 1, shape);
  const spd_draw draw = spdL_check_draw(L, 2);
  if (!fill(new_tensor(L, SPD_REAL, dimensions, shape), draw)) return spdL_call_error(L);
  return 1;
}

static int core_uniform(lua_State *L) { return random_tensor(L, spd_fill_uniform); }
static int core_normal(lua_State *L) { return random_tensor(L, spd_fill_normal); }

static int core_philox(lua_State *L) {
  uint32_t words[6], out[4];
  for (int i = 0; i < 6; i++) words[i] = (uint32_t)spdL_check_integer(L, i + 1);
  spd_philox(words, words + 4, out);
  for (int i = 0; i < 4; i++) lua_pushinteger(L, out[i]);
  return 4;
}

/* ---- methods ------------------------------------------------------------------------------- */

static int tensor_size(lua_State *L) {
  spdL_check_count(L, 2);
  const spd_tensor *tensor = spdL_check_tensor(L, 1);
  const lua_Integer dimension = spdL_check_integer(L, 2);
  spdL_argument_check(L, dimension >= 1 && dimension <= spd_tensor_dimensions(tensor), 2, "no such dimension");
  lua_pushinteger(L, spd_tensor_shape(tensor)[dimension - 1]);
  return 1;
}

/* The place of the element named by the arguments from `argument` on, counted from 1. */
static int64_t check_place(lua_State *L, const spd_tensor *tensor, int argument) {
  const int dimensions = spd_tensor_dimensions(tensor);
  const int found = lua_gettop(L) - argument + 1;
  if (found != dimensions)
    luaL_error(L, "expected %d %s, found %d", dimensions, dimensions == 1 ? "index" : "indices", found);
  int64_t at = 0;
  for (int i = 0; i < dimensions; i++) {
    const lua_Integer index = spdL_check_integer(L, argument + i);
    spdL_argument_check(L, index >= 1 && index <= spd_tensor_shape(tensor)[i], argument + i, "index out of range");
    at = at * spd_tensor_shape(tensor)[i] + index - 1;
  }
  return at;
}

static int tensor_get(lua_State *L) {
  const spd_tensor *tensor = spdL_check_tensor(L, 1);
  push_number(L, tensor, check_place(L, tensor, 2));
  return 1;
}

static int tensor_set(lua_State *L) {
  spd_tensor *tensor = spdL_check_tensor(L, 1);
  const int64_t at = check_place(L, tensor, 3);
  lua_pushvalue(L, 2);
  store_number(L, tensor, at);
  lua_settop(L, 1);
  return 1;
}

static int tensor_item(lua_State *L) {
  const spd_tensor *tensor = spdL_check_tensor(L, 1);
  spdL_argument_check(L, spd_tensor_count(tensor) == 1, 1, "expected a tensor of one element");
  push_number(L, tensor, 0);
  return 1;
}

static int tensor_totable(lua_State *L) {
  push_table(L, spdL_hold_tensor(L, 1), 0, 0);
  return 1;
}

/* The lists are as long as they will be, unless their allocation ran a finalizer that changed the tensor: then they grow. */
static int tensor_above(lua_State *L) {
  spdL_check_count(L, 2);
  const spd_real threshold = (spd_real)spdL_check_number(L, 2);
  const spd_tensor *tensor = spdL_hold_tensor(L, 1);
  spdL_argument_check(L, spd_tensor_dtype(tensor) == SPD_REAL, 1, "expected a tensor of reals");
  const spd_real *data = spd_tensor_real(tensor);
  const int dimensions = spd_tensor_dimensions(tensor);
  const int64_t columns = dimensions == 0 ? 1 : spd_tensor_shape(tensor)[dimensions - 1];
  const int64_t count = spd_tensor_count(tensor);
  int64_t found = 0;
  for (int64_t i = 0; i < count; i++) found += data[i] > threshold;
  for (int i = 0; i < 3; i++) lua_createtable(L, found > INT_MAX ? INT_MAX : (int)found, 0);
  const int lists = lua_gettop(L) - 2;
  lua_Integer entry = 0;
  for (int64_t i = 0; i < count; i++) {
    if (!(data[i] > threshold)) continue;
    entry++;
    lua_pushinteger(L, i / columns + 1);
    lua_rawseti(L, lists, entry);
    lua_pushinteger(L, i % columns + 1);
    lua_rawseti(L, lists + 1, entry);
    lua_pushnumber(L, data[i]);
    lua_rawseti(L, lists + 2, entry);
  }
  return 3;
}

static int tensor_fill(lua_State *L) {
  spdL_check_count(L, 2);
  spd_tensor *tensor = spdL_check_tensor(L, 1);
  const lua_Number value = spdL_check_number(L, 2);
  spd_real *data = spd_tensor_write_real(tensor);
  spdL_argument_check(L, data != NULL, 1, "expected a tensor of reals");
  for (int64_t i = 0; i < spd_tensor_count(tensor); i++) data[i] = (spd_real)value;
  lua_settop(L, 1);
  return 1;
}

static bool same_shape(const spd_tensor *a, const spd_tensor *b) {
  return spd_tensor_dtype(a) == spd_tensor_dtype(b) && spd_tensor_dimensions(a) == spd_tensor_dimensions(b) &&
         memcmp(spd_tensor_shape(a), spd_tensor_shape(b), (size_t)spd_tensor_dimensions(a) * sizeof(int64_t)) == 0;
}

static void copy_content(spd_tensor *to, const spd_tensor *from) {
  const size_t count = (size_t)spd_tensor_count(from);
  if (spd_tensor_dtype(from) == SPD_REAL)
    memcpy(spd_tensor_write_real(to), spd_tensor_real(from), count * sizeof(spd_real));
  else
    memcpy(spd_tensor_write_int32(to), spd_tensor_int32(from), count * sizeof(int32_t));
}

static int tensor_copy_from(lua_State *L) {
  spdL_check_count(L, 2);
  spd_tensor *to = spdL_check_tensor(L, 1), *from = spdL_check_tensor(L, 2);
  spdL_argument_check(L, same_shape(to, from), 2, "shape or type differs");
  if (to != from) copy_content(to, from);
  lua_settop(L, 1);
  return 1;
}

static int tensor_clone(lua_State *L) {
  const spd_tensor *from = spdL_hold_tensor(L, 1);
  copy_content(new_tensor(L, spd_tensor_dtype(from), spd_tensor_dimensions(from), spd_tensor_shape(from)), from);
  return 1;
}

static int tensor_parameter(lua_State *L) {
  if (!spd_tensor_make_parameter(spdL_check_tensor(L, 1))) return spdL_call_error(L);
  lua_settop(L, 1);
  return 1;
}

static int tensor_is_finite(lua_State *L) {
  const spd_tensor *tensor = spdL_check_tensor(L, 1);
  const spd_real *data = spd_tensor_real(tensor);
  bool finite = true;
  for (int64_t i = 0; data != NULL && i < spd_tensor_count(tensor); i++) finite = finite && isfinite(data[i]);
  lua_pushboolean(L, finite);
  return 1;
}

/* ---- printing ------------------------------------------------------------------------------ */

enum { SHOWN_EDGE = 4, SHOWN_ALL = 2 * SHOWN_EDGE + 2 };

/* Indices that are shown of a dimension: all of a short one, both ends of a long one. */
static bool is_shown(int64_t i, int64_t size) { return size <= SHOWN_ALL || i < SHOWN_EDGE || i >= size - SHOWN_EDGE; }

static void format_number(char *text, size_t size, const spd_tensor *tensor, int64_t at, double largest) {
  if (spd_tensor_dtype(tensor) == SPD_INT32)
    snprintf(text, size, "%d", (int)spd_tensor_int32(tensor)[at]);
  else if (isnan(spd_tensor_real(tensor)[at]))
    snprintf(text, size, "nan"); /* whatever its sign, which printf would show */
  else if (largest >= 1e5 || (largest < 1e-3 && largest > 0))
    snprintf(text, size, "%.3e", (double)spd_tensor_real(tensor)[at]);
  else
    snprintf(text, size, "%.4f", (double)spd_tensor_real(tensor)[at]);
}

static double largest_magnitude(const spd_tensor *tensor) {
  const spd_real *data = spd_tensor_real(tensor);
  double largest = 0;
  for (int64_t i = 0; data != NULL && i < spd_tensor_count(tensor); i++)
    if (fabs((double)data[i]) > largest && isfinite(data[i])) largest = fabs((double)data[i]);
  return largest;
}

typedef struct {
  luaL_Buffer text;
  const spd_tensor *tensor;
  double largest;
  int width; /* of a number */
} printer;

static void measure(printer *p, int level, int64_t at) {
  const int dimensions = spd_tensor_dimensions(p->tensor);
  if (level == dimensions) {
    char number[64];
    format_number(number, sizeof number, p->tensor, at, p->largest);
    if ((int)strlen(number) > p->width) p->width = (int)strlen(number);
    return;
  }
  const int64_t size = spd_tensor_shape(p->tensor)[level];
  for (int64_t i = 0; i < size; i++)
    if (is_shown(i, size)) measure(p, level + 1, at * size + i);
}

static void print_row(printer *p, int64_t at, int64_t size) {
  char number[64], cell[80];
  for (int64_t i = 0; i < size; i++) {
    if (!is_shown(i, size)) {
      if (i == SHOWN_EDGE) luaL_addstring(&p->text, "  ...");
      continue;
    }
    format_number(number, sizeof number, p->tensor, at * size + i, p->largest);
    snprintf(cell, sizeof cell, "  %*s", p->width, number);
    luaL_addstring(&p->text, cell);
  }
}

static void print_level(printer *p, int level, int64_t at) {
  const int dimensions = spd_tensor_dimensions(p->tensor);
  const int64_t size = spd_tensor_shape(p->tensor)[level];
  if (level == dimensions - 1) {
    luaL_addchar(&p->text, '\n');
    print_row(p, at, size);
    return;
  }
  for (int64_t i = 0; i < size; i++) {
    if (is_shown(i, size)) {
      if (level == dimensions - 3 && i > 0) luaL_addchar(&p->text, '\n');
      print_level(p, level + 1, at * size + i);
    } else if (i == SHOWN_EDGE) {
      luaL_addstring(&p->text, "\n  ...");
    }
  }
}

static int tensor_tostring(lua_State *L) {
  spd_tensor **box = spdL_check_object(L, 1, TENSOR);
  if (*box == NULL) {
    lua_pushliteral(L, "tensor (closed)");
    return 1;
  }
  const spd_tensor *tensor = spdL_hold_tensor(L, 1);
  printer p = {.tensor = tensor, .largest = largest_magnitude(tensor)};
  const int dimensions = spd_tensor_dimensions(tensor);
  if (spd_tensor_count(tensor) > 0) measure(&p, 0, 0);
  luaL_buffinit(L, &p.text);
  luaL_addstring(&p.text, "tensor [");
  for (int i = 0; i < dimensions; i++) {
    char size[32];
    snprintf(size, sizeof size, i == 0 ? "%lld" : ", %lld", (long long)spd_tensor_shape(tensor)[i]);
    luaL_addstring(&p.text, size);
  }
  luaL_addstring(&p.text, spd_tensor_dtype(tensor) == SPD_INT32 ? "] int32" : "]");
  if (spd_tensor_gradient(tensor) != NULL) luaL_addstring(&p.text, " parameter");
  if (spd_tensor_count(tensor) > 0 && dimensions > 0)
    print_level(&p, 0, 0);
  else if (spd_tensor_count(tensor) > 0) {
    luaL_addchar(&p.text, '\n');
    print_row(&p, 0, 1);
  }
  luaL_pushresult(&p.text);
  return 1;
}

/* ---- fields -------------------------------------------------------------------------------- */

static int tensor_length(lua_State *L) {
  const spd_tensor *tensor = spdL_check_tensor(L, 1);
  lua_pushinteger(L, spd_tensor_dimensions(tensor) == 0 ? 1 : spd_tensor_shape(tensor)[0]);
  return 1;
}

/* t.shape, t.dtype, t.gradient; else a method. Other names are nil, as in a table, so that code can ask what it has. */
static int tensor_index(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "a tensor has no elements by []: use t:get(i, ...) for one, t:totable() for all");
  const char *name = lua_tostring(L, 2);
  if (strcmp(name, "shape") == 0) {
    const spd_tensor *tensor = spdL_check_tensor(L, 1);
    int64_t shape[SPD_MAX_DIMENSIONS];
    const int dimensions = spd_tensor_dimensions(tensor);
    memcpy(shape, spd_tensor_shape(tensor), sizeof shape);
    spdL_push_shape(L, dimensions, shape);
  } else if (strcmp(name, "dtype") == 0) {
    lua_pushstring(L, spd_tensor_dtype(spdL_check_tensor(L, 1)) == SPD_REAL ? "real" : "int32");
  } else if (strcmp(name, "gradient") == 0) {
    spd_tensor **box = spdL_new_tensor_box(L), *gradient = spd_tensor_gradient(spdL_check_tensor(L, 1));
    if (gradient == NULL)
      lua_pushnil(L);
    else
      *box = spd_tensor_retain(gradient);
  } else {
    luaL_getmetafield(L, 1, "methods");
    lua_getfield(L, -1, name);
  }
  return 1;
}

static int tensor_newindex(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "a tensor has no elements by []: use t:set(value, i, ...)");
  return luaL_error(L, "a tensor has no field '%s' that can be written", lua_tostring(L, 2));
}

static const spdL_function functions[] = {
    {"tensor", core_tensor,
     "tensor(rows [, \"real\"|\"int32\"]) -> tensor\n"
     "A tensor from nested tables of numbers: tensor{{1, 2}, {3, 4}} is [2, 2], tensor(3) has no dimensions."},
    {"zeros", core_zeros,
     "zeros(d1, d2, ...) or zeros({d1, d2, ...} [, \"real\"|\"int32\"]) -> tensor\n"
     "A tensor of zeros, of at most four dimensions."},
    {"eye", core_eye,
     "eye(n) -> tensor [n, n]\n"
     "The identity matrix."},
    {"uniform", core_uniform,
     "uniform(shape, draw) -> tensor\n"
     "Independent numbers from U[0, 1). draw = {seed =, purpose =, matrix =, sample =, step =} names them:\n"
     "the same name gives the same numbers, always."},
    {"normal", core_normal,
     "normal(shape, draw) -> tensor\n"
     "Independent numbers from N(0, 1), named as in uniform."},
    {"philox", core_philox,
     "philox(c0, c1, c2, c3, k0, k1) -> four 32-bit words\n"
     "One block of the generator Philox4x32-10, for comparison with published vectors."},
    {NULL, NULL, NULL}};

static const spdL_function methods[] = {
    {"size", tensor_size, "t:size(i) -> n\nSize of dimension i, from 1."},
    {"get", tensor_get, "t:get(i, j, ...) -> number\nOne element; indices count from 1."},
    {"set", tensor_set, "t:set(value, i, j, ...) -> t\nWrite one element; indices count from 1."},
    {"item", tensor_item, "t:item() -> number\nThe element of a tensor of one element."},
    {"totable", tensor_totable, "t:totable() -> nested tables\nThe elements as Lua numbers."},
    {"above", tensor_above,
     "t:above(threshold) -> rows, columns, values\n"
     "The elements above a threshold, in order, as three lists: row (all dimensions but the last count as rows) and column,\n"
     "both from 1, and the value. NaN is above nothing."},
    {"fill", tensor_fill, "t:fill(value) -> t\nOverwrite all elements."},
    {"copy_from", tensor_copy_from,
     "t:copy_from(other) -> t\nOverwrite all elements by those of a tensor of the same shape."},
    {"clone", tensor_clone, "t:clone() -> tensor\nA copy of its own. A copy of a parameter is not a parameter."},
    {"parameter", tensor_parameter,
     "t:parameter() -> t\nMake t trainable: tape:backward adds to t.gradient, a tensor of the same shape."},
    {"is_finite", tensor_is_finite, "t:is_finite() -> boolean\nWhether no element is NaN or infinite."},
    {"close", tensor_close, "t:close()\nFree the memory now instead of at the next collection."},
    {NULL, NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", tensor_close},
                                       {"__close", tensor_close},
                                       {"__tostring", tensor_tostring},
                                       {"__len", tensor_length},
                                       {"__index", tensor_index},
                                       {"__newindex", tensor_newindex},
                                       {NULL, NULL}};

void spdL_open_tensor(lua_State *L) {
  spdL_new_type(L, TENSOR, metamethods, "methods", methods);
  spdL_register(L, functions);
}
