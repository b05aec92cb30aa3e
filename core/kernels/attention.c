/*
** The softmax of the visible part of a row of scores, and its gradient. A row is taken three times: for its maximum, for
** the exponentials, and for what they are divided by; it stays in the nearest cache meanwhile.
*/
#include "vector.h"

INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }

INLINE spd_real largest(const spd_real *x, int64_t n) {
  vec m = splat(-(spd_real)INFINITY);
  for (int64_t i = 0; i < n; i += LANES) m = larger(load_some(x + i, n - i, -(spd_real)INFINITY), m);
  for (int width = 1; width < LANES; width *= 2) m = larger(m, exchange(m, width));
  return m[0];
}

static void clear_outside(spd_real *x, int64_t first, int64_t end, int64_t columns) {
  memset(x, 0, (size_t)first * sizeof *x);
  memset(x + end, 0, (size_t)(columns - end) * sizeof *x);
}

void SPD_KERNEL(softmax)(spd_real *x, int64_t first, int64_t end, int64_t columns) {
  clear_outside(x, first, end, columns);
  x += first;
  const int64_t n = end - first;
  const spd_real maximum = largest(x, n);
  vec sum = {0};
  for (int64_t i = 0; i < n; i += LANES) {
    const vec e = exp_of(load_some(x + i, n - i, -(spd_real)INFINITY) - maximum);
    store_some(x + i, e, n - i);
    sum += e;
  }
  const spd_real factor = 1 / sum_lanes(sum);
  for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

void SPD_KERNEL(softmax_gradient)(spd_real *x, spd_real *dy, int64_t first, int64_t end, int64_t columns) {
  clear_outside(x, first, end, columns);
  clear_outside(dy, first, end, columns);
  x += first;
  dy += first;
  const int64_t n = end - first;
  const spd_real maximum = largest(x, n);
  vec sum = {0}, product = {0};
  for (int64_t i = 0; i < n; i += LANES) {
    const vec e = exp_of(load_some(x + i, n - i, -(spd_real)INFINITY) - maximum);
    store_some(x + i, e, n - i);
    sum += e;
    product += e * load_some(dy + i, n - i, 0);
  }
  const spd_real factor = 1 / sum_lanes(sum), mean = sum_lanes(product) * factor; /* of dy */
  for (int64_t i = 0; i < n; i++) {
    x[i] *= factor;
    dy[i] = x[i] * (dy[i] - mean);
  }
}
