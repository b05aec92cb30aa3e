/*
** Matrix operators: products by BLAS, biases, table look-up.
*/
#include <string.h>

#include "blas.h"
#include "tape.h"

/* ---- products ------------------------------------------------------------------------------ */

enum {
  REDUCTION_PER_TASK = 512, /* of k, when the result is small and k is long */
  SMALL_RESULT = 32768
};

typedef struct {
  const spd_context *context;
  spd_product p;
  int64_t part;      /* rows of the result, or length of the reduction, of a task */
  spd_real *partial; /* one result per task, when the reduction is cut */
  bool cut_columns;
} product_job;

static void multiply_part(const product_job *job, spd_real *out, int64_t row, int64_t rows, int64_t column,
                          int64_t columns, int64_t from, int64_t length, bool add) {
  const spd_product *p = &job->p;
  const spd_real *a = p->a + (p->transpose_a ? from * p->lda + row : row * p->lda + from);
  const spd_real *b = p->b + (p->transpose_b ? column * p->ldb + from : from * p->ldb + column);
  spd_gemm(job->context, p->transpose_a, p->transpose_b, rows, columns, length, 1, a, p->lda, b, p->ldb, add ? 1 : 0,
           out, p->n);
}

static int64_t at_most(int64_t most, int64_t left) { return left < most ? left : most; }

static void product_rows(void *argument, int64_t i, int worker) {
  (void)worker;
  const product_job *job = argument;
  const spd_product *p = &job->p;
  const int64_t row = i * job->part;
  multiply_part(job, p->out + row * p->n, row, at_most(job->part, p->m - row), 0, p->n, 0, p->k, p->add);
}

static void product_columns(void *argument, int64_t i, int worker) {
  (void)worker;
  const product_job *job = argument;
  const spd_product *p = &job->p;
  const int64_t column = i * job->part;
  multiply_part(job, p->out + column, 0, p->m, column, at_most(job->part, p->n - column), 0, p->k, p->add);
}

static void product_reduction(void *argument, int64_t i, int worker) {
  (void)worker;
  const product_job *job = argument;
  const spd_product *p = &job->p;
  const int64_t from = i * job->part;
  multiply_part(job, job->partial + i * p->m * p->n, 0, p->m, 0, p->n, from, at_most(job->part, p->k - from), false);
}

static bool reduce_in_parts(spd_tape *tape, product_job *job) {
  const spd_product *p = &job->p;
  const int64_t tasks = (p->k + job->part - 1) / job->part, count = p->m * p->n;
  size_t capacity;
  job->partial = spd_borrow(tape, (size_t)(tasks * count) * sizeof(spd_real), &capacity);
  if (job->partial == NULL) return false;
  spd_context *context = spd_tape_context(tape);
  spd_parallel(context, tasks, product_reduction, job);
  for (int64_t i = 0; i < tasks; i++)
    spd_context_kernels(context)->scale(p->out, job->partial + i * count, 1, count, p->add || i > 0);
  spd_give_back(tape, job->partial, capacity);
  return true;
}

bool spd_multiply_matrices(spd_tape *tape, const spd_product *product) {
  const spd_product *p = product;
  spd_context *context = spd_tape_context(tape);
  if (p->m > INT32_MAX || p->n > INT32_MAX || p->k > INT32_MAX) return spd_fail(context, "matmul: more than 2^31 rows");
  if (p->m == 0 || p->n == 0) return true;
  if (p->k == 0) {
    if (!p->add) memset(p->out, 0, (size_t)(p->m * p->n) * sizeof *p->out);
    return true;
  }
  product_job job = {.context = context, .p = *p};
  if (p->k > REDUCTION_PER_TASK && p->m * p->n <= SMALL_RESULT) {
    job.part = REDUCTION_PER_TASK;
    return reduce_in_parts(tape, &job);
  }
  job.cut_columns = p->n > p->m;
  const int64_t length = job.cut_columns ? p->n : p->m;
  job.part = SPD_ROWS_PER_TASK;
  spd_parallel(context, (length + job.part - 1) / job.part, job.cut_columns ? product_columns : product_rows, &job);
  return true;
}

/* ---- matmul -------------------------------------------------------------------------------- */

typedef struct {
  const spd_real *data;
  int64_t rows, columns, stride; /* as seen; stride as stored */
  bool transposed;
} matrix;

static matrix matrix_of(const spd_node *x, spd_operand operand) {
  const int64_t rows = spd_node_rows(x), columns = spd_node_columns(x);
  return operand.transposed ? (matrix){x->data, columns, rows, columns, true}
                            : (matrix){x->data, rows, columns, columns, false};
}

