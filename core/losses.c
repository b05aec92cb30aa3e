/*
** Reductions to a scalar or to a number per row: sums, squared error, KL of softmaxes. Rows that are kept once
** count with their weight. Sums over rows are made in parts of fixed size that are added in order, in double.
*/
#include <string.h>

#include "tape.h"

typedef struct {
  const spd_kernels *kernels;
  const spd_real *a, *b, *weight;
  spd_real *da, *db;
  double *partial;
  int64_t rows, columns;
  double scale;
  bool add_a, add_b;
} reduction;

static double weight_of(const reduction *job, int64_t row) {
  return job->weight != NULL ? (double)job->weight[row] : 1;
}

static int64_t rows_of_task(const reduction *job, int64_t i, int64_t *end) {
  const int64_t first = i * SPD_ROWS_PER_TASK;
  *end = first + SPD_ROWS_PER_TASK < job->rows ? first + SPD_ROWS_PER_TASK : job->rows;
  return first;
}

static int64_t tasks_of(const reduction *job) { return (job->rows + SPD_ROWS_PER_TASK - 1) / SPD_ROWS_PER_TASK; }

static reduction reduction_of(spd_tape *tape, const spd_node *node) {
  const spd_node *a = spd_input(tape, node, 0);
  return (reduction){.kernels = spd_context_kernels(spd_tape_context(tape)),
                     .a = a->data,
                     .b = node->inputs > 1 ? spd_input(tape, node, 1)->data : NULL,
                     .weight = a->rows != NULL ? a->rows->weight : NULL,
                     .rows = spd_node_rows(a),
                     .columns = spd_node_columns(a)};
}

/* The sum of job->partial over all tasks, as the value of a node. */
static bool reduce(spd_tape *tape, spd_node *node, reduction *job, spd_task *task) {
  const int64_t tasks = tasks_of(job);
  size_t capacity;
  job->partial = spd_borrow(tape, (size_t)tasks * sizeof *job->partial, &capacity);
  if (job->partial == NULL) return false;
  spd_parallel(spd_tape_context(tape), tasks, task, job);
  double sum = 0;
  for (int64_t i = 0; i < tasks; i++) sum += job->partial[i];
  *(spd_real *)node->data = (spd_real)(sum * job->scale);
  spd_give_back(tape, job->partial, capacity);
  return true;
}

/* Find the gradients of a loss's inputs; false on error. */
static bool take_gradients(spd_tape *tape, spd_node *node, reduction *job) {
  bool failed;
  job->da = spd_input_gradient(tape, node, 0, &job->add_a, &failed);
  if (failed) return false;
  if (node->inputs > 1) job->db = spd_input_gradient(tape, node, 1, &job->add_b, &failed);
  return !failed;
}

/* ---- sum ----------------------------------------------------------------------------------- */

static void sum_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const reduction *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  double sum = 0;
  if (job->weight == NULL)
    sum = job->kernels->sum(job->a + row * job->columns, (end - row) * job->columns);
  else
    for (; row < end; row++) sum += weight_of(job, row) * job->kernels->sum(job->a + row * job->columns, job->columns);
  job->partial[i] = sum;
}

static void sum_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const reduction *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  for (; row < end; row++) {
    const spd_real d = (spd_real)(job->scale * weight_of(job, row));
    spd_real *da = job->da + row * job->columns;
    for (int64_t c = 0; c < job->columns; c++) da[c] = (job->add_a ? da[c] : 0) + d;
  }
}

static bool sum_forward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  job.scale = 1;
  return reduce(tape, node, &job, sum_task);
}

static bool sum_backward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  job.scale = (double)node->gradient[0];
  if (!take_gradients(tape, node, &job)) return false;
  if (job.da != NULL) spd_parallel(spd_tape_context(tape), tasks_of(&job), sum_gradient_task, &job);
  return true;
}

static const spd_operator sum_operator = {
    .name = "sum", .forward = sum_forward, .backward = sum_backward, .row_inputs = 1, .reduces_rows = true};

/* ---- sum over columns ---------------------------------------------------------------------- */

static bool sum_columns_forward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  spd_real *out = node->data;
  for (int64_t row = 0; row < job.rows; row++)
    out[row] = (spd_real)job.kernels->sum(job.a + row * job.columns, job.columns);
  return true;
}

static bool sum_columns_backward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  if (!take_gradients(tape, node, &job)) return false;
  for (int64_t row = 0; row < job.rows && job.da != NULL; row++)
    for (int64_t c = 0; c < job.columns; c++) {
      spd_real *da = &job.da[row * job.columns + c];
      *da = (job.add_a ? *da : 0) + node->gradient[row];
    }
  return true;
}

static const spd_operator sum_columns_operator = {
    .name = "sum_columns", .forward = sum_columns_forward, .backward = sum_columns_backward};

/* ---- squared error ------------------------------------------------------------------------- */

static void squared_error_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const reduction *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  double sum = 0;
  if (job->weight == NULL)
    sum = job->kernels->squared_distance(job->a + row * job->columns, job->b + row * job->columns,
                                         (end - row) * job->columns);
  else
    for (; row < end; row++)
      sum += weight_of(job, row) *
             job->kernels->squared_distance(job->a + row * job->columns, job->b + row * job->columns, job->columns);
  job->partial[i] = sum;
}

static void difference(spd_real *out, bool add, const spd_real *a, const spd_real *b, spd_real scale, int64_t n) {
  if (add)
    for (int64_t i = 0; i < n; i++) out[i] += scale * (a[i] - b[i]);
  else
    for (int64_t i = 0; i < n; i++) out[i] = scale * (a[i] - b[i]);
}

