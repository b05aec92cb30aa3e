/*
** core.posix.run, core.posix.start and core.posix.wait: other programs, without a shell.
**
** What is open for a run lives in a userdata, whose collection closes it; so a Lua error at any moment leaks
** nothing. Input and both outputs are moved together as the pipes allow, so neither side waits for the other.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "posix.h"
#include "spdl.h"

#define PROGRAM SPDL_NAME("program")
enum { MOST_WORDS = 4096, MOST_PROGRAMS = 1024, CHUNK = 65536 };

extern char **environ;

typedef struct {
  char *bytes;
  size_t size, capacity;
} text;

typedef struct {
  int in[2], out[2], err[2]; /* pipes; -1: closed */
  bool apart;                /* in a process group of its own: Ctrl-C on the terminal does not reach it */
  pid_t child;               /* of a started program until it was seen to end; else -1 */
  text output, errors;
} program;

static void close_end(int *end) {
  if (*end >= 0) close(*end);
  *end = -1;
}

/* Whoever interrupted this process may have sent the same signal to the child, and a second one of a kind ends an spdlua
** before its checkpoint; so it gets the other one. */
static void ask_to_end(const program *p) {
  if (p->child > 0) kill(p->child, spdL_interrupted() == SIGTERM ? SIGINT : SIGTERM);
}

/* A started program that still runs is asked to end. */
static int program_close(lua_State *L) {
  program *p = luaL_checkudata(L, 1, PROGRAM);
  ask_to_end(p);
  if (p->child > 0) waitpid(p->child, NULL, WNOHANG); /* no zombie stays of one that has ended by now */
  p->child = -1;
  for (int i = 0; i < 2; i++) {
    close_end(&p->in[i]);
    close_end(&p->out[i]);
    close_end(&p->err[i]);
  }
  free(p->output.bytes);
  free(p->errors.bytes);
  p->output.bytes = p->errors.bytes = NULL;
  return 0;
}

