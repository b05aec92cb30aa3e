/*
** What scripts need of the system and stock Lua lacks: core.posix.
**
** A call that the system refuses returns nil and the reason; the caller knows the path. The flag that a
** signal sets belongs to the process, as signals do: it is the one variable that Lua states share.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "posix.h"
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

static int posix_wall_time(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + 1e-9 * (lua_Number)now.tv_nsec);
  return 1;
}

static int posix_host_name(lua_State *L) {
  struct utsname system;
  if (uname(&system) != 0) return refused(L);
  lua_pushstring(L, system.nodename);
  return 1;
}

static int posix_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

void spdL_push_executable(lua_State *L) {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  if (size > 0 && (size_t)size < sizeof path) {
    lua_pushlstring(L, path, (size_t)size);
  } else {
    lua_pushnil(L);
  }
}

static int posix_executable(lua_State *L) {
  spdL_push_executable(L);
  return 1;
}

static int posix_sleep(lua_State *L) {
  const lua_Number seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "expected 0 to 1e9 seconds");
  const struct timespec duration = {(time_t)seconds, (long)(1e9 * (seconds - (lua_Number)(time_t)seconds))};
  nanosleep(&duration, NULL);
  return 0;
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

static int posix_terminal_height(lua_State *L) {
  struct winsize size;
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0;
  lua_pushinteger(L, known ? size.ws_row : 24);
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

static int posix_is_link(lua_State *L) {
  struct stat status;
  lua_pushboolean(L, lstat(luaL_checkstring(L, 1), &status) == 0 && S_ISLNK(status.st_mode));
  return 1;
}

static int posix_modified(lua_State *L) {
  struct stat status;
  if (stat(luaL_checkstring(L, 1), &status) != 0) return refused(L);
  lua_pushinteger(L, (lua_Integer)status.st_mtime);
  return 1;
}

static int posix_real_path(lua_State *L) {
  char path[PATH_MAX];
  if (realpath(luaL_checkstring(L, 1), path) == NULL) return refused(L);
  lua_pushstring(L, path);
  return 1;
}

#define DIRECTORY SPDL_NAME("directory")

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
  luaL_setmetatable(L, DIRECTORY);
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

/* Make a folder; with existing, one that is there already is good. */
static bool make_directory(const char *path, bool existing) {
  if (mkdir(path, 0777) == 0) return true;
  const int reason = errno;
  if (existing && has_mode(path, S_IFDIR)) return true;
  errno = reason;
  return false;
}

static int posix_make_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  const bool parents = lua_toboolean(L, 2);
  for (const char *slash = path; parents && *path != '\0' && (slash = strchr(slash + 1, '/')) != NULL;) {
    lua_pushlstring(L, path, (size_t)(slash - path));
    if (!make_directory(lua_tostring(L, -1), true)) return refused(L);
    lua_pop(L, 1);
  }
  return result(L, make_directory(path, parents));
}

static int posix_working_directory(lua_State *L) {
  char path[PATH_MAX];
  if (getcwd(path, sizeof path) == NULL) return refused(L);
  lua_pushstring(L, path);
  return 1;
}

static int posix_remove(lua_State *L) { return result(L, remove(luaL_checkstring(L, 1)) == 0); }

static int posix_remove_directory(lua_State *L) { return result(L, rmdir(luaL_checkstring(L, 1)) == 0); }

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

static void drop_lock(int *file) {
  const int reason = errno;
  if (*file >= 0) close(*file);
  *file = -1;
  errno = reason;
}

static int lock_close(lua_State *L) {
  drop_lock(luaL_checkudata(L, 1, LOCK));
  return 0;
}

/* Ask for a lock on a whole file that belongs to the open file, as flock's does, but of the kind that SQLite uses: it
** holds between the nodes of a cluster wherever a database does. */
static bool ask_for_lock(int file) {
  const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(file, F_OFD_SETLK, &whole) == 0;
}

