/*
** What a tape recorded is computed here: values on demand, and the backward pass.
**
** Evaluation computes a node and those ancestors that have no data. Backward takes the losses one after
** another: it computes what the loss needs, then runs the backward of every node whose gradient is complete.
** A node that a later loss also uses waits for it. Counters of the readers and writers still to come
** decide when a buffer goes back to the pool; that is all the planning there is (together less than a hundredth
** of the smallest toy model's step, so no plan is kept).
*/
#include <string.h>

#include "tape_state.h"

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
  spd_drop_data(tape, node);
  spd_drop_saved(tape, node);
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
  if (!spd_see_as_stored(tape, &operand)) return NULL;
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
    spd_drop_data(tape, node);
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
  spd_drop_saved(tape, node); /* also where it is not finished */
  if (!ok) return false;
  spd_drop_gradient(tape, node);
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
  for (uint32_t i = 0; i < tape->count; i++) spd_drop_gradient(tape, &tape->nodes[i]);
  want_nothing(tape);
  spd_give_back(tape, operands, capacity);
  return ok;
}
