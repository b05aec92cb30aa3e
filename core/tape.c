/*
** The tape: recording, evaluation on demand, and the backward pass.
**
** Recording. A node's identity is its operator, inputs and attributes; a leaf's is its tensor and the tensor's
** version. The same identity is the same node, so model code can run a shared prefix as often as it likes.
** Inputs always have lower indices than their node, so index order is an order of evaluation.
**
** Evaluation computes a node and those ancestors that have no data. Backward takes the losses one after
** another: it computes what the loss needs, then runs the backward of every node whose gradient is complete.
** A node that a later loss also uses waits for it. Counters of the readers and writers still to come
** decide when a buffer goes back to the pool; that is all the planning there is (together less than a hundredth
** of the smallest toy model's step, so no plan is kept).
**
** Compact rows. Rows that are all zero in a leaf can be kept once (spd_leaf_compact). The operators work on
** the rows that are kept; whatever reduces over rows counts each with its weight, so that gradients of rows
** are already sums over the rows they stand for. Where random numbers per row would tell such rows
** apart, and they are not zero there, the rows are expanded first.
*/
#include "tape.h"

#include <string.h>

#include "pool.h"

struct spd_tape {
  spd_context *context;
  uint32_t generation;
  spd_node *nodes;
  uint32_t count, capacity;
  uint32_t *table; /* value numbers: index + 1 of a node, 0 for none; twice the capacity of nodes */
  spd_pool pool;
  spd_rows **rows;
  size_t rows_count, rows_capacity;
};

spd_context *spd_tape_context(spd_tape *tape) { return tape->context; }
spd_node *spd_node_at(spd_tape *tape, uint32_t index) { return &tape->nodes[index]; }
spd_node *spd_input(spd_tape *tape, const spd_node *node, int i) { return &tape->nodes[node->input[i].node]; }

int64_t spd_node_columns(const spd_node *node) { return spd_columns_of_shape(node->dimensions, node->shape); }
int64_t spd_node_rows(const spd_node *node) {
  return node->rows != NULL ? node->rows->physical : spd_rows_of_shape(node->dimensions, node->shape);
}
int64_t spd_node_count(const spd_node *node) { return spd_node_rows(node) * spd_node_columns(node); }

/* ---- buffers ------------------------------------------------------------------------------- */

void *spd_borrow(spd_tape *tape, size_t bytes, size_t *capacity) {
  return spd_pool_take(&tape->pool, tape->context, bytes, capacity);
}

void spd_give_back(spd_tape *tape, void *memory, size_t capacity) {
  spd_pool_give(&tape->pool, tape->context, memory, capacity);
}

static void drop_data(spd_tape *tape, spd_node *node) {
  if (node->capacity > 0) spd_give_back(tape, node->data, node->capacity);
  if (node->tensor == NULL) node->data = NULL;
  node->capacity = 0;
}

static void drop_gradient(spd_tape *tape, spd_node *node) {
  spd_give_back(tape, node->gradient, node->gradient_capacity);
  node->gradient = NULL;
  node->has_gradient = false;
}

static void drop_saved(spd_tape *tape, spd_node *node) {
  spd_give_back(tape, node->saved, node->saved_capacity);
  node->saved = NULL;
}

void *spd_save(spd_tape *tape, spd_node *node, size_t bytes) {
  drop_saved(tape, node);
  node->saved = spd_borrow(tape, bytes, &node->saved_capacity);
  return node->saved;
}

/* ---- life ---------------------------------------------------------------------------------- */

spd_tape *spd_tape_new(spd_context *context) {
  spd_tape *tape = spd_allocate(context, sizeof *tape);
  if (tape == NULL) return NULL;
  tape->context = spd_context_retain(context);
  tape->generation = spd_next_generation(context);
  return tape;
}

void spd_tape_reset(spd_tape *tape) {
  for (uint32_t i = 0; i < tape->count; i++) {
    spd_node *node = &tape->nodes[i];
    drop_data(tape, node);
    drop_gradient(tape, node);
    drop_saved(tape, node);
    spd_tensor_release(node->tensor);
  }
  tape->count = 0;
  if (tape->table != NULL) memset(tape->table, 0, 2 * (size_t)tape->capacity * sizeof *tape->table);
  tape->generation = spd_next_generation(tape->context);
}