static program *new_program(lua_State *L) {
  program *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (program){.in = {-1, -1}, .out = {-1, -1}, .err = {-1, -1}, .child = -1};
  luaL_setmetatable(L, PROGRAM);
  return p;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* 0 or the reason. The child's SIGPIPE is the default again; of files it has its streams only. */
static int spawn(const program *p, char *const *words, pid_t *child) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t signals;
  int reason = posix_spawn_file_actions_init(&actions);
  if (reason != 0) return reason;
  reason = posix_spawnattr_init(&attributes);
  if (reason == 0) {
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | (p->apart ? POSIX_SPAWN_SETPGROUP : 0));
    reason = posix_spawn_file_actions_adddup2(&actions, p->in[0], STDIN_FILENO);
    if (reason == 0) reason = posix_spawn_file_actions_adddup2(&actions, p->out[1], STDOUT_FILENO);
    if (reason == 0) reason = posix_spawn_file_actions_adddup2(&actions, p->err[1], STDERR_FILENO);
    if (reason == 0) reason = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (reason == 0) reason = posix_spawnp(child, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return reason;
}

/* 0 or the reason */
static int start(program *p, char *const *words, pid_t *child) {
  if (pipe2(p->in, O_CLOEXEC) != 0 || pipe2(p->out, O_CLOEXEC) != 0 || pipe2(p->err, O_CLOEXEC) != 0) return errno;
  const int reason = spawn(p, words, child);
  if (reason != 0) return reason;
  close_end(&p->in[0]);
  close_end(&p->out[1]);
  close_end(&p->err[1]);
  return fcntl(p->in[1], F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

/* ---- moving bytes -------------------------------------------------------------------------- */

/* Feed the input as far as the program takes it, and close the pipe at its end. */
static void feed(program *p, const char **input, size_t *size) {
  const ssize_t written = *size == 0 ? 0 : write(p->in[1], *input, *size);
  if (written > 0) *input += written, *size -= (size_t)written;
  if (*size == 0 || (written < 0 && errno != EAGAIN && errno != EINTR)) close_end(&p->in[1]);
}

static bool append(text *to, const char *bytes, size_t size) {
  if (to->size + size > to->capacity) {
    const size_t capacity = 2 * (to->size + size);
    char *larger = realloc(to->bytes, capacity);
    if (larger == NULL) return false;
    to->bytes = larger;
    to->capacity = capacity;
  }
  memcpy(to->bytes + to->size, bytes, size);
  to->size += size;
  return true;
}

/* Take what there is; *more tells whether there may be more at once. False when memory is exhausted. */
static bool drain(int *end, text *to, bool *more) {
  char bytes[CHUNK];
  const ssize_t count = read(*end, bytes, sizeof bytes);
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) close_end(end);
  *more = count > 0 || (count < 0 && errno == EINTR);
  return count <= 0 || append(to, bytes, (size_t)count);
}

/* 0 or the reason */
static int exchange(program *p, const char *input, size_t size) {
  while (p->in[1] >= 0 || p->out[0] >= 0 || p->err[0] >= 0) {
    struct pollfd ends[] = {{p->in[1], POLLOUT, 0}, {p->out[0], POLLIN, 0}, {p->err[0], POLLIN, 0}};
    if (poll(ends, 3, -1) < 0) {
      if (errno != EINTR) return errno;
      continue;
    }
    if (ends[0].revents != 0) feed(p, &input, &size);
    bool more;
    if (ends[1].revents != 0 && !drain(&p->out[0], &p->output, &more)) return ENOMEM;
    if (ends[2].revents != 0 && !drain(&p->err[0], &p->errors, &more)) return ENOMEM;
  }
  return 0;
}

static int exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

static int wait_for(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return exit_status(status);
}

/* ---- the call ------------------------------------------------------------------------------ */

/* The words of the table at index 1; they stay on the stack while they are used. False if there are too many. */
static bool check_words(lua_State *L, char **words) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const lua_Integer count = luaL_len(L, 1);
  luaL_argcheck(L, count >= 1, 1, "expected a word or more");
  if (count > MOST_WORDS) return false;
  luaL_checkstack(L, (int)count + 8, NULL);
  for (int i = 0; i < count; i++) {
    lua_geti(L, 1, i + 1);
    words[i] = (char *)lua_tostring(L, -1);
    if (words[i] == NULL) luaL_error(L, "word %d is a %s, not a string", i + 1, luaL_typename(L, -1));
  }
  return true;
}

static int refuse(lua_State *L, int reason) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(reason));
  return 2;
}

static int push_result(lua_State *L, const program *p, int status) {
  lua_pushinteger(L, status);
  lua_pushlstring(L, p->output.bytes == NULL ? "" : p->output.bytes, p->output.size);
  lua_pushlstring(L, p->errors.bytes == NULL ? "" : p->errors.bytes, p->errors.size);
  return 3;
}

int spdL_run_program(lua_State *L) {
  char *words[MOST_WORDS + 1] = {NULL};
  size_t size = 0;
  const char *input = "";
  bool apart = false;
  lua_settop(L, 2);
  if (!check_words(L, words)) return refuse(L, E2BIG);
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "apart");
    apart = lua_toboolean(L, -1);
    if (lua_getfield(L, 2, "stdin") != LUA_TNIL) input = lua_tolstring(L, -1, &size);
    if (input == NULL) return luaL_error(L, "run: stdin is a %s, not a string", luaL_typename(L, -1));
  }
  program *p = new_program(L);
  p->apart = apart;
  lua_toclose(L, -1);
  pid_t child = -1;
  void (*before)(int) = signal(SIGPIPE, SIG_IGN);
  int reason = start(p, words, &child);
  if (child > 0 && reason == 0) reason = exchange(p, input, size);
  if (reason != 0) { /* the program sees its streams end */
    close_end(&p->in[1]);
    close_end(&p->out[0]);
    close_end(&p->err[0]);
  }
  const int status = child > 0 ? wait_for(child) : -1;
  signal(SIGPIPE, before);
  return reason != 0 ? refuse(L, reason) : push_result(L, p, status);
}