/* True once the lock is held; else errno: EWOULDBLOCK where it is not to be waited for. Waits by asking again. Signals
** are let in only while it pauses, so that one ends it whenever it comes. */
static bool wait_for_lock(int file, bool wait) {
  static const struct timespec pause = {.tv_nsec = 20000000};
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  bool held = ask_for_lock(file);
  while (!held && wait && errno == EWOULDBLOCK && ppoll(NULL, 0, &pause, &before) == 0) held = ask_for_lock(file);
  const int reason = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = reason;
  return held;
}

static int take_lock(lua_State *L, bool wait) {
  const char *path = luaL_checkstring(L, 1);
  int *file = lua_newuserdatauv(L, sizeof *file, 0);
  *file = -1;
  luaL_setmetatable(L, LOCK);
  *file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (*file < 0) return refused(L);
  if (wait_for_lock(*file, wait)) return 1;
  drop_lock(file);
  if (errno != EWOULDBLOCK || wait) return refused(L);
  lua_pushnil(L);
  return 1;
}

static int posix_lock(lua_State *L) { return take_lock(L, true); }
static int posix_try_lock(lua_State *L) { return take_lock(L, false); }

/* Asks who holds the lock, without taking it, and without waiting where the file is a pipe. */
static int posix_is_locked(lua_State *L) {
  const int file = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  const bool locked = file >= 0 && fcntl(file, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
  if (file >= 0) close(file);
  lua_pushboolean(L, locked);
  return 1;
}

/* ---- interrupts ---------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;
static bool catching;
static struct sigaction interrupt_before, terminate_before; /* what catch_interrupt(false) puts back */

/* A second signal of the same kind ends the process as if none were caught. */
static void note_interrupt(int number) {
  interrupted = number;
  signal(number, SIG_DFL);
}

static int posix_catch_interrupt(lua_State *L) {
  const bool catch = lua_toboolean(L, 1);
  if (catch) {
    const struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, catching ? NULL : &interrupt_before);
    sigaction(SIGTERM, &action, catching ? NULL : &terminate_before);
    interrupted = 0;
  } else if (catching) {
    sigaction(SIGINT, &interrupt_before, NULL);
    sigaction(SIGTERM, &terminate_before, NULL);
  }
  catching = catch;
  return 0;
}

int spdL_interrupted(void) { return interrupted; }

static int posix_interrupted(lua_State *L) {
  lua_pushboolean(L, interrupted != 0);
  return 1;
}

/* ---- registration -------------------------------------------------------------------------- */

