/* RMSNorm and LayerNorm of one row. Statistics are made in double, and again for the gradient: the row is in the cache. */
#include "vector.h"

/* x = mean + d, and the norm is of d / deviation. */
typedef struct {
  double mean, inverse; /* 1 / deviation */
} row_statistics;

static double sum_of_squares(const spd_real *x, double mean, int64_t n) {
  double lane[SUM_LANES] = {0};
  int64_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (int j = 0; j < SUM_LANES; j++) lane[j] += ((double)x[i + j] - mean) * ((double)x[i + j] - mean);
  for (int j = 0; i + j < n; j++) lane[j] += ((double)x[i + j] - mean) * ((double)x[i + j] - mean);
  return sum_of_lanes(lane);
}

static row_statistics statistics_of(const spd_real *x, int64_t n, bool centred, double epsilon) {
  const double mean = centred ? SPD_KERNEL(sum)(x, n) / (double)n : 0;
  return (row_statistics){mean, 1 / sqrt(sum_of_squares(x, mean, n) / (double)n + epsilon)};
}

void SPD_KERNEL(normalize)(spd_real *restrict y, const spd_real *restrict x, const spd_real *restrict weight,
                           const spd_real *restrict bias, int64_t columns, bool centred, double epsilon) {
  const row_statistics row = statistics_of(x, columns, centred, epsilon);
  const double mean = row.mean, inverse = row.inverse;
  if (bias != NULL)
    for (int64_t i = 0; i < columns; i++) y[i] = (spd_real)(((double)x[i] - mean) * inverse) * weight[i] + bias[i];
  else
    for (int64_t i = 0; i < columns; i++) y[i] = (spd_real)(((double)x[i] - mean) * inverse) * weight[i];
}

/* Means over a row of g and of g z, where z = d / deviation and g = dy weight is the gradient of z. */
typedef struct {
  double of_g, of_gz;
} gradient_means;

static gradient_means means_of(const spd_real *dy, const spd_real *x, const spd_real *weight, int64_t n,
                               row_statistics row) {
  double g_lane[SUM_LANES] = {0}, gz_lane[SUM_LANES] = {0};
  int64_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (int j = 0; j < SUM_LANES; j++) {
      const double g = (double)dy[i + j] * (double)weight[i + j];
      g_lane[j] += g;
      gz_lane[j] += g * (((double)x[i + j] - row.mean) * row.inverse);
    }
  for (int j = 0; i + j < n; j++) {
    const double g = (double)dy[i + j] * (double)weight[i + j];
    g_lane[j] += g;
    gz_lane[j] += g * (((double)x[i + j] - row.mean) * row.inverse);
  }
  return (gradient_means){sum_of_lanes(g_lane) / (double)n, sum_of_lanes(gz_lane) / (double)n};
}

/* dx = (g - mean g - z mean (g z)) / deviation, with mean g only where the row was centred. */
static void gradient_of_row(spd_real *restrict dx, bool add, const spd_real *restrict dy, const spd_real *restrict x,
                            const spd_real *restrict weight, int64_t n, bool centred, row_statistics row) {
  const gradient_means means = means_of(dy, x, weight, n, row);
  const double mean = row.mean, inverse = row.inverse, of_g = centred ? means.of_g : 0, of_gz = means.of_gz;
  if (!add) memset(dx, 0, (size_t)n * sizeof *dx);
  for (int64_t i = 0; i < n; i++) {
    const double z = ((double)x[i] - mean) * inverse, g = (double)dy[i] * (double)weight[i];
    dx[i] += (spd_real)((g - of_g - z * of_gz) * inverse);
  }
}

void SPD_KERNEL(normalize_gradient)(spd_real *dx, bool add, spd_real *restrict dweight, const spd_real *dy,
                                    const spd_real *x, const spd_real *weight, int64_t columns, bool centred,
                                    double epsilon) {
  const row_statistics row = statistics_of(x, columns, centred, epsilon);
  const double mean = row.mean, inverse = row.inverse;
  if (dx != NULL) gradient_of_row(dx, add, dy, x, weight, columns, centred, row);
  for (int64_t i = 0; dweight != NULL && i < columns; i++)
    dweight[i] += dy[i] * (spd_real)(((double)x[i] - mean) * inverse);
}
