/*
** RMSNorm and LayerNorm. The row that stands for all zero rows is a row like any other, and its gradient the sum of theirs.
*/
#include <math.h>
#include <string.h>

#include "tape.h"

typedef struct {
  const spd_kernels *kernels;
  const spd_real *x, *weight, *bias, *dy;
  spd_real *out;     /* y, or dx, which may be NULL */
  spd_real *dweight; /* [tasks, n]: a sum for each block of rows; NULL if none is needed */
  int64_t rows, columns;
  double epsilon;
  bool centred, add;
} normalization;

static const spd_operator layer_norm_operator;

static normalization normalization_of(spd_tape *tape, const spd_node *node) {
  const bool centred = node->kind == &layer_norm_operator;
  return (normalization){.kernels = spd_context_kernels(spd_tape_context(tape)),
                         .x = spd_input(tape, node, 0)->data,
                         .weight = spd_input(tape, node, 1)->data,
                         .bias = centred ? spd_input(tape, node, 2)->data : NULL,
                         .rows = spd_node_rows(node),
                         .columns = spd_node_columns(node),
                         .epsilon = node->attributes.a,
                         .centred = centred};
}

static int64_t tasks_of(const normalization *job) { return (job->rows + SPD_ROWS_PER_TASK - 1) / SPD_ROWS_PER_TASK; }

static int64_t rows_of_task(const normalization *job, int64_t i, int64_t *end) {
  const int64_t first = i * SPD_ROWS_PER_TASK;
  *end = job->rows - first < SPD_ROWS_PER_TASK ? job->rows : first + SPD_ROWS_PER_TASK;
  return first;
}

static void normalize_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const normalization *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  for (; row < end; row++)
    job->kernels->normalize(job->out + row * job->columns, job->x + row * job->columns, job->weight, job->bias,
                            job->columns, job->centred, job->epsilon);
}

static void normalize_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const normalization *job = argument;
  int64_t end, row = rows_of_task(job, i, &end);
  spd_real *dweight = job->dweight == NULL ? NULL : job->dweight + i * job->columns;
  if (dweight != NULL) memset(dweight, 0, (size_t)job->columns * sizeof *dweight);
  for (; row < end; row++) {
    const int64_t at = row * job->columns;
    job->kernels->normalize_gradient(job->out == NULL ? NULL : job->out + at, job->add, dweight, job->dy + at,
                                     job->x + at, job->weight, job->columns, job->centred, job->epsilon);
  }
}

static bool normalize_forward(spd_tape *tape, spd_node *node) {
  normalization job = normalization_of(tape, node);
  job.out = node->data;
  spd_parallel(spd_tape_context(tape), tasks_of(&job), normalize_task, &job);
  return true;
}

/* Add the sum of rows to the gradient of an input. */
static bool add_to_gradient(spd_tape *tape, spd_node *node, int input, const spd_real *x, int64_t rows) {
  bool failed;
  spd_row_sum sum = {.x = x, .rows = rows, .columns = spd_node_columns(node)};
  sum.out = spd_input_gradient(tape, node, input, &sum.add, &failed);
  return sum.out == NULL ? !failed : spd_add_up_rows(tape, &sum);
}

static bool normalize_backward(spd_tape *tape, spd_node *node) {
  normalization job = normalization_of(tape, node);
  bool failed;
  job.dy = node->gradient;
  job.out = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (failed) return false;
  const int64_t tasks = tasks_of(&job);
  size_t capacity = 0;
  if (spd_input(tape, node, 1)->needs_gradient) {
    job.dweight = spd_borrow(tape, (size_t)(tasks * job.columns) * sizeof(spd_real), &capacity);
    if (job.dweight == NULL) return false;
  }
  if (job.out != NULL || job.dweight != NULL)
    spd_parallel(spd_tape_context(tape), tasks, normalize_gradient_task, &job);
  const bool ok = job.dweight == NULL || add_to_gradient(tape, node, 1, job.dweight, tasks);
  spd_give_back(tape, job.dweight, capacity);
  return ok && (!job.centred || add_to_gradient(tape, node, 2, job.dy, job.rows));
}

static const spd_operator rms_norm_operator = {.name = "rms_norm",
                                               .forward = normalize_forward,
                                               .backward = normalize_backward,
                                               .row_inputs = 1,
                                               .backward_inputs = 3,
                                               .keeps_zero_rows = true};
static const spd_operator layer_norm_operator = {.name = "layer_norm",
                                                 .forward = normalize_forward,
                                                 .backward = normalize_backward,
                                                 .row_inputs = 1,
                                                 .backward_inputs = 3};

/* Take the shape of x; false with a message unless the other inputs are as long as its rows. */
static bool take_shapes(spd_tape *tape, spd_recording *recording) {
  const char *name = recording->kind->name;
  spd_context *context = spd_tape_context(tape);
  for (int i = 0; i < recording->inputs; i++) {
    spd_operand operand;
    if (!spd_operand_of(tape, name, recording->input[i], &operand)) return false;
    int dimensions;
    int64_t shape[SPD_MAX_DIMENSIONS];
    spd_seen_shape(tape, operand, &dimensions, shape);
    if (i == 0) {
      recording->dimensions = dimensions;
      memcpy(recording->shape, shape, sizeof shape);
    }
    const bool real = spd_node_at(tape, operand.node)->dtype == SPD_REAL;
    const bool fits = i == 0 || (dimensions == 1 && shape[0] == recording->shape[recording->dimensions - 1]);
    if (!real || !fits || recording->dimensions < 1) {
      char x[128], found[128];
      return spd_fail(context, "%s: expected real [..., n] and %s [n], found %s and %s", name,
                      i < 2 ? "weight" : "bias", spd_format_shape(x, sizeof x, recording->dimensions, recording->shape),
                      spd_format_shape(found, sizeof found, dimensions, shape));
    }
  }
  const double epsilon = recording->attributes.a;
  if ((spd_real)epsilon > 0 && isfinite(epsilon)) return true; /* a zero row is divided by its root */
  return spd_fail(context, "%s: expected an epsilon above 0, found %g", name, epsilon);
}

spd_value spd_rms_norm(spd_tape *tape, spd_value x, spd_value weight, double epsilon) {
  spd_recording recording = {
      .kind = &rms_norm_operator, .inputs = 2, .input = {x, weight}, .attributes = {.a = epsilon}};
  return take_shapes(tape, &recording) ? spd_record(tape, &recording) : SPD_INVALID;
}

spd_value spd_layer_norm(spd_tape *tape, spd_value x, spd_value weight, spd_value bias, double epsilon) {
  spd_recording recording = {
      .kind = &layer_norm_operator, .inputs = 3, .input = {x, weight, bias}, .attributes = {.a = epsilon}};
  return take_shapes(tape, &recording) ? spd_record(tape, &recording) : SPD_INVALID;
}