/* ---- programs that run on their own --------------------------------------------------------- */

static int allow_no_waiting(int end) { return fcntl(end, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno; }

int spdL_start_program(lua_State *L) {
  char *words[MOST_WORDS + 1] = {NULL};
  lua_settop(L, 1);
  if (!check_words(L, words)) return refuse(L, E2BIG);
  program *p = new_program(L);
  int reason = start(p, words, &p->child);
  close_end(&p->in[1]);
  if (reason == 0) reason = allow_no_waiting(p->out[0]);
  if (reason == 0) reason = allow_no_waiting(p->err[0]);
  return reason != 0 ? refuse(L, reason) : 1;
}

static bool drain_all(int *end, text *to) {
  bool ok = true, more = *end >= 0;
  while (ok && more) ok = drain(end, to, &more);
  return ok;
}

static int program_poll(lua_State *L) {
  program *p = luaL_checkudata(L, 1, PROGRAM);
  int status = 0;
  if (p->child < 0) return luaL_error(L, "poll: the program has ended");
  if (!drain_all(&p->out[0], &p->output) || !drain_all(&p->err[0], &p->errors)) return refuse(L, ENOMEM);
  const pid_t ended = waitpid(p->child, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return 0;
  p->child = -1;
  if (!drain_all(&p->out[0], &p->output) || !drain_all(&p->err[0], &p->errors)) return refuse(L, ENOMEM);
  return push_result(L, p, ended < 0 ? -1 : exit_status(status));
}

static int program_terminate(lua_State *L) {
  ask_to_end(luaL_checkudata(L, 1, PROGRAM));
  return 0;
}

/* Watch the ends of programs for so many milliseconds. Where the system cannot tell of a program's end, wait less long:
** the caller looks again. */
static void watch(const pid_t *children, int count, int milliseconds) {
  enum { BLIND_MILLISECONDS = 20 };
  struct pollfd ends[MOST_PROGRAMS];
  for (int i = 0; i < count; i++) {
    ends[i] = (struct pollfd){(int)syscall(SYS_pidfd_open, children[i], 0), POLLIN, 0};
    if (ends[i].fd < 0 && milliseconds > BLIND_MILLISECONDS) milliseconds = BLIND_MILLISECONDS;
  }
  poll(ends, (nfds_t)count, milliseconds);
  for (int i = 0; i < count; i++) close_end(&ends[i].fd);
}

int spdL_wait_programs(lua_State *L) {
  pid_t children[MOST_PROGRAMS];
  luaL_checktype(L, 1, LUA_TTABLE);
  const lua_Number seconds = luaL_checknumber(L, 2);
  luaL_argcheck(L, seconds >= 0 && seconds <= 1e6, 2, "expected 0 to 1e6 seconds");
  const lua_Integer count = luaL_len(L, 1);
  luaL_argcheck(L, count >= 0 && count <= MOST_PROGRAMS, 1, "expected at most 1024 programs");
  for (int i = 0; i < count; i++) {
    lua_geti(L, 1, i + 1);
    const program *p = luaL_testudata(L, -1, PROGRAM);
    if (p == NULL) return luaL_error(L, "wait: item %d is a %s, not a program", i + 1, luaL_typename(L, -1));
    if (p->child < 0) return luaL_error(L, "wait: program %d has ended", i + 1);
    children[i] = p->child;
    lua_pop(L, 1);
  }
  watch(children, (int)count, (int)(1000 * seconds));
  return 0;
}

static const luaL_Reg metamethods[] = {{"__gc", program_close}, {"__close", program_close}, {NULL, NULL}};
/* said of core.posix.start */
static const spdL_function methods[] = {
    {"poll", program_poll, NULL}, {"terminate", program_terminate, NULL}, {NULL, NULL, NULL}};

void spdL_open_program(lua_State *L) { spdL_new_type(L, PROGRAM, metamethods, "__index", methods); }