void spd_tape_free(spd_tape *tape) {
  if (tape == NULL) return;
  spd_context *context = tape->context;
  spd_tape_reset(tape);
  for (size_t i = 0; i < tape->rows_count; i++) spd_rows_free(context, tape->rows[i]);
  spd_deallocate(context, tape->rows, tape->rows_capacity * sizeof(*tape->rows));
  spd_pool_free(&tape->pool, context);
  spd_deallocate(context, tape->table, 2 * (size_t)tape->capacity * sizeof *tape->table);
  spd_deallocate(context, tape->nodes, (size_t)tape->capacity * sizeof *tape->nodes);
  spd_deallocate(context, tape, sizeof *tape);
  spd_context_release(context);
}

/* ---- recording ----------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 32);
}

static uint64_t bits_of(double x) {
  uint64_t word;
  memcpy(&word, &x, sizeof word);
  return word;
}

static uint64_t hash_of(const spd_node *node) {
  const spd_attributes *a = &node->attributes;
  uint64_t hash = mix((uint64_t)(uintptr_t)node->kind, (uint64_t)(uintptr_t)node->tensor);
  hash = mix(hash, node->version);
  for (int i = 0; i < node->inputs; i++)
    hash = mix(hash, (uint64_t)node->input[i].node << 1 | node->input[i].transposed);
  hash = mix(mix(mix(hash, bits_of(a->a)), bits_of(a->b)), bits_of(a->c));
  hash = mix(hash, (uint64_t)a->map);
  hash = mix(mix(hash, a->draw.seed), (uint64_t)a->draw.purpose << 32 | a->draw.matrix);
  hash = mix(hash, (uint64_t)a->draw.sample << 32 | a->draw.step);
  for (int i = 0; i < node->dimensions; i++) hash = mix(hash, (uint64_t)node->shape[i]);
  return hash;
}

static bool same_draw(const spd_draw *a, const spd_draw *b) {
  return a->seed == b->seed && a->purpose == b->purpose && a->matrix == b->matrix && a->sample == b->sample &&
         a->step == b->step;
}

static bool same_node(const spd_node *a, const spd_node *b) {
  if (a->kind != b->kind || a->tensor != b->tensor || a->version != b->version || a->inputs != b->inputs ||
      a->dimensions != b->dimensions || a->attributes.map != b->attributes.map ||
      a->needs_gradient != b->needs_gradient) /* a tensor that became a parameter is a new leaf */
    return false;
  for (int i = 0; i < a->inputs; i++)
    if (a->input[i].node != b->input[i].node || a->input[i].transposed != b->input[i].transposed) return false;
  for (int i = 0; i < a->dimensions; i++)
    if (a->shape[i] != b->shape[i]) return false;
  return bits_of(a->attributes.a) == bits_of(b->attributes.a) && bits_of(a->attributes.b) == bits_of(b->attributes.b) &&
         bits_of(a->attributes.c) == bits_of(b->attributes.c) && same_draw(&a->attributes.draw, &b->attributes.draw);
}

/* The slot of an equal node, or the free one where this node belongs. */
static uint32_t find_slot(const spd_tape *tape, const spd_node *node) {
  const uint32_t mask = 2 * tape->capacity - 1;
  uint32_t slot = (uint32_t)hash_of(node) & mask;
  while (tape->table[slot] != 0 && !same_node(&tape->nodes[tape->table[slot] - 1], node)) slot = (slot + 1) & mask;
  return slot;
}