static bool matmul_forward(spd_tape *tape, spd_node *node) {
  const matrix a = matrix_of(spd_input(tape, node, 0), node->input[0]);
  const matrix b = matrix_of(spd_input(tape, node, 1), node->input[1]);
  return spd_multiply_matrices(tape, &(spd_product){.out = node->data,
                                                    .a = a.data,
                                                    .b = b.data,
                                                    .m = a.rows,
                                                    .n = b.columns,
                                                    .k = a.columns,
                                                    .lda = a.stride,
                                                    .ldb = b.stride,
                                                    .transpose_a = a.transposed,
                                                    .transpose_b = b.transposed});
}

/* y = a b: da = dy b^T and db = a^T dy, or their transposes where the operand is seen transposed. */
static bool matmul_backward(spd_tape *tape, spd_node *node) {
  const matrix a = matrix_of(spd_input(tape, node, 0), node->input[0]);
  const matrix b = matrix_of(spd_input(tape, node, 1), node->input[1]);
  const spd_real *dy = node->gradient;
  const int64_t m = a.rows, k = a.columns, n = b.columns;
  bool failed;
  spd_product p = {.add = false};
  p.out = spd_input_gradient(tape, node, 0, &p.add, &failed);
  if (failed) return false;
  if (p.out != NULL && !a.transposed) {
    p.a = dy, p.lda = n, p.m = m, p.k = n, p.b = b.data, p.ldb = b.stride, p.transpose_b = !b.transposed, p.n = k;
    if (!spd_multiply_matrices(tape, &p)) return false;
  } else if (p.out != NULL) {
    p.a = b.data, p.lda = b.stride, p.transpose_a = b.transposed, p.m = k, p.k = n;
    p.b = dy, p.ldb = n, p.transpose_b = true, p.n = m;
    if (!spd_multiply_matrices(tape, &p)) return false;
  }
  p = (spd_product){.add = false};
  p.out = spd_input_gradient(tape, node, 1, &p.add, &failed);
  if (p.out == NULL) return !failed;
  if (!b.transposed) {
    p.a = a.data, p.lda = a.stride, p.transpose_a = !a.transposed, p.m = k, p.k = m, p.b = dy, p.ldb = n, p.n = n;
  } else {
    p.a = dy, p.lda = n, p.transpose_a = true, p.m = n, p.k = m;
    p.b = a.data, p.ldb = a.stride, p.transpose_b = a.transposed, p.n = k;
  }
  return spd_multiply_matrices(tape, &p);
}

const spd_operator spd_matmul_operator = {.name = "matmul",
                                          .forward = matmul_forward,
                                          .backward = matmul_backward,
                                          .row_inputs = 1,
                                          .backward_inputs = 3,
                                          .keeps_zero_rows = true};

static bool is_real(spd_tape *tape, spd_operand operand) { return spd_node_at(tape, operand.node)->dtype == SPD_REAL; }

spd_value spd_record_matmul(spd_tape *tape, spd_value a, spd_value b) {
  spd_operand x, y;
  spd_recording recording = {.kind = &spd_matmul_operator, .inputs = 2, .input = {a, b}, .transposable = 3};
  if (!spd_operand_of(tape, "matmul", a, &x) || !spd_operand_of(tape, "matmul", b, &y)) return SPD_INVALID;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  spd_seen_shape(tape, x, &recording.dimensions, recording.shape);
  spd_seen_shape(tape, y, &dimensions, shape);
  if (recording.dimensions < 1 || dimensions != 2 || recording.shape[recording.dimensions - 1] != shape[0] ||
      !is_real(tape, x) || !is_real(tape, y)) {
    char left[128], right[128];
    spd_fail(spd_tape_context(tape), "matmul: expected real [..., k] and [k, n], found %s and %s",
             spd_format_shape(left, sizeof left, recording.dimensions, recording.shape),
             spd_format_shape(right, sizeof right, dimensions, shape));
    return SPD_INVALID;
  }
  recording.shape[recording.dimensions - 1] = shape[1];
  return spd_record(tape, &recording);
}

/* ---- bias ---------------------------------------------------------------------------------- */

typedef struct {
  const spd_kernels *kernels;
  spd_real *out;
  const spd_real *x, *bias;
  int64_t rows, columns;
  bool add;
} row_job;

static int64_t rows_of_task(const row_job *job, int64_t i, int64_t *rows) {
  const int64_t first = i * SPD_ROWS_PER_TASK;
  *rows = at_most(SPD_ROWS_PER_TASK, job->rows - first);
  return first;
}

static int64_t row_tasks(const row_job *job) { return (job->rows + SPD_ROWS_PER_TASK - 1) / SPD_ROWS_PER_TASK; }

