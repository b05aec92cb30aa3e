/*
** The host: runs a script, text from the command line, or the interactive session, as `lua` does, with the
** module spd.core built in and the package found beside the program.
*/
#include <libgen.h>
#include <limits.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cblas.h>

#include "spdl.h"

int luaopen_spd_core(lua_State *L);
int luaopen_spd_readline(lua_State *L);

enum { FAILED = 1, BAD_USAGE = 2, INTERRUPTED = 130 };

static lua_State *running; /* for the signal handler alone */

/*
** An OpenBLAS older than the processor takes its slowest kernels. It chooses when it is loaded, so the program
** starts itself again with a better choice named.
*/
static void choose_blas_kernels(char **argv) {
#if defined(__x86_64__)
  const char *core = NULL;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    core = "SkylakeX";
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    core = "Haswell";
  const char *chosen = openblas_get_corename();
  if (core == NULL || (strcmp(chosen, "Prescott") != 0 && strcmp(chosen, "Nehalem") != 0)) return;
  if (getenv("OPENBLAS_CORETYPE") != NULL || setenv("OPENBLAS_CORETYPE", core, 1) != 0) return;
  execv("/proc/self/exe", argv);
#else
  (void)argv;
#endif
}

/* ---- errors -------------------------------------------------------------------------------- */

static int integer_field(lua_State *L, int index, const char *name) {
  int is_integer = 0;
  int value = 0;
  if (lua_istable(L, index)) {
    lua_getfield(L, index, name);
    value = (int)lua_tointegerx(L, -1, &is_integer);
    lua_pop(L, 1);
  }
  return is_integer ? value : -1;
}

/* Error objects with a status pass; anything else gets a traceback. */
static int add_traceback(lua_State *L) {
  if (integer_field(L, 1, "status") >= 0) return 1;
  const char *message = lua_tostring(L, 1);
  if (message == NULL) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) return 1;
    message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

/* Print the error on top of the stack; returns the exit status. */
static int report(lua_State *L, int status) {
  if (status == LUA_OK) return EXIT_SUCCESS;
  const int wanted = integer_field(L, -1, "status");
  const char *message = luaL_tolstring(L, -1, NULL);
  const bool interrupt = wanted < 0 && strstr(message, "interrupted!") != NULL;
  fflush(stdout);
  fprintf(stderr, "spdlua: %s\n", interrupt ? "interrupted" : message);
  lua_pop(L, 2);
  return interrupt ? INTERRUPTED : wanted >= 0 ? wanted : FAILED;
}

static void stop(lua_State *L, lua_Debug *debug) {
  (void)debug;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

static void on_interrupt(int number) {
  signal(number, SIG_DFL);
  lua_sethook(running, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int call(lua_State *L, int arguments, int results) {
  const int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  running = L;
  signal(SIGINT, on_interrupt);
  const int status = lua_pcall(L, arguments, results, base);
  signal(SIGINT, SIG_DFL);
  lua_remove(L, base);
  return status;
}

/* ---- the state ----------------------------------------------------------------------------- */

/* Put a folder's modules in front of package.path, and its C modules in front of package.cpath. */
static void add_paths(lua_State *L, const char *lua_folder, const char *c_folder) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", lua_folder, lua_folder, lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_getfield(L, -2, "cpath");
  lua_pushfstring(L, "%s/?.so;%s", c_folder, lua_tostring(L, -1));
  lua_setfield(L, -4, "cpath");
  lua_pop(L, 3);
}

/* Beside the program in a checkout, in share/ and lib/ where it is installed. */
static void find_package(lua_State *L) {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  const char *folder = dirname(path);
  lua_pushfstring(L, "%s/lua/spd/init.lua", folder);
  const bool checkout = access(lua_tostring(L, -1), R_OK) == 0;
  lua_pop(L, 1);
  const char *code = lua_pushfstring(L, checkout ? "%s/lua" : "%s/../share/spdlua/lua", folder);
  const char *modules = lua_pushfstring(L, checkout ? "%s/build/release" : "%s/../lib/lua/5.4", folder);
  add_paths(L, code, modules);
  lua_pop(L, 2);
}

static void preload(lua_State *L, const char *name, lua_CFunction open) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static void set_arguments(lua_State *L, char **argv, int argc, int script) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_seti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* ---- what the command line asks for -------------------------------------------------------- */

static int run_text(lua_State *L, const char *text, const char *name) {
  int status = luaL_loadbuffer(L, text, strlen(text), name);
  if (status == LUA_OK) status = call(L, 0, 0);
  return report(L, status);
}

static int require_module(lua_State *L, const char *module) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  const int status = call(L, 1, 1);
  if (status == LUA_OK) lua_setglobal(L, module);
  return report(L, status);
}

static int run_script(lua_State *L, char **argv) {
  const char *name = strcmp(argv[0], "-") == 0 ? NULL : argv[0];
  if (name != NULL && access(name, R_OK) != 0) {
    fprintf(stderr, "spdlua: %s: cannot be read (expected a script)\n", name);
    return BAD_USAGE;
  }
  int count = 0;
  int status = luaL_loadfile(L, name);
  for (char **word = argv + 1; status == LUA_OK && *word != NULL; word++, count++) {
    luaL_checkstack(L, 2, "too many arguments");
    lua_pushstring(L, *word);
  }
  if (status == LUA_OK) status = call(L, count, 0);
  return report(L, status);
}

static int run_session(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "spd.repl");
  int status = call(L, 1, 1);
  if (status == LUA_OK) {
    lua_getfield(L, -1, "run");
    status = call(L, 0, 0);
  }
  return report(L, status);
}

