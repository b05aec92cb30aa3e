/*
** Causal importances and masks: the gate MLP, the linear gate, and masked inner activations.
*/
#include <string.h>

#include "random.h"
#include "tape.h"

static int64_t at_most(int64_t most, int64_t left) { return left < most ? left : most; }
static int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

/* Record inputs h [..., C] (the first `rows` of them) and parameters [C] or [C, n] as given in `columns`:
** 0 for [C], 1 for [C, n] with one n. The result has the shape of h. */
static bool take_gate_shapes(spd_tape *tape, spd_recording *recording, int rows, const int *columns) {
  const char *name = recording->kind->name;
  int64_t neurons = -1;
  for (int i = 0; i < recording->inputs; i++) {
    spd_operand operand;
    if (!spd_operand_of(tape, name, recording->input[i], &operand)) return false;
    int dimensions;
    int64_t shape[SPD_MAX_DIMENSIONS] = {0};
    spd_seen_shape(tape, operand, &dimensions, shape);
    const int64_t components = recording->dimensions > 0 ? recording->shape[recording->dimensions - 1] : 0;
    bool good = spd_node_at(tape, operand.node)->dtype == SPD_REAL && dimensions > 0;
    if (i == 0) {
      recording->dimensions = dimensions;
      memcpy(recording->shape, shape, sizeof shape);
    } else if (i < rows) {
      good = good && dimensions == recording->dimensions &&
             memcmp(shape, recording->shape, (size_t)dimensions * sizeof *shape) == 0;
    } else {
      good = good && dimensions == 1 + columns[i] && shape[0] == components;
      if (good && columns[i] == 1) {
        good = neurons < 0 || neurons == shape[1];
        neurons = shape[1];
      }
    }
    if (!good) {
      char found[128];
      return spd_fail(spd_tape_context(tape), "%s: input %d does not fit C = %lld: found shape %s", name, i + 1,
                      (long long)components, spd_format_shape(found, sizeof found, dimensions, shape));
    }
  }
  return true;
}

/* ---- gate MLP ------------------------------------------------------------------------------ */

enum { COMPONENTS_PER_TASK = 16 };

/* A task is a block of rows times a block of components. Row blocks go fastest, so that threads which run side by side
** write to different rows: neighbouring component blocks share cache lines. */
typedef struct {
  const spd_kernels *kernels;
  const spd_real *h, *w1, *b1, *w2, *b2, *dy;
  spd_real *y, *dh;
  spd_gate_neuron_gradient *neurons; /* [row blocks, C, n] */
  spd_real *biases;                  /* [row blocks, C] */
  int64_t rows, components, n, row_blocks;
  bool add;
} gate;

typedef struct {
  int64_t row_block, row, rows, first, end;
} gate_part;

static gate gate_of(spd_tape *tape, const spd_node *node) {
  const spd_node *h = spd_input(tape, node, 0), *w1 = spd_input(tape, node, 1);
  gate job = {.kernels = spd_context_kernels(spd_tape_context(tape)),
              .h = h->data,
              .w1 = w1->data,
              .b1 = spd_input(tape, node, 2)->data,
              .w2 = spd_input(tape, node, 3)->data,
              .b2 = spd_input(tape, node, 4)->data,
              .rows = spd_node_rows(h),
              .components = spd_node_columns(h),
              .n = w1->shape[1]};
  job.row_blocks = parts(job.rows, SPD_GATE_ROWS);
  return job;
}

static int64_t gate_tasks(const gate *job) { return job->row_blocks * parts(job->components, COMPONENTS_PER_TASK); }

static gate_part part_of(const gate *job, int64_t i) {
  gate_part part = {.row_block = i % job->row_blocks, .first = i / job->row_blocks * COMPONENTS_PER_TASK};
  part.row = part.row_block * SPD_GATE_ROWS;
  part.rows = at_most(SPD_GATE_ROWS, job->rows - part.row);
  part.end = at_most(job->components, part.first + COMPONENTS_PER_TASK);
  return part;
}

static void gate_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const gate *job = argument;
  const gate_part part = part_of(job, i);
  for (int64_t c = part.first; c < part.end; c++) {
    const int64_t at = part.row * job->components + c;
    job->kernels->gate_mlp(job->y + at, job->h + at, job->components, part.rows, job->w1 + c * job->n,
                           job->b1 + c * job->n, job->w2 + c * job->n, job->b2[c], job->n);
  }
}

