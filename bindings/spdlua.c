/*
** spdlua: Lua with spd.core inside. Runs a script as `lua` does, or a REPL.
**
** Exit status: 0; the status of an error object {status =, message =}, which is printed as one line; 1 for any other
** error, with a traceback; 2 for bad usage; 130 when interrupted.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "posix.h"
#include "repl.h"
#include "blas.h"
#include "spdl.h"

int luaopen_spd_core(lua_State *L);

static const char usage_text[] =
    "usage: spdlua [options] [script [args]]\n"
    "  -e code   run code, which has help() as the REPL has\n"
    "  -l name   require library 'name' into global 'name' (-l global=name: into 'global')\n"
    "  -i        REPL after the script\n"
    "  -v        show the version (also --version)\n"
    "  -E        ignore environment variables\n"
    "  -W        turn warnings on\n"
    "  -h        show this text (also --help)\n"
    "  --        end of options\n"
    "  -         run stdin as a script\n"
    "Without a script: the REPL; or, if stdin is not a terminal, run stdin.\n";

/* ---- command line -------------------------------------------------------------------------- */

typedef struct {
  int script; /* index in argv; argc: none */
  bool interactive, version, help, no_environment, warnings, runs_code;
  const char *bad; /* an option that there is not, or that lacks its argument */
} command;

/* The flag that an option sets; NULL for any other word. */
static bool *flag_of(command *c, const char *word) {
  if (strcmp(word, "--help") == 0) return &c->help;
  if (strcmp(word, "--version") == 0) return &c->version;
  if (word[1] == '\0' || word[2] != '\0') return NULL;
  switch (word[1]) {
    case 'i': return &c->interactive;
    case 'v': return &c->version;
    case 'h': return &c->help;
    case 'E': return &c->no_environment;
    case 'W': return &c->warnings;
    default: return NULL;
  }
}

static bool is_code_option(const char *word) { return word[0] == '-' && (word[1] == 'e' || word[1] == 'l'); }

static command parse(int argc, char **argv) {
  command c = {.script = argc};
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (word[0] != '-' || word[1] == '\0') {
      c.script = i;
      return c;
    }
    if (strcmp(word, "--") == 0) {
      c.script = i + 1;
      return c;
    }
    bool *flag = flag_of(&c, word);
    if (flag != NULL) {
      *flag = true;
    } else if (is_code_option(word) && (word[2] != '\0' || (i + 1 < argc && argv[i + 1][0] != '-'))) {
      if (word[1] == 'e') c.runs_code = true;
      if (word[2] == '\0') i++;
    } else {
      c.bad = word;
      return c;
    }
  }
  return c;
}

/* ---- errors -------------------------------------------------------------------------------- */

static void print_error(const char *text) {
  fprintf(stderr, "spdlua: %s\n", text);
  fflush(stderr);
}

/* Print the error on top of the stack, pop it, and return the exit status that it stands for. */
static int report(lua_State *L) {
  lua_Integer status = 1;
  if (lua_istable(L, -1)) { /* an error object: the message handler lets no other table through */
    lua_getfield(L, -1, "status");
    status = lua_tointeger(L, -1);
    lua_getfield(L, -2, "message");
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  const char *text = lua_tostring(L, -1);
  print_error(text == NULL ? "error without a message" : text);
  lua_pop(L, 1);
  return status >= 1 && status <= 255 ? (int)status : 1;
}

static int run(lua_State *L, int loaded, int arguments) {
  if (loaded == LUA_OK) loaded = spdL_interruptible_call(L, arguments, 0);
  return loaded == LUA_OK ? 0 : report(L);
}

/* ---- where things are ---------------------------------------------------------------------- */

/* ROOT/lua holds the Lua package. Returns whether it does. */
static bool has_package(lua_State *L, const char *root) {
  const char *file = lua_pushfstring(L, "%s/lua/spd/init.lua", root);
  const bool found = access(file, R_OK) == 0;
  lua_pop(L, 1);
  return found;
}

/* Put templates before those of package.FIELD. */
static void prepend(lua_State *L, const char *field, const char *templates) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, field);
  lua_pushfstring(L, "%s;%s", templates, lua_tostring(L, -1));
  lua_setfield(L, -3, field);
  lua_pop(L, 2);
}

/* The package lies beside the executable, two folders above it (build/MODE), or in PREFIX/share/spdlua. */
static void set_paths(lua_State *L) {
  static const char *const places[] = {"", "/../..", "/../share/spdlua"};
  const int top = lua_gettop(L);
  spdL_push_executable(L);
  const char *executable = lua_tostring(L, -1);
  const char *slash = executable == NULL ? NULL : strrchr(executable, '/');
  if (slash == NULL) return lua_settop(L, top);
  const char *folder = lua_pushlstring(L, executable, (size_t)(slash - executable));
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    const char *root = lua_pushfstring(L, "%s%s", folder, places[i]);
    if (!has_package(L, root)) continue;
    const bool installed = i == 2;
    prepend(L, "path", lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua", root, root));
    prepend(L, "cpath", lua_pushfstring(L, installed ? "%s/../../lib/lua/5.4/?.so" : "%s/build/double/?.so", root));
    break;
  }
  lua_settop(L, top);
}

static void open_libraries(lua_State *L, bool no_environment) {
  if (no_environment) {
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_spd_core);
  lua_setfield(L, -2, "spd.core");
  lua_pop(L, 1);
  set_paths(L);
}

