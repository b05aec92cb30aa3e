/*
** The inner loops, compiled once per instruction set; a context holds a pointer to one of these tables.
**
** Order of arguments: outputs, inputs, sizes. A forward kernel overwrites its output. A backward kernel has
** `add`: false overwrites the gradient (its first contribution), true adds to it. Rows are `rows` runs
** of `columns` numbers; strides are counted in elements. Kernels allocate nothing and run on one thread.
*/
#ifndef SPD_KERNELS_H
#define SPD_KERNELS_H

#include "../spd.h"

/* Rows that a gate kernel takes at a time. */
enum { SPD_GATE_ROWS = 256 };
/* Numbers that uniform_rows may write past its last row. */
enum { SPD_DRAW_SLACK = 32 };

/* The softmax kernels take rows of a multiple of so many numbers. */
enum { SPD_ROW_MULTIPLE = 16 };

/* A draw without row and column: counter words 0 and 1 are the block of four columns and the row. */
typedef struct {
  uint32_t key[2];
  uint32_t counter2, counter3;
} spd_row_draw;

typedef enum {
  SPD_MAP_RELU,
  SPD_MAP_GELU,
  SPD_MAP_GELU_TANH,
  SPD_MAP_SILU,
  SPD_MAP_ABSOLUTE,
  SPD_MAP_LOWER_LEAKY,
  SPD_MAP_UPPER_LEAKY,
  SPD_MAP_POWER,
  SPD_MAP_AFFINE,
  SPD_MAP_GREATER,
  SPD_MAP_COUNT
} spd_map;

typedef struct {
  spd_real w1, b1, w2; /* of one neuron of one gate */
} spd_gate_neuron_gradient;

