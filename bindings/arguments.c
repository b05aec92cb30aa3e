/*
** Checks of arguments, with errors in the terms of the function that was called.
*/
#include <stdarg.h>
#include <string.h>

#include "spdl.h"

/* Push the documentation of the running function, or nil. */
static const char *push_documentation(lua_State *L, lua_Debug *activation) {
  lua_getstack(L, 0, activation);
  lua_getfield(L, LUA_REGISTRYINDEX, SPDL_NAME("documentation"));
  lua_getinfo(L, "nf", activation);
  lua_rawget(L, -2);
  return lua_tostring(L, -1);
}

/* The documentation begins as a call, `size(` or `t:size(`, which knows the name and whether there is a self. */
int spdL_argument_error(lua_State *L, int argument, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *message = lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_Debug activation;
  const char *text = push_documentation(L, &activation), *name = activation.name == NULL ? "?" : activation.name;
  const bool has_colon = strcmp(activation.namewhat, "method") == 0;
  bool method = has_colon;
  if (text != NULL) {
    const size_t length = strcspn(text, "({"), before = strcspn(text, ":");
    method = method || before < length;
    name =
        before < length ? lua_pushlstring(L, text + before + 1, length - before - 1) : lua_pushlstring(L, text, length);
  }
  if (method && argument == 1 && !has_colon)
    return luaL_error(L, "calling '%s' on bad self (%s; a method is called with a colon, x:%s())", name, message, name);
  if (method && argument == 1) return luaL_error(L, "calling '%s' on bad self (%s)", name, message);
  return luaL_error(L, "bad argument #%d to '%s' (%s)", method ? argument - 1 : argument, name, message);
}

const char *spdL_type_name(lua_State *L, int index) {
  if (luaL_getmetafield(L, index, "__name") != LUA_TSTRING) return luaL_typename(L, index);
  const char *name = lua_tostring(L, -1), *dot = strrchr(name, '.');
  return dot == NULL ? name : dot + 1;
}

void spdL_check_count(lua_State *L, int most) {
  if (lua_gettop(L) > most) spdL_argument_error(L, most + 1, "too many arguments");
}

lua_Integer spdL_check_integer(lua_State *L, int argument) {
  int is_integer;
  const lua_Integer value = lua_tointegerx(L, argument, &is_integer);
  if (is_integer) return value;
  const char *found = lua_isnumber(L, argument) ? luaL_tolstring(L, argument, NULL) : spdL_type_name(L, argument);
  return spdL_argument_error(L, argument, "expected an integer, found %s", found);
}

lua_Number spdL_check_number(lua_State *L, int argument) {
  int is_number;
  const lua_Number value = lua_tonumberx(L, argument, &is_number);
  if (is_number) return value;
  return spdL_argument_error(L, argument, "expected a number, found %s", spdL_type_name(L, argument));
}

void spdL_check_table(lua_State *L, int argument) {
  if (lua_istable(L, argument)) return;
  spdL_argument_error(L, argument, "expected a table, found %s", spdL_type_name(L, argument));
}

void *spdL_check_object(lua_State *L, int argument, const char *metatable) {
  void *object = luaL_testudata(L, argument, metatable);
  if (object == NULL) {
    const char *name = strrchr(metatable, '.') + 1;
    spdL_argument_error(L, argument,
                        strchr("aeiou", *name) == NULL ? "expected a %s, found %s" : "expected an %s, found %s", name,
                        spdL_type_name(L, argument));
  }
  return object;
}

/* The key on top of the stack. */
static bool is_known(lua_State *L, const char *const *known) {
  if (lua_type(L, -1) != LUA_TSTRING) return false;
  const char *key = lua_tostring(L, -1);
  while (*known != NULL && strcmp(key, *known) != 0) known++;
  return *known != NULL;
}

static void unknown_key(lua_State *L, const char *what, const char *const *known) {
  luaL_Buffer list;
  const char *key = luaL_tolstring(L, -1, NULL);
  luaL_buffinit(L, &list);
  for (int i = 0; known[i] != NULL; i++) {
    if (i > 0) luaL_addstring(&list, ", ");
    luaL_addstring(&list, known[i]);
  }
  luaL_pushresult(&list);
  luaL_error(L, "%s: unknown key '%s' (known: %s)", what, key, lua_tostring(L, -1));
}

void spdL_check_keys(lua_State *L, int argument, const char *what, const char *const *known) {
  lua_pushnil(L);
  while (lua_next(L, argument) != 0) {
    lua_pop(L, 1);
    if (!is_known(L, known)) unknown_key(L, what, known);
  }
}
