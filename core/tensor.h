/*
** Inside of a tensor. Private to core/.
*/
#ifndef SPD_TENSOR_H
#define SPD_TENSOR_H

#include "spd.h"

struct spd_tensor {
  spd_context *context;
  int owners;
  spd_dtype dtype;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  size_t bytes;
  void *data;
  uint64_t version;     /* bumped by every write: what a tape recorded before is stale */
  spd_tensor *gradient; /* of a parameter, else NULL */
};

/* Elements of a shape; false with a message if there are too many. */
bool spd_count_elements(spd_context *context, int dimensions, const int64_t *shape, int64_t *count);
/* Leading dimensions as rows, the last one as columns; a tensor without dimensions is 1 x 1. */
int64_t spd_rows_of_shape(int dimensions, const int64_t *shape);
int64_t spd_columns_of_shape(int dimensions, const int64_t *shape);
/* "[4, 3]" for messages; returns text. */
const char *spd_format_shape(char *text, size_t size, int dimensions, const int64_t *shape);

#endif
