/*
** Causal attention. A task is one row of the batch and one head of k and v, with all heads of q that it serves: so every
** number of the output and of the gradients belongs to one task. A task goes through the rows of q in blocks, each
** against the keys that it sees, and keeps the scores of one block only; the backward pass makes them again.
*/
#include <limits.h>
#include <string.h>

#include "blas.h"
#include "tape.h"

enum { ROWS_PER_BLOCK = 64 };

typedef struct {
  spd_context *context;
  const spd_real *q, *k, *v, *dout;
  spd_real *out, *dq, *dk, *dv; /* gradients: NULL where none is needed */
  bool add_q, add_k, add_v;
  int64_t batch, length, heads, kv_heads, d, window;
  double scale;
} attention;

/* Rows of q in one head, and the keys that any of them sees. */
typedef struct {
  int64_t row, rows, key, keys;
  int64_t stride;         /* of scores */
  int64_t q_at, q_stride; /* where they begin in q, out, and the gradients of these */
  int64_t k_at, k_stride; /* in k, v, and their gradients */
} block;

static int64_t at_most(int64_t most, int64_t left) { return left < most ? left : most; }

/* The first key that a row of q sees. */
static int64_t first_key(const attention *job, int64_t row) {
  return job->window > 0 && row >= job->window ? row - job->window + 1 : 0;
}

static int64_t round_up(int64_t count) { return (count + SPD_ROW_MULTIPLE - 1) / SPD_ROW_MULTIPLE * SPD_ROW_MULTIPLE; }

static block block_of(const attention *job, int64_t batch, int64_t head, int64_t row) {
  const int64_t kv_head = head / (job->heads / job->kv_heads);
  block b = {.row = row,
             .rows = at_most(ROWS_PER_BLOCK, job->length - row),
             .key = first_key(job, row),
             .q_stride = job->heads * job->d,
             .k_stride = job->kv_heads * job->d};
  b.keys = row + b.rows - b.key;
  b.stride = round_up(b.keys);
  b.q_at = (batch * job->length + row) * b.q_stride + head * job->d;
  b.k_at = (batch * job->length + b.key) * b.k_stride + kv_head * job->d;
  return b;
}

/* Numbers of the scores of the largest block. */
static size_t block_size(const attention *job) {
  const int64_t keys = job->window > 0 ? at_most(job->length, job->window + ROWS_PER_BLOCK - 1) : job->length;
  return (size_t)(at_most(ROWS_PER_BLOCK, job->length) * round_up(keys));
}

typedef struct {
  const spd_real *at;
  int64_t stride;
  bool transposed;
} factor;

/* out [m, n] (+)= scale a b, where a is [m, k] as it is seen. */
static void multiply(const attention *job, spd_real *out, int64_t stride, bool add, double scale, factor a, factor b,
                     int64_t m, int64_t n, int64_t k) {
  spd_gemm(job->context, a.transposed, b.transposed, m, n, k, (spd_real)scale, a.at, a.stride, b.at, b.stride,
           add ? 1 : 0, out, stride);
}

static void make_scores(const attention *job, const block *b, spd_real *scores) {
  multiply(job, scores, b->stride, false, job->scale, (factor){job->q + b->q_at, b->q_stride, false},
           (factor){job->k + b->k_at, b->k_stride, true}, b->rows, b->keys, job->d);
}

/* Scores become probabilities and, unless dscores is NULL, gradients of probabilities those of scores. */
static void make_probabilities(const attention *job, const block *b, spd_real *scores, spd_real *dscores) {
  const spd_kernels *kernels = spd_context_kernels(job->context);
  for (int64_t i = 0; i < b->rows; i++) {
    const int64_t first = first_key(job, b->row + i) - b->key, end = b->row + i + 1 - b->key, at = i * b->stride;
    if (dscores == NULL)
      kernels->softmax(scores + at, first, end, b->stride);
    else
      kernels->softmax_gradient(scores + at, dscores + at, first, end, b->stride);
  }
}

static void forward_block(const attention *job, const block *b, spd_real *scores) {
  make_scores(job, b, scores);
  make_probabilities(job, b, scores, NULL);
  multiply(job, job->out + b->q_at, b->q_stride, false, 1, (factor){scores, b->stride, false},
           (factor){job->v + b->k_at, b->k_stride, false}, b->rows, job->d, b->keys);
}

