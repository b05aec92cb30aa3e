/*
** Elementwise operators, and those that only move numbers: map, add, subtract, multiply, reshape, columns.
*/
#include <string.h>

#include "tape.h"

/* ---- loops over numbers -------------------------------------------------------------------- */

typedef struct {
  const spd_kernels *kernels;
  spd_real *out;
  const spd_real *a, *b;
  int64_t count;
  const spd_attributes *attributes;
  double scale;
  bool add;
} numbers;

static void each_part(spd_tape *tape, numbers *job, spd_task *task) {
  job->kernels = spd_context_kernels(spd_tape_context(tape));
  spd_parallel(spd_tape_context(tape), (job->count + SPD_NUMBERS_PER_TASK - 1) / SPD_NUMBERS_PER_TASK, task, job);
}

static int64_t part(const numbers *job, int64_t i, int64_t *count) {
  const int64_t first = i * SPD_NUMBERS_PER_TASK;
  *count = job->count - first < SPD_NUMBERS_PER_TASK ? job->count - first : SPD_NUMBERS_PER_TASK;
  return first;
}

/* ---- y = f(x) ------------------------------------------------------------------------------ */

static void map_part(void *argument, int64_t i, int worker) {
  (void)worker;
  const numbers *job = argument;
  int64_t count, at = part(job, i, &count);
  const spd_attributes *f = job->attributes;
  job->kernels->map(job->out + at, job->a + at, count, f->map, f->a, f->b);
}

static void map_gradient_part(void *argument, int64_t i, int worker) {
  (void)worker;
  const numbers *job = argument;
  int64_t count, at = part(job, i, &count);
  const spd_attributes *f = job->attributes;
  job->kernels->map_gradient(job->out + at, job->a + at, job->b + at, count, f->map, f->a, f->b, job->add);
}

static bool map_forward(spd_tape *tape, spd_node *node) {
  numbers job = {.out = node->data,
                 .a = spd_real_data(spd_input(tape, node, 0)),
                 .count = spd_node_count(node),
                 .attributes = &node->attributes};
  each_part(tape, &job, map_part);
  return true;
}

static bool map_backward(spd_tape *tape, spd_node *node) {
  bool failed;
  numbers job = {.a = node->gradient,
                 .b = spd_real_data(spd_input(tape, node, 0)),
                 .count = spd_node_count(node),
                 .attributes = &node->attributes};
  job.out = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (job.out != NULL) each_part(tape, &job, map_gradient_part);
  return !failed;
}

#define MAP_OPERATOR(text, zero)                                                                           \
  {                                                                                                        \
    .name = text, .forward = map_forward, .backward = map_backward, .row_inputs = 1, .backward_inputs = 1, \
    .keeps_zero_rows = zero                                                                                \
  }
static const spd_operator map_operators[SPD_MAP_COUNT] = {
    [SPD_MAP_RELU] = MAP_OPERATOR("relu", true),
    [SPD_MAP_GELU] = MAP_OPERATOR("gelu", true),
    [SPD_MAP_GELU_TANH] = MAP_OPERATOR("gelu_tanh", true),
    [SPD_MAP_SILU] = MAP_OPERATOR("silu", true),
    [SPD_MAP_ABSOLUTE] = MAP_OPERATOR("absolute", true),
    [SPD_MAP_LOWER_LEAKY] = MAP_OPERATOR("lower_leaky", true),
    [SPD_MAP_UPPER_LEAKY] = MAP_OPERATOR("upper_leaky", true),
    [SPD_MAP_POWER] = MAP_OPERATOR("power", true),
    [SPD_MAP_AFFINE] = MAP_OPERATOR("affine", true),
    [SPD_MAP_GREATER] = MAP_OPERATOR("greater", false),
};
static const spd_operator shift_operator = MAP_OPERATOR("affine", false);

