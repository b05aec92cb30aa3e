/* The kernels of Stochastic Parameter Decomposition: masks and the gate MLP. */
#include "vector.h"

void SPD_KERNEL(mask)(spd_real *restrict y, const spd_real *restrict h, const spd_real *restrict g,
                      const spd_real *restrict r, int64_t columns) {
  for (int64_t c = 0; c < columns; c++) y[c] = h[c] * (g[c] + (1 - g[c]) * r[c]);
}

static void mask_gradient_h(spd_real *restrict dh, bool add, const spd_real *restrict dy, const spd_real *restrict g,
                            const spd_real *restrict r, int64_t columns) {
  if (add)
    for (int64_t c = 0; c < columns; c++) dh[c] += dy[c] * (g[c] + (1 - g[c]) * r[c]);
  else
    for (int64_t c = 0; c < columns; c++) dh[c] = dy[c] * (g[c] + (1 - g[c]) * r[c]);
}

static void mask_gradient_g(spd_real *restrict dg, bool add, const spd_real *restrict dy, const spd_real *restrict h,
                            const spd_real *restrict r, int64_t columns) {
  if (add)
    for (int64_t c = 0; c < columns; c++) dg[c] += dy[c] * h[c] * (1 - r[c]);
  else
    for (int64_t c = 0; c < columns; c++) dg[c] = dy[c] * h[c] * (1 - r[c]);
}

void SPD_KERNEL(mask_gradient)(spd_real *dh, bool add_h, spd_real *dg, bool add_g, const spd_real *dy,
                               const spd_real *h, const spd_real *g, const spd_real *r, int64_t columns) {
  if (dh != NULL) mask_gradient_h(dh, add_h, dy, g, r, columns);
  if (dg != NULL) mask_gradient_g(dg, add_g, dy, h, r, columns);
}

/*
** One column of a [rows, C] matrix, padded with zeros to whole vectors. A gate is a function of one number,
** so with rows as lanes its weights are constants of the loop, whatever C and n are.
*/
typedef struct {
  spd_real x[SPD_GATE_ROWS] __attribute__((aligned(64)));
} column;

static void gather(column *to, const spd_real *from, int64_t stride, int64_t rows) {
  int64_t r = 0;
  for (; r < rows; r++) to->x[r] = from[r * stride];
  for (; r % LANES != 0; r++) to->x[r] = 0;
}

void SPD_KERNEL(gate_mlp)(spd_real *y, const spd_real *h, int64_t stride, int64_t rows, const spd_real *w1,
                          const spd_real *b1, const spd_real *w2, spd_real b2, int64_t n) {
  column in;
  gather(&in, h, stride, rows);
  for (int64_t r = 0; r < rows; r += LANES) {
    const vec x = load(in.x + r);
    vec sum = splat(b2), other = splat(0), slope;
    int64_t j = 0;
    for (; j + 2 <= n; j += 2) { /* two chains, to hide the latency of one */
      const vec z = x * w1[j] + b1[j], z_other = x * w1[j + 1] + b1[j + 1];
      sum += w2[j] * gelu_of(z, &slope);
      other += w2[j + 1] * gelu_of(z_other, &slope);
    }
    if (j < n) { sum += w2[j] * gelu_of(x * w1[j] + b1[j], &slope); }
    store(in.x + r, sum + other);
  }
  for (int64_t r = 0; r < rows; r++) y[r * stride] = in.x[r];
}

/* The part of one neuron, added to dh. z = w1 h + b1. */
INLINE spd_gate_neuron_gradient neuron_gradient(column *dh, const column *dy, const column *h, int64_t rows,
                                                spd_real w1, spd_real b1, spd_real w2) {
  vec sum_w1 = {0}, sum_b1 = {0}, sum_w2 = {0};
  for (int64_t r = 0; r < rows; r += LANES) {
    const vec x = load(h->x + r), d = load(dy->x + r);
    vec slope;
    sum_w2 += d * gelu_of(x * w1 + b1, &slope);
    slope *= d * w2;
    sum_b1 += slope;
    sum_w1 += slope * x;
    store(dh->x + r, load(dh->x + r) + slope * w1);
  }
  return (spd_gate_neuron_gradient){sum_lanes(sum_w1), sum_lanes(sum_b1), sum_lanes(sum_w2)};
}

void SPD_KERNEL(gate_mlp_gradient)(spd_real *dh, bool add_h, spd_gate_neuron_gradient *neuron, spd_real *db2,
                                   const spd_real *dy, const spd_real *h, int64_t stride, int64_t rows,
                                   const spd_real *w1, const spd_real *b1, const spd_real *w2, int64_t n) {
  column in, upstream, out = {{0}};
  gather(&in, h, stride, rows);
  gather(&upstream, dy, stride, rows);
  vec sum = {0};
  for (int64_t r = 0; r < rows; r += LANES) sum += load(upstream.x + r);
  *db2 = sum_lanes(sum);
  for (int64_t j = 0; j < n; j++) neuron[j] = neuron_gradient(&out, &upstream, &in, rows, w1[j], b1[j], w2[j]);
  if (dh == NULL) return;
  for (int64_t r = 0; r < rows; r++) dh[r * stride] = (add_h ? dh[r * stride] : 0) + out.x[r];
}
