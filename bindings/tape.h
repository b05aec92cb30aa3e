/* Open tapes and recorded values, as the binding units pass them around. */
#ifndef SPDL_TAPE_H
#define SPDL_TAPE_H

#include "spdl.h"

struct spdL_tape {
  spd_tape *tape; /* NULL: closed */
  lua_Integer number;
  spdL_tape *outer; /* opened before, and still open */
};

/* Push a value of the tape, or raise the error that it stands for. */
void spdL_push_value(lua_State *L, const spdL_tape *tape, spd_value value);
/* A tensor or a value as a value of this tape. */
spd_value spdL_check_value(lua_State *L, int argument, const spdL_tape *tape);

#endif
