/*
** core.posix: memory of this process, and memory it may still take.
**
** Three things can limit a process: the memory of the machine, the control groups that it is in (a container, a
** systemd slice), and its own limit of address space. The smallest rest counts. Control groups have two file
** layouts, version 1 and version 2; pages of files that a group has read count as free in both.
*/
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "posix.h"
#include "spdl.h"

/* The number that follows a word at the start of a line; the first number of the file for an empty word; -1 if
** there is none. */
static double number_in(const char *path, const char *word) {
  char line[256];
  double value = -1;
  FILE *file = fopen(path, "re");
  if (file == NULL) return -1;
  while (value < 0 && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, word, strlen(word)) == 0 && sscanf(line + strlen(word), "%lf", &value) != 1) value = -1;
  fclose(file);
  return value;
}

static double number_in_folder(const char *folder, const char *name, const char *word) {
  char path[PATH_MAX];
  const int size = snprintf(path, sizeof path, "%s/%s", folder, name);
  return size > 0 && size < PATH_MAX ? number_in(path, word) : -1;
}

static double at_least_zero(double value) { return value > 0 ? value : 0; }

typedef struct {
  const char *root, *controller; /* of the line in /proc/self/cgroup */
  const char *limit, *used, *inactive, *active;
} layout;

static const layout layouts[] = {
    {"/sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file ", "active_file "},
    {"/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ",
     "total_active_file "}};

/* What the group in a folder may still take; `otherwise` if that is less or the group has no limit. */
static double group_rest(const layout *l, const char *folder, double otherwise) {
  const double limit = number_in_folder(folder, l->limit, ""), used = number_in_folder(folder, l->used, "");
  if (limit < 0 || used < 0) return otherwise; /* "max", or no such group */
  const double files = at_least_zero(number_in_folder(folder, "memory.stat", l->inactive)) +
                       at_least_zero(number_in_folder(folder, "memory.stat", l->active));
  const double rest = at_least_zero(limit - at_least_zero(used - files));
  return rest < otherwise ? rest : otherwise;
}

/* The path of this process's group: the third field of the line "NUMBER:CONTROLLER:PATH". False: no such line. */
static bool group_path(const char *controller, char *path, size_t size) {
  char line[PATH_MAX];
  bool found = false;
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (file == NULL) return false;
  while (!found && fgets(line, sizeof line, file) != NULL) {
    const char *first = strchr(line, ':'), *second = first == NULL ? NULL : strchr(first + 1, ':');
    if (second == NULL) continue;
    const size_t length = (size_t)(second - first - 1);
    found = strlen(controller) == length && strncmp(first + 1, controller, length) == 0;
    if (found) snprintf(path, size, "%.*s", (int)strcspn(second + 1, "\n"), second + 1);
  }
  fclose(file);
  return found;
}

/* The least that this process's group and the groups above it leave. */
static double groups_rest(const layout *l, double otherwise) {
  char path[PATH_MAX / 2], folder[PATH_MAX];
  if (!group_path(l->controller, path, sizeof path)) return otherwise;
  for (;;) {
    snprintf(folder, sizeof folder, "%s%s", l->root, path);
    otherwise = group_rest(l, folder, otherwise);
    char *slash = strrchr(path, '/');
    if (slash == NULL) return otherwise;
    *slash = '\0';
  }
}

static double address_space_rest(double otherwise) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return otherwise;
  const double pages = at_least_zero(number_in("/proc/self/statm", ""));
  const double rest = at_least_zero((double)limit.rlim_cur - pages * (double)sysconf(_SC_PAGESIZE));
  return rest < otherwise ? rest : otherwise;
}

int spdL_memory_available_bytes(lua_State *L) {
  const double machine = number_in("/proc/meminfo", "MemAvailable:");
  if (machine < 0) return 0;
  double available = address_space_rest(machine * 1024);
  for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) available = groups_rest(&layouts[i], available);
  lua_pushnumber(L, available);
  return 1;
}

/* Not getrusage: what that reports can be the peak of the program that started this one. */
int spdL_peak_memory_mb(lua_State *L) {
  const double kilobytes = number_in("/proc/self/status", "VmHWM:");
  if (kilobytes < 0) return 0;
  lua_pushnumber(L, kilobytes / 1024);
  return 1;
}