/* A handle as an operand of reals with its shape in the recording; false with a message. */
static bool take_shape(spd_tape *tape, spd_recording *recording, int i) {
  spd_operand operand;
  const char *name = recording->kind->name;
  if (!spd_operand_of(tape, name, recording->input[i], &operand)) return false;
  if (spd_node_at(tape, operand.node)->dtype != SPD_REAL)
    return spd_fail(spd_tape_context(tape), "%s: expected real numbers, found int32", name);
  spd_seen_shape(tape, operand, &recording->dimensions, recording->shape);
  return true;
}

static spd_value record_map(spd_tape *tape, spd_value x, spd_map f, double a, double b) {
  spd_recording recording = {.kind = f == SPD_MAP_AFFINE && b != 0 ? &shift_operator : &map_operators[f],
                             .inputs = 1,
                             .input = {x},
                             .attributes = {.map = f, .a = a, .b = b}};
  return take_shape(tape, &recording, 0) ? spd_record(tape, &recording) : SPD_INVALID;
}

spd_value spd_relu(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_RELU, 0, 0); }
spd_value spd_gelu(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_GELU, 0, 0); }
spd_value spd_gelu_tanh(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_GELU_TANH, 0, 0); }
spd_value spd_silu(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_SILU, 0, 0); }
spd_value spd_absolute(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_ABSOLUTE, 0, 0); }
spd_value spd_lower_leaky(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_LOWER_LEAKY, 0, 0); }
spd_value spd_upper_leaky(spd_tape *tape, spd_value x) { return record_map(tape, x, SPD_MAP_UPPER_LEAKY, 0, 0); }
spd_value spd_affine(spd_tape *tape, spd_value x, double scale, double shift) {
  return record_map(tape, x, SPD_MAP_AFFINE, scale, shift);
}
spd_value spd_greater(spd_tape *tape, spd_value x, double threshold) {
  return record_map(tape, x, SPD_MAP_GREATER, threshold, 0);
}
spd_value spd_power(spd_tape *tape, spd_value x, double exponent) {
  if (!(exponent > 0)) {
    spd_fail(spd_tape_context(tape), "power: expected an exponent above 0, found %g", exponent);
    return SPD_INVALID;
  }
  return record_map(tape, x, SPD_MAP_POWER, exponent, 0);
}

/* ---- y = a + s b, y = a b ------------------------------------------------------------------ */

static void combine_part(void *argument, int64_t i, int worker) {
  (void)worker;
  const numbers *job = argument;
  int64_t count, at = part(job, i, &count);
  job->kernels->combine(job->out + at, job->a + at, job->b + at, job->scale, count);
}

static void scale_part(void *argument, int64_t i, int worker) {
  (void)worker;
  const numbers *job = argument;
  int64_t count, at = part(job, i, &count);
  job->kernels->scale(job->out + at, job->a + at, job->scale, count, job->add);
}

static void multiply_add_part(void *argument, int64_t i, int worker) {
  (void)worker;
  const numbers *job = argument;
  int64_t count, at = part(job, i, &count);
  job->kernels->multiply_add(job->out + at, job->a + at, job->b + at, count, job->add);
}

static bool combine_forward(spd_tape *tape, spd_node *node) {
  numbers job = {.out = node->data,
                 .a = spd_real_data(spd_input(tape, node, 0)),
                 .b = spd_real_data(spd_input(tape, node, 1)),
                 .count = spd_node_count(node),
                 .scale = node->attributes.a};
  each_part(tape, &job, combine_part);
  return true;
}

static bool combine_backward(spd_tape *tape, spd_node *node) {
  for (int i = 0; i < 2; i++) {
    bool failed;
    numbers job = {.a = node->gradient, .count = spd_node_count(node), .scale = i == 0 ? 1 : node->attributes.a};
    job.out = spd_input_gradient(tape, node, i, &job.add, &failed);
    if (failed) return false;
    if (job.out != NULL) each_part(tape, &job, scale_part);
  }
  return true;
}

