/*
** Named random draws: Philox4x32-10, keyed by seed and purpose, counted by block of four columns, row, matrix and
** sample, and step.
*/
#include "random.h"

#include <math.h>
#include <string.h>

#include "context.h"
#include "kernels/philox.h"
#include "tensor.h"

enum { ROWS_PER_TASK = 128 };

void spd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  uint32_t key0 = key[0], key1 = key[1];
  for (int round = 0; round < PHILOX_ROUNDS; round++) {
    const uint64_t p0 = (uint64_t)PHILOX_MULTIPLIER_0 * c[0], p1 = (uint64_t)PHILOX_MULTIPLIER_1 * c[2];
    c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ key0;
    c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ key1;
    c[1] = (uint32_t)p1;
    c[3] = (uint32_t)p0;
    key0 += PHILOX_WEYL_0;
    key1 += PHILOX_WEYL_1;
  }
  memcpy(out, c, sizeof c);
}

spd_row_draw spd_row_draw_of(spd_draw draw) {
  /* one block of the generator itself mixes seed and purpose into a key */
  const uint32_t counter[4] = {draw.purpose, 0, 0, 0};
  const uint32_t seed[2] = {(uint32_t)draw.seed, (uint32_t)(draw.seed >> 32)};
  uint32_t mixed[4];
  spd_philox(counter, seed, mixed);
  return (spd_row_draw){
      .key = {mixed[0], mixed[1]}, .counter2 = draw.matrix << 16 | (draw.sample & 0xffff), .counter3 = draw.step};
}

typedef struct {
  spd_context *context;
  spd_row_draw draw;
  spd_real *out;
  int64_t rows, columns;
  bool normal;
} fill;

/* Box-Muller: columns 2i and 2i+1 from uniforms 2i and 2i+1. u is in [0, 1), so 1 - u is never 0. */
static void make_normal(spd_real *r, int64_t padded_columns) {
  for (int64_t i = 0; i < padded_columns; i += 2) {
    const double radius = sqrt(-2.0 * log(1.0 - (double)r[i]));
    const double angle = 6.28318530717958647692 * (double)r[i + 1];
    r[i] = (spd_real)(radius * cos(angle));
    r[i + 1] = (spd_real)(radius * sin(angle));
  }
}

static void fill_rows(void *argument, int64_t i, int worker) {
  const fill *job = argument;
  const int64_t padded = (job->columns + 3) / 4 * 4, first = i * ROWS_PER_TASK;
  const int64_t rows = job->rows - first < ROWS_PER_TASK ? job->rows - first : ROWS_PER_TASK;
  spd_real *scratch = spd_scratch(job->context, worker);
  for (int64_t row = first; row < first + rows; row++) {
    spd_context_kernels(job->context)->uniform_rows(scratch, &job->draw, NULL, (uint32_t)row, 1, job->columns);
    if (job->normal) make_normal(scratch, padded);
    memcpy(job->out + row * job->columns, scratch, (size_t)job->columns * sizeof *scratch);
  }
}

static bool fill_tensor(spd_tensor *tensor, spd_draw draw, bool normal) {
  spd_context *context = tensor->context;
  spd_real *out = spd_tensor_write_real(tensor);
  if (out == NULL) return spd_fail(context, "random numbers need a tensor of reals");
  fill job = {.context = context,
              .draw = spd_row_draw_of(draw),
              .out = out,
              .rows = spd_rows_of_shape(tensor->dimensions, tensor->shape),
              .columns = spd_columns_of_shape(tensor->dimensions, tensor->shape),
              .normal = normal};
  if (job.rows > UINT32_MAX) return spd_fail(context, "random numbers: more than 2^32 rows");
  if (!spd_reserve_scratch(context, ((size_t)job.columns + 4 + SPD_DRAW_SLACK) * sizeof(spd_real))) return false;
  spd_parallel(context, (job.rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, fill_rows, &job);
  return true;
}

bool spd_fill_uniform(spd_tensor *tensor, spd_draw draw) { return fill_tensor(tensor, draw, false); }
bool spd_fill_normal(spd_tensor *tensor, spd_draw draw) { return fill_tensor(tensor, draw, true); }
