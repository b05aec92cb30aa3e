/*
** The tape: recording. What is recorded is computed in evaluation.c.
**
** Recording. A node's identity is its operator, inputs and attributes; a leaf's is its tensor and the tensor's
** version. The same identity is the same node, so model code can run a shared prefix as often as it likes.
** Inputs always have lower indices than their node, so index order is an order of evaluation.
**
** Compact rows. Rows that are all zero in a leaf can be kept once (spd_leaf_compact). The operators work on
** the rows that are kept; whatever reduces over rows counts each with its weight, so that gradients of rows
** are already sums over the rows they stand for. Where random numbers per row would tell such rows
** apart, and they are not zero there, the rows are expanded first.
*/
#include <string.h>

#include "tape_state.h"

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

void spd_drop_data(spd_tape *tape, spd_node *node) {
  if (node->capacity > 0) spd_give_back(tape, node->data, node->capacity);
  if (node->tensor == NULL) node->data = NULL;
  node->capacity = 0;
}

void spd_drop_gradient(spd_tape *tape, spd_node *node) {
  spd_give_back(tape, node->gradient, node->gradient_capacity);
  node->gradient = NULL;
  node->has_gradient = false;
}

void spd_drop_saved(spd_tape *tape, spd_node *node) {
  spd_give_back(tape, node->saved, node->saved_capacity);
  node->saved = NULL;
}

void *spd_save(spd_tape *tape, spd_node *node, size_t bytes) {
  spd_drop_saved(tape, node);
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
    spd_drop_data(tape, node);
    spd_drop_gradient(tape, node);
    spd_drop_saved(tape, node);
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
static spd_rows *find_free_rows(spd_tape *tape, int64_t logical) {
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
  spd_rows *rows = find_free_rows(tape, spd_rows_of_shape(node->dimensions, node->shape));
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

bool spd_see_as_stored(spd_tape *tape, spd_operand *operand) {
  return !operand->transposed || insert_before(tape, &transpose_operator, operand);
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
    if (!(recording->transposable & 1u << i) && !spd_see_as_stored(tape, &node.input[i])) return SPD_INVALID;
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
