/* RMSNorm and LayerNorm of one row. Statistics are made again for the gradient: the row is in the cache. */
#include "vector.h"

/* What is normalized, z = (x - mean) / deviation. Sums run in double. The mean has two parts, high + low, so that
** x - mean is correct to float32 of itself and not of x. */
typedef struct {
  spd_real high, low, inverse; /* 1 / deviation */
} row_statistics;

/* x - mean of at most LANES numbers, and 0 in the other lanes. */
INLINE vec difference(const spd_real *x, int64_t count, row_statistics row) {
  const vec d = (load_some(x, count, 0) - row.high) - row.low;
  if (count >= LANES) return d;
  spd_real part[LANES];
  store(part, d);
  return load_some(part, count, 0);
}

INLINE void add_squares(lane_sums *sums, const spd_real *x, int64_t count, row_statistics row) {
  const vec d = difference(x, count, row);
  add_products(sums, d, d);
}

static row_statistics statistics_of(const spd_real *x, int64_t n, bool centred, double epsilon) {
  row_statistics row = {0};
  if (centred) {
    lane_sums sum = {0};
    EACH_VECTOR(n, add_lanes(&sum, load_some(x + i, count, 0)));
    const double mean = total_of(sum) / (double)n;
    row.high = (spd_real)mean;
    row.low = (spd_real)(mean - (double)row.high);
  }
  lane_sums squares = {0};
  EACH_VECTOR(n, add_squares(&squares, x + i, count, row));
  row.inverse = (spd_real)(1 / sqrt(total_of(squares) / (double)n + epsilon));
  return row;
}

void SPD_KERNEL(normalize)(spd_real *y, const spd_real *x, const spd_real *weight, const spd_real *bias, int64_t n,
                           bool centred, double epsilon) {
  const row_statistics row = statistics_of(x, n, centred, epsilon);
#define SCALED (difference(x + i, count, row) * row.inverse * load_some(weight + i, count, 0))
  if (bias == NULL)
    EACH_VECTOR(n, store_some(y + i, SCALED, count));
  else
    EACH_VECTOR(n, store_some(y + i, SCALED + load_some(bias + i, count, 0), count));
}

/* Sums over a row of g and of g z, where g = dy weight is the gradient of z. */
typedef struct {
  lane_sums g, gz;
} gradient_sums;

INLINE void add_to_sums(gradient_sums *sums, spd_real *dweight, const spd_real *dy, const spd_real *x,
                        const spd_real *weight, int64_t count, row_statistics row) {
  const vec z = difference(x, count, row) * row.inverse, d = load_some(dy, count, 0);
  const vec g = d * load_some(weight, count, 0);
  add_lanes(&sums->g, g);
  add_products(&sums->gz, g, z);
  if (dweight != NULL) store_some(dweight, load_some(dweight, count, 0) + d * z, count);
}

INLINE void gradient_part(spd_real *dx, bool add, const spd_real *dy, const spd_real *x, const spd_real *weight,
                          int64_t count, row_statistics row, spd_real mean_g, spd_real mean_gz) {
  const vec z = difference(x, count, row) * row.inverse;
  const vec g = load_some(dy, count, 0) * load_some(weight, count, 0);
  const vec d = (g - mean_g - z * mean_gz) * row.inverse;
  store_some(dx, add ? load_some(dx, count, 0) + d : d, count);
}

/* dx = (g - mean g - z mean (g z)) / deviation, where mean g is left out unless centred. */
void SPD_KERNEL(normalize_gradient)(spd_real *dx, bool add, spd_real *dweight, const spd_real *dy, const spd_real *x,
                                    const spd_real *weight, int64_t n, bool centred, double epsilon) {
  const row_statistics row = statistics_of(x, n, centred, epsilon);
  gradient_sums sums = {0};
  if (dweight != NULL)
    EACH_VECTOR(n, add_to_sums(&sums, dweight + i, dy + i, x + i, weight + i, count, row));
  else
    EACH_VECTOR(n, add_to_sums(&sums, NULL, dy + i, x + i, weight + i, count, row));
  if (dx == NULL) return;
  const spd_real mean_g = centred ? (spd_real)(total_of(sums.g) / (double)n) : 0;
  const spd_real mean_gz = (spd_real)(total_of(sums.gz) / (double)n);
  EACH_VECTOR(n, gradient_part(dx + i, add, dy + i, x + i, weight + i, count, row, mean_g, mean_gz));
}
