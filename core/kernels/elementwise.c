/* Elementwise functions, their gradients, and sums. Where loops are plain, the compiler makes vectors of them. */
#include "vector.h"

static spd_real sign_of(spd_real x) { return (spd_real)(x > 0) - (spd_real)(x < 0); }

/* ---- functions of vectors ------------------------------------------------------------------ */

INLINE vec gelu(vec x) {
  vec slope;
  return gelu_of(x, &slope);
}

/* gelu'(x) = Phi(x) + x phi(x) */
INLINE vec gelu_slope(vec x) {
  vec slope;
  gelu_of(x, &slope);
  return slope;
}

/* Where exp(-x) is infinite this is 0. */
INLINE vec silu(vec x) { return x / (1 + exp_of(-x)); }

/* s (1 + x (1 - s)) with s = 1 / (1 + e) and 1 - s = e s, which keeps its digits; 0 where e would be infinite. */
INLINE vec silu_slope(vec x) {
  const vec z = at_least(x, -87), e = exp_of(-z), s = 1 / (1 + e);
  return s + z * (e * s) * s;
}

/* (1 + tanh u) / 2 = 1 / (1 + exp(-2u)), and 2u = x (a + b x^2). */
static const spd_real tanh_a = R(1.5957691216057308), tanh_b = R(0.07135481627260025);

INLINE vec gelu_tanh(vec x) { return x / (1 + exp_of(-x * (tanh_a + tanh_b * x * x))); }

/* s + x s (1 - s) (2u)'. Beyond |x| = 10 it is 0 or 1 to the last place, and x^2 or e could be infinite. */
INLINE vec gelu_tanh_slope(vec x) {
  const vec z = at_most(at_least(x, -10), 10), square = z * z;
  const vec e = exp_of(-z * (tanh_a + tanh_b * square)), s = 1 / (1 + e);
  return s + z * (e * s) * s * (tanh_a + 3 * tanh_b * square);
}

typedef vec vector_function(vec);

INLINE void map_vectors(spd_real *y, const spd_real *x, int64_t n, vector_function f) {
  EACH_VECTOR(n, store_some(y + i, f(load_some(x + i, count, 0)), count));
}

INLINE void slope_times(spd_real *dx, bool add, const spd_real *dy, const spd_real *x, int64_t count,
                        vector_function slope) {
  const vec d = load_some(dy, count, 0) * slope(load_some(x, count, 0));
  store_some(dx, add ? load_some(dx, count, 0) + d : d, count);
}

INLINE void map_vectors_gradient(spd_real *dx, const spd_real *dy, const spd_real *x, int64_t n, vector_function slope,
                                 bool add) {
  EACH_VECTOR(n, slope_times(dx + i, add, dy + i, x + i, count, slope));
}

/* ---- y = f(x) ------------------------------------------------------------------------------ */

/* Comparisons are written so that NaN comes out as NaN: a loss must not look good because a function swallowed it.
** Run a loop body once with assignment and once with addition. */
#define EACH(target, value)                            \
  do {                                                 \
    if (add)                                           \
      for (int64_t i = 0; i < n; i++) target += value; \
    else                                               \
      for (int64_t i = 0; i < n; i++) target = value;  \
  } while (0)

void SPD_KERNEL(map)(spd_real *restrict y, const spd_real *restrict x, int64_t n, spd_map f, double a, double b) {
  const bool add = false;
  const spd_real p = (spd_real)a, q = (spd_real)b;
  switch (f) {
    case SPD_MAP_RELU: EACH(y[i], x[i] < 0 ? 0 : x[i]); break;
    case SPD_MAP_GELU: map_vectors(y, x, n, gelu); break;
    case SPD_MAP_GELU_TANH: map_vectors(y, x, n, gelu_tanh); break;
    case SPD_MAP_SILU: map_vectors(y, x, n, silu); break;
    case SPD_MAP_ABSOLUTE: EACH(y[i], x[i] < 0 ? -x[i] : x[i]); break;
    case SPD_MAP_LOWER_LEAKY: EACH(y[i], x[i] > 1 ? 1 : x[i] > 0 ? x[i] : R(0.01) * x[i]); break;
    case SPD_MAP_UPPER_LEAKY: EACH(y[i], x[i] > 1 ? 1 + R(0.01) * (x[i] - 1) : x[i] < 0 ? 0 : x[i]); break;
    case SPD_MAP_POWER:
      if (a == 1)
        EACH(y[i], x[i]);
      else if (a == 2)
        EACH(y[i], x[i] * x[i]);
      else
        EACH(y[i], (spd_real)pow((double)x[i], a));
      break;
    case SPD_MAP_AFFINE: EACH(y[i], p * x[i] + q); break;
    case SPD_MAP_GREATER: EACH(y[i], x[i] > p ? 1 : 0); break;
    case SPD_MAP_COUNT: break;
  }
}

