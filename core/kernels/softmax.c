/* KL(softmax(target) || softmax(prediction)) of one row. */
#include "vector.h"

typedef struct {
  double maximum, sum; /* log sum exp(x) = maximum + log sum */
} log_partition;

static log_partition partition(const spd_real *x, int64_t columns) {
  log_partition p = {-INFINITY, 0};
  for (int64_t i = 0; i < columns; i++)
    if ((double)x[i] > p.maximum) p.maximum = (double)x[i];
  for (int64_t i = 0; i < columns; i++) p.sum += exp((double)x[i] - p.maximum);
  return p;
}

double SPD_KERNEL(softmax_kl)(const spd_real *target, const spd_real *prediction, int64_t columns) {
  const log_partition t = partition(target, columns), p = partition(prediction, columns);
  const double log_ratio = (p.maximum + log(p.sum)) - (t.maximum + log(t.sum));
  double kl = 0;
  for (int64_t i = 0; i < columns; i++) {
    const double a = exp((double)target[i] - t.maximum) / t.sum;
    if (a != 0) kl += a * ((double)target[i] - (double)prediction[i] + log_ratio); /* a log a is 0 at 0 */
  }
  return kl;
}

void SPD_KERNEL(softmax_kl_gradient)(spd_real *dtarget, bool add_target, spd_real *dprediction, bool add_prediction,
                                     const spd_real *target, const spd_real *prediction, double scale,
                                     int64_t columns) {
  const log_partition t = partition(target, columns), p = partition(prediction, columns);
  const double log_ratio = (p.maximum + log(p.sum)) - (t.maximum + log(t.sum));
  const double kl = dtarget == NULL ? 0 : SPD_KERNEL(softmax_kl)(target, prediction, columns);
  for (int64_t i = 0; i < columns; i++) {
    const double a = exp((double)target[i] - t.maximum) / t.sum;
    const double b = exp((double)prediction[i] - p.maximum) / p.sum;
    const double log_quotient = (double)target[i] - (double)prediction[i] + log_ratio;
    if (dprediction != NULL) dprediction[i] = (add_prediction ? dprediction[i] : 0) + (spd_real)(scale * (b - a));
    const double of_target = a == 0 ? 0 : scale * a * (log_quotient - kl);
    if (dtarget != NULL) dtarget[i] = (add_target ? dtarget[i] : 0) + (spd_real)of_target;
  }
}
