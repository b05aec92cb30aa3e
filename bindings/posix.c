/*
** What scripts need of the system and stock Lua lacks: core.posix.
**
** A call that the system refuses returns nil and the reason; the caller knows the path. The flag that a
** signal sets belongs to the process, as signals do.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spdl.h"

static int refused(lua_State *L) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(errno));
  return 2;
}

static int result(lua_State *L, bool ok) {
  if (!ok) return refused(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- time and machine ---------------------------------------------------------------------- */

static int posix_monotonic_time(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + 1e-9 * (lua_Number)now.tv_nsec);
  return 1;
}

static int posix_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

static int posix_peak_memory_mb(lua_State *L) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  lua_pushnumber(L, (lua_Number)usage.ru_maxrss / 1024);
  return 1;
}

/* The first number of a file that follows a word, or of the file for an empty word; -1 if there is none. */
static double number_in(const char *path, const char *word) {
  char line[256];
  double value = -1;
  FILE *file = fopen(path, "r");
  if (file == NULL) return -1;
  while (value < 0 && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, word, strlen(word)) == 0 && sscanf(line + strlen(word), "%lf", &value) != 1) value = -1;
  fclose(file);
  return value;
}

static double smaller(double a, double b) { return b >= 0 && b < a ? b : a; }

static int posix_memory_available_bytes(lua_State *L) {
  double available = number_in("/proc/meminfo", "MemAvailable:") * 1024;
  if (available < 0) return 0;
  const double limit = number_in("/sys/fs/cgroup/memory.max", ""), used = number_in("/sys/fs/cgroup/memory.current", "");
  if (limit >= 0 && used >= 0) available = smaller(available, limit > used ? limit - used : 0);
  struct rlimit space;
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
    available = smaller(available, (double)space.rlim_cur);
  lua_pushnumber(L, available);
  return 1;
}

/* ---- terminal ------------------------------------------------------------------------------ */

static int posix_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int posix_terminal_width(lua_State *L) {
  struct winsize size;
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  lua_pushinteger(L, known ? size.ws_col : 80);
  return 1;
}

/* ---- files and folders --------------------------------------------------------------------- */

static bool has_mode(const char *path, mode_t mode) {
  struct stat status;
  return stat(path, &status) == 0 && (status.st_mode & S_IFMT) == mode;
}

static int posix_is_directory(lua_State *L) {
  lua_pushboolean(L, has_mode(luaL_checkstring(L, 1), S_IFDIR));
  return 1;
}

static int posix_is_file(lua_State *L) {
  lua_pushboolean(L, has_mode(luaL_checkstring(L, 1), S_IFREG));
  return 1;
}

static int directory_close(lua_State *L) {
  DIR **directory = lua_touserdata(L, 1);
  if (*directory != NULL) closedir(*directory);
  *directory = NULL;
  return 0;
}

static int posix_list_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  DIR **directory = lua_newuserdatauv(L, sizeof(*directory), 0);
  *directory = NULL;
  if (luaL_newmetatable(L, SPDL_NAME("directory"))) {
    lua_pushcfunction(L, directory_close);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  *directory = opendir(path);
  if (*directory == NULL) return refused(L);
  lua_newtable(L);
  lua_Integer count = 0;
  for (struct dirent *entry; (entry = readdir(*directory)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    lua_pushstring(L, entry->d_name);
    lua_seti(L, -2, ++count);
  }
  closedir(*directory);
  *directory = NULL;
  return 1;
}

static int posix_make_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  const bool parents = lua_toboolean(L, 2);
  for (const char *slash = path; parents && (slash = strchr(slash + 1, '/')) != NULL;) {
    lua_pushlstring(L, path, (size_t)(slash - path));
    const char *parent = lua_tostring(L, -1);
    if (mkdir(parent, 0777) != 0 && !has_mode(parent, S_IFDIR)) return refused(L);
    lua_pop(L, 1);
  }
  const bool ok = mkdir(path, 0777) == 0 || (parents && errno == EEXIST && has_mode(path, S_IFDIR));
  return result(L, ok);
}

static int posix_remove(lua_State *L) { return result(L, remove(luaL_checkstring(L, 1)) == 0); }

static int posix_rename(lua_State *L) { return result(L, rename(luaL_checkstring(L, 1), luaL_checkstring(L, 2)) == 0); }

static bool write_all(int file, const char *bytes, size_t size) {
  while (size > 0) {
    const ssize_t written = write(file, bytes, size);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) bytes += written, size -= (size_t)written;
  }
  return true;
}

/* fsync the folder of a path, so that a rename in it survives a crash. */
static void sync_folder(lua_State *L, const char *path) {
  const char *slash = strrchr(path, '/');
  lua_pushlstring(L, path, slash == NULL ? 0 : (size_t)(slash - path) + 1);
  const int folder = open(slash == NULL ? "." : lua_tostring(L, -1), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    fsync(folder);
    close(folder);
  }
  lua_pop(L, 1);
}

