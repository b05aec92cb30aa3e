/*
** The order of products: (P Q + R) B is P (Q B) + R B where that takes fewer multiplications.
**
** A residual stream is a sum of products, wider than what feeds it and than what reads it. Distributing a product over
** it skips the stream: what it would have held is never computed unless something else reads it (the tape computes
** on demand), and Q B, which has no batch rows, is one value for all forward passes that use it.
*/
#include "tape.h"

enum { MOST_TERMS = 128, MOST_LEVELS = 16 }; /* of a sum that is looked at, and of products within products */

/* Multiplications of x b: with x computed first, and with b distributed over the terms of x. A term that several
** products read is computed once, so it is charged to the first of them. */
typedef struct {
  double direct, distributed;
  int terms;
} costs;

static bool is_sum(const spd_node *node) { return node->kind == &spd_add_operator; }
static bool is_product(const spd_node *node) {
  return node->kind == &spd_matmul_operator && !node->input[0].transposed;
}

static void count_term(spd_tape *tape, spd_node *x, double n, costs *total) {
  const double rows = (double)spd_node_rows(x), columns = (double)spd_node_columns(x);
  if (!is_product(x)) {
    total->distributed += rows * columns * n;
    return;
  }
  const double inner = (double)spd_node_columns(spd_input(tape, x, 0));
  if (!x->charged) total->direct += rows * inner * columns;
  x->charged = true;
  total->distributed += inner * columns * n + rows * inner * n;
}

static void count_terms(spd_tape *tape, spd_node *x, double n, costs *total) {
  if (++total->terms > MOST_TERMS) return;
  if (is_sum(x)) {
    total->distributed += (double)spd_node_rows(x) * n; /* the addition */
    count_terms(tape, spd_input(tape, x, 0), n, total);
    count_terms(tape, spd_input(tape, x, 1), n, total);
  } else {
    count_term(tape, x, n, total);
  }
}

static bool is_worth_distributing(spd_tape *tape, spd_operand x, int64_t n) {
  spd_node *node = spd_node_at(tape, x.node);
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

/* The product as written is always recorded: it checks the shapes, and keeps what was decided for it, so that the same
** product is the same value. It is never computed where another stands for it. */
static spd_value multiply(spd_tape *tape, spd_value a, spd_value b, int level) {
  const spd_value direct = spd_record_matmul(tape, a, b);
  spd_operand x, written;
  if (!spd_ok(direct) || !spd_operand_of(tape, "matmul", a, &x) || !spd_operand_of(tape, "matmul", direct, &written))
    return SPD_INVALID;
  const spd_node *node = spd_node_at(tape, written.node);
  if (spd_ok(node->instead)) return node->instead;
  spd_value chosen = direct;
  if (level <= MOST_LEVELS && is_worth_distributing(tape, x, spd_node_columns(node)))
    chosen = distribute(tape, x, b, level);
  spd_node_at(tape, written.node)->instead = chosen;
  return chosen;
}

spd_value spd_matmul(spd_tape *tape, spd_value a, spd_value b) { return multiply(tape, a, b, 0); }