/* Room for one more node, with the table of value numbers made anew. */
static bool grow_nodes(spd_tape *tape) {
  if (tape->count < tape->capacity) return true;
  const uint32_t larger = tape->capacity == 0 ? 64 : 2 * tape->capacity;
  if (larger > UINT32_MAX / 4) return spd_fail(tape->context, "tape: too many values");
  uint32_t *table = spd_allocate(tape->context, 2 * (size_t)larger * sizeof *table);
  if (table == NULL) return false;
  size_t capacity = tape->capacity;
  if (!spd_grow_list(tape->context, (void **)&tape->nodes, &capacity, tape->count, sizeof *tape->nodes)) {
    spd_deallocate(tape->context, table, 2 * (size_t)larger * sizeof *table);
    return false;
  }
  spd_deallocate(tape->context, tape->table, 2 * (size_t)tape->capacity * sizeof *table);
  tape->table = table;
  tape->capacity = (uint32_t)capacity;
  for (uint32_t i = 0; i < tape->count; i++) table[find_slot(tape, &tape->nodes[i])] = i + 1;
  return true;
}

/* The node equal to this one, appended if there is none yet; UINT32_MAX on error. */
static uint32_t add_node(spd_tape *tape, const spd_node *node, bool *is_new) {
  if (!grow_nodes(tape)) return UINT32_MAX;
  const uint32_t slot = find_slot(tape, node);
  *is_new = tape->table[slot] == 0;
  if (*is_new) {
    tape->nodes[tape->count] = *node;
    tape->table[slot] = ++tape->count;
  }
  return tape->table[slot] - 1;
}

static spd_value handle(const spd_tape *tape, uint32_t index, bool transposed) {
  return (spd_value){tape->generation, index << 1 | (transposed ? 1 : 0)};
}

spd_value spd_value_of(const spd_tape *tape, spd_operand operand) {
  return handle(tape, operand.node, operand.transposed);
}

bool spd_operand_of(spd_tape *tape, const char *caller, spd_value value, spd_operand *operand) {
  if (value.generation == 0) return false; /* an earlier error; its message stands */
  if (value.generation != tape->generation || value.node >> 1 >= tape->count) {
    spd_fail(tape->context, "%s: a value from another tape, or from an earlier step of this one", caller);
    return false;
  }
  *operand = (spd_operand){value.node >> 1, value.node & 1};
  return true;
}

void spd_seen_shape(spd_tape *tape, spd_operand operand, int *dimensions, int64_t *shape) {
  const spd_node *node = &tape->nodes[operand.node];
  *dimensions = node->dimensions;
  memcpy(shape, node->shape, sizeof node->shape);
  if (operand.transposed) {
    shape[0] = node->shape[1];
    shape[1] = node->shape[0];
  }
}

bool spd_value_shape(spd_tape *tape, spd_value value, int *dimensions, int64_t *shape) {
  spd_operand operand;
  int64_t seen[SPD_MAX_DIMENSIONS];
  if (!spd_operand_of(tape, "shape", value, &operand)) return false;
  spd_seen_shape(tape, operand, dimensions, seen);
  memcpy(shape, seen, (size_t)*dimensions * sizeof *shape);
  return true;
}

/* ---- leaves -------------------------------------------------------------------------------- */

static const spd_operator leaf_operator = {.name = "leaf"};
static const spd_operator compact_leaf_operator = {.name = "leaf_compact"};

static spd_node leaf_node(spd_tensor *tensor, const spd_operator *kind) {
  spd_node node = {.kind = kind,
                   .dtype = tensor->dtype,
                   .dimensions = tensor->dimensions,
                   .tensor = tensor,
                   .version = tensor->version,
                   .data = tensor->data,
                   .needs_gradient = tensor->gradient != NULL};
  memcpy(node.shape, tensor->shape, sizeof node.shape);
  return node;
}

spd_value spd_leaf(spd_tape *tape, spd_tensor *tensor) {
  bool is_new;
  const spd_node node = leaf_node(tensor, &leaf_operator);
  const uint32_t index = add_node(tape, &node, &is_new);
  if (index == UINT32_MAX) return SPD_INVALID;
  if (is_new) spd_tensor_retain(tensor);
  return handle(tape, index, false);
}

static bool rows_in_use(const spd_tape *tape, const spd_rows *rows) {
  for (uint32_t n = 0; n < tape->count; n++)
    if (tape->nodes[n].rows == rows) return true;
  return false;
}