static void backward_block(const attention *job, const block *b, spd_real *scores, spd_real *dscores) {
  const bool through_scores = job->dq != NULL || job->dk != NULL;
  const factor q = {job->q + b->q_at, b->q_stride, false}, k = {job->k + b->k_at, b->k_stride, false};
  const factor v = {job->v + b->k_at, b->k_stride, true}, dout = {job->dout + b->q_at, b->q_stride, false};
  const factor transposed = {scores, b->stride, true};
  const factor ds = {dscores, b->stride, false}, ds_transposed = {dscores, b->stride, true};
  make_scores(job, b, scores);
  if (through_scores) multiply(job, dscores, b->stride, false, 1, dout, v, b->rows, b->keys, job->d);
  make_probabilities(job, b, scores, through_scores ? dscores : NULL);
  if (job->dv != NULL)
    multiply(job, job->dv + b->k_at, b->k_stride, true, 1, transposed, dout, b->keys, job->d, b->rows);
  if (job->dq != NULL) multiply(job, job->dq + b->q_at, b->q_stride, true, job->scale, ds, k, b->rows, job->d, b->keys);
  if (job->dk != NULL)
    multiply(job, job->dk + b->k_at, b->k_stride, true, job->scale, ds_transposed, q, b->keys, job->d, b->rows);
}

static void forward_task(void *argument, int64_t i, int worker) {
  const attention *job = argument;
  const int64_t batch = i / job->kv_heads, served = job->heads / job->kv_heads, head = i % job->kv_heads * served;
  for (int64_t row = 0; row < job->length; row += ROWS_PER_BLOCK)
    for (int64_t h = head; h < head + served; h++) {
      const block b = block_of(job, batch, h, row);
      forward_block(job, &b, spd_scratch(job->context, worker));
    }
}

/* Zero the columns [first, first + count) of one row of the batch in a gradient that has no contribution yet. */
static void clear(const attention *job, spd_real *gradient, bool add, int64_t batch, int64_t stride, int64_t first,
                  int64_t count) {
  if (gradient == NULL || add) return;
  for (int64_t row = batch * job->length; row < (batch + 1) * job->length; row++)
    memset(gradient + row * stride + first, 0, (size_t)count * sizeof *gradient);
}

/* All is cleared before anything is added, since q, k and v may be the same value. */
static void backward_task(void *argument, int64_t i, int worker) {
  const attention *job = argument;
  const int64_t batch = i / job->kv_heads, kv_head = i % job->kv_heads, served = job->heads / job->kv_heads;
  const int64_t q_stride = job->heads * job->d, k_stride = job->kv_heads * job->d;
  clear(job, job->dq, job->add_q, batch, q_stride, kv_head * served * job->d, served * job->d);
  clear(job, job->dk, job->add_k, batch, k_stride, kv_head * job->d, job->d);
  clear(job, job->dv, job->add_v, batch, k_stride, kv_head * job->d, job->d);
  spd_real *scores = spd_scratch(job->context, worker);
  for (int64_t row = 0; row < job->length; row += ROWS_PER_BLOCK)
    for (int64_t h = kv_head * served; h < (kv_head + 1) * served; h++) {
      const block b = block_of(job, batch, h, row);
      backward_block(job, &b, scores, scores + block_size(job));
    }
}

static attention attention_of(spd_tape *tape, const spd_node *node) {
  const spd_node *k = spd_input(tape, node, 1);
  const int64_t heads = (int64_t)node->attributes.a, d = node->shape[2] / heads;
  return (attention){.context = spd_tape_context(tape),
                     .q = spd_real_data(spd_input(tape, node, 0)),
                     .k = spd_real_data(k),
                     .v = spd_real_data(spd_input(tape, node, 2)),
                     .batch = node->shape[0],
                     .length = node->shape[1],
                     .heads = heads,
                     .kv_heads = k->shape[2] / d,
                     .d = d,
                     .scale = node->attributes.b,
                     .window = (int64_t)node->attributes.c};
}