static int posix_write_file(lua_State *L) {
  size_t size;
  const char *path = luaL_checkstring(L, 1), *bytes = luaL_checklstring(L, 2, &size);
  const char *temporary = lua_pushfstring(L, "%s.%d.tmp", path, (int)getpid());
  const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return refused(L);
  bool ok = write_all(file, bytes, size) && fsync(file) == 0;
  int reason = errno;
  if (close(file) != 0 && ok) ok = false, reason = errno;
  if (ok && rename(temporary, path) != 0) ok = false, reason = errno;
  if (!ok) {
    unlink(temporary);
    errno = reason;
    return refused(L);
  }
  sync_folder(L, path);
  return result(L, true);
}

/* ---- locks --------------------------------------------------------------------------------- */

#define LOCK SPDL_NAME("lock")

static int lock_close(lua_State *L) {
  int *file = luaL_checkudata(L, 1, LOCK);
  if (*file >= 0) close(*file);
  *file = -1;
  return 0;
}

static int take_lock(lua_State *L, int operation) {
  const char *path = luaL_checkstring(L, 1);
  int *file = lua_newuserdatauv(L, sizeof *file, 0);
  *file = -1;
  luaL_setmetatable(L, LOCK);
  *file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (*file < 0) return refused(L);
  while (flock(*file, operation) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) {
      lua_pushnil(L);
      return 1;
    }
    return refused(L);
  }
  return 1;
}

static int posix_lock(lua_State *L) { return take_lock(L, LOCK_EX); }
static int posix_try_lock(lua_State *L) { return take_lock(L, LOCK_EX | LOCK_NB); }

/* ---- interrupts ---------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

/* A second signal ends the process as if none were caught. */
static void note_interrupt(int number) {
  interrupted = 1;
  signal(number, SIG_DFL);
}

static int posix_catch_interrupt(lua_State *L) {
  const bool catch = lua_toboolean(L, 1);
  struct sigaction action = {.sa_flags = SA_RESTART};
  action.sa_handler = catch ? note_interrupt : SIG_DFL;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  if (catch) interrupted = 0;
  return 0;
}

static int posix_interrupted(lua_State *L) {
  lua_pushboolean(L, interrupted != 0);
  return 1;
}

/* ---- programs ------------------------------------------------------------------------------ */

enum { MOST_ARGUMENTS = 256, CHUNK = 65536 };

typedef struct {
  int in[2], out[2], err[2]; /* pipes; -1: closed */
  pid_t child;
} program;

static void close_end(int *end) {
  if (*end >= 0) close(*end);
  *end = -1;
}

static void close_all(program *p) {
  for (int i = 0; i < 2; i++) {
    close_end(&p->in[i]);
    close_end(&p->out[i]);
    close_end(&p->err[i]);
  }
}

