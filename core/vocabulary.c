/*
** Losses over a vocabulary: cross-entropy, and losses of logits that are a product h W. Such logits are wide, so they are
** never stored whole: a few rows at a time are multiplied, compared, and turned into the gradient of h in one pass. Who reads
** the logits too gets them as usual.
*/
#include <string.h>

#include "blas.h"
#include "tape.h"

enum {
  LEAST_VOCABULARY = 1024,    /* narrower logits are stored */
  MOST_KEPT_LOGITS = 1 << 25, /* numbers; the target's logits are computed once for all losses up to this size */
  ROWS_PER_TASK = 64,
  NUMBERS_PER_PART = 1 << 21 /* logits that are in memory at a time, unless a task's rows are more */
};

/* ---- labels -------------------------------------------------------------------------------------- */

/* The number of rows whose label counts; -1 with a message if a label is outside of the vocabulary. */
static int64_t count_labels(spd_tape *tape, const int32_t *labels, int64_t rows, int64_t columns) {
  int64_t count = 0;
  for (int64_t row = 0; row < rows; row++) {
    if (labels[row] >= columns) {
      spd_fail(spd_tape_context(tape), "cross_entropy: label %d is outside of the vocabulary of %lld", (int)labels[row],
               (long long)columns);
      return -1;
    }
    count += labels[row] >= 0;
  }
  return count;
}

static double scale_of_count(int64_t count) { return count > 0 ? 1 / (double)count : 0; }

/* ---- cross-entropy of logits ----------------------------------------------------------------------- */

typedef struct {
  const spd_kernels *kernels;
  const spd_real *logits;
  const int32_t *labels;
  spd_real *dlogits;
  double *partial;
  int64_t rows, columns;
  double scale;
  bool add;
} label_job;

static int64_t tasks_of(int64_t rows) { return (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void cross_entropy_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const label_job *job = argument;
  const int64_t first = i * ROWS_PER_TASK, end = least(first + ROWS_PER_TASK, job->rows);
  double sum = 0;
  for (int64_t row = first; row < end; row++)
    if (job->labels[row] >= 0)
      sum += job->kernels->cross_entropy(job->logits + row * job->columns, job->labels[row], job->columns);
  job->partial[i] = sum;
}

static void cross_entropy_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const label_job *job = argument;
  const int64_t first = i * ROWS_PER_TASK, end = least(first + ROWS_PER_TASK, job->rows);
  for (int64_t row = first; row < end; row++) {
    spd_real *dx = job->dlogits + row * job->columns;
    if (job->labels[row] >= 0)
      job->kernels->cross_entropy_gradient(dx, job->add, job->logits + row * job->columns, job->labels[row], job->scale,
                                           job->columns);
    else if (!job->add)
      memset(dx, 0, (size_t)job->columns * sizeof *dx);
  }
}

/* Everything but the outputs; false with a message for a wrong label. */
static bool label_job_of(spd_tape *tape, const spd_node *node, label_job *job) {
  const spd_node *logits = spd_input(tape, node, 0);
  *job = (label_job){.kernels = spd_context_kernels(spd_tape_context(tape)),
                     .logits = logits->data,
                     .labels = spd_input(tape, node, 1)->data,
                     .rows = spd_node_rows(logits),
                     .columns = spd_node_columns(logits)};
  const int64_t count = count_labels(tape, job->labels, job->rows, job->columns);
  job->scale = scale_of_count(count);
  return count >= 0;
}

static double sum_of(const double *partial, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += partial[i];
  return sum;
}

static bool cross_entropy_forward(spd_tape *tape, spd_node *node) {
  label_job job;
  size_t capacity;
  if (!label_job_of(tape, node, &job)) return false;
  job.partial = spd_borrow(tape, (size_t)tasks_of(job.rows) * sizeof *job.partial, &capacity);
  if (job.partial == NULL) return false;
  spd_parallel(spd_tape_context(tape), tasks_of(job.rows), cross_entropy_task, &job);
  *(spd_real *)node->data = (spd_real)(job.scale * sum_of(job.partial, tasks_of(job.rows)));
  spd_give_back(tape, job.partial, capacity);
  return true;
}

