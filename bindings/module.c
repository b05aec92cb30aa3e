/*
** The module spd.core: its state, errors, documentation, and settings of the context.
*/
#include <stdarg.h>
#include <string.h>

#include "spdl.h"

#define STATE SPDL_NAME("state")

#if defined(SPD_DOUBLE)
#define OPEN luaopen_spd_core_double
#else
#define OPEN luaopen_spd_core
#endif
__attribute__((visibility("default"))) int OPEN(lua_State *L);

spdL_state *spdL_get_state(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, STATE);
  spdL_state *state = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (state->context == NULL) luaL_error(L, "the Lua state is closing: " SPDL_MODULE " is no longer there");
  return state;
}

spd_context *spdL_context(lua_State *L) { return spdL_get_state(L)->context; }

static int state_close(lua_State *L) {
  spdL_state *state = lua_touserdata(L, 1);
  while (state->spares > 0) spd_tape_free(state->spare[--state->spares]);
  spd_tape_free(state->immediate);
  state->immediate = NULL;
  spd_context_free(state->context);
  state->context = NULL;
  return 0;
}

/* ---- errors -------------------------------------------------------------------------------- */

static int error_tostring(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

void spdL_push_error(lua_State *L, int status) {
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  lua_pushinteger(L, status);
  lua_setfield(L, -2, "status");
  if (luaL_newmetatable(L, "spd.error")) {
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
  }
  lua_setmetatable(L, -2);
}

int spdL_error(lua_State *L, int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  spdL_push_error(L, status);
  return lua_error(L);
}

int spdL_core_error(lua_State *L, int status) { return spdL_error(L, status, "%s", spd_error(spdL_context(L))); }
int spdL_call_error(lua_State *L) { return luaL_error(L, "%s", spd_error(spdL_context(L))); }

/* ---- documentation ------------------------------------------------------------------------- */

void spdL_register(lua_State *L, const spdL_function *functions) {
  lua_getfield(L, LUA_REGISTRYINDEX, SPDL_NAME("documentation"));
  for (const spdL_function *f = functions; f->name != NULL; f++) {
    lua_pushcfunction(L, f->function);
    lua_pushvalue(L, -1);
    lua_pushstring(L, f->documentation);
    lua_settable(L, -4);
    lua_setfield(L, -3, f->name);
  }
  lua_pop(L, 1);
}

void spdL_new_type(lua_State *L, const char *metatable, const luaL_Reg *metamethods, const char *key,
                   const spdL_function *methods) {
  luaL_newmetatable(L, metatable);
  luaL_setfuncs(L, metamethods, 0);
  if (methods != NULL) {
    lua_newtable(L);
    spdL_register(L, methods);
    lua_setfield(L, -2, key);
  }
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

/* ---- settings ------------------------------------------------------------------------------ */

static int core_threads(lua_State *L) {
  spd_context *context = spdL_context(L);
  if (!lua_isnoneornil(L, 1)) {
    const lua_Integer threads = luaL_checkinteger(L, 1);
    luaL_argcheck(L, threads >= 1 && threads <= 1024, 1, "expected 1 to 1024 threads");
    if (!spd_set_threads(context, (int)threads)) return spdL_core_error(L, 1);
  }
  lua_pushinteger(L, spd_threads(context));
  return 1;
}

static int core_live_bytes(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)spd_live_bytes(spdL_context(L)));
  return 1;
}

static int core_allocation_count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)spd_allocation_count(spdL_context(L)));
  return 1;
}

static int core_fail_allocation(lua_State *L) {
  const lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 0, 1, "expected 0 or more");
  spd_fail_allocation(spdL_context(L), (uint64_t)n);
  return 0;
}

static int core_instruction_set(lua_State *L) {
  spd_context *context = spdL_context(L);
  if (!lua_isnoneornil(L, 1) && !spd_set_instruction_set(context, luaL_checkstring(L, 1))) return spdL_core_error(L, 1);
  lua_pushstring(L, spd_instruction_set(context));
  return 1;
}

static int core_record_products(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  if (!spd_record_products(spdL_context(L), lua_toboolean(L, 1))) return spdL_core_error(L, 1);
  return 0;
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, key);
}

static void set_boolean(lua_State *L, const char *key, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, key);
}

