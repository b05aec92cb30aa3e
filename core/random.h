/* Named draws, for the parts of core that make them. Private to core/. */
#ifndef SPD_RANDOM_H
#define SPD_RANDOM_H

#include "kernels/kernels.h"
#include "spd.h"

/* The part of a draw's name that all rows and columns share. */
spd_row_draw spd_row_draw_of(spd_draw draw);

#endif
