/*
** Rows of which some are kept once. All-zero rows of sparse data are most of a small model's batch; one of them, counted
** with their number, stands for all.
*/
#include "rows.h"

#include <string.h>

void spd_rows_free(spd_context *context, spd_rows *rows) {
  spd_deallocate(context, rows->name, rows->capacity * sizeof *rows->name);
  spd_deallocate(context, rows->weight, rows->capacity * sizeof *rows->weight);
  spd_deallocate(context, rows->place, rows->capacity * sizeof *rows->place);
  spd_deallocate(context, rows, sizeof *rows);
}

spd_rows *spd_rows_new(spd_context *context, size_t capacity) {
  spd_rows *rows = spd_allocate(context, sizeof *rows);
  if (rows == NULL) return NULL;
  rows->capacity = capacity; /* for the most physical rows there can be: all of them */
  rows->name = spd_allocate(context, capacity * sizeof *rows->name);
  rows->weight = spd_allocate(context, capacity * sizeof *rows->weight);
  rows->place = spd_allocate(context, capacity * sizeof *rows->place);
  if (rows->name != NULL && rows->weight != NULL && rows->place != NULL) return rows;
  spd_rows_free(context, rows);
  return NULL;
}

static bool is_zero_row(const spd_real *x, int64_t columns) {
  for (int64_t i = 0; i < columns; i++)
    if (x[i] != 0) return false;
  return true;
}

void spd_rows_compact(spd_rows *rows, spd_real *out, const spd_real *x, int64_t columns) {
  int64_t kept = 0, zeros = 0, first_zero = 0;
  for (int64_t row = 0; row < rows->logical; row++) {
    if (is_zero_row(x + row * columns, columns)) {
      if (zeros++ == 0) first_zero = row;
      rows->place[row] = -1;
      continue;
    }
    memcpy(out + kept * columns, x + row * columns, (size_t)columns * sizeof *x);
    rows->name[kept] = (uint32_t)row;
    rows->weight[kept] = 1;
    rows->place[row] = (int32_t)kept++;
  }
  if (zeros > 0) {
    memset(out + kept * columns, 0, (size_t)columns * sizeof *x);
    rows->name[kept] = (uint32_t)first_zero;
    rows->weight[kept] = (spd_real)zeros;
    for (int64_t row = 0; row < rows->logical; row++)
      if (rows->place[row] < 0) rows->place[row] = (int32_t)kept;
    kept++;
  }
  rows->physical = kept;
}