/* Row descriptions are kept from step to step; those of the nodes of this step are in use. One that is too small makes
** room for one that fits. */
static spd_rows *find_spd_rows_free(spd_tape *tape, int64_t logical) {
  size_t place = tape->rows_count;
  for (size_t i = 0; i < tape->rows_count; i++) {
    if (rows_in_use(tape, tape->rows[i])) continue;
    place = i;
    if (tape->rows[i]->capacity >= (size_t)logical) break;
  }
  if (place == tape->rows_count || tape->rows[place]->capacity < (size_t)logical) {
    spd_context *context = tape->context;
    if (!spd_grow_list(context, (void **)&tape->rows, &tape->rows_capacity, tape->rows_count, sizeof(*tape->rows)))
      return NULL;
    spd_rows *rows = spd_rows_new(context, (size_t)logical);
    if (rows == NULL) return NULL;
    if (place == tape->rows_count)
      tape->rows_count++;
    else
      spd_rows_free(context, tape->rows[place]);
    tape->rows[place] = rows;
  }
  tape->rows[place]->logical = logical;
  return tape->rows[place];
}

/* Fill in the rows and the data of a new compact leaf. */
static bool compact_leaf(spd_tape *tape, spd_node *node) {
  spd_rows *rows = find_spd_rows_free(tape, spd_rows_of_shape(node->dimensions, node->shape));
  if (rows == NULL) return false;
  node->data = spd_borrow(tape, node->tensor->bytes, &node->capacity);
  if (node->data == NULL) return false;
  spd_rows_compact(rows, node->data, node->tensor->data, spd_node_columns(node));
  node->rows = rows;
  return true;
}

spd_value spd_leaf_compact(spd_tape *tape, spd_tensor *tensor) {
  const int64_t logical = spd_rows_of_shape(tensor->dimensions, tensor->shape);
  if (tensor->dtype != SPD_REAL || tensor->gradient != NULL || logical == 0 || logical > INT32_MAX)
    return spd_leaf(tape, tensor);
  spd_node node = leaf_node(tensor, &compact_leaf_operator);
  node.data = NULL;
  node.zero_row = true;
  if (!grow_nodes(tape)) return SPD_INVALID;
  const uint32_t known = tape->table[find_slot(tape, &node)];
  if (known != 0) return handle(tape, known - 1, false);
  if (!compact_leaf(tape, &node)) return SPD_INVALID;
  bool is_new;
  spd_tensor_retain(tensor);
  return handle(tape, add_node(tape, &node, &is_new), false);
}

/* ---- rows and transposition ---------------------------------------------------------------- */

static bool expand_forward(spd_tape *tape, spd_node *node) {
  const spd_node *x = spd_input(tape, node, 0);
  const int64_t columns = spd_node_columns(node);
  for (int64_t row = 0; row < x->rows->logical; row++)
    memcpy((spd_real *)node->data + row * columns, spd_real_data(x) + x->rows->place[row] * columns,
           (size_t)columns * sizeof(spd_real));
  return true;
}

static bool expand_backward(spd_tape *tape, spd_node *node) {
  bool add, failed;
  spd_real *dx = spd_input_gradient(tape, node, 0, &add, &failed);
  if (dx == NULL) return !failed;
  const spd_node *x = spd_input(tape, node, 0);
  const int64_t columns = spd_node_columns(node);
  if (!add) memset(dx, 0, (size_t)spd_node_count(x) * sizeof *dx);
  for (int64_t row = 0; row < x->rows->logical; row++)
    for (int64_t c = 0; c < columns; c++) dx[x->rows->place[row] * columns + c] += node->gradient[row * columns + c];
  return true;
}

static const spd_operator expand_operator = {
    .name = "expand_rows", .forward = expand_forward, .backward = expand_backward};

static bool transpose_forward(spd_tape *tape, spd_node *node) {
  const spd_real *x = spd_real_data(spd_input(tape, node, 0));
  spd_real *y = node->data;
  for (int64_t i = 0; i < node->shape[0]; i++)
    for (int64_t j = 0; j < node->shape[1]; j++) y[i * node->shape[1] + j] = x[j * node->shape[0] + i];
  return true;
}