static bool multiply_forward(spd_tape *tape, spd_node *node) {
  numbers job = {.out = node->data,
                 .a = spd_real_data(spd_input(tape, node, 0)),
                 .b = spd_real_data(spd_input(tape, node, 1)),
                 .count = spd_node_count(node)};
  each_part(tape, &job, multiply_add_part);
  return true;
}

static bool multiply_backward(spd_tape *tape, spd_node *node) {
  for (int i = 0; i < 2; i++) {
    bool failed;
    numbers job = {
        .a = node->gradient, .b = spd_real_data(spd_input(tape, node, 1 - i)), .count = spd_node_count(node)};
    job.out = spd_input_gradient(tape, node, i, &job.add, &failed);
    if (failed) return false;
    if (job.out != NULL) each_part(tape, &job, multiply_add_part);
  }
  return true;
}

const spd_operator spd_add_operator = {
    .name = "add", .forward = combine_forward, .backward = combine_backward, .row_inputs = 3, .keeps_zero_rows = true};
static const spd_operator subtract_operator = {.name = "subtract",
                                               .forward = combine_forward,
                                               .backward = combine_backward,
                                               .row_inputs = 3,
                                               .keeps_zero_rows = true};
static const spd_operator multiply_operator = {.name = "multiply",
                                               .forward = multiply_forward,
                                               .backward = multiply_backward,
                                               .row_inputs = 3,
                                               .backward_inputs = 3,
                                               .zero_inputs = 3};

static spd_value record_pair(spd_tape *tape, const spd_operator *kind, spd_value a, spd_value b, double scale) {
  spd_recording first = {.kind = kind, .inputs = 2, .input = {a, b}, .attributes = {.a = scale}};
  spd_recording second = first;
  if (!take_shape(tape, &first, 0) || !take_shape(tape, &second, 1)) return SPD_INVALID;
  if (first.dimensions != second.dimensions ||
      memcmp(first.shape, second.shape, (size_t)first.dimensions * sizeof *first.shape) != 0) {
    char x[128], y[128];
    spd_fail(spd_tape_context(tape), "%s: shapes differ: %s and %s", kind->name,
             spd_format_shape(x, sizeof x, first.dimensions, first.shape),
             spd_format_shape(y, sizeof y, second.dimensions, second.shape));
    return SPD_INVALID;
  }
  return spd_record(tape, &first);
}

spd_value spd_add(spd_tape *tape, spd_value a, spd_value b) { return record_pair(tape, &spd_add_operator, a, b, 1); }
spd_value spd_subtract(spd_tape *tape, spd_value a, spd_value b) {
  return record_pair(tape, &subtract_operator, a, b, -1);
}
spd_value spd_multiply(spd_tape *tape, spd_value a, spd_value b) {
  return record_pair(tape, &multiply_operator, a, b, 0);
}

/* ---- reshape ------------------------------------------------------------------------------- */

static bool reshape_forward(spd_tape *tape, spd_node *node) {
  memcpy(node->data, spd_input(tape, node, 0)->data, (size_t)spd_node_count(node) * sizeof(spd_real));
  return true;
}

static bool reshape_backward(spd_tape *tape, spd_node *node) {
  bool failed;
  numbers job = {.a = node->gradient, .count = spd_node_count(node), .scale = 1};
  job.out = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (job.out != NULL) each_part(tape, &job, scale_part);
  return !failed;
}

static const spd_operator reshape_operator = {
    .name = "reshape", .forward = reshape_forward, .backward = reshape_backward};

