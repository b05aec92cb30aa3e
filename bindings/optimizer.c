/*
** AdamW in Lua.
*/
#include <math.h>

#include "spdl.h"

#define ADAMW SPDL_NAME("adamw")

typedef struct {
  spd_adamw *optimizer; /* NULL: closed */
} optimizer_box;

static spd_adamw *check_optimizer(lua_State *L) {
  spdL_get_state(L); /* an error once the state is closing */
  const optimizer_box *box = spdL_check_object(L, 1, ADAMW);
  spdL_argument_check(L, box->optimizer != NULL, 1, "the optimizer is closed");
  return box->optimizer;
}

static double setting(lua_State *L, const char *name, double otherwise, double limit) {
  lua_getfield(L, 1, name);
  const double value = lua_isnil(L, -1) ? otherwise : lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
  lua_pop(L, 1);
  if (!(value >= 0 && value < limit))
    luaL_error(L,
               isinf(limit) ? "adamw: %s must be a number, 0 or more" : "adamw: %s must be a number from 0 to below 1",
               name);
  return value;
}

static int core_adamw(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  static const char *const known[] = {"beta1", "beta2", "epsilon", "weight_decay", NULL};
  spdL_check_count(L, 1);
  spdL_check_table(L, 1);
  spdL_check_keys(L, 1, "adamw", known);
  const spd_adamw_settings settings = {.beta1 = setting(L, "beta1", 0.9, 1),
                                       .beta2 = setting(L, "beta2", 0.999, 1),
                                       .epsilon = setting(L, "epsilon", 1e-8, INFINITY),
                                       .weight_decay = setting(L, "weight_decay", 0, INFINITY)};
  optimizer_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  box->optimizer = NULL;
  luaL_setmetatable(L, ADAMW);
  box->optimizer = spd_adamw_new(spdL_context(L), settings);
  if (box->optimizer == NULL) return spdL_call_error(L);
  return 1;
}

static int optimizer_close(lua_State *L) {
  optimizer_box *box = spdL_check_object(L, 1, ADAMW);
  spd_adamw_free(box->optimizer);
  box->optimizer = NULL;
  return 0;
}

static int optimizer_add(lua_State *L) {
  spd_tensor *partner = lua_isnoneornil(L, 3) ? NULL : spdL_check_tensor(L, 3);
  if (!spd_adamw_add(check_optimizer(L), spdL_check_tensor(L, 2), partner)) return spdL_call_error(L);
  lua_settop(L, 1);
  return 1;
}

static int optimizer_step(lua_State *L) {
  if (!spd_adamw_step(check_optimizer(L), spdL_check_number(L, 2))) return spdL_call_error(L);
  return 0;
}

static int optimizer_zero_gradients(lua_State *L) {
  spd_adamw_zero_gradients(check_optimizer(L));
  return 0;
}

static int optimizer_gradient_norm(lua_State *L) {
  lua_pushnumber(L, spd_adamw_gradient_norm(check_optimizer(L)));
  return 1;
}

static int optimizer_moments(lua_State *L) {
  const lua_Integer i = spdL_check_integer(L, 2);
  spd_tensor **first = spdL_new_tensor_box(L), **second = spdL_new_tensor_box(L);
  spd_adamw *optimizer = check_optimizer(L);
  spdL_argument_check(L, i >= 1 && i <= spd_adamw_count(optimizer), 2, "no such parameter");
  *first = spd_tensor_retain(spd_adamw_first_moment(optimizer, (int)i - 1));
  *second = spd_tensor_retain(spd_adamw_second_moment(optimizer, (int)i - 1));
  return 2;
}

static int optimizer_steps(lua_State *L) {
  spd_adamw *optimizer = check_optimizer(L);
  if (!lua_isnoneornil(L, 2)) {
    const lua_Integer steps = spdL_check_integer(L, 2);
    spdL_argument_check(L, steps >= 0, 2, "expected 0 or more");
    spd_adamw_set_steps(optimizer, (uint64_t)steps);
  }
  lua_pushinteger(L, (lua_Integer)spd_adamw_steps(optimizer));
  return 1;
}

static const spdL_function functions[] = {
    {"adamw", core_adamw,
     "adamw{beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0} -> optimizer\n"
     "AdamW (Loshchilov and Hutter 2019), with PyTorch's update rule. Add parameters with optimizer:add."},
    {NULL, NULL, NULL}};

static const spdL_function methods[] = {
    {"add", optimizer_add,
     "optimizer:add(parameter [, transposed_of]) -> optimizer\n"
     "Train a parameter. transposed_of: an earlier parameter of which this one is the transpose; each step then\n"
     "applies the updates of both to both, with an Adam state for each."},
    {"step", optimizer_step, "optimizer:step(learning_rate)\nUpdate all parameters from their gradients."},
    {"zero_gradients", optimizer_zero_gradients,
     "optimizer:zero_gradients()\nSet the gradients of all parameters to 0."},
    {"gradient_norm", optimizer_gradient_norm,
     "optimizer:gradient_norm() -> number\nSquare root of the sum of squares of all gradients."},
    {"moments", optimizer_moments,
     "optimizer:moments(i) -> first, second\nThe moments of the i-th parameter, for checkpoints."},
    {"steps", optimizer_steps,
     "optimizer:steps([n]) -> n\nNumber of updates so far, on which the bias correction depends; with n, set it."},
    {"close", optimizer_close, "optimizer:close()\nFree the memory now."},
    {NULL, NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", optimizer_close}, {"__close", optimizer_close}, {NULL, NULL}};

void spdL_open_optimizer(lua_State *L) {
  spdL_new_type(L, ADAMW, metamethods, "__index", methods);
  spdL_register(L, functions);
}