static bool transpose_backward(spd_tape *tape, spd_node *node) {
  bool add, failed;
  spd_real *dx = spd_input_gradient(tape, node, 0, &add, &failed);
  if (dx == NULL) return !failed;
  for (int64_t i = 0; i < node->shape[0]; i++)
    for (int64_t j = 0; j < node->shape[1]; j++) {
      spd_real *to = &dx[j * node->shape[0] + i];
      *to = (add ? *to : 0) + node->gradient[i * node->shape[1] + j];
    }
  return true;
}

static const spd_operator transpose_operator = {
    .name = "transpose", .forward = transpose_forward, .backward = transpose_backward};

/* Append a node of one input that keeps or swaps its shape. */
static bool insert_before(spd_tape *tape, const spd_operator *kind, spd_operand *operand) {
  const spd_node *x = &tape->nodes[operand->node];
  spd_node node = {.kind = kind,
                   .inputs = 1,
                   .input = {{operand->node, false}},
                   .dtype = x->dtype,
                   .dimensions = x->dimensions,
                   .needs_gradient = x->needs_gradient};
  int dimensions;
  spd_seen_shape(tape, *operand, &dimensions, node.shape);
  bool is_new;
  const uint32_t index = add_node(tape, &node, &is_new);
  if (index == UINT32_MAX) return false;
  *operand = (spd_operand){index, false};
  return true;
}

static bool expand_rows(spd_tape *tape, spd_operand *operand) {
  if (tape->nodes[operand->node].rows == NULL) return true;
  const bool transposed = operand->transposed;
  operand->transposed = false;
  if (!insert_before(tape, &expand_operator, operand)) return false;
  operand->transposed = transposed;
  return true;
}

spd_value spd_transpose(spd_tape *tape, spd_value x) {
  spd_operand operand;
  if (!spd_operand_of(tape, "transpose", x, &operand) || !expand_rows(tape, &operand)) return SPD_INVALID;
  const spd_node *node = &tape->nodes[operand.node];
  if (node->dimensions != 2 || node->dtype != SPD_REAL) {
    spd_fail(tape->context, "transpose: expected a real matrix, found %d dimensions", node->dimensions);
    return SPD_INVALID;
  }
  return handle(tape, operand.node, !operand.transposed);
}

/* All row inputs get the same rows; what is not a row input gets full rows. */
static bool align_rows(spd_tape *tape, const spd_recording *recording, spd_operand *input, const spd_rows **rows) {
  bool expand = false, zero = true;
  *rows = NULL;
  for (int i = 0; i < recording->inputs; i++) {
    const spd_node *x = &tape->nodes[input[i].node];
    if (!(recording->kind->row_inputs & 1u << i)) continue;
    if (i == 0) *rows = x->rows;
    expand = expand || x->rows != *rows || input[i].transposed;
    if (i == 0) zero = x->zero_row;
  }
  if (recording->draws_rows && !zero) expand = true;
  for (int i = 0; i < recording->inputs; i++)
    if ((expand || !(recording->kind->row_inputs & 1u << i)) && !expand_rows(tape, &input[i])) return false;
  if (expand) *rows = NULL;
  return true;
}

static bool keeps_zero_row(spd_tape *tape, const spd_node *node) {
  if (node->rows == NULL) return false;
  bool all = node->kind->keeps_zero_rows;
  for (int i = 0; i < node->inputs; i++) {
    const bool zero = spd_input(tape, node, i)->zero_row;
    if (zero && node->kind->zero_inputs & 1u << i) return true;
    if (node->kind->row_inputs & 1u << i) all = all && zero;
  }
  return all;
}