static bool run(attention *job, int blocks, spd_task *task) {
  if (job->batch == 0 || job->length == 0) return true;
  if (!spd_reserve_scratch(job->context, (size_t)blocks * block_size(job) * sizeof(spd_real))) return false;
  spd_parallel(job->context, job->batch * job->kv_heads, task, job);
  return true;
}

static bool attention_forward(spd_tape *tape, spd_node *node) {
  attention job = attention_of(tape, node);
  job.out = node->data;
  return run(&job, 1, forward_task);
}

static bool attention_backward(spd_tape *tape, spd_node *node) {
  attention job = attention_of(tape, node);
  bool failed;
  job.dout = node->gradient;
  job.dq = spd_input_gradient(tape, node, 0, &job.add_q, &failed);
  if (!failed) job.dk = spd_input_gradient(tape, node, 1, &job.add_k, &failed);
  if (!failed) job.dv = spd_input_gradient(tape, node, 2, &job.add_v, &failed);
  return !failed && run(&job, 2, backward_task);
}

static const spd_operator attention_operator = {
    .name = "attention", .forward = attention_forward, .backward = attention_backward, .backward_inputs = 7};

/* ---- recording ----------------------------------------------------------------------------- */

/* A handle as a real [B, T, n]. */
static bool take_shape(spd_tape *tape, spd_value value, int64_t *shape) {
  spd_operand operand;
  int dimensions;
  if (!spd_operand_of(tape, "attention", value, &operand)) return false;
  spd_seen_shape(tape, operand, &dimensions, shape);
  if (dimensions == 3 && spd_node_at(tape, operand.node)->dtype == SPD_REAL) return true;
  char found[128];
  return spd_fail(spd_tape_context(tape), "attention: expected real [B, T, columns], found shape %s",
                  spd_format_shape(found, sizeof found, dimensions, shape));
}

static bool check_shapes(spd_context *context, const int64_t *q, const int64_t *k, const int64_t *v, int64_t heads) {
  char x[128], y[128];
  if (memcmp(k, v, 3 * sizeof *k) != 0)
    return spd_fail(context, "attention: shapes of k and v differ: %s and %s", spd_format_shape(x, sizeof x, 3, k),
                    spd_format_shape(y, sizeof y, 3, v));
  if (q[0] != k[0] || q[1] != k[1])
    return spd_fail(context, "attention: q and k differ in batch or length: %s and %s",
                    spd_format_shape(x, sizeof x, 3, q), spd_format_shape(y, sizeof y, 3, k));
  if (heads < 1 || q[2] < heads || q[2] % heads != 0)
    return spd_fail(context, "attention: %lld heads do not divide q %s", (long long)heads,
                    spd_format_shape(x, sizeof x, 3, q));
  const int64_t d = q[2] / heads;
  if (k[2] < d || k[2] % d != 0 || heads % (k[2] / d) != 0)
    return spd_fail(context, "attention: k %s does not have a divisor of %lld heads, of %lld columns each",
                    spd_format_shape(x, sizeof x, 3, k), (long long)heads, (long long)d);
  if (q[1] > INT_MAX - SPD_ROW_MULTIPLE || q[2] > INT_MAX)
    return spd_fail(context, "attention: q %s: too large", spd_format_shape(x, sizeof x, 3, q));
  return true;
}

spd_value spd_attention(spd_tape *tape, spd_value q, spd_value k, spd_value v, int64_t heads, double scale,
                        int64_t window) {
  spd_recording recording = {
      .kind = &attention_operator, .inputs = 3, .input = {q, k, v}, .dimensions = 3, .attributes = {.b = scale}};
  int64_t shape_of_k[SPD_MAX_DIMENSIONS], shape_of_v[SPD_MAX_DIMENSIONS];
  spd_context *context = spd_tape_context(tape);
  if (!take_shape(tape, q, recording.shape) || !take_shape(tape, k, shape_of_k) || !take_shape(tape, v, shape_of_v) ||
      !check_shapes(context, recording.shape, shape_of_k, shape_of_v, heads))
    return SPD_INVALID;
  if (window < 0) {
    spd_fail(context, "attention: expected a window of 0 or more, found %lld", (long long)window);
    return SPD_INVALID;
  }
  recording.attributes.a = (double)heads;
  recording.attributes.c = window < recording.shape[1] ? (double)window : 0; /* no row sees more than all */
  return spd_record(tape, &recording);
}
