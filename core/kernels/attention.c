/*
** The softmax of the visible part of a row of scores, and its gradient. A row is taken three times: for its maximum, for
** the exponentials, and for what they are divided by; it stays in the nearest cache meanwhile. Whole vectors are taken:
** what is not visible in the first and the last one is -infinity, of which the exponential is 0.
*/
#include "vector.h"

_Static_assert(SPD_ROW_MULTIPLE % LANES == 0, "rows are whole vectors");

typedef struct {
  int64_t first, end; /* of the vectors with something visible, in numbers */
} range;

INLINE void fill(spd_real *x, int64_t first, int64_t end, spd_real value) {
  for (int64_t i = first; i < end; i++) x[i] = value;
}

/* -infinity around [first, end) in its first and last vector, 0 further out. */
INLINE range hide(spd_real *x, int64_t first, int64_t end, int64_t columns) {
  const range r = {first / LANES * LANES, (end + LANES - 1) / LANES * LANES};
  fill(x, 0, r.first, 0);
  fill(x, r.first, first, -(spd_real)INFINITY);
  fill(x, end, r.end, -(spd_real)INFINITY);
  fill(x, r.end, columns, 0);
  return r;
}

void SPD_KERNEL(softmax)(spd_real *x, int64_t first, int64_t end, int64_t columns) {
  const range r = hide(x, first, end, columns);
  const spd_real maximum = largest(x + r.first, r.end - r.first);
  vec sum = {0};
  for (int64_t i = r.first; i < r.end; i += LANES) {
    const vec e = exp_of(load(x + i) - maximum);
    store(x + i, e);
    sum += e;
  }
  const spd_real factor = 1 / sum_lanes(sum);
  for (int64_t i = r.first; i < r.end; i += LANES) store(x + i, load(x + i) * factor);
}

void SPD_KERNEL(softmax_gradient)(spd_real *x, spd_real *dy, int64_t first, int64_t end, int64_t columns) {
  const range r = hide(x, first, end, columns);
  fill(dy, 0, first, 0);
  fill(dy, end, columns, 0);
  const spd_real maximum = largest(x + r.first, r.end - r.first);
  vec sum = {0}, product = {0};
  for (int64_t i = r.first; i < r.end; i += LANES) {
    const vec e = exp_of(load(x + i) - maximum);
    store(x + i, e);
    sum += e;
    product += e * load(dy + i);
  }
  const spd_real factor = 1 / sum_lanes(sum), mean = sum_lanes(product) * factor; /* of dy */
  for (int64_t i = r.first; i < r.end; i += LANES) {
    const vec y = load(x + i) * factor;
    store(x + i, y);
    store(dy + i, y * (load(dy + i) - mean));
  }
}