spd_value spd_record(spd_tape *tape, const spd_recording *recording) {
  spd_node node = {.kind = recording->kind,
                   .inputs = recording->inputs,
                   .attributes = recording->attributes,
                   .dtype = SPD_REAL,
                   .dimensions = recording->dimensions};
  memcpy(node.shape, recording->shape, (size_t)node.dimensions * sizeof *node.shape);
  int64_t elements;
  if (!spd_count_elements(tape->context, node.dimensions, node.shape, &elements)) return SPD_INVALID;
  for (int i = 0; i < node.inputs; i++) {
    if (!spd_operand_of(tape, node.kind->name, recording->input[i], &node.input[i])) return SPD_INVALID;
    if (node.input[i].transposed && !(recording->transposable & 1u << i) &&
        !insert_before(tape, &transpose_operator, &node.input[i]))
      return SPD_INVALID;
  }
  const spd_rows *rows;
  if (!align_rows(tape, recording, node.input, &rows)) return SPD_INVALID;
  for (int i = 0; i < node.inputs; i++)
    if (node.kind->backward != NULL && tape->nodes[node.input[i].node].needs_gradient) node.needs_gradient = true;
  node.rows = node.kind->reduces_rows ? NULL : rows;
  node.zero_row = keeps_zero_row(tape, &node);
  bool is_new;
  const uint32_t index = add_node(tape, &node, &is_new);
  return index == UINT32_MAX ? SPD_INVALID : handle(tape, index, false);
}

/* ---- evaluation ---------------------------------------------------------------------------- */

/* A leaf that was written since it was recorded is an error. */
static bool check_version(spd_tape *tape, const spd_node *node) {
  if (node->tensor == NULL || node->tensor->version == node->version) return true;
  return spd_fail(tape->context,
                  "a value was recorded before a tensor that it depends on was written "
                  "(read it before the write, or record it again)");
}

/* Mark a node and its ancestors. */
static bool want_ancestors(spd_tape *tape, uint32_t index) {
  tape->nodes[index].wanted = true;
  for (uint32_t i = index + 1; i-- > 0;) {
    spd_node *node = &tape->nodes[i];
    if (!node->wanted) continue;
    if (!check_version(tape, node)) return false;
    for (int k = 0; k < node->inputs; k++) spd_input(tape, node, k)->wanted = true;
  }
  return true;
}

static void want_nothing(spd_tape *tape) {
  for (uint32_t i = 0; i < tape->count; i++) tape->nodes[i].wanted = false;
}

/* The leaves among the inputs are as they were recorded. */
static bool check_leaves(spd_tape *tape, const spd_node *node) {
  for (int i = 0; i < node->inputs; i++)
    if (!check_version(tape, spd_input(tape, node, i))) return false;
  return true;
}

static bool compute(spd_tape *tape, spd_node *node) {
  if (!check_leaves(tape, node)) return false;
  const int64_t count = spd_rows_of_shape(node->dimensions, node->shape) * spd_node_columns(node);
  node->data = spd_borrow(tape, (size_t)count * sizeof(spd_real), &node->capacity);
  if (node->data == NULL) return false;
  if (node->kind->forward(tape, node)) return true;
  drop_data(tape, node);
  drop_saved(tape, node);
  return false;
}

/* Of the marked nodes, unmark those that only nodes with data need. */
static void want_missing(spd_tape *tape, uint32_t index) {
  want_nothing(tape);
  tape->nodes[index].wanted = tape->nodes[index].data == NULL;
  for (uint32_t i = index + 1; i-- > 0;) {
    const spd_node *node = &tape->nodes[i];
    if (!node->wanted) continue;
    for (int k = 0; k < node->inputs; k++) {
      spd_node *x = spd_input(tape, node, k);
      x->wanted = x->data == NULL;
    }
  }
}

static bool evaluate(spd_tape *tape, uint32_t index) {
  bool ok = want_ancestors(tape, index);
  if (ok) want_missing(tape, index);
  for (uint32_t i = 0; i <= index && ok; i++)
    if (tape->nodes[i].wanted) ok = compute(tape, &tape->nodes[i]);
  want_nothing(tape);
  return ok;
}

static void copy_rows(const spd_node *node, spd_real *to) {
  const int64_t columns = spd_node_columns(node);
  const spd_real *from = node->data;
  if (node->rows == NULL) {
    memcpy(to, from, (size_t)spd_node_count(node) * sizeof *to);
    return;
  }
  for (int64_t row = 0; row < node->rows->logical; row++)
    memcpy(to + row * columns, from + node->rows->place[row] * columns, (size_t)columns * sizeof *to);
}

