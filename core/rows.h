/*
** Rows of which some are kept once. Private to core/.
*/
#ifndef SPD_ROWS_H
#define SPD_ROWS_H

#include "context.h"

/*
** Rows of which some are kept once. Physical row i stands for weight[i] logical rows and is named by the
** first of them in random draws; logical row i is found at physical row place[i].
*/
typedef struct spd_rows {
  int64_t logical, physical;
  size_t capacity; /* of the lists */
  uint32_t *name;
  spd_real *weight;
  int32_t *place;
} spd_rows;

/* Room for so many logical rows; NULL when memory is exhausted. */
spd_rows *spd_rows_new(spd_context *context, size_t capacity);
void spd_rows_free(spd_context *context, spd_rows *rows);
/* Copy the rows of x [rows->logical, columns] that are not zero to out, then one zero row for all others, and describe
** them. */
void spd_rows_compact(spd_rows *rows, spd_real *out, const spd_real *x, int64_t columns);

#endif
