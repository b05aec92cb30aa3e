/*
** A tape's own state, for the two files that keep it: tape.c records, evaluation.c computes. Operators see tape.h only.
*/
#ifndef SPD_TAPE_STATE_H
#define SPD_TAPE_STATE_H

#include "pool.h"
#include "tape.h"

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

/* Give a node's buffers back to the pool. */
void spd_drop_data(spd_tape *tape, spd_node *node);
void spd_drop_gradient(spd_tape *tape, spd_node *node);
void spd_drop_saved(spd_tape *tape, spd_node *node);

/* An operand that is seen transposed becomes a copy that is stored so; false when memory is exhausted. */
bool spd_see_as_stored(spd_tape *tape, spd_operand *operand);

#endif