static void squared_error_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const reduction *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  for (; row < end; row++) {
    const spd_real scale = (spd_real)(2 * job->scale * weight_of(job, row));
    const int64_t at = row * job->columns;
    if (job->da != NULL) difference(job->da + at, job->add_a, job->a + at, job->b + at, scale, job->columns);
    if (job->db != NULL) difference(job->db + at, job->add_b, job->b + at, job->a + at, scale, job->columns);
  }
}

static bool squared_error_forward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  job.scale = 1;
  return reduce(tape, node, &job, squared_error_task);
}

static bool squared_error_backward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  job.scale = (double)node->gradient[0];
  if (!take_gradients(tape, node, &job)) return false;
  spd_parallel(spd_tape_context(tape), tasks_of(&job), squared_error_gradient_task, &job);
  return true;
}

static const spd_operator squared_error_operator = {.name = "squared_error",
                                                    .forward = squared_error_forward,
                                                    .backward = squared_error_backward,
                                                    .row_inputs = 3,
                                                    .backward_inputs = 3,
                                                    .reduces_rows = true};

/* ---- KL of softmaxes ----------------------------------------------------------------------- */

static void softmax_kl_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const reduction *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  double sum = 0;
  for (; row < end; row++)
    sum += weight_of(job, row) *
           job->kernels->softmax_kl(job->a + row * job->columns, job->b + row * job->columns, job->columns);
  job->partial[i] = sum;
}

static void softmax_kl_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const reduction *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  for (; row < end; row++) {
    const int64_t at = row * job->columns;
    job->kernels->softmax_kl_gradient(job->da == NULL ? NULL : job->da + at, job->add_a,
                                      job->db == NULL ? NULL : job->db + at, job->add_b, job->a + at, job->b + at,
                                      job->scale * weight_of(job, row), job->columns);
  }
}

static int64_t logical_rows(spd_tape *tape, const spd_node *node) {
  const spd_node *a = spd_input(tape, node, 0);
  return spd_rows_of_shape(a->dimensions, a->shape);
}

static bool softmax_kl_forward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  const int64_t rows = logical_rows(tape, node);
  job.scale = rows > 0 ? 1 / (double)rows : 0;
  return reduce(tape, node, &job, softmax_kl_task);
}

static bool softmax_kl_backward(spd_tape *tape, spd_node *node) {
  reduction job = reduction_of(tape, node);
  job.scale = (double)node->gradient[0] / (double)logical_rows(tape, node);
  if (!take_gradients(tape, node, &job)) return false;
  spd_parallel(spd_tape_context(tape), tasks_of(&job), softmax_kl_gradient_task, &job);
  return true;
}

static const spd_operator softmax_kl_operator = {.name = "softmax_kl",
                                                 .forward = softmax_kl_forward,
                                                 .backward = softmax_kl_backward,
                                                 .row_inputs = 3,
                                                 .backward_inputs = 3,
                                                 .reduces_rows = true};

/* ---- recording ----------------------------------------------------------------------------- */

/* Check that all inputs are real and of one shape, which becomes the recording's. */
static bool take_shapes(spd_tape *tape, spd_recording *recording) {
  const char *name = recording->kind->name;
  spd_context *context = spd_tape_context(tape);
  for (int i = 0; i < recording->inputs; i++) {
    spd_operand operand;
    if (!spd_operand_of(tape, name, recording->input[i], &operand)) return false;
    if (spd_node_at(tape, operand.node)->dtype != SPD_REAL) return spd_fail(context, "%s: expected real numbers", name);
    int dimensions;
    int64_t shape[SPD_MAX_DIMENSIONS] = {0};
    spd_seen_shape(tape, operand, &dimensions, shape);
    if (i > 0 && (dimensions != recording->dimensions ||
                  memcmp(shape, recording->shape, (size_t)dimensions * sizeof *shape) != 0)) {
      char x[128], y[128];
      return spd_fail(context, "%s: shapes differ: %s and %s", name,
                      spd_format_shape(x, sizeof x, recording->dimensions, recording->shape),
                      spd_format_shape(y, sizeof y, dimensions, shape));
    }
    recording->dimensions = dimensions;
    memcpy(recording->shape, shape, sizeof shape);
  }
  return true;
}

static spd_value record_scalar(spd_tape *tape, spd_recording *recording) {
  if (!take_shapes(tape, recording)) return SPD_INVALID;
  recording->dimensions = 1;
  recording->shape[0] = 1;
  return spd_record(tape, recording);
}

spd_value spd_sum(spd_tape *tape, spd_value x) {
  return record_scalar(tape, &(spd_recording){.kind = &sum_operator, .inputs = 1, .input = {x}});
}

spd_value spd_squared_error(spd_tape *tape, spd_value a, spd_value b) {
  return record_scalar(tape, &(spd_recording){.kind = &squared_error_operator, .inputs = 2, .input = {a, b}});
}

spd_value spd_record_softmax_kl(spd_tape *tape, spd_value target, spd_value prediction) {
  return record_scalar(tape,
                       &(spd_recording){.kind = &softmax_kl_operator, .inputs = 2, .input = {target, prediction}});
}

spd_value spd_sum_columns(spd_tape *tape, spd_value x) {
  spd_recording recording = {.kind = &sum_columns_operator, .inputs = 1, .input = {x}};
  if (!take_shapes(tape, &recording)) return SPD_INVALID;
  if (recording.dimensions < 1) {
    spd_fail(spd_tape_context(tape), "sum_columns: expected at least one dimension");
    return SPD_INVALID;
  }
  recording.dimensions--;
  if (recording.dimensions == 0) recording.shape[recording.dimensions++] = 1;
  return spd_record(tape, &recording);
}
