/* The inner loop of AdamW. */
#include "vector.h"

void SPD_KERNEL(adamw)(spd_real *x, spd_real *delta, spd_real *m, spd_real *v, const spd_real *gradient, int64_t n,
                       double decay, double rate1, double correction2, double beta1, double beta2, double epsilon) {
  const spd_real b2 = (spd_real)beta2, keep = (spd_real)decay, rate = (spd_real)rate1;
  const spd_real eps = (spd_real)epsilon, root2 = (spd_real)correction2;
  const spd_real c1 = (spd_real)(1 - beta1), c2 = (spd_real)(1 - beta2);
  for (int64_t i = 0; i < n; i++) {
    const spd_real g = gradient[i];
    m[i] = m[i] + c1 * (g - m[i]);
    v[i] = b2 * v[i] + c2 * (g * g);
    const spd_real update = rate * m[i] / ((spd_real)sqrt((double)v[i]) / root2 + eps);
    if (delta != NULL)
      delta[i] = (keep - 1) * x[i] - update;
    else
      x[i] = keep * x[i] - update;
  }
}