static int core_products(lua_State *L) {
  size_t count;
  const spd_recorded_product *p = spd_recorded_products(spdL_context(L), &count);
  if (p == NULL) return spdL_core_error(L, 1);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++, p++) {
    lua_createtable(L, 0, 7);
    set_integer(L, "m", p->m);
    set_integer(L, "n", p->n);
    set_integer(L, "k", p->k);
    set_boolean(L, "transpose_a", p->transpose_a);
    set_boolean(L, "transpose_b", p->transpose_b);
    set_boolean(L, "add", p->add);
    set_integer(L, "count", (int64_t)p->count);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int core_repeat_products(lua_State *L) {
  if (!spd_repeat_products(spdL_context(L))) return spdL_core_error(L, 1);
  return 0;
}

static int core_release_buffers(lua_State *L) {
  spdL_state *state = spdL_get_state(L);
  while (state->spares > 0) spd_tape_free(state->spare[--state->spares]);
  spd_tape_free(state->immediate);
  state->immediate = NULL;
  spd_release_scratch(state->context);
  spd_forget_products(state->context);
  return 0;
}

static const spdL_function functions[] = {
    {"threads", core_threads,
     "threads([n]) -> n\n"
     "Number of threads that operators use; with n, set it. Results do not depend on it.\n"
     "The default is the number of cores this process may use."},
    {"live_bytes", core_live_bytes,
     "live_bytes() -> bytes\n"
     "Bytes held by tensors, tapes and optimizers of this Lua state."},
    {"allocation_count", core_allocation_count,
     "allocation_count() -> n\n"
     "Blocks of memory allocated so far. It stops growing once every kind of training step was seen."},
    {"fail_allocation", core_fail_allocation,
     "fail_allocation(n)\n"
     "For tests: let the n-th allocation from now fail; 0 switches this off."},
    {"instruction_set", core_instruction_set,
     "instruction_set([name]) -> name\n"
     "The instruction set of the kernels: \"avx512\", \"avx2\" or \"baseline\". The best one is chosen at the start;\n"
     "with a name, use that one. Results can differ in their last bits."},
    {"record_products", core_record_products,
     "record_products(on)\n"
     "true: forget what was recorded, and record the matrix products of all operators from now on. For measurements."},
    {"products", core_products,
     "products() -> list of {m =, n =, k =, transpose_a =, transpose_b =, add =, count =}\n"
     "The recorded products out [m, n] = op(a) op(b), op(a) [m, k], as a thread computes them: large ones in parts. Each\n"
     "takes 2 m n k floating-point operations."},
    {"repeat_products", core_repeat_products,
     "repeat_products()\n"
     "Compute the recorded products and nothing else, in the same order, on all threads, from zeros that lie in memory as\n"
     "the operands lay. The first time takes longer."},
    {"release_buffers", core_release_buffers,
     "release_buffers()\n"
     "Free the buffers that closed tapes and threads keep for the next operator, and the list of recorded products."},
    {NULL, NULL, NULL}};

/* The state is made once, also where the module is loaded again. */
static void open_state(lua_State *L) {
  if (lua_getfield(L, LUA_REGISTRYINDEX, STATE) != LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  spdL_state *state = lua_newuserdatauv(L, sizeof *state, 0);
  memset(state, 0, sizeof *state);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, state_close);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  state->context = spd_context_new(0);
  if (state->context == NULL) luaL_error(L, "not enough memory for the threads");
  lua_newtable(L);
  lua_setfield(L, LUA_REGISTRYINDEX, SPDL_NAME("documentation"));
  lua_setfield(L, LUA_REGISTRYINDEX, STATE);
}

int OPEN(lua_State *L) {
  luaL_checkversion(L);
  open_state(L);
  lua_newtable(L);
  spdL_register(L, functions);
  lua_getfield(L, LUA_REGISTRYINDEX, SPDL_NAME("documentation"));
  lua_setfield(L, -2, "documentation");
  lua_pushliteral(L, SPD_VERSION);
  lua_setfield(L, -2, "version");
  spdL_open_tensor(L);
  spdL_open_tape(L);
  spdL_open_operators(L);
  spdL_open_optimizer(L);
  spdL_open_safetensors(L);
  spdL_open_yaml(L);
  spdL_open_text(L);
  spdL_open_posix(L);
  spdL_open_sqlite(L);
  return 1;
}
