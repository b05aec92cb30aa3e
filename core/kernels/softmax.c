/* Softmaxes of a row, and what is compared with them: KL divergence and cross-entropy. Sums run in double. */
#include "vector.h"

/* A sum of many vectors: short stretches in single precision, these in double. */
enum { STRETCH = 16 * LANES };
typedef struct {
  vec stretch;
  lane_sums total;
} long_sum;

INLINE void end_stretch(long_sum *sum) {
  add_lanes(&sum->total, sum->stretch);
  sum->stretch = splat(0);
}

INLINE double finish(long_sum *sum) {
  end_stretch(sum);
  return total_of(sum->total);
}

typedef struct {
  double maximum, sum; /* log sum exp(x) = maximum + log sum */
} log_partition;

static log_partition partition(const spd_real *x, int64_t columns) {
  const log_partition p = {.maximum = largest(x, columns)};
  const spd_real maximum = (spd_real)p.maximum;
  long_sum sum = {0};
  EACH_VECTOR(columns, {
    sum.stretch += exp_of(load_some(x + i, count, -INFINITY) - maximum);
    if (i % STRETCH == 0) end_stretch(&sum);
  });
  return (log_partition){p.maximum, finish(&sum)};
}

/* ---- KL(softmax(target) || softmax(prediction)) --------------------------------------------------- */

typedef struct {
  log_partition target, prediction;
  double kl;
} divergence;

/* The exponentials, from the maxima on, are left in `of_target` and `of_prediction` where these are not NULL (the latter may
** be the prediction). A target whose softmax is 0 counts nothing, also where the difference is infinite. */
INLINE divergence diverge(const spd_real *target, const spd_real *prediction, spd_real *of_target,
                          spd_real *of_prediction, int64_t columns) {
  divergence d = {.target.maximum = largest(target, columns), .prediction.maximum = largest(prediction, columns)};
  long_sum targets = {0}, predictions = {0}, differences = {0};
  EACH_VECTOR(columns, {
    const vec t = load_some(target + i, count, -INFINITY);
    const vec p = load_some(prediction + i, count, -INFINITY);
    const vec a = exp_of(t - (spd_real)d.target.maximum);
    const vec b = exp_of(p - (spd_real)d.prediction.maximum);
    targets.stretch += a;
    predictions.stretch += b;
    differences.stretch += choose(a == 0, splat(0), a * (t - p));
    if (of_target != NULL) store_some(of_target + i, a, count);
    if (of_prediction != NULL) store_some(of_prediction + i, b, count);
    if (i % STRETCH == 0) {
      end_stretch(&targets);
      end_stretch(&predictions);
      end_stretch(&differences);
    }
  });
  d.target.sum = finish(&targets);
  d.prediction.sum = finish(&predictions);
  d.kl = finish(&differences) / d.target.sum + (d.prediction.maximum + log(d.prediction.sum)) -
         (d.target.maximum + log(d.target.sum));
  return d;
}

double SPD_KERNEL(softmax_kl)(const spd_real *target, const spd_real *prediction, int64_t columns) {
  return diverge(target, prediction, NULL, NULL, columns).kl;
}

double SPD_KERNEL(softmax_kl_in_place)(spd_real *prediction, const spd_real *target, spd_real *scratch, double scale,
                                       int64_t columns) {
  const divergence d = diverge(target, prediction, scratch, prediction, columns);
  const spd_real of_prediction = (spd_real)(scale / d.prediction.sum), of_target = (spd_real)(scale / d.target.sum);
  for (int64_t i = 0; i < columns; i++) prediction[i] = of_prediction * prediction[i] - of_target * scratch[i];
  return d.kl;
}

void SPD_KERNEL(softmax_kl_gradient)(spd_real *dtarget, bool add_target, spd_real *dprediction, bool add_prediction,
                                     const spd_real *target, const spd_real *prediction, double scale,
                                     int64_t columns) {
  const divergence d = diverge(target, prediction, NULL, NULL, columns);
  const double log_ratio = (d.prediction.maximum + log(d.prediction.sum)) - (d.target.maximum + log(d.target.sum));
  EACH_VECTOR(columns, {
    const vec t = load_some(target + i, count, -INFINITY);
    const vec p = load_some(prediction + i, count, -INFINITY);
    const vec a = exp_of(t - (spd_real)d.target.maximum) * (spd_real)(1 / d.target.sum);
    const vec b = exp_of(p - (spd_real)d.prediction.maximum) * (spd_real)(1 / d.prediction.sum);
    if (dprediction != NULL) {
      const vec before = add_prediction ? load_some(dprediction + i, count, 0) : splat(0);
      store_some(dprediction + i, before + (spd_real)scale * (b - a), count);
    }
    if (dtarget != NULL) {
      const vec before = add_target ? load_some(dtarget + i, count, 0) : splat(0);
      const vec change = (spd_real)scale * a * (t - p + (spd_real)(log_ratio - d.kl));
      store_some(dtarget + i, before + choose(a == 0, splat(0), change), count);
    }
  });
}

/* ---- -log softmax(x)[label] ------------------------------------------------------------------------ */

double SPD_KERNEL(cross_entropy)(const spd_real *x, int32_t label, int64_t columns) {
  const log_partition p = partition(x, columns);
  return p.maximum + log(p.sum) - (double)x[label];
}

void SPD_KERNEL(cross_entropy_gradient)(spd_real *dx, bool add, const spd_real *x, int32_t label, double scale,
                                        int64_t columns) {
  const log_partition p = partition(x, columns);
  const spd_real factor = (spd_real)(scale / p.sum);
  EACH_VECTOR(columns, {
    const vec before = add ? load_some(dx + i, count, 0) : splat(0);
    store_some(dx + i, before + factor * exp_of(load_some(x + i, count, -INFINITY) - (spd_real)p.maximum), count);
  });
  dx[label] -= (spd_real)scale;
}