typedef struct spd_kernels {
  const char *name;

  /* y = f(x; a, b) and dx = dy f'(x; a, b), elementwise */
  void (*map)(spd_real *y, const spd_real *x, int64_t n, spd_map f, double a, double b);
  void (*map_gradient)(spd_real *dx, const spd_real *dy, const spd_real *x, int64_t n, spd_map f, double a, double b,
                       bool add);
  void (*combine)(spd_real *y, const spd_real *a, const spd_real *b, double scale_b, int64_t n); /* a + scale_b b */
  void (*scale)(spd_real *y, const spd_real *x, double scale, int64_t n, bool add);              /* y (+)= scale x */
  void (*multiply_add)(spd_real *y, const spd_real *a, const spd_real *b, int64_t n, bool add);  /* y (+)= a b */
  double (*sum)(const spd_real *x, int64_t n);
  double (*squared_distance)(const spd_real *a, const spd_real *b, int64_t n);

  /* U[0,1) for rows of a batch: r is [rows, columns rounded up to a multiple of 4], with room for
  ** SPD_DRAW_SLACK more. Row i is drawn under the name row_names[i], or first + i when that is NULL. */
  void (*uniform_rows)(spd_real *r, const spd_row_draw *draw, const uint32_t *row_names, uint32_t first, int64_t rows,
                       int64_t columns);

  /* y = h (g + (1 - g) r); dh = dy (g + (1 - g) r), dg = dy h (1 - r). One row. dh, dg may be NULL. */
  void (*mask)(spd_real *y, const spd_real *h, const spd_real *g, const spd_real *r, int64_t columns);
  void (*mask_gradient)(spd_real *dh, bool add_h, spd_real *dg, bool add_g, const spd_real *dy, const spd_real *h,
                        const spd_real *g, const spd_real *r, int64_t columns);

  /* The gate MLP of one subcomponent over at most SPD_GATE_ROWS rows: h, y, dy, dh have the given stride.
  ** w1, b1, w2 have n entries. The gradient kernel overwrites neuron[0 ... n-1] and *db2 with the sums over
  ** these rows; dh may be NULL. */
  void (*gate_mlp)(spd_real *y, const spd_real *h, int64_t stride, int64_t rows, const spd_real *w1, const spd_real *b1,
                   const spd_real *w2, spd_real b2, int64_t n);
  void (*gate_mlp_gradient)(spd_real *dh, bool add_h, spd_gate_neuron_gradient *neuron, spd_real *db2,
                            const spd_real *dy, const spd_real *h, int64_t stride, int64_t rows, const spd_real *w1,
                            const spd_real *b1, const spd_real *w2, int64_t n);

  /* KL(softmax(target) || softmax(prediction)) of one row; the same with scale times its gradient in place of the
  ** prediction, and room for `columns` numbers; and scale times its gradients (either may be NULL). */
  double (*softmax_kl)(const spd_real *target, const spd_real *prediction, int64_t columns);
  double (*softmax_kl_in_place)(spd_real *prediction, const spd_real *target, spd_real *scratch, double scale,
                                int64_t columns);
  void (*softmax_kl_gradient)(spd_real *dtarget, bool add_target, spd_real *dprediction, bool add_prediction,
                              const spd_real *target, const spd_real *prediction, double scale, int64_t columns);
  /* -log softmax(x)[label] of one row, and scale times its gradient; dx may be x, where it does not add. */
  double (*cross_entropy)(const spd_real *x, int32_t label, int64_t columns);
  void (*cross_entropy_gradient)(spd_real *dx, bool add, const spd_real *x, int32_t label, double scale,
                                 int64_t columns);

  /* One row: y = weight (x - mean) / sqrt(mean((x - mean)^2) + epsilon) + bias, where mean is 0 unless centred and
  ** bias may be NULL. The gradient kernel adds to dweight; dx, dweight may be NULL. */
  void (*normalize)(spd_real *y, const spd_real *x, const spd_real *weight, const spd_real *bias, int64_t columns,
                    bool centred, double epsilon);
  void (*normalize_gradient)(spd_real *dx, bool add, spd_real *dweight, const spd_real *dy, const spd_real *x,
                             const spd_real *weight, int64_t columns, bool centred, double epsilon);

  /* One row of heads: columns i and i + half of each are turned by an angle, or back by it where `back` is set. */
  void (*rotate)(spd_real *y, const spd_real *x, const spd_real *cosine, const spd_real *sine, int64_t heads,
                 int64_t half, bool back, bool add);

  /* The softmax of x[first ... end - 1], in place; 0 before and after, up to columns. first < end. columns is a
  ** multiple of SPD_ROW_MULTIPLE. */
  void (*softmax)(spd_real *x, int64_t first, int64_t end, int64_t columns);
  /* The same, and in place of dy, the gradient of the softmax, that of x; 0 outside of the range. */
  void (*softmax_gradient)(spd_real *x, spd_real *dy, int64_t first, int64_t end, int64_t columns);

  /* One AdamW update of n numbers; decay = 1 - rate * weight decay, rate1 = rate / (1 - beta1^t),
  ** correction2 = sqrt(1 - beta2^t). delta receives the change when not NULL, and x is left alone. */
  void (*adamw)(spd_real *x, spd_real *delta, spd_real *m, spd_real *v, const spd_real *gradient, int64_t n,
                double decay, double rate1, double correction2, double beta1, double beta2, double epsilon);
} spd_kernels;

/* The members after the name; a kernel that is missing here or there does not link. */
#define SPD_KERNEL_LIST(X, isa)  \
  X(map, isa)                    \
  X(map_gradient, isa)           \
  X(combine, isa)                \
  X(scale, isa)                  \
  X(multiply_add, isa)           \
  X(sum, isa)                    \
  X(squared_distance, isa)       \
  X(uniform_rows, isa)           \
  X(mask, isa)                   \
  X(mask_gradient, isa)          \
  X(gate_mlp, isa)               \
  X(gate_mlp_gradient, isa)      \
  X(softmax_kl, isa)             \
  X(softmax_kl_in_place, isa)    \
  X(softmax_kl_gradient, isa)    \
  X(cross_entropy, isa)          \
  X(cross_entropy_gradient, isa) \
  X(normalize, isa)              \
  X(normalize_gradient, isa)     \
  X(rotate, isa)                 \
  X(softmax, isa)                \
  X(softmax_gradient, isa)       \
  X(adamw, isa)

#define SPD_DECLARE_KERNEL(name, isa) __typeof__(*((spd_kernels *)0)->name) spd_kernel_##name##_##isa;
#define SPD_KERNEL_ENTRY(name, isa) .name = spd_kernel_##name##_##isa,

/* The table of a name, or the best that this processor has for NULL; NULL if it lacks that one. */
const spd_kernels *spd_select_kernels(const char *name);

#endif