static void add_bias_rows(void *argument, int64_t i, int worker) {
  (void)worker;
  const row_job *job = argument;
  int64_t rows, first = rows_of_task(job, i, &rows);
  for (int64_t row = first; row < first + rows; row++)
    job->kernels->combine(job->out + row * job->columns, job->x + row * job->columns, job->bias, 1, job->columns);
}

static bool add_bias_forward(spd_tape *tape, spd_node *node) {
  spd_context *context = spd_tape_context(tape);
  row_job job = {.kernels = spd_context_kernels(context),
                 .out = node->data,
                 .x = spd_input(tape, node, 0)->data,
                 .bias = spd_input(tape, node, 1)->data,
                 .rows = spd_node_rows(node),
                 .columns = spd_node_columns(node)};
  spd_parallel(context, row_tasks(&job), add_bias_rows, &job);
  return true;
}

static void add_rows(void *argument, int64_t i, int worker) {
  (void)worker;
  const row_job *job = argument;
  int64_t rows, first = rows_of_task(job, i, &rows);
  job->kernels->scale(job->out + first * job->columns, job->x + first * job->columns, 1, rows * job->columns, job->add);
}

static bool add_bias_backward(spd_tape *tape, spd_node *node) {
  spd_context *context = spd_tape_context(tape);
  row_job job = {.kernels = spd_context_kernels(context),
                 .x = node->gradient,
                 .rows = spd_node_rows(node),
                 .columns = spd_node_columns(node)};
  bool failed;
  job.out = spd_input_gradient(tape, node, 0, &job.add, &failed);
  if (failed) return false;
  if (job.out != NULL) spd_parallel(context, row_tasks(&job), add_rows, &job);
  spd_row_sum sum = {.x = job.x, .rows = job.rows, .columns = job.columns};
  sum.out = spd_input_gradient(tape, node, 1, &sum.add, &failed);
  return sum.out == NULL ? !failed : spd_add_up_rows(tape, &sum);
}

static const spd_operator add_bias_operator = {
    .name = "add_bias", .forward = add_bias_forward, .backward = add_bias_backward, .row_inputs = 1};

spd_value spd_add_bias(spd_tape *tape, spd_value x, spd_value bias) {
  spd_operand a, b;
  spd_recording recording = {.kind = &add_bias_operator, .inputs = 2, .input = {x, bias}};
  if (!spd_operand_of(tape, "add_bias", x, &a) || !spd_operand_of(tape, "add_bias", bias, &b)) return SPD_INVALID;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  spd_seen_shape(tape, a, &recording.dimensions, recording.shape);
  spd_seen_shape(tape, b, &dimensions, shape);
  if (recording.dimensions < 1 || dimensions != 1 || recording.shape[recording.dimensions - 1] != shape[0] ||
      !is_real(tape, a) || !is_real(tape, b)) {
    char left[128], right[128];
    spd_fail(spd_tape_context(tape), "add_bias: expected real [..., n] and [n], found %s and %s",
             spd_format_shape(left, sizeof left, recording.dimensions, recording.shape),
             spd_format_shape(right, sizeof right, dimensions, shape));
    return SPD_INVALID;
  }
  return spd_record(tape, &recording);
}

/* ---- sums over rows ------------------------------------------------------------------------ */

typedef struct {
  const spd_kernels *kernels;
  spd_row_sum sum;
  spd_real *partial; /* a sum for each task */
} row_sum_job;

static void sum_rows_part(void *argument, int64_t i, int worker) {
  (void)worker;
  const row_sum_job *job = argument;
  const spd_row_sum *s = &job->sum;
  const int64_t first = i * SPD_ROWS_PER_TASK, end = first + at_most(SPD_ROWS_PER_TASK, s->rows - first);
  spd_real *partial = job->partial + i * s->columns;
  memset(partial, 0, (size_t)s->columns * sizeof *partial);
  for (int64_t row = first; row < end; row++)
    job->kernels->scale(partial, s->x + row * s->columns, s->weight != NULL ? (double)s->weight[row] : 1, s->columns,
                        true);
}

bool spd_add_up_rows(spd_tape *tape, const spd_row_sum *sum) {
  spd_context *context = spd_tape_context(tape);
  const int64_t tasks = (sum->rows + SPD_ROWS_PER_TASK - 1) / SPD_ROWS_PER_TASK;
  row_sum_job job = {.kernels = spd_context_kernels(context), .sum = *sum};
  size_t capacity;
  job.partial = spd_borrow(tape, (size_t)(tasks * sum->columns) * sizeof(spd_real), &capacity);
  if (job.partial == NULL) return false;
  spd_parallel(context, tasks, sum_rows_part, &job);
  if (!sum->add) memset(sum->out, 0, (size_t)sum->columns * sizeof *sum->out);
  for (int64_t i = 0; i < tasks; i++)
    job.kernels->scale(sum->out, job.partial + i * sum->columns, 1, sum->columns, true);
  spd_give_back(tape, job.partial, capacity);
  return true;
}