static bool cross_entropy_backward(spd_tape *tape, spd_node *node) {
  label_job job;
  bool failed;
  if (!label_job_of(tape, node, &job)) return false;
  job.scale *= (double)node->gradient[0];
  job.dlogits = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (job.dlogits != NULL) spd_parallel(spd_tape_context(tape), tasks_of(job.rows), cross_entropy_gradient_task, &job);
  return !failed;
}

static const spd_operator cross_entropy_operator = {.name = "cross_entropy",
                                                    .forward = cross_entropy_forward,
                                                    .backward = cross_entropy_backward,
                                                    .backward_inputs = 3,
                                                    .reduces_rows = true};

/* ---- losses of a product ------------------------------------------------------------------------- */

/* Inputs: h [..., k], W, and what the logits h W are compared with: labels, the target's logits, or the target's own h. */
typedef struct {
  const spd_context *context;
  const spd_kernels *kernels;
  const spd_real *h, *weight, *target;
  const int32_t *labels;
  bool unembeds_target, transposed; /* W is stored [vocabulary, k] */
  int64_t rows, k, vocabulary;
  int64_t first, count;                       /* the rows of this part */
  spd_real *logits, *target_logits, *dh, *dw; /* of this part; gradients of the mean loss, NULL where not needed */
  double *partial, scale;
} unembedding;

static void multiply_rows(const unembedding *job, spd_real *logits, const spd_real *h, int64_t rows) {
  spd_gemm(job->context, false, job->transposed, rows, job->vocabulary, job->k, 1, h, job->k, job->weight,
           job->transposed ? job->k : job->vocabulary, 0, logits, job->vocabulary);
}

/* The loss of a row; its gradient takes the place of the logits where one is needed. */
static double compare_row(const unembedding *job, spd_real *logits, const spd_real *target, int64_t row,
                          spd_real *scratch) {
  const bool gradient = job->dh != NULL || job->dw != NULL;
  const int64_t columns = job->vocabulary;
  if (job->labels == NULL)
    return gradient ? job->kernels->softmax_kl_in_place(logits, target, scratch, job->scale, columns)
                    : job->kernels->softmax_kl(target, logits, columns);
  const int32_t label = job->labels[row];
  const double loss = label >= 0 ? job->kernels->cross_entropy(logits, label, columns) : 0;
  if (gradient && label >= 0) job->kernels->cross_entropy_gradient(logits, false, logits, label, job->scale, columns);
  if (gradient && label < 0) memset(logits, 0, (size_t)columns * sizeof *logits);
  return loss;
}

static void unembed_task(void *argument, int64_t i, int worker) {
  const unembedding *job = argument;
  const int64_t columns = job->vocabulary, at = i * ROWS_PER_TASK, row = job->first + at;
  const int64_t rows = least(ROWS_PER_TASK, job->count - at);
  spd_real *logits = job->logits + at * columns, *scratch = spd_scratch(job->context, worker);
  multiply_rows(job, logits, job->h + row * job->k, rows);
  const spd_real *target = job->target;
  if (job->unembeds_target) {
    multiply_rows(job, job->target_logits + at * columns, job->target + row * job->k, rows);
    target = job->target_logits + at * columns;
  } else if (target != NULL) {
    target += row * columns;
  }
  double sum = 0;
  for (int64_t r = 0; r < rows; r++)
    sum += compare_row(job, logits + r * columns, target == NULL ? NULL : target + r * columns, row + r, scratch);
  job->partial[row / ROWS_PER_TASK] = sum;
  if (job->dh != NULL)
    spd_gemm(job->context, false, !job->transposed, rows, job->k, columns, 1, logits, columns, job->weight,
             job->transposed ? job->k : columns, 0, job->dh + row * job->k, job->k);
}

/* dW += logits^T h of this part, or its transpose as W is stored. */
static bool add_weight_gradient(spd_tape *tape, const unembedding *job) {
  const spd_real *h = job->h + job->first * job->k;
  spd_product p = {.out = job->dw, .k = job->count, .transpose_a = true, .add = job->first > 0};
  if (job->transposed)
    p.a = job->logits, p.lda = p.m = job->vocabulary, p.b = h, p.ldb = p.n = job->k;
  else
    p.a = h, p.lda = p.m = job->k, p.b = job->logits, p.ldb = p.n = job->vocabulary;
  return spd_multiply_matrices(tape, &p);
}

