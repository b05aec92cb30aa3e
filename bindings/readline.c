/*
** Line editing for the interactive session: the module spd.readline of the host, over GNU readline.
*/
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/history.h>
#include <readline/readline.h>

__attribute__((visibility("default"))) int luaopen_spd_readline(lua_State *L);

static lua_State *session; /* readline calls back without an argument; set while a line is read */

/* The candidates of one completion, from the Lua function complete(line, start, stop) -> list. */
static char **complete(const char *word, int start, int stop) {
  lua_State *L = session;
  rl_attempted_completion_over = 1;
  const int top = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, "spd.readline.complete");
  lua_pushstring(L, rl_line_buffer);
  lua_pushinteger(L, start);
  lua_pushinteger(L, stop);
  lua_pushstring(L, word);
  char **matches = NULL;
  if (lua_pcall(L, 4, 1, 0) == LUA_OK && lua_istable(L, -1)) {
    const size_t count = (size_t)lua_rawlen(L, -1);
    matches = count == 0 ? NULL : calloc(count + 2, sizeof *matches);
    for (size_t i = 1; matches != NULL && i <= count; i++) {
      lua_rawgeti(L, -1, (lua_Integer)i);
      const char *text = lua_tostring(L, -1);
      matches[i - 1] = strdup(text == NULL ? "" : text); /* the first entry is what they all begin with */
      lua_pop(L, 1);
    }
  }
  lua_settop(L, top);
  return matches;
}

static int readline_setup(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "spd.readline.complete");
  rl_readline_name = "spdlua";
  rl_attempted_completion_function = complete;
  rl_completion_append_character = '\0';
  rl_basic_word_break_characters = " \t\n\"\\'><=;+-*/%^~#{}()[],";
  return 0;
}

static int readline_read(lua_State *L) {
  session = L;
  char *line = readline(luaL_checkstring(L, 1));
  session = NULL;
  if (line == NULL) return 0;
  lua_pushstring(L, line);
  free(line);
  return 1;
}

static int readline_add(lua_State *L) {
  add_history(luaL_checkstring(L, 1));
  return 0;
}

static int readline_load(lua_State *L) {
  lua_pushboolean(L, read_history(luaL_checkstring(L, 1)) == 0);
  return 1;
}

static int readline_save(lua_State *L) {
  stifle_history((int)luaL_optinteger(L, 2, 1000));
  lua_pushboolean(L, write_history(luaL_checkstring(L, 1)) == 0);
  return 1;
}

int luaopen_spd_readline(lua_State *L) {
  static const luaL_Reg functions[] = {{"setup", readline_setup}, {"read", readline_read}, {"add", readline_add},
                                       {"load", readline_load},   {"save", readline_save}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
