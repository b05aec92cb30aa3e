/*
** Tapes and recorded values in Lua. While a tape is open, operators record on it; the innermost one counts.
*/
#include "tape.h"

#include <string.h>

#define TAPE SPDL_NAME("tape")
#define VALUE SPDL_NAME("value")

typedef struct {
  lua_Integer number; /* of its tape */
  spd_value value;
} value_box;

/* ---- tapes --------------------------------------------------------------------------------- */

static int core_tape(lua_State *L) {
  spdL_state *state = spdL_get_state(L);
  spdL_check_count(L, 0);
  spdL_tape *box = lua_newuserdatauv(L, sizeof *box, 0);
  memset(box, 0, sizeof *box);
  luaL_setmetatable(L, TAPE);
  box->tape = state->spares > 0 ? state->spare[--state->spares] : spd_tape_new(state->context);
  if (box->tape == NULL) return spdL_call_error(L);
  box->number = ++state->opened;
  box->outer = state->open;
  state->open = box;
  return 1;
}

static int tape_close(lua_State *L) {
  spdL_tape *box = spdL_check_object(L, 1, TAPE);
  spdL_state *state = spdL_get_state(L);
  if (box->tape == NULL) return 0;
  spdL_tape **link = &state->open;
  while (*link != box) link = &(*link)->outer;
  *link = box->outer;
  spd_tape_reset(box->tape);
  if (state->spares < SPDL_SPARE_TAPES)
    state->spare[state->spares++] = box->tape;
  else
    spd_tape_free(box->tape);
  box->tape = NULL;
  return 0;
}

static spdL_tape *check_tape(lua_State *L, int argument) {
  spdL_get_state(L); /* an error once the state is closing */
  spdL_tape *box = spdL_check_object(L, argument, TAPE);
  spdL_argument_check(L, box->tape != NULL, argument, "the tape is closed");
  return box;
}

/* A tensor or a value as a value of the tape. Returns what is wrong, or NULL. */
static const char *convert(lua_State *L, int index, const spdL_tape *tape, spd_value *value) {
  spd_tensor *tensor = spdL_test_tensor(L, index);
  if (tensor != NULL) {
    *value = spd_leaf(tape->tape, tensor);
    if (!spd_ok(*value)) spdL_call_error(L);
    return NULL;
  }
  const value_box *box = luaL_testudata(L, index, VALUE);
  if (box == NULL) {
    const char *found = spdL_type_name(L, index);
    if (strcmp(found, "tensor") == 0) return "the tensor is closed";
    return lua_pushfstring(L, "expected a tensor or a value, found %s", found);
  }
  if (box->number != tape->number) return "the value belongs to another tape, or to one that is closed";
  *value = box->value;
  return NULL;
}

