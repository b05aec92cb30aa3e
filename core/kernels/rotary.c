/* Rotary position embedding of one row. */
#include "vector.h"

void SPD_KERNEL(rotate)(spd_real *restrict y, const spd_real *restrict x, const spd_real *restrict cosine,
                        const spd_real *restrict sine, int64_t heads, int64_t half, bool back, bool add) {
  const spd_real sign = back ? -1 : 1;
  if (!add) memset(y, 0, (size_t)(heads * 2 * half) * sizeof *y);
  for (int64_t head = 0; head < heads; head++, x += 2 * half, y += 2 * half)
    for (int64_t i = 0; i < half; i++) {
      const spd_real c = cosine[i], s = sign * sine[i], first = x[i], second = x[half + i];
      y[i] += first * c - second * s;
      y[half + i] += second * c + first * s;
    }
}
