/*
** Sparse features: the data of the toy models. Values and activity are two draws of one name, samples 2s and
** 2s + 1, so that the value of a feature does not depend on the probability.
*/
#include <math.h>

#include "context.h"
#include "random.h"
#include "tensor.h"

#if defined(SPD_DOUBLE)
#define NEXT_AFTER nextafter
#else
#define NEXT_AFTER nextafterf
#endif

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

/* Let the k features with the smallest draws, the first of equal ones, have a draw of -1. */
static void mark_smallest(spd_real *draw, int64_t features, int k) {
  for (int n = 0; n < k; n++) {
    int64_t smallest = -1;
    for (int64_t i = 0; i < features; i++)
      if (draw[i] >= 0 && (smallest < 0 || draw[i] < draw[smallest])) smallest = i;
    draw[smallest] = -1;
  }
}

/* Let all features of a group have its smallest draw: they are active when any one of them would be. */
static void synchronize(spd_real *draw, const int32_t *group, int64_t features) {
  for (int64_t i = 0; i < features; i++)
    if (draw[i] < draw[group[i]]) draw[group[i]] = draw[i];
  for (int64_t i = 0; i < features; i++) draw[i] = draw[group[i]];
}

static void fill_rows(void *argument, int64_t task, int worker) {
  const job *j = argument;
  const int64_t first = task * ROWS_PER_TASK, stride = padded(j->features);
  const int64_t rows = j->rows - first < ROWS_PER_TASK ? j->rows - first : ROWS_PER_TASK;
  spd_real *value = spd_scratch(j->context, worker), *active = value + rows * stride + SPD_DRAW_SLACK;
  j->kernels->uniform_rows(value, &j->values, NULL, (uint32_t)first, rows, j->features);
  j->kernels->uniform_rows(active, &j->activity, NULL, (uint32_t)first, rows, j->features);
  const spd_sparse_features *settings = &j->settings;
  const spd_real low = (spd_real)settings->low, range = (spd_real)(settings->high - settings->low);
  const spd_real below_high = NEXT_AFTER((spd_real)settings->high, low); /* rounding may reach high itself */
  /* a feature is active when its draw is below this */
  const spd_real limit = settings->exactly_active > 0 ? 0 : (spd_real)settings->probability;
  for (int64_t row = 0; row < rows; row++) {
    spd_real *restrict x = j->x + (first + row) * j->features, *restrict a = active + row * stride;
    const spd_real *restrict v = value + row * stride;
    if (settings->group != NULL) synchronize(a, settings->group, j->features);
    if (settings->exactly_active > 0) mark_smallest(a, j->features, settings->exactly_active);
    for (int64_t i = 0; i < j->features; i++) {
      const spd_real y = low + range * v[i];
      x[i] = a[i] < limit ? (range > 0 && y > below_high ? below_high : y) : 0;
    }
  }
}

static bool check(spd_context *context, int64_t features, spd_sparse_features settings) {
  if (settings.exactly_active < 0 || settings.exactly_active > features)
    return spd_fail(context, "sparse features: %d active of %lld", settings.exactly_active, (long long)features);
  if (!(settings.probability >= 0 && settings.probability <= 1))
    return spd_fail(context, "sparse features: probability must be from 0 to 1, found %g", settings.probability);
  if (!isfinite(settings.low) || !isfinite(settings.high))
    return spd_fail(context, "sparse features: values must be finite, found [%g, %g)", settings.low, settings.high);
  if (settings.group == NULL) return true;
  if (settings.exactly_active > 0) return spd_fail(context, "sparse features: groups need a probability");
  for (int64_t i = 0; i < features; i++) {
    const int32_t group = settings.group[i];
    if (group < 0 || group > i || settings.group[group] != group)
      return spd_fail(context, "sparse features: feature %lld is not in a group by its smallest number", (long long)i);
  }
  return true;
}

bool spd_fill_sparse_features(spd_tensor *x, spd_sparse_features settings, spd_draw draw) {
  spd_context *context = x->context;
  const int64_t features = spd_columns_of_shape(x->dimensions, x->shape);
  const int64_t rows = spd_rows_of_shape(x->dimensions, x->shape);
  if (x->dtype != SPD_REAL) return spd_fail(context, "sparse features need a tensor of reals");
  if (rows > UINT32_MAX) return spd_fail(context, "sparse features: more than 2^32 rows");
  if (!check(context, features, settings)) return false;
  if (draw.sample > 0x7fff) return spd_fail(context, "sparse features: sample must be below 32768");
  const int64_t most_rows = rows < ROWS_PER_TASK ? rows : ROWS_PER_TASK;
  const size_t numbers = 2 * ((size_t)(most_rows * padded(features)) + SPD_DRAW_SLACK);
  if (!spd_reserve_scratch(context, numbers * sizeof(spd_real))) return false;
  draw.sample *= 2;
  job j = {.context = context,
           .kernels = spd_context_kernels(context),
           .settings = settings,
           .values = spd_row_draw_of(draw),
           .x = spd_tensor_write_real(x),
           .rows = rows,
           .features = features};
  draw.sample++;
  j.activity = spd_row_draw_of(draw);
  spd_parallel(context, (j.rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, fill_rows, &j);
  return true;
}