spd_tensor *spd_read(spd_tape *tape, spd_value value) {
  spd_operand operand;
  if (!spd_operand_of(tape, "read", value, &operand)) return NULL;
  if (operand.transposed && !insert_before(tape, &transpose_operator, &operand)) return NULL;
  if (!evaluate(tape, operand.node)) return NULL;
  const spd_node *node = &tape->nodes[operand.node];
  spd_tensor *tensor = spd_tensor_new(tape->context, node->dtype, node->dimensions, node->shape);
  if (tensor == NULL) return NULL;
  if (node->dtype == SPD_INT32)
    memcpy(tensor->data, node->data, tensor->bytes);
  else
    copy_rows(node, tensor->data);
  return tensor;
}

bool spd_read_scalar(spd_tape *tape, spd_value value, double *result) {
  spd_operand operand;
  if (!spd_operand_of(tape, "read", value, &operand)) return false;
  const spd_node *node = &tape->nodes[operand.node];
  if (node->dtype != SPD_REAL || node->rows != NULL || spd_node_count(node) != 1) {
    char text[128];
    return spd_fail(tape->context, "read: expected a scalar, found shape %s",
                    spd_format_shape(text, sizeof text, node->dimensions, node->shape));
  }
  if (!evaluate(tape, operand.node)) return false;
  *result = (double)spd_real_data(&tape->nodes[operand.node])[0];
  return true;
}

/* ---- backward ------------------------------------------------------------------------------ */

spd_real *spd_input_gradient(spd_tape *tape, spd_node *node, int i, bool *add, bool *failed) {
  spd_node *x = spd_input(tape, node, i);
  *failed = false;
  if (!x->needs_gradient) return NULL;
  *add = true;
  if (x->tensor != NULL) return spd_tensor_write_real(x->tensor->gradient);
  if (x->gradient == NULL) {
    const int64_t count = spd_rows_of_shape(x->dimensions, x->shape) * spd_node_columns(x);
    x->gradient = spd_borrow(tape, (size_t)count * sizeof(spd_real), &x->gradient_capacity);
    if (x->gradient == NULL) *failed = true;
  }
  *add = x->has_gradient;
  x->has_gradient = x->gradient != NULL;
  return x->gradient;
}

static bool runs_backward(const spd_node *node) { return node->needs_gradient && node->tensor == NULL; }

/* Find, for every wanted node, whether it must be computed (an earlier pass may have left it without its inputs' data),
** and count who will still read its data and write its gradient. Readers come before what they read. */
static void count_uses(spd_tape *tape, int count, const spd_operand *losses) {
  for (uint32_t i = 0; i < tape->count; i++) {
    spd_node *node = &tape->nodes[i];
    node->forward_readers = node->backward_readers = node->gradient_writers = 0;
    node->missing = false;
  }
  for (int i = 0; i < count; i++) {
    spd_node *loss = &tape->nodes[losses[i].node];
    loss->gradient_writers++;
    loss->missing = loss->data == NULL;
  }
  for (uint32_t i = tape->count; i-- > 0;) {
    const spd_node *node = &tape->nodes[i];
    const bool backward = runs_backward(node);
    for (int k = 0; node->wanted && k < node->inputs; k++) {
      spd_node *x = spd_input(tape, node, k);
      const bool backward_reads = backward && (node->kind->backward_inputs & 1u << k);
      x->forward_readers += node->missing;
      x->backward_readers += backward_reads;
      x->gradient_writers += backward;
      if ((node->missing || backward_reads) && x->data == NULL) x->missing = true;
    }
  }
}

/* Scalars stay, since losses are read afterwards. */
static void drop_if_unread(spd_tape *tape, spd_node *node) {
  if (node->forward_readers == 0 && node->backward_readers == 0 && node->tensor == NULL &&
      (node->rows != NULL || spd_node_count(node) != 1))
    drop_data(tape, node);
}

