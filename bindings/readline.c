/*
** Line editing for the REPL: GNU readline's functions in the terminal's table.
**
** Readline is one per process and calls back without an argument, so what a read in progress needs is kept in
** variables of this unit. They are set while read() runs and only then.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "repl.h"
#include "spdl.h"

#define COMPLETER "spdlua.completer"
enum { HISTORY_LINES = 2000 };

static struct {
  lua_State *L; /* of the read in progress */
  char *line;   /* owned; the line that ended it */
  bool done;
} reading;

static volatile sig_atomic_t cancelled;

static void cancel(int number) {
  (void)number;
  cancelled = 1;
}

static void take_line(char *line) {
  reading.line = line;
  reading.done = true;
  rl_callback_handler_remove();
}

/* ---- completion ---------------------------------------------------------------------------- */

/* The matches, as readline wants them: what they have in common, each of them, NULL. Its words are freed by it. */
static char **list_of_matches(lua_State *L, const char *text) {
  const size_t count = (size_t)luaL_len(L, -1);
  char **list = count == 0 ? NULL : calloc(count + 2, sizeof *list);
  if (list == NULL) return NULL;
  size_t common = 0;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    const char *word = lua_tostring(L, -1);
    list[i] = strdup(word == NULL ? text : word);
    lua_pop(L, 1);
    if (list[i] == NULL) break;
    if (i == 1) common = strlen(list[1]);
    while (strncmp(list[1], list[i], common) != 0) common--;
  }
  list[0] = list[1] == NULL ? strdup(text) : strndup(list[1], common);
  if (count == 1) { /* a single match is inserted, and is no list */
    free(list[1]);
    list[1] = NULL;
  }
  return list;
}

static char **complete(const char *text, int start, int end) {
  (void)end;
  lua_State *L = reading.L;
  const int top = lua_gettop(L);
  rl_attempted_completion_over = 1; /* never names of files */
  rl_completion_append_character = 0;
  char **list = NULL;
  if (lua_checkstack(L, 8) && lua_getfield(L, LUA_REGISTRYINDEX, COMPLETER) == LUA_TFUNCTION) {
    lua_pushlstring(L, rl_line_buffer, (size_t)start);
    lua_pushstring(L, text);
    if (lua_pcall(L, 2, 1, 0) == LUA_OK && lua_istable(L, -1)) list = list_of_matches(L, text);
  }
  lua_settop(L, top);
  return list;
}

/* set_completer(f): f(line before the word, word) -> list of words that may replace it */
static int terminal_set_completer(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, COMPLETER);
  return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Wait for keys until a line, the end of input, or SIGINT. */
static void read_keys(void) {
  while (!reading.done && !cancelled) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, -1) >= 0) {
      rl_callback_read_char();
    } else if (errno == EINTR) {
      rl_check_signals(); /* lets readline leave the terminal in order, then calls our handler */
    } else {
      return;
    }
  }
}

/* read(prompt) -> line without its end; nil at the end of input; false if it was cancelled by Ctrl-C */
static int terminal_read(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  struct sigaction action = {.sa_handler = cancel}, before;
  reading.L = L;
  reading.line = NULL;
  reading.done = false;
  cancelled = 0;
  sigaction(SIGINT, &action, &before);
  rl_callback_handler_install(prompt, take_line);
  read_keys();
  if (!reading.done) {
    rl_free_line_state();
    rl_callback_sigcleanup();
    rl_callback_handler_remove();
    fputs("\n", rl_outstream);
  }
  sigaction(SIGINT, &before, NULL);
  if (!reading.done && cancelled) {
    lua_pushboolean(L, 0);
  } else {
    lua_pushstring(L, reading.line); /* nil for NULL */
  }
  free(reading.line);
  reading.line = NULL;
  return 1;
}

/* ---- history ------------------------------------------------------------------------------- */

/* load_history(path): the entries that sessions before kept there; makes the file. Cuts it to what is kept. */
static int terminal_load_history(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return 0;
  close(file);
  history_truncate_file(path, HISTORY_LINES);
  read_history(path);
  return 0;
}

/* add_history(text [, path]): an entry, even of several lines, unless it is the last one again; also at the end of the
** file, if that can be written */
static int terminal_add_history(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  const HIST_ENTRY *last = history_get(history_base + history_length - 1);
  if (last != NULL && strcmp(last->line, text) == 0) return 0;
  add_history(text);
  if (!lua_isnoneornil(L, 2)) append_history(1, luaL_checkstring(L, 2));
  return 0;
}

static const luaL_Reg functions[] = {{"read", terminal_read},
                                     {"set_completer", terminal_set_completer},
                                     {"load_history", terminal_load_history},
                                     {"add_history", terminal_add_history},
                                     {NULL, NULL}};

/* Entries have time stamps in the file, which tell where one of several lines begins. */
void spdL_open_readline(lua_State *L) {
  rl_readline_name = "spdlua"; /* for ~/.inputrc */
  rl_attempted_completion_function = complete;
  rl_completer_word_break_characters = " \t\n\"\\'><=;:+-*/%^~#{}()[].,|&";
  history_comment_char = '#';
  history_write_timestamps = 1;
  history_multiline_entries = 1;
  stifle_history(HISTORY_LINES);
  luaL_setfuncs(L, functions, 0);
}