spd_value spd_reshape(spd_tape *tape, spd_value x, int dimensions, const int64_t *shape) {
  spd_context *context = spd_tape_context(tape);
  spd_recording recording = {.kind = &reshape_operator, .inputs = 1, .input = {x}};
  int64_t before, after;
  if (!take_shape(tape, &recording, 0) || !spd_count_elements(context, dimensions, shape, &after) ||
      !spd_count_elements(context, recording.dimensions, recording.shape, &before))
    return SPD_INVALID;
  if (before != after) {
    char from[128], to[128];
    spd_fail(context, "reshape: %s does not fit into %s",
             spd_format_shape(from, sizeof from, recording.dimensions, recording.shape),
             spd_format_shape(to, sizeof to, dimensions, shape));
    return SPD_INVALID;
  }
  recording.dimensions = dimensions;
  memcpy(recording.shape, shape, (size_t)dimensions * sizeof *shape);
  return spd_record(tape, &recording);
}

/* ---- columns ------------------------------------------------------------------------------- */

typedef struct {
  const spd_kernels *kernels;
  const spd_real *from;
  spd_real *to;
  int64_t rows, all, first, count; /* columns: of x, and which of them */
  bool add;
} column_job;

static column_job columns_of(spd_tape *tape, const spd_node *node) {
  return (column_job){.kernels = spd_context_kernels(spd_tape_context(tape)),
                      .rows = spd_node_rows(node),
                      .all = spd_node_columns(spd_input(tape, node, 0)),
                      .first = (int64_t)node->attributes.a,
                      .count = spd_node_columns(node)};
}

static void each_row_block(spd_tape *tape, column_job *job, spd_task *task) {
  spd_parallel(spd_tape_context(tape), (job->rows + SPD_ROWS_PER_TASK - 1) / SPD_ROWS_PER_TASK, task, job);
}

static int64_t row_block(const column_job *job, int64_t i, int64_t *end) {
  const int64_t first = i * SPD_ROWS_PER_TASK;
  *end = job->rows - first < SPD_ROWS_PER_TASK ? job->rows : first + SPD_ROWS_PER_TASK;
  return first;
}

static void columns_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const column_job *job = argument;
  int64_t end, row = row_block(job, i, &end);
  for (; row < end; row++)
    memcpy(job->to + row * job->count, job->from + row * job->all + job->first, (size_t)job->count * sizeof(spd_real));
}

static void columns_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const column_job *job = argument;
  int64_t end, row = row_block(job, i, &end);
  for (; row < end; row++) {
    spd_real *to = job->to + row * job->all;
    if (!job->add) memset(to, 0, (size_t)job->all * sizeof *to);
    job->kernels->scale(to + job->first, job->from + row * job->count, 1, job->count, true);
  }
}

static bool columns_forward(spd_tape *tape, spd_node *node) {
  column_job job = columns_of(tape, node);
  job.from = spd_real_data(spd_input(tape, node, 0));
  job.to = node->data;
  each_row_block(tape, &job, columns_task);
  return true;
}

static bool columns_backward(spd_tape *tape, spd_node *node) {
  bool failed;
  column_job job = columns_of(tape, node);
  job.from = node->gradient;
  job.to = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (job.to != NULL) each_row_block(tape, &job, columns_gradient_task);
  return !failed;
}

static const spd_operator columns_operator = {.name = "columns",
                                              .forward = columns_forward,
                                              .backward = columns_backward,
                                              .row_inputs = 1,
                                              .keeps_zero_rows = true};

spd_value spd_columns(spd_tape *tape, spd_value x, int64_t first, int64_t count) {
  spd_recording recording = {.kind = &columns_operator, .inputs = 1, .input = {x}, .attributes = {.a = (double)first}};
  if (!take_shape(tape, &recording, 0)) return SPD_INVALID;
  const int64_t all = recording.dimensions > 0 ? recording.shape[recording.dimensions - 1] : 0;
  if (recording.dimensions < 1 || first < 0 || count < 0 || first > all || count > all - first) {
    char found[128];
    spd_fail(spd_tape_context(tape), "columns: %lld from column %lld are not all in %s", (long long)count,
             (long long)first, spd_format_shape(found, sizeof found, recording.dimensions, recording.shape));
    return SPD_INVALID;
  }
  recording.shape[recording.dimensions - 1] = count;
  return spd_record(tape, &recording);
}