static void gate_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const gate *job = argument;
  const gate_part part = part_of(job, i);
  for (int64_t c = part.first; c < part.end; c++) {
    const int64_t at = part.row * job->components + c, sums = part.row_block * job->components + c;
    job->kernels->gate_mlp_gradient(job->dh == NULL ? NULL : job->dh + at, job->add, job->neurons + sums * job->n,
                                    job->biases + sums, job->dy + at, job->h + at, job->components, part.rows,
                                    job->w1 + c * job->n, job->b1 + c * job->n, job->w2 + c * job->n, job->n);
  }
}

static bool gate_mlp_forward(spd_tape *tape, spd_node *node) {
  gate job = gate_of(tape, node);
  job.y = node->data;
  spd_parallel(spd_tape_context(tape), gate_tasks(&job), gate_task, &job);
  return true;
}

/* What one block of rows adds to the gradient of entry i of an input: w1, b1, w2 or b2. */
static spd_real block_gradient(const gate *job, int input, int64_t block, int64_t i) {
  if (input == 4) return job->biases[block * job->components + i];
  const spd_gate_neuron_gradient *g = &job->neurons[block * job->components * job->n + i];
  return input == 1 ? g->w1 : input == 2 ? g->b1 : g->w2;
}

/* Add the sums of all row blocks, in order, to the gradients of w1, b1, w2 and b2. */
static bool add_gate_gradients(spd_tape *tape, spd_node *node, const gate *job) {
  for (int input = 1; input <= 4; input++) {
    bool add, failed;
    spd_real *out = spd_input_gradient(tape, node, input, &add, &failed);
    if (failed) return false;
    if (out == NULL) continue;
    const int64_t count = input == 4 ? job->components : job->components * job->n;
    for (int64_t i = 0; i < count; i++) {
      spd_real sum = 0;
      for (int64_t block = 0; block < job->row_blocks; block++) sum += block_gradient(job, input, block, i);
      out[i] = (add ? out[i] : 0) + sum;
    }
  }
  return true;
}

static bool gate_mlp_backward(spd_tape *tape, spd_node *node) {
  gate job = gate_of(tape, node);
  const size_t blocks = (size_t)job.row_blocks, components = (size_t)job.components;
  size_t neurons_capacity, biases_capacity;
  bool failed, ok = false;
  job.dy = node->gradient;
  job.dh = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (failed) return false;
  job.neurons = spd_borrow(tape, blocks * components * (size_t)job.n * sizeof *job.neurons, &neurons_capacity);
  job.biases = spd_borrow(tape, blocks * components * sizeof *job.biases, &biases_capacity);
  if (job.neurons != NULL && job.biases != NULL) {
    spd_parallel(spd_tape_context(tape), gate_tasks(&job), gate_gradient_task, &job);
    ok = add_gate_gradients(tape, node, &job);
  }
  spd_give_back(tape, job.neurons, neurons_capacity);
  spd_give_back(tape, job.biases, biases_capacity);
  return ok;
}

static const spd_operator gate_mlp_operator = {.name = "gate_mlp",
                                               .forward = gate_mlp_forward,
                                               .backward = gate_mlp_backward,
                                               .row_inputs = 1,
                                               .backward_inputs = 0x1f};

spd_value spd_gate_mlp(spd_tape *tape, spd_value h, spd_value w1, spd_value b1, spd_value w2, spd_value b2) {
  spd_recording recording = {.kind = &gate_mlp_operator, .inputs = 5, .input = {h, w1, b1, w2, b2}};
  static const int columns[] = {0, 1, 1, 1, 0};
  return take_gate_shapes(tape, &recording, 1, columns) ? spd_record(tape, &recording) : SPD_INVALID;
}

/* ---- linear gate --------------------------------------------------------------------------- */

typedef struct {
  const spd_real *h, *w, *b, *dy;
  spd_real *y, *dh, *dw, *db; /* dw, db: [row parts, C] */
  int64_t rows, components;
  bool add;
} linear_gate;

static linear_gate linear_gate_of(spd_tape *tape, const spd_node *node) {
  const spd_node *h = spd_input(tape, node, 0);
  return (linear_gate){.h = h->data,
                       .w = spd_input(tape, node, 1)->data,
                       .b = spd_input(tape, node, 2)->data,
                       .rows = spd_node_rows(h),
                       .components = spd_node_columns(h)};
}

static void linear_gate_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const linear_gate *job = argument;
  const int64_t first = i * SPD_ROWS_PER_TASK, end = at_most(job->rows, first + SPD_ROWS_PER_TASK);
  for (int64_t row = first; row < end; row++) {
    const spd_real *h = job->h + row * job->components;
    spd_real *y = job->y + row * job->components;
    for (int64_t c = 0; c < job->components; c++) y[c] = job->w[c] * h[c] + job->b[c];
  }
}

