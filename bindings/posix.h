/*
** Parts of core.posix that have files of their own, and what the host uses of it.
*/
#ifndef SPDL_POSIX_H
#define SPDL_POSIX_H

#include <lua.h>

/* Push the absolute path of the running program, links resolved; nil if the system does not tell. */
void spdL_push_executable(lua_State *L);

/* The signal that was noted since spd.core.posix.catch_interrupt(true); 0 if none. */
int spdL_interrupted(void);

/* bindings/memory.c */
int spdL_peak_memory_mb(lua_State *L);
int spdL_memory_available_bytes(lua_State *L);

/* bindings/program.c */
int spdL_run_program(lua_State *L);
int spdL_start_program(lua_State *L);
int spdL_wait_programs(lua_State *L);
void spdL_open_program(lua_State *L); /* its metatable; leaves the stack as it is */

#endif