/* arg[0] is the script, or spdlua itself; options before it have negative indices. */
static void set_arg(lua_State *L, int argc, char **argv, int script) {
  const int zero = script < argc ? script : 0;
  lua_createtable(L, argc - zero, zero + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

/* ---- running ------------------------------------------------------------------------------- */

static int run_init(lua_State *L) {
  const char *name = "=LUA_INIT_5_4", *code = getenv(name + 1);
  if (code == NULL) code = getenv((name = "=LUA_INIT") + 1);
  if (code == NULL) return 0;
  if (code[0] == '@') return run(L, luaL_loadfile(L, code + 1), 0);
  return run(L, luaL_loadbuffer(L, code, strlen(code), name), 0);
}

/* -l name, -l global=name */
static int run_require(lua_State *L, const char *word) {
  const char *equals = strchr(word, '=');
  const char *module = equals == NULL ? word : equals + 1;
  lua_pushlstring(L, word, equals == NULL ? strlen(word) : (size_t)(equals - word));
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  if (spdL_interruptible_call(L, 1, 1) != LUA_OK) return report(L);
  lua_pushglobaltable(L);
  lua_rotate(L, -3, 1);
  lua_settable(L, -3);
  lua_pop(L, 1);
  return 0;
}

/* help(...) for the code of -e; what it needs is loaded when it is called. */
static int call_help(lua_State *L) {
  const int arguments = lua_gettop(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "spd.repl.help");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "command");
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_call(L, arguments, 0);
  return 0;
}

static int run_options(lua_State *L, char **argv, int end) {
  int status = 0;
  for (int i = 1; i < end && status == 0; i++) {
    if (!is_code_option(argv[i])) continue;
    const bool code = argv[i][1] == 'e';
    const char *text = argv[i][2] != '\0' ? argv[i] + 2 : argv[++i];
    status = code ? run(L, luaL_loadbuffer(L, text, strlen(text), "=(command line)"), 0) : run_require(L, text);
  }
  return status;
}

static int run_file(lua_State *L, const char *path) {
  const int loaded = luaL_loadfile(L, path);
  if (loaded == LUA_ERRFILE) {
    report(L);
    return 2;
  }
  if (loaded != LUA_OK) return report(L);
  lua_getglobal(L, "arg");
  const int count = lua_istable(L, -1) ? (int)luaL_len(L, -1) : 0;
  luaL_checkstack(L, count + 3, "too many arguments to script");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, -i, i);
  lua_remove(L, -count - 1);
  return run(L, LUA_OK, count);
}

static int run_repl(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "spd.repl");
  if (spdL_interruptible_call(L, 1, 1) != LUA_OK) return report(L);
  lua_getfield(L, -1, "run");
  spdL_push_terminal(L);
  lua_pushboolean(L, isatty(STDIN_FILENO));
  return run(L, LUA_OK, 2);
}

static int run_command(lua_State *L, int argc, char **argv, const command *c) {
  if (c->runs_code) lua_register(L, "help", call_help); /* first, so that LUA_INIT can set another one */
  int status = c->no_environment ? 0 : run_init(L);
  const bool has_script = c->script < argc;
  const int end = c->script < argc ? c->script : argc;
  if (status == 0) status = run_options(L, argv, end);
  if (status == 0 && has_script) {
    const bool from_stdin = strcmp(argv[c->script], "-") == 0 && strcmp(argv[c->script - 1], "--") != 0;
    status = run_file(L, from_stdin ? NULL : argv[c->script]);
  }
  if (status != 0) return status;
  const bool only_options = has_script || c->runs_code || c->version;
  if (c->interactive || (!only_options && isatty(STDIN_FILENO))) return run_repl(L);
  return only_options ? 0 : run_file(L, NULL);
}

typedef struct {
  int argc;
  char **argv;
  const command *command;
} invocation;

/* All that can raise a Lua error; returns the exit status. */
static int protected_main(lua_State *L) {
  const invocation *call = lua_touserdata(L, 1);
  luaL_checkversion(L);
  open_libraries(L, call->command->no_environment);
  if (call->command->warnings) lua_warning(L, "@on", 0);
  set_arg(L, call->argc, call->argv, call->command->script);
  lua_pushinteger(L, run_command(L, call->argc, call->argv, call->command));
  return 1;
}

static int run_state(const invocation *call) {
  lua_State *L = luaL_newstate();
  if (L == NULL) {
    print_error("not enough memory");
    return 1;
  }
  lua_pushcfunction(L, protected_main);
  lua_pushlightuserdata(L, (void *)call);
  const int failed = lua_pcall(L, 1, 1, 0);
  const int status = failed != LUA_OK ? report(L) : (int)lua_tointeger(L, -1);
  lua_close(L);
  return status;
}

int main(int argc, char **argv) {
  spdL_choose_blas_kernels(argv);
  const command c = parse(argc, argv);
  if (c.bad != NULL) {
    fprintf(stderr, "spdlua: %s '%s'\n%s", is_code_option(c.bad) ? "argument needed after" : "unknown option", c.bad,
            usage_text);
    return 2;
  }
  if (c.help) return fputs(usage_text, stdout) < 0;
  if (c.version) {
    printf("spdlua %s (%s)\n", SPD_VERSION, LUA_RELEASE);
    fflush(stdout);
  }
  return run_state(&(invocation){argc, argv, &c});
}