static const spdL_function functions[] = {
    {"monotonic_time", posix_monotonic_time,
     "monotonic_time() -> seconds\nA clock that only goes forward, for durations."},
    {"wall_time", posix_wall_time, "wall_time() -> seconds\nSince 1970, with a fraction."},
    {"host_name", posix_host_name, "host_name() -> name, or nil and the reason\nWhat this computer is called."},
    {"sleep", posix_sleep, "sleep(seconds)\nWait; a signal ends it early."},
    {"pid", posix_pid, "pid() -> n\nThe number of this process."},
    {"executable", posix_executable, "executable() -> path\nThe program that runs this code, links resolved."},
    {"peak_memory_mb", spdL_peak_memory_mb,
     "peak_memory_mb() -> MiB\nThe most resident memory of this process so far."},
    {"memory_available_bytes", spdL_memory_available_bytes,
     "memory_available_bytes() -> bytes\nWhat the system, its control group and the process limit leave; nothing if unknown."},
    {"is_terminal", posix_is_terminal,
     "is_terminal(n) -> boolean\nWhether file descriptor n (1: stdout, 2: stderr) is a terminal."},
    {"terminal_width", posix_terminal_width,
     "terminal_width() -> columns\nWidth of the terminal on stdout, 80 if unknown."},
    {"terminal_height", posix_terminal_height,
     "terminal_height() -> lines\nHeight of the terminal on stdout, 24 if unknown."},
    {"is_directory", posix_is_directory, "is_directory(path) -> boolean"},
    {"is_file", posix_is_file, "is_file(path) -> boolean\nWhether there is a regular file."},
    {"is_link", posix_is_link, "is_link(path) -> boolean\nWhether there is a symbolic link."},
    {"modified", posix_modified,
     "modified(path) -> seconds since 1970, or nil and the reason\nWhen a file or folder was changed last, as for os.date."},
    {"real_path", posix_real_path,
     "real_path(path) -> path, or nil and the reason\nThe whole path of what is there, without symbolic links."},
    {"list_directory", posix_list_directory, "list_directory(path) -> names, or nil and the reason"},
    {"make_directory", posix_make_directory,
     "make_directory(path [, parents]) -> true, or nil and the reason\n"
     "With parents, make the folders above too, and one that exists is good."},
    {"working_directory", posix_working_directory, "working_directory() -> path, or nil and the reason"},
    {"remove", posix_remove, "remove(path) -> true, or nil and the reason\nRemove a file or an empty folder."},
    {"remove_directory", posix_remove_directory,
     "remove_directory(path) -> true, or nil and the reason\nRemove an empty folder, never a file."},
    {"rename", posix_rename, "rename(from, to) -> true, or nil and the reason"},
    {"write_file", posix_write_file,
     "write_file(path, bytes) -> true, or nil and the reason\n"
     "Write a file atomically: a temporary name in the same folder, fsync, rename."},
    {"lock", posix_lock,
     "lock(path) -> lock, or nil and the reason\n"
     "Wait until no other process holds the lock of that file (made if needed); a signal ends the wait. The lock is\n"
     "held until lock:close(), the end of a <close> variable's scope, or the end of the process."},
    {"try_lock", posix_try_lock, "try_lock(path) -> lock, or nil at once if another process holds it"},
    {"is_locked", posix_is_locked,
     "is_locked(path) -> boolean\nWhether somebody holds the lock of that file. It is not taken."},
    {"catch_interrupt", posix_catch_interrupt,
     "catch_interrupt(on)\n"
     "While on, the first SIGINT or SIGTERM is only noted; a second one ends the process. Signals belong to the\n"
     "process, so only one script of it should use this. Off puts back what was before."},
    {"interrupted", posix_interrupted,
     "interrupted() -> boolean\nWhether a signal was noted since catch_interrupt(true)."},
    {"run", spdL_run_program,
     "run(words [, {stdin = text, apart = boolean}]) -> status, stdout, stderr; or nil and the reason\n"
     "Run a program without a shell and wait for it. status is 128 + n after signal n. A program that is not there\n"
     "is a reason. It gets no open files but its three streams. apart: Ctrl-C on the terminal does not reach it."},
    {"start", spdL_start_program,
     "start(words) -> program; or nil and the reason\n"
     "Run a program without a shell, beside this one and without input. program:poll() gives nothing while it runs, then\n"
     "once what run gives; program:terminate() asks it to end, as closing or losing it does."},
    {"wait", spdL_wait_programs,
     "wait(programs, seconds)\n"
     "Wait until one of the started programs ends, so long at most; a signal ends it early. None may have been seen to\n"
     "end. What they print is not taken meanwhile: for programs that write to files."},
    {NULL, NULL, NULL}};

static const luaL_Reg lock_metamethods[] = {{"__gc", lock_close}, {"__close", lock_close}, {NULL, NULL}};
static const spdL_function lock_methods[] = {{"close", lock_close, NULL}, {NULL, NULL, NULL}};

static const luaL_Reg directory_metamethods[] = {{"__gc", directory_close}, {NULL, NULL}};

void spdL_open_posix(lua_State *L) {
  spdL_open_program(L);
  spdL_new_type(L, LOCK, lock_metamethods, "__index", lock_methods);
  spdL_new_type(L, DIRECTORY, directory_metamethods, NULL, NULL);
  lua_newtable(L);
  spdL_register(L, functions);
  lua_setfield(L, -2, "posix");
}
