/*
** The order of products: (P Q + R) B is P (Q B) + R B where that takes fewer multiplications.
**
** A residual stream is a sum of products, wider than what feeds it and than what reads it. Distributing a product over
** it skips the stream: what it would have held is never computed unless something else reads it (the tape computes
** on demand), and Q B, which has no batch rows, is one value for all forward passes that use it.
*/
#include "tape.h"

enum { MOST_TERMS = 128, MOST_LEVELS = 16 }; /* both bound the work of recording, whatever a model looks like */

/* Multiplications of x b: with x computed first, and with b distributed over the terms of x. */
typedef struct {
  double direct, distributed;
  int terms;
} costs;

static bool is_sum(const spd_node *node) { return node->kind == &spd_add_operator; }
static bool is_product(const spd_node *node) {
  return node->kind == &spd_matmul_operator && !node->input[0].transposed;
}

static void count_term(spd_tape *tape, const spd_node *x, double n, costs *total) {
  const double rows = (double)spd_node_rows(x), columns = (double)spd_node_columns(x);
  if (!is_product(x)) {
    total->distributed += rows * columns * n;
    return;
  }
  const double inner = (double)spd_node_columns(spd_input(tape, x, 0));
  total->direct += rows * inner * columns;
  total->distributed += inner * columns * n + rows * inner * n;
}

static void count_terms(spd_tape *tape, const spd_node *x, double n, costs *total) {
  if (++total->terms > MOST_TERMS) return;
  if (is_sum(x)) {
    count_terms(tape, spd_input(tape, x, 0), n, total);
    count_terms(tape, spd_input(tape, x, 1), n, total);
  } else {
    count_term(tape, x, n, total);
  }
}

static bool is_worth_distributing(spd_tape *tape, spd_operand x, int64_t n) {
  const spd_node *node = spd_node_at(tape, x.node);
  if (x.transposed || (!is_sum(node) && !is_product(node))) return false;
  costs total = {.direct = (double)spd_node_count(node) * (double)n};
  count_terms(tape, node, (double)n, &total);
  return total.terms <= MOST_TERMS && total.distributed < total.direct;
}

static spd_value multiply(spd_tape *tape, spd_value a, spd_value b, int level);

/* x b, with b distributed over the terms of x. (Recording moves nodes, so they are copied first.) */
static spd_value distribute(spd_tape *tape, spd_operand x, spd_value b, int level) {
  const spd_node node = *spd_node_at(tape, x.node);
  if (is_sum(&node)) {
    const spd_value first = distribute(tape, node.input[0], b, level);
    return spd_add(tape, first, distribute(tape, node.input[1], b, level));
  }
  if (!is_product(&node)) return spd_record_matmul(tape, spd_value_of(tape, x), b);
  const spd_value inner = multiply(tape, spd_value_of(tape, node.input[1]), b, level + 1);
  return multiply(tape, spd_value_of(tape, node.input[0]), inner, level + 1);
}

static spd_value multiply(spd_tape *tape, spd_value a, spd_value b, int level) {
  const spd_value direct = spd_record_matmul(tape, a, b); /* checks the shapes; never computed if another is taken */
  spd_operand x;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  if (!spd_ok(direct) || level > MOST_LEVELS || !spd_operand_of(tape, "matmul", a, &x) ||
      !spd_value_shape(tape, b, &dimensions, shape) || !is_worth_distributing(tape, x, shape[1]))
    return direct;
  return distribute(tape, x, b, level);
}

spd_value spd_matmul(spd_tape *tape, spd_value a, spd_value b) { return multiply(tape, a, b, 0); }