static int tape_backward(lua_State *L) {
  enum { MOST_LOSSES = 1 << 20 };
  spdL_check_count(L, 3);
  lua_settop(L, 3);
  spdL_check_table(L, 2);
  if (!lua_isnil(L, 3)) spdL_check_table(L, 3);
  const lua_Unsigned count = lua_rawlen(L, 2); /* raw access: a metamethod could close the tape, */
  spdL_argument_check(L, count <= MOST_LOSSES, 2, "too many losses");
  spd_value *losses = lua_newuserdatauv(L, count * sizeof *losses, 0);
  double *coefficients = lua_newuserdatauv(L, count * sizeof *coefficients, 0);
  const spdL_tape *box = check_tape(L, 1); /* and so could a finalizer, until here */
  for (int i = 0; i < (int)count; i++) {
    lua_rawgeti(L, 2, i + 1);
    const char *problem = convert(L, -1, box, &losses[i]);
    if (problem != NULL) luaL_error(L, "backward: loss %d: %s", i + 1, problem);
    coefficients[i] = 1;
    if (lua_istable(L, 3)) {
      if (lua_rawgeti(L, 3, i + 1) != LUA_TNUMBER)
        luaL_error(L, "backward: coefficient %d: expected a number, found %s", i + 1, luaL_typename(L, -1));
      coefficients[i] = lua_tonumber(L, -1);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  if (!spd_backward(box->tape, (int)count, losses, coefficients)) return spdL_call_error(L);
  return 0;
}

static int tape_tostring(lua_State *L) {
  const spdL_tape *box = spdL_check_object(L, 1, TAPE);
  lua_pushstring(L, box->tape == NULL ? "tape (closed)" : "tape");
  return 1;
}

/* ---- values -------------------------------------------------------------------------------- */

void spdL_push_value(lua_State *L, const spdL_tape *tape, spd_value value) {
  if (!spd_ok(value)) spdL_call_error(L);
  value_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (value_box){tape->number, value};
  luaL_setmetatable(L, VALUE);
}

spd_value spdL_check_value(lua_State *L, int argument, const spdL_tape *tape) {
  spd_value value;
  const char *problem = convert(L, argument, tape, &value);
  if (problem != NULL) spdL_argument_error(L, argument, "%s", problem);
  return value;
}

/* The open tape of a value. */
static spd_tape *tape_of(lua_State *L, const value_box *box) {
  for (const spdL_tape *tape = spdL_get_state(L)->open; tape != NULL; tape = tape->outer)
    if (tape->number == box->number) return tape->tape;
  luaL_error(L, "the value belongs to a tape that is closed");
  return NULL;
}

static void read_value(lua_State *L) {
  const value_box *box = spdL_check_object(L, 1, VALUE);
  spd_tensor **to = spdL_new_tensor_box(L); /* first: it can collect, and so close, a tape that nobody holds */
  spd_tape *tape = tape_of(L, box);
  *to = spd_read(tape, box->value);
  if (*to == NULL) spdL_call_error(L);
  spdL_account(L, *to);
}

static int value_tensor(lua_State *L) {
  read_value(L);
  return 1;
}

static int value_item(lua_State *L) {
  const value_box *box = spdL_check_object(L, 1, VALUE);
  double number;
  if (!spd_read_scalar(tape_of(L, box), box->value, &number)) return spdL_call_error(L);
  lua_pushnumber(L, number);
  return 1;
}

static int value_tostring(lua_State *L) {
  read_value(L);
  luaL_tolstring(L, -1, NULL);
  return 1;
}

static void push_value_shape(lua_State *L) {
  const value_box *box = spdL_check_object(L, 1, VALUE);
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  if (!spd_value_shape(tape_of(L, box), box->value, &dimensions, shape)) spdL_call_error(L);
  spdL_push_shape(L, dimensions, shape);
}

static int value_size(lua_State *L) {
  push_value_shape(L);
  lua_geti(L, -1, spdL_check_integer(L, 2));
  spdL_argument_check(L, !lua_isnil(L, -1), 2, "no such dimension");
  return 1;
}

static int value_index(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "a value has no elements by []: use v:tensor():get(i, ...) for one, v:item() for a scalar");
  const char *name = lua_tostring(L, 2);
  if (strcmp(name, "shape") == 0) {
    push_value_shape(L);
  } else {
    luaL_getmetafield(L, 1, "methods");
    lua_getfield(L, -1, name);
  }
  return 1;
}

static const spdL_function functions[] = {
    {"tape", core_tape,
     "tape() -> tape\n"
     "Open a tape: until it is closed, operators record instead of computing at once, and gradients can be\n"
     "taken. Write `local tape <close> = spd.tape()`; it lives for one step or one evaluation batch."},
    {NULL, NULL, NULL}};

static const spdL_function tape_methods[] = {
    {"backward", tape_backward,
     "tape:backward(losses [, coefficients])\n"
     "Add the gradient of the sum of coefficient x loss to the gradients of all parameters. losses is a list of\n"
     "scalar values, taken one after another; coefficients default to 1."},
    {"close", tape_close, "tape:close()\nForget all values, and compute at once again."},
    {NULL, NULL, NULL}};

static const spdL_function value_methods[] = {
    {"tensor", value_tensor, "v:tensor() -> tensor\nCompute the value; the tensor is a copy of its own."},
    {"item", value_item, "v:item() -> number\nCompute a scalar."},
    {"size", value_size, "v:size(i) -> n\nSize of dimension i, from 1."},
    {NULL, NULL, NULL}};

static const luaL_Reg tape_metamethods[] = {
    {"__gc", tape_close}, {"__close", tape_close}, {"__tostring", tape_tostring}, {NULL, NULL}};
static const luaL_Reg value_metamethods[] = {{"__tostring", value_tostring}, {"__index", value_index}, {NULL, NULL}};

void spdL_open_tape(lua_State *L) {
  spdL_new_type(L, TAPE, tape_metamethods, "__index", tape_methods);
  spdL_new_type(L, VALUE, value_metamethods, "methods", value_methods);
  spdL_register(L, functions);
}
