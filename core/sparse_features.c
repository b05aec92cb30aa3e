/*
** Sparse features: the data of the toy models. Values and activity are two draws of one name, samples 2s and
** 2s + 1, so that the value of a feature does not depend on the probability.
*/
#include <string.h>

#include "context.h"
#include "random.h"
#include "tensor.h"

enum { ROWS_PER_TASK = 128 };

typedef struct {
  spd_context *context;
  const spd_kernels *kernels;
  spd_sparse_features settings;
  spd_row_draw values, activity;
  spd_real *x;
  int64_t rows, features;
} job;

static int64_t padded(int64_t n) { return (n + 3) / 4 * 4; }

/* Keep the k features with the smallest draws; ties go to the first. */
static void keep_smallest(spd_real *x, const spd_real *draw, int64_t features, int k) {
  for (int64_t i = 0; i < features; i++) {
    int smaller = 0;
    for (int64_t j = 0; j < features && smaller < k; j++) smaller += draw[j] < draw[i] || (draw[j] == draw[i] && j < i);
    if (smaller >= k) x[i] = 0;
  }
}

static void fill_rows(void *argument, int64_t task, int worker) {
  const job *j = argument;
  const int64_t first = task * ROWS_PER_TASK, stride = padded(j->features);
  const int64_t rows = j->rows - first < ROWS_PER_TASK ? j->rows - first : ROWS_PER_TASK;
  spd_real *value = spd_scratch(j->context, worker), *active = value + ROWS_PER_TASK * stride + SPD_DRAW_SLACK;
  j->kernels->uniform_rows(value, &j->values, NULL, (uint32_t)first, rows, j->features);
  j->kernels->uniform_rows(active, &j->activity, NULL, (uint32_t)first, rows, j->features);
  const spd_real low = (spd_real)j->settings.low, range = (spd_real)(j->settings.high - j->settings.low);
  const spd_real probability = (spd_real)j->settings.probability;
  for (int64_t row = 0; row < rows; row++) {
    spd_real *x = j->x + (first + row) * j->features;
    const spd_real *v = value + row * stride, *a = active + row * stride;
    for (int64_t i = 0; i < j->features; i++) x[i] = low + range * v[i];
    if (j->settings.exactly_active > 0)
      keep_smallest(x, a, j->features, j->settings.exactly_active);
    else
      for (int64_t i = 0; i < j->features; i++) x[i] = a[i] < probability ? x[i] : 0;
  }
}

bool spd_fill_sparse_features(spd_tensor *x, spd_sparse_features settings, spd_draw draw) {
  spd_context *context = x->context;
  const int64_t features = spd_columns_of_shape(x->dimensions, x->shape);
  if (x->dtype != SPD_REAL) return spd_fail(context, "sparse features need a tensor of reals");
  if (settings.exactly_active < 0 || settings.exactly_active > features)
    return spd_fail(context, "sparse features: %d active of %lld", settings.exactly_active, (long long)features);
  if (draw.sample > 0x7fff) return spd_fail(context, "sparse features: sample must be below 32768");
  const size_t numbers = 2 * ((size_t)(ROWS_PER_TASK * padded(features)) + SPD_DRAW_SLACK);
  if (!spd_reserve_scratch(context, numbers * sizeof(spd_real))) return false;
  draw.sample *= 2;
  job j = {.context = context,
           .kernels = spd_context_kernels(context),
           .settings = settings,
           .values = spd_row_draw_of(draw),
           .x = spd_tensor_write_real(x),
           .rows = spd_rows_of_shape(x->dimensions, x->shape),
           .features = features};
  draw.sample++;
  j.activity = spd_row_draw_of(draw);
  spd_parallel(context, (j.rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, fill_rows, &j);
  return true;
}