/* Compute what is missing of a loss and its ancestors. */
static bool compute_for_backward(spd_tape *tape, uint32_t index) {
  size_t capacity;
  bool *of_loss = spd_borrow(tape, index + 1, &capacity);
  if (of_loss == NULL) return false;
  memset(of_loss, 0, index + 1);
  of_loss[index] = true;
  for (uint32_t i = index + 1; i-- > 0;)
    for (int k = 0; of_loss[i] && k < tape->nodes[i].inputs; k++) of_loss[tape->nodes[i].input[k].node] = true;
  bool ok = true;
  for (uint32_t i = 0; i <= index && ok; i++) {
    spd_node *node = &tape->nodes[i];
    if (!of_loss[i] || !node->missing) continue;
    ok = compute(tape, node);
    node->missing = false;
    for (int k = 0; k < node->inputs; k++) {
      spd_node *x = spd_input(tape, node, k);
      x->forward_readers--;
      drop_if_unread(tape, x);
    }
  }
  spd_give_back(tape, of_loss, capacity);
  return ok;
}

/* Once for each node, also where no gradient has come (an operator may pass none to an input): its inputs wait for it. */
static bool run_backward(spd_tape *tape, spd_node *node) {
  const bool ok = !node->has_gradient || (check_leaves(tape, node) && node->kind->backward(tape, node));
  drop_saved(tape, node); /* also where it is not finished */
  if (!ok) return false;
  drop_gradient(tape, node);
  node->wanted = false;
  for (int k = 0; k < node->inputs; k++) {
    spd_node *x = spd_input(tape, node, k);
    x->gradient_writers--;
    if (node->kind->backward_inputs & 1u << k) x->backward_readers--;
    drop_if_unread(tape, x);
  }
  drop_if_unread(tape, node);
  return true;
}

static bool seed_gradient(spd_tape *tape, spd_node *loss, double coefficient) {
  loss->gradient_writers--;
  if (!loss->needs_gradient) return true;
  if (loss->gradient == NULL) {
    loss->gradient = spd_borrow(tape, sizeof(spd_real), &loss->gradient_capacity);
    if (loss->gradient == NULL) return false;
  }
  loss->gradient[0] = (loss->has_gradient ? loss->gradient[0] : 0) + (spd_real)coefficient;
  loss->has_gradient = true;
  return true;
}

static bool backward_of_loss(spd_tape *tape, uint32_t index, double coefficient) {
  if (!compute_for_backward(tape, index) || !seed_gradient(tape, &tape->nodes[index], coefficient)) return false;
  for (uint32_t i = index + 1; i-- > 0;) {
    spd_node *node = &tape->nodes[i];
    if (node->wanted && runs_backward(node) && node->gradient_writers == 0 && !run_backward(tape, node)) return false;
  }
  return true;
}

bool spd_backward(spd_tape *tape, int count, const spd_value *losses, const double *coefficients) {
  size_t capacity;
  spd_operand *operands = spd_borrow(tape, (size_t)count * sizeof *operands, &capacity);
  bool ok = operands != NULL;
  for (int i = 0; i < count && ok; i++) {
    ok = spd_operand_of(tape, "backward", losses[i], &operands[i]);
    const spd_node *node = ok ? &tape->nodes[operands[i].node] : NULL;
    if (ok && (node->rows != NULL || node->dtype != SPD_REAL || spd_node_count(node) != 1))
      ok = spd_fail(tape->context, "backward: loss %d is not a scalar", i + 1);
    if (ok && node->tensor != NULL)
      ok = spd_fail(tape->context, "backward: loss %d is not computed from anything", i + 1);
    ok = ok && want_ancestors(tape, operands[i].node);
  }
  if (ok) count_uses(tape, count, operands);
  for (int i = 0; i < count && ok; i++) ok = backward_of_loss(tape, operands[i].node, coefficients[i]);
  for (uint32_t i = 0; i < tape->count; i++) drop_gradient(tape, &tape->nodes[i]);
  want_nothing(tape);
  spd_give_back(tape, operands, capacity);
  return ok;
}