static void linear_gate_gradient_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const linear_gate *job = argument;
  const int64_t first = i * SPD_ROWS_PER_TASK, end = at_most(job->rows, first + SPD_ROWS_PER_TASK);
  spd_real *restrict dw = job->dw + i * job->components, *restrict db = job->db + i * job->components;
  memset(dw, 0, (size_t)job->components * sizeof *dw);
  memset(db, 0, (size_t)job->components * sizeof *db);
  for (int64_t row = first; row < end; row++) {
    const spd_real *h = job->h + row * job->components, *dy = job->dy + row * job->components;
    spd_real *dh = job->dh == NULL ? NULL : job->dh + row * job->components;
    for (int64_t c = 0; c < job->components; c++) dw[c] += dy[c] * h[c];
    for (int64_t c = 0; c < job->components; c++) db[c] += dy[c];
    for (int64_t c = 0; dh != NULL && c < job->components; c++) dh[c] = (job->add ? dh[c] : 0) + dy[c] * job->w[c];
  }
}

static bool gate_linear_forward(spd_tape *tape, spd_node *node) {
  linear_gate job = linear_gate_of(tape, node);
  job.y = node->data;
  spd_parallel(spd_tape_context(tape), parts(job.rows, SPD_ROWS_PER_TASK), linear_gate_task, &job);
  return true;
}

/* Add the parts of a sum over rows to the gradient of an input. */
static bool add_parts(spd_tape *tape, spd_node *node, int input, const spd_real *part, int64_t count, int64_t columns) {
  bool add, failed;
  spd_real *out = spd_input_gradient(tape, node, input, &add, &failed);
  if (out == NULL) return !failed;
  if (!add) memset(out, 0, (size_t)columns * sizeof *out);
  for (int64_t i = 0; i < count; i++)
    spd_context_kernels(spd_tape_context(tape))->scale(out, part + i * columns, 1, columns, true);
  return true;
}

static bool gate_linear_backward(spd_tape *tape, spd_node *node) {
  linear_gate job = linear_gate_of(tape, node);
  const int64_t tasks = parts(job.rows, SPD_ROWS_PER_TASK);
  const size_t bytes = (size_t)(tasks * job.components) * sizeof(spd_real);
  size_t capacity;
  bool failed;
  job.dy = node->gradient;
  job.dh = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (failed) return false;
  job.dw = spd_borrow(tape, 2 * bytes, &capacity);
  if (job.dw == NULL) return false;
  job.db = job.dw + tasks * job.components;
  spd_parallel(spd_tape_context(tape), tasks, linear_gate_gradient_task, &job);
  const bool ok = add_parts(tape, node, 1, job.dw, tasks, job.components) &&
                  add_parts(tape, node, 2, job.db, tasks, job.components);
  spd_give_back(tape, job.dw, capacity);
  return ok;
}

static const spd_operator gate_linear_operator = {.name = "gate_linear",
                                                  .forward = gate_linear_forward,
                                                  .backward = gate_linear_backward,
                                                  .row_inputs = 1,
                                                  .backward_inputs = 3};

spd_value spd_gate_linear(spd_tape *tape, spd_value h, spd_value w, spd_value b) {
  spd_recording recording = {.kind = &gate_linear_operator, .inputs = 3, .input = {h, w, b}};
  static const int columns[] = {0, 0, 0};
  return take_gate_shapes(tape, &recording, 1, columns) ? spd_record(tape, &recording) : SPD_INVALID;
}

/* ---- masks --------------------------------------------------------------------------------- */

typedef struct {
  spd_context *context;
  const spd_real *h, *g, *given, *dy;
  const uint32_t *names;
  spd_real *y, *dh, *dg;
  spd_row_draw draw;
  int64_t rows, columns;
  bool add_h, add_g;
} mask;

static mask mask_of(spd_tape *tape, const spd_node *node) {
  const spd_node *h = spd_input(tape, node, 0);
  return (mask){.context = spd_tape_context(tape),
                .h = h->data,
                .g = spd_input(tape, node, 1)->data,
                .given = node->inputs > 2 ? spd_input(tape, node, 2)->data : NULL,
                .names = node->rows != NULL ? node->rows->name : NULL,
                .draw = spd_row_draw_of(node->attributes.draw),
                .rows = spd_node_rows(node),
                .columns = spd_node_columns(node)};
}