static int usage(const char *option) {
  fprintf(stderr,
          "spdlua: unknown or incomplete option '%s'\n"
          "usage: spdlua [options] [script [args]]\n"
          "  -e text    run text\n"
          "  -l module  require a module as a global\n"
          "  -i         interactive session after the script\n"
          "  -v         print the version\n"
          "  -          run standard input\n"
          "  --         end of options\n",
          option);
  return BAD_USAGE;
}

typedef struct {
  char **argv;
  int argc, status;
} command;

/* One option at argv[*i]; false when the session is to end with its status. */
static bool run_option(lua_State *L, command *c, int *i, bool *interactive, bool *busy) {
  const char *option = c->argv[*i];
  const char letter = option[1], *rest = option + 2;
  if ((letter == 'e' || letter == 'l') && *rest == '\0') rest = ++*i < c->argc ? c->argv[*i] : NULL;
  if (rest == NULL || ((letter == 'i' || letter == 'v') && *rest != '\0') || strchr("elivW", letter) == NULL) {
    c->status = usage(option);
    return false;
  }
  *busy = *busy || letter == 'e' || letter == 'v';
  if (letter == 'e') c->status = run_text(L, rest, "=(command line)");
  if (letter == 'l') c->status = require_module(L, rest);
  if (letter == 'v') printf("spdlua %s, %s, kernels for %s\n", SPD_VERSION, LUA_RELEASE, spd_instruction_set(spdL_context(L)));
  if (letter == 'i') *interactive = true;
  return c->status == EXIT_SUCCESS;
}

/* The index of the script, or argc; only "-x" words before it are options. */
static int find_script(const command *c) {
  int i = 1;
  for (; i < c->argc && c->argv[i][0] == '-' && c->argv[i][1] != '\0'; i++) {
    if (strcmp(c->argv[i], "--") == 0) return i + 1;
    if ((c->argv[i][1] == 'e' || c->argv[i][1] == 'l') && c->argv[i][2] == '\0') i++;
  }
  return i < c->argc ? i : c->argc;
}

static int protected_main(lua_State *L) {
  command *c = lua_touserdata(L, 1);
  const int script = find_script(c);
  luaL_openlibs(L);
  preload(L, "spd.core", luaopen_spd_core);
  preload(L, "spd.readline", luaopen_spd_readline);
  luaL_requiref(L, "spd.core", luaopen_spd_core, 0);
  lua_pop(L, 1);
  find_package(L);
  set_arguments(L, c->argv, c->argc, script < c->argc ? script : 0);
  bool interactive = false, busy = false;
  for (int i = 1; i < script && strcmp(c->argv[i], "--") != 0; i++)
    if (!run_option(L, c, &i, &interactive, &busy)) return 0;
  if (script < c->argc) c->status = run_script(L, c->argv + script);
  else if (!interactive && !busy && !isatty(STDIN_FILENO)) c->status = run_script(L, (char *[]){"-", NULL});
  if (interactive || (script >= c->argc && !busy && isatty(STDIN_FILENO))) c->status = run_session(L);
  return 0;
}

int main(int argc, char **argv) {
  choose_blas_kernels(argv);
  lua_State *L = luaL_newstate();
  if (L == NULL) {
    fprintf(stderr, "spdlua: not enough memory\n");
    return FAILED;
  }
  command c = {.argv = argv, .argc = argc, .status = EXIT_SUCCESS};
  lua_pushcfunction(L, protected_main);
  lua_pushlightuserdata(L, &c);
  const int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) c.status = report(L, status);
  lua_close(L);
  return c.status;
}
