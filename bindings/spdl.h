/*
** Helpers shared by the binding units. Each unit X.c adds its functions to the module table with
** spdL_open_X; bindings/module.c calls them all.
*/
#ifndef SPDL_H
#define SPDL_H

#include <lauxlib.h>
#include <lua.h>

#include "../core/spd.h"

#if defined(SPD_DOUBLE)
#define SPDL_MODULE "spd.core_double"
#else
#define SPDL_MODULE "spd.core"
#endif
/* Metatable names: the two builds of the module can live in one Lua state. */
#define SPDL_NAME(type) SPDL_MODULE "." type

/* A function of the module with the text that help() shows, or NULL. Arrays end with a NULL name. */
typedef struct {
  const char *name;
  lua_CFunction function;
  const char *documentation;
} spdL_function;

/* Set the functions in the table on top of the stack and record their documentation. */
void spdL_register(lua_State *L, const spdL_function *functions);
/* Make the type of a userdata, with its methods in a table at `key` of the metatable: "__index", or where an __index of
** its own looks; NULL: no methods. Lua code sees `false` instead of the metatable: without its __gc, memory would not
** be safe. */
void spdL_new_type(lua_State *L, const char *metatable, const luaL_Reg *metamethods, const char *key,
                   const spdL_function *methods);

/* What one Lua state holds: its context, the open tapes, innermost first (none: operators compute at once), a tape
** for computing at once, and closed tapes that wait with their buffers for the next one. */
enum { SPDL_SPARE_TAPES = 4 };
typedef struct spdL_tape spdL_tape;
typedef struct {
  spd_context *context;
  spdL_tape *open;
  lua_Integer opened; /* tapes so far; each has its number, by which values know it */
  spd_tape *immediate;
  spd_tape *spare[SPDL_SPARE_TAPES];
  int spares;
  size_t unaccounted; /* bytes of tensors that the collector was not yet told about */
} spdL_state;
spdL_state *spdL_get_state(lua_State *L);
spd_context *spdL_context(lua_State *L);

/* Raise an error object {status =, message =}; status is the exit status it stands for: 2 for bad
** usage, config or input file, 1 for a failure while running. Formats as lua_pushfstring. */
int spdL_error(lua_State *L, int status, const char *format, ...);
/* An object like that made of the message on top of the stack, in its place, for one that says more than these two. */
void spdL_push_error(lua_State *L, int status);
/* spdL_error with the context's last error as the message. */
int spdL_core_error(lua_State *L, int status);
/* A mistake in a call: a Lua error with position, and the context's last error as its text. */
int spdL_call_error(lua_State *L);

/* Arguments. Unlike those of lauxlib, errors name the function even where a tail call hides how it was called. Checks
** allocate nothing unless they fail. */
int spdL_argument_error(lua_State *L, int argument, const char *format, ...);
#define spdL_argument_check(L, condition, argument, message) \
  ((void)((condition) || spdL_argument_error(L, argument, "%s", message)))
void spdL_check_count(lua_State *L, int most); /* of arguments */
lua_Integer spdL_check_integer(lua_State *L, int argument);
lua_Number spdL_check_number(lua_State *L, int argument);
void spdL_check_table(lua_State *L, int argument);
/* A userdata of ours, by the type's name in lower case: SPDL_NAME("tape") is a "tape". */
void *spdL_check_object(lua_State *L, int argument, const char *metatable);
/* The type of a value, as a word for messages. May push something. */
const char *spdL_type_name(lua_State *L, int index);
/* Every key of the table is one of `known`, which ends with NULL; `what` begins the message. */
void spdL_check_keys(lua_State *L, int argument, const char *what, const char *const *known);

/* Tensors as userdata. */
spd_tensor *spdL_check_tensor(lua_State *L, int argument);
spd_tensor *spdL_test_tensor(lua_State *L, int argument); /* NULL if it is something else */
/* An empty box on the stack, safe to collect at any moment; fill *box with an owned tensor. Its allocation can run
** finalizers, which can close any tensor: make it first, then look at arguments. */
spd_tensor **spdL_new_tensor_box(lua_State *L);
/* The tensor at an argument, kept alive by a box that this pushes, whatever Lua code runs from now on. */
spd_tensor *spdL_hold_tensor(lua_State *L, int argument);
/* Tell the collector about the bytes of the tensor in a filled box. */
void spdL_account(lua_State *L, const spd_tensor *tensor);
/* Sizes from argument on, given as numbers or as one table. Returns the number of dimensions. */
int spdL_check_shape(lua_State *L, int argument, int64_t *shape);
void spdL_push_shape(lua_State *L, int dimensions, const int64_t *shape);
/* {seed =, purpose =, matrix =, sample =, step =} */
spd_draw spdL_check_draw(lua_State *L, int argument);

/* The units. Each is called with the module table on top of the stack and leaves it there. */
void spdL_open_tensor(lua_State *L);
void spdL_open_tape(lua_State *L);
void spdL_open_operators(lua_State *L);
void spdL_open_optimizer(lua_State *L);
void spdL_open_safetensors(lua_State *L);
void spdL_open_yaml(lua_State *L);
void spdL_open_text(lua_State *L);
void spdL_open_posix(lua_State *L);
void spdL_open_sqlite(lua_State *L);

#endif
