/*
** Inside of a tape: nodes, and what an operator must provide. Private to core/.
**
** To add an operator: write its forward and backward in the file of its kind, describe it in an spd_operator, and
** record it in a public function that checks shapes. A gradient check belongs in spec/core/.
*/
#ifndef SPD_TAPE_H
#define SPD_TAPE_H

#include "context.h"
#include "kernels/kernels.h"
#include "rows.h"
#include "spd.h"
#include "tensor.h"

enum { SPD_MAX_INPUTS = 5, SPD_ROWS_PER_TASK = 128, SPD_NUMBERS_PER_TASK = 16384 };

typedef struct spd_node spd_node;

/* What distinguishes two nodes of the same operator on the same inputs. */
typedef struct {
  double a, b, c;
  spd_draw draw;
  spd_map map;
} spd_attributes;

typedef struct spd_operator {
  const char *name;
  /* Compute node->data (allocated, not cleared) from the inputs' data. */
  bool (*forward)(spd_tape *tape, spd_node *node);
  /* Add to the gradients of inputs that need one, from node->gradient. NULL: nothing passes. */
  bool (*backward)(spd_tape *tape, spd_node *node);
  unsigned row_inputs;      /* bit i: the rows of input i are the rows of the output (or are reduced over) */
  unsigned backward_inputs; /* bit i: backward reads the data of input i */
  bool reduces_rows;        /* the output has no rows of its own */
  bool keeps_zero_rows;     /* a row that is zero in all row inputs is zero in the output */
  unsigned zero_inputs;     /* bit i: a row that is zero in input i is zero in the output */
} spd_operator;

typedef struct {
  uint32_t node;
  bool transposed;
} spd_operand;

struct spd_node {
  const spd_operator *kind;
  int inputs;
  spd_operand input[SPD_MAX_INPUTS];
  spd_attributes attributes;
  spd_dtype dtype;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS]; /* logical */
  const spd_rows *rows;              /* NULL: each row is itself */
  bool zero_row;                     /* the row kept once is known to be zero */
  bool needs_gradient;
  bool wanted;                                             /* by the evaluation or backward pass under way */
  bool missing;                                            /* has no data, and the backward pass will read it */
  bool has_gradient;                                       /* gradient holds a first contribution */
  bool charged;                                            /* its cost was counted by a product that reads it */
  spd_value instead;                                       /* of a product: what stands for it; 0, 0 if undecided */
  int forward_readers, backward_readers, gradient_writers; /* still to come */
  spd_tensor *tensor;                                      /* of a leaf */
  uint64_t version;
  void *data;
  size_t capacity; /* bytes of data in the tape's pool; 0 for a leaf's own data */
  spd_real *gradient;
  size_t gradient_capacity;
  void *saved; /* what forward left for backward; NULL: nothing */
  size_t saved_capacity;
};

/* Check a handle and make it an operand; false with a message naming the operator. */
bool spd_operand_of(spd_tape *tape, const char *caller, spd_value value, spd_operand *operand);
spd_value spd_value_of(const spd_tape *tape, spd_operand operand); /* its handle */
spd_node *spd_node_at(spd_tape *tape, uint32_t index);
spd_context *spd_tape_context(spd_tape *tape);
/* Logical size of dimension i of a value as it is seen, transposed or not. */
void spd_seen_shape(spd_tape *tape, spd_operand operand, int *dimensions, int64_t *shape);

/*
** Record a node, or find the same one. Inputs are handles; shapes must have been checked. An input that is
** seen transposed is first copied where the operator does not take it so (its transposable bit unset).
** Compact and full rows are brought together here.
*/
typedef struct {
  const spd_operator *kind;
  int inputs;
  spd_value input[SPD_MAX_INPUTS];
  unsigned transposable;
  spd_attributes attributes;
  int dimensions;
  int64_t shape[SPD_MAX_DIMENSIONS];
  bool draws_rows; /* random numbers per row: compact rows must be zero in input 0, or are expanded */
} spd_recording;
spd_value spd_record(spd_tape *tape, const spd_recording *recording);
/* The invalid value, after spd_fail. */
#define SPD_INVALID ((spd_value){0, 0})

/* For forward and backward functions. */
spd_node *spd_input(spd_tape *tape, const spd_node *node, int i);
static inline const spd_real *spd_real_data(const spd_node *node) { return node->data; }
/* Physical rows, columns, and their product. */
int64_t spd_node_rows(const spd_node *node);
int64_t spd_node_columns(const spd_node *node);
int64_t spd_node_count(const spd_node *node);
/* The gradient to write to, or NULL if none is needed (*failed tells exhausted memory). *add is false for the first
** contribution, which overwrites. */
spd_real *spd_input_gradient(spd_tape *tape, spd_node *node, int i, bool *add, bool *failed);

/* a b as one product, whatever a is made of. */
spd_value spd_record_matmul(spd_tape *tape, spd_value a, spd_value b);
extern const spd_operator spd_matmul_operator, spd_add_operator;
/* The KL divergence of softmaxes of stored logits, whatever they are made of. */
spd_value spd_record_softmax_kl(spd_tape *tape, spd_value target, spd_value prediction);

/*
** out [m, n] (+)= op(a) op(b), where op(a) is [m, k]; lda, ldb are row strides as stored. Cut into tasks by shape
** alone, so that the bits do not depend on the number of threads.
*/
typedef struct {
  spd_real *out;
  const spd_real *a, *b;
  int64_t m, n, k, lda, ldb;
  bool transpose_a, transpose_b, add;
} spd_product;
bool spd_multiply_matrices(spd_tape *tape, const spd_product *product);

/* out [columns] (+)= sum of the rows of x, each times its weight (NULL: 1): parts of rows, then the parts in order. */
typedef struct {
  spd_real *out;
  const spd_real *x, *weight;
  int64_t rows, columns;
  bool add;
} spd_row_sum;
bool spd_add_up_rows(spd_tape *tape, const spd_row_sum *sum);

/* Memory in which forward leaves what backward needs: node->saved, until the node's backward has run. It may be gone when
** backward runs once more. */
void *spd_save(spd_tape *tape, spd_node *node, size_t bytes);

/* Temporary memory for one forward or backward function. */
void *spd_borrow(spd_tape *tape, size_t bytes, size_t *capacity);
void spd_give_back(spd_tape *tape, void *memory, size_t capacity);

#endif
