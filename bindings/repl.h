/*
** What the host's units share: calls that Ctrl-C can stop, and the terminal of the REPL.
*/
#ifndef SPDL_REPL_H
#define SPDL_REPL_H

#include <lua.h>

/* lua_pcall with tracebacks and with SIGINT as the error "interrupted!" (exit status 130). A second SIGINT before
** the first has taken effect ends the process. Error objects {status =, message =} stay as they are. */
int spdL_interruptible_call(lua_State *L, int arguments, int results);

/* Push the table of functions that lua/spd/repl.lua calls: the terminal of this process. */
void spdL_push_terminal(lua_State *L);
/* Readline's part of that table, which is on top of the stack. */
void spdL_open_readline(lua_State *L);

#endif