static bool sum_rows_forward(spd_tape *tape, spd_node *node) {
  const spd_node *x = spd_input(tape, node, 0);
  return spd_add_up_rows(tape, &(spd_row_sum){.out = node->data,
                                              .x = x->data,
                                              .weight = x->rows != NULL ? x->rows->weight : NULL,
                                              .rows = spd_node_rows(x),
                                              .columns = spd_node_columns(x)});
}

static bool sum_rows_backward(spd_tape *tape, spd_node *node) {
  bool add, failed;
  spd_real *dx = spd_input_gradient(tape, node, 0, &add, &failed);
  if (dx == NULL) return !failed;
  const spd_node *x = spd_input(tape, node, 0);
  const int64_t columns = spd_node_columns(x);
  for (int64_t row = 0; row < spd_node_rows(x); row++)
    spd_context_kernels(spd_tape_context(tape))
        ->scale(dx + row * columns, node->gradient, x->rows != NULL ? (double)x->rows->weight[row] : 1, columns, add);
  return true;
}

static const spd_operator sum_rows_operator = {.name = "sum_rows",
                                               .forward = sum_rows_forward,
                                               .backward = sum_rows_backward,
                                               .row_inputs = 1,
                                               .reduces_rows = true};

spd_value spd_sum_rows(spd_tape *tape, spd_value x) {
  spd_operand a;
  spd_recording recording = {.kind = &sum_rows_operator, .inputs = 1, .input = {x}};
  if (!spd_operand_of(tape, "sum_rows", x, &a)) return SPD_INVALID;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  spd_seen_shape(tape, a, &dimensions, shape);
  if (dimensions < 1 || !is_real(tape, a)) {
    spd_fail(spd_tape_context(tape), "sum_rows: expected real [..., n]");
    return SPD_INVALID;
  }
  recording.dimensions = 1;
  recording.shape[0] = shape[dimensions - 1];
  return spd_record(tape, &recording);
}

/* ---- embedding ----------------------------------------------------------------------------- */

static bool embedding_forward(spd_tape *tape, spd_node *node) {
  const int32_t *ids = spd_input(tape, node, 0)->data;
  const spd_node *table = spd_input(tape, node, 1);
  const int64_t columns = spd_node_columns(node), rows = spd_node_rows(node);
  for (int64_t row = 0; row < rows; row++) {
    if (ids[row] < 0 || ids[row] >= table->shape[0])
      return spd_fail(spd_tape_context(tape), "embedding: id %d is outside of the table of %lld", (int)ids[row],
                      (long long)table->shape[0]);
    memcpy((spd_real *)node->data + row * columns, spd_real_data(table) + ids[row] * columns,
           (size_t)columns * sizeof(spd_real));
  }
  return true;
}

/* Rows with the same id add up in one place, so they are taken in order. */
static bool embedding_backward(spd_tape *tape, spd_node *node) {
  bool add, failed;
  spd_real *dtable = spd_input_gradient(tape, node, 1, &add, &failed);
  if (dtable == NULL) return !failed;
  const int32_t *ids = spd_input(tape, node, 0)->data;
  const int64_t columns = spd_node_columns(node), rows = spd_node_rows(node);
  const spd_kernels *kernels = spd_context_kernels(spd_tape_context(tape));
  if (!add) memset(dtable, 0, (size_t)spd_node_count(spd_input(tape, node, 1)) * sizeof *dtable);
  for (int64_t row = 0; row < rows; row++)
    kernels->scale(dtable + ids[row] * columns, node->gradient + row * columns, 1, columns, true);
  return true;
}

static const spd_operator embedding_operator = {
    .name = "embedding", .forward = embedding_forward, .backward = embedding_backward, .backward_inputs = 1};

spd_value spd_embedding(spd_tape *tape, spd_value ids, spd_value table) {
  spd_operand a, b;
  spd_recording recording = {.kind = &embedding_operator, .inputs = 2, .input = {ids, table}};
  if (!spd_operand_of(tape, "embedding", ids, &a) || !spd_operand_of(tape, "embedding", table, &b)) return SPD_INVALID;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  spd_seen_shape(tape, a, &recording.dimensions, recording.shape);
  spd_seen_shape(tape, b, &dimensions, shape);
  if (is_real(tape, a) || !is_real(tape, b) || dimensions != 2 || recording.dimensions >= SPD_MAX_DIMENSIONS) {
    spd_fail(spd_tape_context(tape), "embedding: expected int32 ids [...] and a real table [vocabulary, d]");
    return SPD_INVALID;
  }
  recording.shape[recording.dimensions++] = shape[1];
  return spd_record(tape, &recording);
}
