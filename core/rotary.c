/*
** Rotary position embedding (Su et al. 2021), with the halves of a head as its pairs. A row's position is its place among
** the others of its sequence, so rows are taken in full.
*/
#include <string.h>

#include "tape.h"

typedef struct {
  const spd_kernels *kernels;
  const spd_real *x, *cosine, *sine;
  spd_real *out;
  int64_t rows, positions, columns, half;
  bool back, add;
} rotation;

static rotation rotation_of(spd_tape *tape, const spd_node *node) {
  const spd_node *cosine = spd_input(tape, node, 1);
  return (rotation){.kernels = spd_context_kernels(spd_tape_context(tape)),
                    .cosine = cosine->data,
                    .sine = spd_input(tape, node, 2)->data,
                    .rows = spd_node_rows(node),
                    .positions = node->shape[node->dimensions - 2],
                    .columns = spd_node_columns(node),
                    .half = spd_node_columns(cosine)};
}

static void rotate_task(void *argument, int64_t i, int worker) {
  (void)worker;
  const rotation *job = argument;
  const int64_t first = i * SPD_ROWS_PER_TASK, left = job->rows - first;
  const int64_t end = left < SPD_ROWS_PER_TASK ? job->rows : first + SPD_ROWS_PER_TASK;
  for (int64_t row = first; row < end; row++) {
    const int64_t position = row % job->positions;
    job->kernels->rotate(job->out + row * job->columns, job->x + row * job->columns, job->cosine + position * job->half,
                         job->sine + position * job->half, job->columns / (2 * job->half), job->half, job->back,
                         job->add);
  }
}

static void rotate(spd_tape *tape, rotation *job) {
  spd_parallel(spd_tape_context(tape), (job->rows + SPD_ROWS_PER_TASK - 1) / SPD_ROWS_PER_TASK, rotate_task, job);
}

static bool rotary_forward(spd_tape *tape, spd_node *node) {
  rotation job = rotation_of(tape, node);
  job.x = spd_input(tape, node, 0)->data;
  job.out = node->data;
  rotate(tape, &job);
  return true;
}

/* A rotation's transpose turns back. */
static bool rotary_backward(spd_tape *tape, spd_node *node) {
  bool failed;
  rotation job = rotation_of(tape, node);
  job.x = node->gradient;
  job.out = spd_input_gradient(tape, node, 0, &job.add, &failed);
  job.back = true;
  if (job.out != NULL) rotate(tape, &job);
  return !failed;
}

static const spd_operator rotary_operator = {
    .name = "rotary", .forward = rotary_forward, .backward = rotary_backward, .backward_inputs = 6};

/* What stands in the way of x [..., T, heads d] and tables [P, d/2]; NULL if nothing does. */
static const char *misfit(int dimensions, const int64_t *x, const int64_t *table) {
  if (dimensions < 2) return "x has no dimension of positions";
  if (table[1] < 1 || x[dimensions - 1] % 2 != 0 || x[dimensions - 1] / 2 % table[1] != 0)
    return "columns are not whole heads";
  return table[0] < x[dimensions - 2] ? "more positions than the tables have" : NULL;
}

spd_value spd_rotary(spd_tape *tape, spd_value x, spd_value cosine, spd_value sine) {
  spd_context *context = spd_tape_context(tape);
  spd_recording recording = {.kind = &rotary_operator, .inputs = 3, .input = {x, cosine, sine}};
  int dimensions[3];
  int64_t shape[3][SPD_MAX_DIMENSIONS];
  for (int i = 0; i < 3; i++) {
    spd_operand operand;
    if (!spd_operand_of(tape, "rotary", recording.input[i], &operand)) return SPD_INVALID;
    spd_seen_shape(tape, operand, &dimensions[i], shape[i]);
    if (spd_node_at(tape, operand.node)->dtype != SPD_REAL || (i > 0 && dimensions[i] != 2) ||
        (i == 2 && memcmp(shape[1], shape[2], 2 * sizeof **shape) != 0)) {
      spd_fail(context, "rotary: expected real x [..., T, heads d], cosine [P, d/2] and sine [P, d/2]");
      return SPD_INVALID;
    }
  }
  const char *problem = misfit(dimensions[0], shape[0], shape[1]);
  if (problem != NULL) {
    char found[128], tables[128];
    spd_fail(context, "rotary: %s: x %s, tables %s", problem,
             spd_format_shape(found, sizeof found, dimensions[0], shape[0]),
             spd_format_shape(tables, sizeof tables, dimensions[1], shape[1]));
    return SPD_INVALID;
  }
  recording.dimensions = dimensions[0];
  memcpy(recording.shape, shape[0], sizeof shape[0]);
  return spd_record(tape, &recording);
}