static bool start(program *p, char *const *arguments) {
  *p = (program){{-1, -1}, {-1, -1}, {-1, -1}, -1};
  if (pipe2(p->in, O_CLOEXEC) != 0 || pipe2(p->out, O_CLOEXEC) != 0 || pipe2(p->err, O_CLOEXEC) != 0) return false;
  p->child = fork();
  if (p->child < 0) return false;
  if (p->child == 0) {
    dup2(p->in[0], STDIN_FILENO);
    dup2(p->out[1], STDOUT_FILENO);
    dup2(p->err[1], STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    execvp(arguments[0], arguments);
    dprintf(STDERR_FILENO, "%s: %s\n", arguments[0], strerror(errno));
    _exit(127);
  }
  close_end(&p->in[0]);
  close_end(&p->out[1]);
  close_end(&p->err[1]);
  fcntl(p->in[1], F_SETFL, O_NONBLOCK);
  return true;
}

/* Feed the input when the program takes it, and close the pipe at its end. */
static void feed(program *p, const char **input, size_t *size) {
  const ssize_t written = *size == 0 ? 0 : write(p->in[1], *input, *size);
  if (written > 0) *input += written, *size -= (size_t)written;
  if (*size == 0 || (written < 0 && errno != EAGAIN && errno != EINTR)) close_end(&p->in[1]);
}

typedef struct {
  char *bytes;
  size_t size, capacity;
} text;

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

static bool drain(int *end, text *to) {
  char bytes[CHUNK];
  const ssize_t count = read(*end, bytes, sizeof bytes);
  if (count == 0 || (count < 0 && errno != EINTR)) close_end(end);
  return count <= 0 || append(to, bytes, (size_t)count);
}

static bool exchange(program *p, const char *input, size_t size, text *out, text *err) {
  bool ok = true;
  while (ok && (p->in[1] >= 0 || p->out[0] >= 0 || p->err[0] >= 0)) {
    struct pollfd ends[] = {{p->in[1], POLLOUT, 0}, {p->out[0], POLLIN, 0}, {p->err[0], POLLIN, 0}};
    if (poll(ends, 3, -1) < 0 && errno != EINTR) return false;
    if (ends[0].revents != 0) feed(p, &input, &size);
    if (ends[1].revents != 0) ok = drain(&p->out[0], out);
    if (ends[2].revents != 0) ok = ok && drain(&p->err[0], err);
  }
  return ok;
}

static int wait_for(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int posix_run(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  char *arguments[MOST_ARGUMENTS + 1] = {NULL};
  const lua_Integer count = luaL_len(L, 1);
  luaL_argcheck(L, count >= 1 && count <= MOST_ARGUMENTS, 1, "expected 1 to 256 words");
  lua_settop(L, 2);
  luaL_checkstack(L, (int)count + 8, NULL);
  for (int i = 0; i < count; i++) { /* the words stay on the stack while they are used */
    lua_geti(L, 1, i + 1);
    arguments[i] = (char *)luaL_checkstring(L, -1);
  }
  size_t size = 0;
  const char *input = "";
  if (lua_istable(L, 2) && lua_getfield(L, 2, "stdin") != LUA_TNIL) input = luaL_checklstring(L, -1, &size);
  program p;
  text out = {0}, err = {0};
  void (*before)(int) = signal(SIGPIPE, SIG_IGN);
  bool ok = start(&p, arguments);
  if (ok) ok = exchange(&p, input, size, &out, &err);
  const int reason = errno;
  close_all(&p);
  const int status = p.child > 0 ? wait_for(p.child) : -1;
  signal(SIGPIPE, before);
  if (ok) {
    lua_pushinteger(L, status);
    lua_pushlstring(L, out.bytes == NULL ? "" : out.bytes, out.size);
    lua_pushlstring(L, err.bytes == NULL ? "" : err.bytes, err.size);
  }
  free(out.bytes);
  free(err.bytes);
  errno = reason;
  return ok ? 3 : refused(L);
}

/* ---- registration -------------------------------------------------------------------------- */

static const spdL_function functions[] = {
    {"monotonic_time", posix_monotonic_time, "monotonic_time() -> seconds\nA clock that only goes forward, for durations."},
    {"pid", posix_pid, "pid() -> n\nThe number of this process."},
    {"peak_memory_mb", posix_peak_memory_mb, "peak_memory_mb() -> MiB\nThe most resident memory of this process so far."},
    {"memory_available_bytes", posix_memory_available_bytes,
     "memory_available_bytes() -> bytes\nWhat the system, its control group and the process limit leave; nothing if unknown."},
    {"is_terminal", posix_is_terminal, "is_terminal(n) -> boolean\nWhether file descriptor n (1: stdout, 2: stderr) is a terminal."},
    {"terminal_width", posix_terminal_width, "terminal_width() -> columns\nWidth of the terminal on stdout, 80 if unknown."},
    {"is_directory", posix_is_directory, "is_directory(path) -> boolean"},
    {"is_file", posix_is_file, "is_file(path) -> boolean\nWhether there is a regular file."},
    {"list_directory", posix_list_directory, "list_directory(path) -> names, or nil and the reason"},
    {"make_directory", posix_make_directory,
     "make_directory(path [, parents]) -> true, or nil and the reason\n"
     "With parents, make the folders above too, and one that exists is good."},
    {"remove", posix_remove, "remove(path) -> true, or nil and the reason\nRemove a file or an empty folder."},
    {"rename", posix_rename, "rename(from, to) -> true, or nil and the reason"},
    {"write_file", posix_write_file,
     "write_file(path, bytes) -> true, or nil and the reason\n"
     "Write a file atomically: a temporary name in the same folder, fsync, rename."},
    {"lock", posix_lock,
     "lock(path) -> lock, or nil and the reason\n"
     "Wait until no other process holds the lock of that file (made if needed); held until lock:close()."},
    {"try_lock", posix_try_lock, "try_lock(path) -> lock, or nil at once if another process holds it"},
    {"catch_interrupt", posix_catch_interrupt,
     "catch_interrupt(on)\n"
     "While on, the first SIGINT or SIGTERM is only noted; a second one ends the process."},
    {"interrupted", posix_interrupted, "interrupted() -> boolean\nWhether a signal was noted since catch_interrupt(true)."},
    {"run", posix_run,
     "run(words [, {stdin = text}]) -> status, stdout, stderr; or nil and the reason\n"
     "Run a program without a shell and wait for it. status is 127 if it is not found, 128 + n after signal n."},
    {NULL, NULL, NULL}};

void spdL_open_posix(lua_State *L) {
  static const luaL_Reg lock_functions[] = {{"__gc", lock_close}, {"__close", lock_close}, {"close", lock_close}, {NULL, NULL}};
  luaL_newmetatable(L, LOCK);
  luaL_setfuncs(L, lock_functions, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_newtable(L);
  spdL_register(L, functions);
  lua_setfield(L, -2, "posix");
}