static bool unembed_in_parts(spd_tape *tape, unembedding *job, double *loss) {
  const int64_t fitting = NUMBERS_PER_PART / job->vocabulary / ROWS_PER_TASK * ROWS_PER_TASK;
  const int64_t rows = least(fitting > 0 ? fitting : ROWS_PER_TASK, job->rows);
  const size_t bytes = (size_t)rows * (size_t)job->vocabulary * sizeof(spd_real);
  size_t of_logits, of_target = 0, of_partial;
  job->logits = spd_borrow(tape, bytes, &of_logits);
  job->target_logits = job->unembeds_target ? spd_borrow(tape, bytes, &of_target) : NULL;
  job->partial = spd_borrow(tape, (size_t)tasks_of(job->rows) * sizeof *job->partial, &of_partial);
  bool ok = job->logits != NULL && job->partial != NULL && (!job->unembeds_target || job->target_logits != NULL) &&
            spd_reserve_scratch(spd_tape_context(tape), (size_t)job->vocabulary * sizeof(spd_real));
  for (job->first = 0; ok && job->first < job->rows; job->first += rows) {
    job->count = least(rows, job->rows - job->first);
    spd_parallel(spd_tape_context(tape), tasks_of(job->count), unembed_task, job);
    if (job->dw != NULL) ok = add_weight_gradient(tape, job);
  }
  if (ok) *loss = job->scale * sum_of(job->partial, tasks_of(job->rows));
  spd_give_back(tape, job->logits, of_logits);
  spd_give_back(tape, job->target_logits, of_target);
  spd_give_back(tape, job->partial, of_partial);
  return ok;
}

static bool unembedding_of(spd_tape *tape, const spd_node *node, unembedding *job) {
  const spd_node *h = spd_input(tape, node, 0), *weight = spd_input(tape, node, 1), *other = spd_input(tape, node, 2);
  *job = (unembedding){.context = spd_tape_context(tape),
                       .kernels = spd_context_kernels(spd_tape_context(tape)),
                       .h = h->data,
                       .weight = weight->data,
                       .transposed = node->input[1].transposed,
                       .rows = spd_node_rows(h),
                       .k = spd_node_columns(h)};
  job->vocabulary = spd_node_count(weight) / job->k;
  job->scale = scale_of_count(job->rows);
  if (other->dtype == SPD_REAL) {
    job->target = other->data;
    job->unembeds_target = spd_node_columns(other) != job->vocabulary;
    return true;
  }
  job->labels = other->data;
  const int64_t count = count_labels(tape, job->labels, job->rows, job->vocabulary);
  job->scale = scale_of_count(count);
  return count >= 0;
}

/* The gradients of the mean loss are made with it, since the logits are at hand, and wait for the loss's own gradient. */
static bool unembed_forward(spd_tape *tape, spd_node *node) {
  unembedding job;
  if (!unembedding_of(tape, node, &job)) return false;
  const size_t of_h = (size_t)(job.rows * job.k), of_w = (size_t)(job.vocabulary * job.k);
  if (node->needs_gradient) {
    const bool h = spd_input(tape, node, 0)->needs_gradient, w = spd_input(tape, node, 1)->needs_gradient;
    spd_real *saved = spd_save(tape, node, ((h ? of_h : 0) + (w ? of_w : 0)) * sizeof(spd_real));
    if (saved == NULL) return false;
    if (h) job.dh = saved;
    if (w) job.dw = saved + (h ? of_h : 0);
    if (w) memset(job.dw, 0, of_w * sizeof *job.dw);
  }
  double loss = 0;
  if (!unembed_in_parts(tape, &job, &loss)) return false;
  *(spd_real *)node->data = (spd_real)loss;
  return true;
}

static bool unembed_backward(spd_tape *tape, spd_node *node) {
  if (node->saved == NULL && !unembed_forward(tape, node)) return false;
  const spd_real *saved = node->saved;
  for (int i = 0; i < 2; i++) {
    bool add, failed;
    spd_real *gradient = spd_input_gradient(tape, node, i, &add, &failed);
    if (failed) return false;
    if (gradient == NULL) continue;
    const int64_t count = spd_node_count(spd_input(tape, node, i));
    spd_context_kernels(spd_tape_context(tape))->scale(gradient, saved, (double)node->gradient[0], count, add);
    saved += count;
  }
  return true;
}