/* x^(p-1) is infinite at 0 for p < 1; as in the reference implementation no gradient passes there. */
static spd_real power_slope(spd_real x, double p) { return x == 0 ? 0 : (spd_real)(p * pow((double)x, p - 1)); }

void SPD_KERNEL(map_gradient)(spd_real *restrict dx, const spd_real *restrict dy, const spd_real *restrict x, int64_t n,
                              spd_map f, double a, double b, bool add) {
  (void)b;
  const spd_real p = (spd_real)a;
  switch (f) {
    case SPD_MAP_RELU: EACH(dx[i], (x[i] <= 0 ? 0 : dy[i])); break;
    case SPD_MAP_GELU: map_vectors_gradient(dx, dy, x, n, gelu_slope, add); break;
    case SPD_MAP_GELU_TANH: map_vectors_gradient(dx, dy, x, n, gelu_tanh_slope, add); break;
    case SPD_MAP_SILU: map_vectors_gradient(dx, dy, x, n, silu_slope, add); break;
    case SPD_MAP_ABSOLUTE: EACH(dx[i], dy[i] * sign_of(x[i])); break;
    case SPD_MAP_LOWER_LEAKY: EACH(dx[i], (x[i] > 1 ? 0 : x[i] > 0 ? dy[i] : R(0.01) * dy[i])); break;
    case SPD_MAP_UPPER_LEAKY: EACH(dx[i], (x[i] > 1 ? R(0.01) * dy[i] : x[i] <= 0 ? 0 : dy[i])); break;
    case SPD_MAP_POWER:
      if (a == 1)
        EACH(dx[i], (x[i] == 0 ? 0 : dy[i]));
      else if (a == 2)
        EACH(dx[i], 2 * x[i] * dy[i]);
      else
        EACH(dx[i], dy[i] * power_slope(x[i], a));
      break;
    case SPD_MAP_AFFINE: EACH(dx[i], p * dy[i]); break;
    case SPD_MAP_GREATER: EACH(dx[i], 0); break;
    case SPD_MAP_COUNT: break;
  }
}

/* ---- two vectors, sums --------------------------------------------------------------------- */

void SPD_KERNEL(combine)(spd_real *y, const spd_real *a, const spd_real *b, double scale_b, int64_t n) {
  const spd_real s = (spd_real)scale_b;
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + s * b[i];
}

void SPD_KERNEL(scale)(spd_real *y, const spd_real *x, double scale, int64_t n, bool add) {
  const spd_real s = (spd_real)scale;
  EACH(y[i], s * x[i]);
}

void SPD_KERNEL(multiply_add)(spd_real *y, const spd_real *a, const spd_real *b, int64_t n, bool add) {
  EACH(y[i], a[i] * b[i]);
}

/* Sums run in double, over eight lanes that are added at the end. */
#define SUM_LANES 8

static double sum_of_lanes(const double *lane) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

double SPD_KERNEL(sum)(const spd_real *x, int64_t n) {
  double lane[SUM_LANES] = {0};
  int64_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (int j = 0; j < SUM_LANES; j++) lane[j] += (double)x[i + j];
  for (int j = 0; i + j < n; j++) lane[j] += (double)x[i + j];
  return sum_of_lanes(lane);
}

double SPD_KERNEL(squared_distance)(const spd_real *a, const spd_real *b, int64_t n) {
  double lane[SUM_LANES] = {0};
  int64_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (int j = 0; j < SUM_LANES; j++) {
      const double d = (double)(a[i + j] - b[i + j]);
      lane[j] += d * d;
    }
  for (int j = 0; i + j < n; j++) {
    const double d = (double)(a[i + j] - b[i + j]);
    lane[j] += d * d;
  }
  return sum_of_lanes(lane);
}