static int64_t padded(int64_t columns) { return (columns + 3) / 4 * 4; }

/* The draws of a part's rows, either given or made in the worker's scratch; *stride is set. */
static const spd_real *draws_of(const mask *job, int64_t first, int64_t rows, int worker, int64_t *stride) {
  if (job->given != NULL) {
    *stride = job->columns;
    return job->given + first * job->columns;
  }
  spd_real *scratch = spd_scratch(job->context, worker);
  *stride = padded(job->columns);
  spd_context_kernels(job->context)
      ->uniform_rows(scratch, &job->draw, job->names == NULL ? NULL : job->names + first, (uint32_t)first, rows,
                     job->columns);
  return scratch;
}

static void mask_task(void *argument, int64_t i, int worker) {
  const mask *job = argument;
  const int64_t first = i * SPD_ROWS_PER_TASK, rows = at_most(SPD_ROWS_PER_TASK, job->rows - first);
  int64_t stride;
  const spd_real *r = draws_of(job, first, rows, worker, &stride);
  for (int64_t row = 0; row < rows; row++) {
    const int64_t at = (first + row) * job->columns;
    spd_context_kernels(job->context)->mask(job->y + at, job->h + at, job->g + at, r + row * stride, job->columns);
  }
}

static void mask_gradient_task(void *argument, int64_t i, int worker) {
  const mask *job = argument;
  const int64_t first = i * SPD_ROWS_PER_TASK, rows = at_most(SPD_ROWS_PER_TASK, job->rows - first);
  int64_t stride;
  const spd_real *r = draws_of(job, first, rows, worker, &stride);
  for (int64_t row = 0; row < rows; row++) {
    const int64_t at = (first + row) * job->columns;
    spd_context_kernels(job->context)
        ->mask_gradient(job->dh == NULL ? NULL : job->dh + at, job->add_h, job->dg == NULL ? NULL : job->dg + at,
                        job->add_g, job->dy + at, job->h + at, job->g + at, r + row * stride, job->columns);
  }
}

static bool run_mask(mask *job, spd_task *task) {
  const int64_t rows = at_most(SPD_ROWS_PER_TASK, job->rows);
  const size_t numbers = (size_t)(rows * padded(job->columns)) + SPD_DRAW_SLACK;
  if (job->given == NULL && !spd_reserve_scratch(job->context, numbers * sizeof(spd_real))) return false;
  spd_parallel(job->context, parts(job->rows, SPD_ROWS_PER_TASK), task, job);
  return true;
}

static bool mask_forward(spd_tape *tape, spd_node *node) {
  mask job = mask_of(tape, node);
  job.y = node->data;
  return run_mask(&job, mask_task);
}

static bool mask_backward(spd_tape *tape, spd_node *node) {
  mask job = mask_of(tape, node);
  bool failed;
  job.dy = node->gradient;
  job.dh = spd_input_gradient(tape, node, 0, &job.add_h, &failed);
  if (failed) return false;
  job.dg = spd_input_gradient(tape, node, 1, &job.add_g, &failed);
  return !failed && run_mask(&job, mask_gradient_task);
}

/* A product in h: where h is zero the result is, whatever the draw. */
static const spd_operator stochastic_mask_operator = {.name = "stochastic_mask",
                                                      .forward = mask_forward,
                                                      .backward = mask_backward,
                                                      .row_inputs = 3,
                                                      .backward_inputs = 3,
                                                      .zero_inputs = 1};
static const spd_operator given_mask_operator = {.name = "given_mask",
                                                 .forward = mask_forward,
                                                 .backward = mask_backward,
                                                 .row_inputs = 7,
                                                 .backward_inputs = 7,
                                                 .zero_inputs = 1};

spd_value spd_stochastic_mask(spd_tape *tape, spd_value h, spd_value g, spd_draw draw) {
  spd_recording recording = {.kind = &stochastic_mask_operator,
                             .inputs = 2,
                             .input = {h, g},
                             .attributes = {.draw = draw},
                             .draws_rows = true};
  return take_gate_shapes(tape, &recording, 2, NULL) ? spd_record(tape, &recording) : SPD_INVALID;
}

spd_value spd_given_mask(spd_tape *tape, spd_value h, spd_value g, spd_value r) {
  spd_recording recording = {.kind = &given_mask_operator, .inputs = 3, .input = {h, g, r}};
  return take_gate_shapes(tape, &recording, 3, NULL) ? spd_record(tape, &recording) : SPD_INVALID;
}