static const spd_operator unembed_operator = {.name = "unembed_loss",
                                              .forward = unembed_forward,
                                              .backward = unembed_backward,
                                              .backward_inputs = 7,
                                              .reduces_rows = true};

/* ---- recording ----------------------------------------------------------------------------------- */

/* The product that a value is, if its result is as wide as a vocabulary, and not too wide for BLAS; else NULL. */
static const spd_node *find_unembedding(spd_tape *tape, spd_operand logits) {
  const spd_node *node = spd_node_at(tape, logits.node);
  if (logits.transposed || node->kind != &spd_matmul_operator || node->input[0].transposed) return NULL;
  const int64_t vocabulary = spd_node_columns(node), k = spd_node_columns(spd_input(tape, node, 0));
  return vocabulary >= LEAST_VOCABULARY && vocabulary <= INT32_MAX && vocabulary > k && k > 0 && node->rows == NULL
             ? node
             : NULL;
}

static spd_value record_unembedding(spd_tape *tape, const spd_node *product, spd_value other) {
  return spd_record(tape, &(spd_recording){.kind = &unembed_operator,
                                           .inputs = 3,
                                           .input = {spd_value_of(tape, product->input[0]),
                                                     spd_value_of(tape, product->input[1]), other},
                                           .transposable = 2,
                                           .dimensions = 1,
                                           .shape = {1}});
}

static bool same_operand(spd_operand a, spd_operand b) { return a.node == b.node && a.transposed == b.transposed; }

spd_value spd_softmax_kl(spd_tape *tape, spd_value target, spd_value prediction) {
  const spd_value written =
      spd_record_softmax_kl(tape, target, prediction); /* checks; computed only if it is returned */
  spd_operand t, p;
  if (!spd_ok(written) || !spd_operand_of(tape, "softmax_kl", target, &t) ||
      !spd_operand_of(tape, "softmax_kl", prediction, &p))
    return SPD_INVALID;
  const spd_node *product = find_unembedding(tape, p), *of_target = find_unembedding(tape, t);
  if (product == NULL || t.transposed || spd_node_at(tape, t.node)->needs_gradient) return written;
  if (of_target != NULL && spd_node_count(of_target) > MOST_KEPT_LOGITS &&
      same_operand(of_target->input[1], product->input[1]))
    target = spd_value_of(tape, of_target->input[0]);
  return record_unembedding(tape, product, target);
}

spd_value spd_cross_entropy(spd_tape *tape, spd_value logits, spd_value labels) {
  spd_operand x, y;
  spd_recording recording = {.kind = &cross_entropy_operator, .inputs = 2, .input = {logits, labels}};
  if (!spd_operand_of(tape, "cross_entropy", logits, &x) || !spd_operand_of(tape, "cross_entropy", labels, &y))
    return SPD_INVALID;
  int dimensions, label_dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS], label_shape[SPD_MAX_DIMENSIONS];
  spd_seen_shape(tape, x, &dimensions, shape);
  spd_seen_shape(tape, y, &label_dimensions, label_shape);
  if (spd_node_at(tape, x.node)->dtype != SPD_REAL || spd_node_at(tape, y.node)->dtype != SPD_INT32 || dimensions < 1 ||
      label_dimensions != dimensions - 1 || memcmp(shape, label_shape, (size_t)label_dimensions * sizeof *shape) != 0) {
    char left[128], right[128];
    spd_fail(spd_tape_context(tape), "cross_entropy: expected real [..., n] and int32 [...], found %s and %s",
             spd_format_shape(left, sizeof left, dimensions, shape),
             spd_format_shape(right, sizeof right, label_dimensions, label_shape));
    return SPD_INVALID;
  }
  recording.dimensions = 1;
  recording.shape[0] = 1;
  const spd_node *product = find_unembedding(tape, x);
  return product != NULL ? record_unembedding(tape, product, labels) : spd_record(tape, &recording);
}
