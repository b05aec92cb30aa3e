/*
** The C side of the REPL (lua/spd/repl.lua is the other) and of Ctrl-C.
**
** A signal handler has no argument, so the Lua state that SIGINT stops is a variable of the process: the one
** whose interruptible call started last.
*/
#include <signal.h>
#include <stddef.h>

#include "repl.h"
#include "spdl.h"

static lua_State *volatile interruptible;

static void stop(lua_State *L, lua_Debug *activation) {
  (void)activation;
  lua_sethook(L, NULL, 0, 0);
  luaL_where(L, 0);
  spdL_error(L, 130, "%sinterrupted!", lua_tostring(L, -1));
}

/* lua_sethook is the one function of Lua that a signal handler may call. */
static void request_stop(int number) {
  signal(number, SIG_DFL);
  if (interruptible != NULL)
    lua_sethook(interruptible, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static bool is_error_object(lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  lua_pushliteral(L, "status");
  lua_rawget(L, index);
  lua_pushliteral(L, "message");
  lua_rawget(L, index);
  const bool is = lua_isinteger(L, -2) && lua_type(L, -1) == LUA_TSTRING;
  lua_pop(L, 2);
  return is;
}

/* Message handler: an error object as it is, anything else as text, with a traceback unless it has its own text. */
static int add_traceback(lua_State *L) {
  if (is_error_object(L, 1)) return 1;
  const char *message = lua_tostring(L, 1);
  if (message == NULL) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) return 1;
    message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

int spdL_interruptible_call(lua_State *L, int arguments, int results) {
  const int function = lua_gettop(L) - arguments;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, function);
  lua_State *const outer = interruptible;
  struct sigaction action = {.sa_handler = request_stop, .sa_flags = SA_RESTART}, before;
  interruptible = L;
  sigaction(SIGINT, &action, &before);
  const int status = lua_pcall(L, arguments, results, function);
  sigaction(SIGINT, &before, NULL);
  interruptible = outer;
  lua_sethook(L, NULL, 0, 0); /* a signal during the last instruction */
  lua_remove(L, function);
  return status;
}

/* call(f, ...) -> true, results; or false and the error */
static int terminal_call(lua_State *L) {
  luaL_checkany(L, 1);
  const int status = spdL_interruptible_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 1);
  return lua_gettop(L);
}

void spdL_push_terminal(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, terminal_call);
  lua_setfield(L, -2, "call");
  spdL_open_readline(L);
}
