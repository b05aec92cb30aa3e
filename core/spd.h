/*
** libspd: tensors, a tape of operators, and the kernels of Stochastic Parameter Decomposition.
** This is the whole interface for a program that embeds it.
**
**   spd_context *context = spd_context_new(0);                    // 0: a thread per core
**   spd_tensor *x = spd_tensor_new(context, SPD_REAL, 2, (int64_t[]){4, 3});
**   spd_tape *tape = spd_tape_new(context);
**   spd_value y = spd_relu(tape, spd_leaf(tape, x));              // recorded, not yet computed
**   spd_tensor *result = spd_read(tape, y);                       // computed here
**   if (result == NULL) puts(spd_error(context));
**
** Letters: B rows of a batch (leading dimensions are flattened into rows), C subcomponents per
** matrix, V [d_in, C] and U [C, d_out] the subcomponents of a weight W [d_out, d_in] ~ (V U)^T.
**
** Errors: a function that can fail returns NULL, false or a value for which spd_ok() is false, and
** leaves one line in spd_error(). No function prints, exits, or keeps state outside its context.
** A context and all that was made from it belong to one thread at a time.
*/
#ifndef SPD_H
#define SPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(SPD_DOUBLE)
typedef double spd_real; /* the build that checks gradients */
#else
typedef float spd_real;
#endif

#define SPD_VERSION "0.1.0"
#define SPD_MAX_DIMENSIONS 4

/* ---- context ------------------------------------------------------------------------------- */

typedef struct spd_context spd_context; /* opaque: threads, memory accounts, the last error */

/* threads: 0 for as many as the cores this process may use. NULL when memory is exhausted. */
spd_context *spd_context_new(int threads);
/* Stop the threads. What was made from the context can still be freed afterwards, but not used. NULL allowed. */
void spd_context_free(spd_context *context);
bool spd_set_threads(spd_context *context, int threads);
int spd_threads(const spd_context *context);
/* The last error as one line without a newline; "" before the first. */
const char *spd_error(const spd_context *context);
/* Bytes held by tensors, tapes and optimizers of this context. */
size_t spd_live_bytes(const spd_context *context);
/* Blocks allocated since the context was made: does not grow once every kind of step was seen. */
uint64_t spd_allocation_count(const spd_context *context);
/* For tests: the n-th allocation from now fails (1 is the next one); 0 switches this off. */
void spd_fail_allocation(spd_context *context, uint64_t n);
/* Free the scratch memory of the threads; it comes back with the next operator that needs some. */
void spd_release_scratch(spd_context *context);
/* The instruction set in use ("avx512", "avx2", "baseline"), chosen when the context was made. */
const char *spd_instruction_set(const spd_context *context);
/* Use another one; false if this processor lacks it. For tests and measurements. */
bool spd_set_instruction_set(spd_context *context, const char *name);

/* ---- recorded products --------------------------------------------------------------------- */

/* A product that BLAS computed on one thread, out [m, n] (+)= op(a) op(b) with op(a) [m, k], and how many times. An
** operator cuts a large product into several. */
typedef struct {
  int64_t m, n, k, stride_a, stride_b, stride_out;
  bool transpose_a, transpose_b, add;
  uint64_t count;
} spd_recorded_product;

/* on: forget what was recorded, and record the products of all operators from now on. For measurements. */
bool spd_record_products(spd_context *context, bool on);
/* Borrowed until the next recorded product; NULL if memory was exhausted meanwhile. */
const spd_recorded_product *spd_recorded_products(spd_context *context, size_t *count);
/* Compute the same products in the same order, on the threads of the context, from zeros that lie in memory as the operands
** lay; what a parallel loop made is made in one again. The first time takes longer. */
bool spd_repeat_products(spd_context *context);
/* Stop recording and free the list. */
void spd_forget_products(spd_context *context);

/* ---- tensors ------------------------------------------------------------------------------- */

typedef enum { SPD_REAL, SPD_INT32 } spd_dtype;
typedef struct spd_tensor spd_tensor; /* opaque: dense, row-major, counted by owners */

/* A tensor of zeros; the caller owns it. Each size >= 0, at most SPD_MAX_DIMENSIONS of them. */
spd_tensor *spd_tensor_new(spd_context *context, spd_dtype dtype, int dimensions, const int64_t *shape);
spd_tensor *spd_tensor_retain(spd_tensor *tensor); /* one more owner; returns tensor */
void spd_tensor_release(spd_tensor *tensor);       /* one owner less, freed at none; NULL allowed */
spd_dtype spd_tensor_dtype(const spd_tensor *tensor);
int spd_tensor_dimensions(const spd_tensor *tensor);
const int64_t *spd_tensor_shape(const spd_tensor *tensor);
int64_t spd_tensor_count(const spd_tensor *tensor); /* number of elements */
/* For reading. */
const spd_real *spd_tensor_real(const spd_tensor *tensor);
const int32_t *spd_tensor_int32(const spd_tensor *tensor);
/* For writing: values that a tape recorded from the old content can no longer be read. */
spd_real *spd_tensor_write_real(spd_tensor *tensor);
int32_t *spd_tensor_write_int32(spd_tensor *tensor);
/* A trainable parameter has a gradient of its own shape, which spd_backward adds to. */
bool spd_tensor_make_parameter(spd_tensor *tensor);
spd_tensor *spd_tensor_gradient(const spd_tensor *tensor); /* NULL if not a parameter; borrowed */

/* ---- random numbers ------------------------------------------------------------------------ */

/*
** A draw is named, not numbered: the same name gives the same value in any order, on any number of
** threads. Philox4x32-10 (Salmon et al. 2011): the key is made from seed and purpose, the counter
** from the other names, the row and the column.
*/
typedef struct {
  uint64_t seed;
  uint32_t purpose; /* what for: data, mask, initialisation, ... */
  uint32_t matrix;  /* below 65536 */
  uint32_t sample;  /* below 65536 */
  uint32_t step;
} spd_draw;

/* Fill a tensor [rows, columns] (leading dimensions are rows) with U[0,1), or N(0,1). */
bool spd_fill_uniform(spd_tensor *tensor, spd_draw draw);
bool spd_fill_normal(spd_tensor *tensor, spd_draw draw);
/* One raw block, for tests against the published vectors of the generator. */
void spd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* ---- the tape ------------------------------------------------------------------------------ */

typedef struct spd_tape spd_tape; /* opaque */
/*
** A handle to a recorded value, checked against its tape and the tape's generation. Recording is pure: the same
** operator on the same inputs with the same attributes is the same value, computed once, when it is
** first read or needed by spd_backward.
*/
typedef struct {
  uint32_t generation; /* 0: an error */
  uint32_t node;       /* bit 0: seen transposed */
} spd_value;
static inline bool spd_ok(spd_value value) { return value.generation != 0; }

spd_tape *spd_tape_new(spd_context *context);
void spd_tape_free(spd_tape *tape); /* NULL allowed */
/* Forget all values, keep the buffers for the next step. */
void spd_tape_reset(spd_tape *tape);
/* A tensor as a value. Retained until the reset; a parameter receives a gradient. */
spd_value spd_leaf(spd_tape *tape, spd_tensor *tensor);
/* The same, with all rows that are entirely zero kept once, counted with their number. Every result
** is as without it; values are seen in full when read. */
spd_value spd_leaf_compact(spd_tape *tape, spd_tensor *tensor);
/* Shape of a value; false for a stale handle. shape has room for SPD_MAX_DIMENSIONS. */
bool spd_value_shape(spd_tape *tape, spd_value value, int *dimensions, int64_t *shape);
/* Compute a value and give out a copy, which the caller owns; NULL on error. */
spd_tensor *spd_read(spd_tape *tape, spd_value value);
/* Compute a scalar. */
bool spd_read_scalar(spd_tape *tape, spd_value value, double *result);
/*
** Add the gradient of sum_i coefficients[i] * losses[i] to the gradients of all parameters that
** feed it. Losses are scalars, taken one after another, each forward then backward, so that only one
** loss's own values are in memory beside those it shares with others.
*/
bool spd_backward(spd_tape *tape, int count, const spd_value *losses, const double *coefficients);

/* ---- operators ----------------------------------------------------------------------------- */
/* x [..., n] stands for any leading dimensions. Operands of one operator that must agree in shape
** are checked when it is recorded. */

spd_value spd_transpose(spd_tape *tape, spd_value x); /* [m, n] -> [n, m]; free */
spd_value spd_reshape(spd_tape *tape, spd_value x, int dimensions, const int64_t *shape);
/* [..., k] [k, n] -> [..., n]. Of a sum of products that is wider than they are, (P Q + R) b may be computed as
** P (Q b) + R b, where that takes fewer multiplications; the choice depends on sizes and on how many rows are kept. */
spd_value spd_matmul(spd_tape *tape, spd_value a, spd_value b);
spd_value spd_add_bias(spd_tape *tape, spd_value x, spd_value bias);     /* [..., n] + [n] */
spd_value spd_embedding(spd_tape *tape, spd_value ids, spd_value table); /* int32 [...], [vocabulary, d] -> [..., d] */
spd_value spd_add(spd_tape *tape, spd_value a, spd_value b);
spd_value spd_subtract(spd_tape *tape, spd_value a, spd_value b);
spd_value spd_multiply(spd_tape *tape, spd_value a, spd_value b);
spd_value spd_affine(spd_tape *tape, spd_value x, double scale, double shift); /* scale x + shift */
spd_value spd_power(spd_tape *tape, spd_value x, double exponent);             /* x >= 0; gradient 0 at x = 0 */
spd_value spd_absolute(spd_tape *tape, spd_value x);
spd_value spd_relu(spd_tape *tape, spd_value x);
spd_value spd_gelu(spd_tape *tape, spd_value x);                       /* exact: x Phi(x) */
spd_value spd_gelu_tanh(spd_tape *tape, spd_value x);                  /* gelu by tanh, as in GPT-2 */
spd_value spd_silu(spd_tape *tape, spd_value x);                       /* x / (1 + exp(-x)) */
spd_value spd_lower_leaky(spd_tape *tape, spd_value x);                /* 0.01x below 0, x in [0,1], 1 above */
spd_value spd_upper_leaky(spd_tape *tape, spd_value x);                /* 0 below 0, x in [0,1], 1 + 0.01(x-1) above */
spd_value spd_greater(spd_tape *tape, spd_value x, double threshold);  /* 1 where x > threshold, else 0 */
spd_value spd_sum(spd_tape *tape, spd_value x);                        /* all elements -> scalar [1] */
spd_value spd_sum_rows(spd_tape *tape, spd_value x);                   /* [..., n] -> [n] */
spd_value spd_sum_columns(spd_tape *tape, spd_value x);                /* [..., n] -> [...] */
spd_value spd_squared_error(spd_tape *tape, spd_value a, spd_value b); /* sum (a-b)^2 -> scalar */
/* mean over rows of KL(softmax(target) || softmax(prediction)), both [..., n] -> scalar; 0 of no rows. Of a prediction that is a product
** with 1024 columns or more only a few rows are in memory at a time; so also in spd_cross_entropy. */
spd_value spd_softmax_kl(spd_tape *tape, spd_value target, spd_value prediction);
/* mean of -log softmax(logits)[label] over the rows whose label is not negative: [..., n], int32 [...] -> scalar; 0 where no
** row counts */
spd_value spd_cross_entropy(spd_tape *tape, spd_value logits, spd_value labels);
/*
** Causal attention: q [B, T, heads d], k and v [B, T, kv_heads d] -> [B, T, heads d]. Each head of k and v serves
** heads / kv_heads neighbouring heads of q. Row i is the mean of rows j <= i of v, weighted with the softmax over j of
** scale q_i . k_j; with a window above 0 only of those with j > i - window. Scores are made block by block.
*/
spd_value spd_attention(spd_tape *tape, spd_value q, spd_value k, spd_value v, int64_t heads, double scale,
                        int64_t window);

/* Of each row of x [..., n], with weight and bias [n]: weight x / sqrt(mean(x^2) + epsilon), epsilon > 0; and with the
** deviations d from the row's mean: weight d / sqrt(mean(d^2) + epsilon) + bias. */
spd_value spd_rms_norm(spd_tape *tape, spd_value x, spd_value weight, double epsilon);
spd_value spd_layer_norm(spd_tape *tape, spd_value x, spd_value weight, spd_value bias, double epsilon);
/*
** Rotary position embedding of x [..., T, heads d]: in each head, the pair of its columns i and i + d/2 is turned by the
** angle whose cosine and sine stand in column i of the tables [P, d/2], P >= T, in the row of the position, which is the
** index in the last dimension but one. No gradient passes to the tables.
*/
spd_value spd_rotary(spd_tape *tape, spd_value x, spd_value cosine, spd_value sine);

/* [..., n] -> [..., count]: the columns first ... first + count - 1, counted from 0. */
spd_value spd_columns(spd_tape *tape, spd_value x, int64_t first, int64_t count);

/* ---- SPD kernels --------------------------------------------------------------------------- */

/*
** The causal-importance functions: pre-sigmoid importance [..., C] of inner activations h [..., C].
** Gate MLP: w2_c . gelu(w1_c h_c + b1_c) + b2_c, with w1, b1, w2 [C, n] and b2 [C]; nothing of size
** [B, C, n] is stored. Linear gate: w_c h_c + b_c.
*/
spd_value spd_gate_mlp(spd_tape *tape, spd_value h, spd_value w1, spd_value b1, spd_value w2, spd_value b2);
spd_value spd_gate_linear(spd_tape *tape, spd_value h, spd_value w, spd_value b);
/*
** h * m [..., C], m = g + (1 - g) r: the inner activations under a stochastic mask, from the lower-leaky
** importances g and uniform draws r, made where they are used.
*/
spd_value spd_stochastic_mask(spd_tape *tape, spd_value h, spd_value g, spd_draw draw);
/* The same with given draws r [..., C]. */
spd_value spd_given_mask(spd_tape *tape, spd_value h, spd_value g, spd_value r);

/* ---- optimizer ----------------------------------------------------------------------------- */

typedef struct spd_adamw spd_adamw; /* opaque: AdamW (Loshchilov and Hutter 2019) as in PyTorch */
typedef struct {
  double beta1, beta2, epsilon, weight_decay;
} spd_adamw_settings;

spd_adamw *spd_adamw_new(spd_context *context, spd_adamw_settings settings);
void spd_adamw_free(spd_adamw *optimizer);
/* Add a parameter (retained). transposed_of: NULL, or an earlier parameter of this optimizer of which
** this one is the transpose: each step then applies both updates to both (peers.md of the public code:
** two states, one storage). */
bool spd_adamw_add(spd_adamw *optimizer, spd_tensor *parameter, spd_tensor *transposed_of);
/* Update all parameters from their gradients. */
bool spd_adamw_step(spd_adamw *optimizer, double learning_rate);
void spd_adamw_zero_gradients(spd_adamw *optimizer);
/* Square root of the sum of squares of all gradients. */
double spd_adamw_gradient_norm(const spd_adamw *optimizer);
/* State of the i-th parameter (from 0), for checkpoints: borrowed. */
int spd_adamw_count(const spd_adamw *optimizer);
spd_tensor *spd_adamw_first_moment(spd_adamw *optimizer, int i);
spd_tensor *spd_adamw_second_moment(spd_adamw *optimizer, int i);
uint64_t spd_adamw_steps(const spd_adamw *optimizer);
void spd_adamw_set_steps(spd_adamw *optimizer, uint64_t steps);

/* ---- data ---------------------------------------------------------------------------------- */

/* Sparse features: each active with the probability, or exactly that many active in a row; the value
** of an active one uniform in [low, high). Synchronized features are active together, when any one of
** them would be: group[i] is the smallest number of a feature in the group of feature i, counted from 0,
** i itself for a feature on its own. */
typedef struct {
  double probability;
  int exactly_active; /* 0: by probability */
  double low, high;
  const int32_t *group; /* [features], borrowed for the call; NULL: no groups. By probability only */
} spd_sparse_features;
/* Overwrite x [rows, features]. */
bool spd_fill_sparse_features(spd_tensor *x, spd_sparse_features settings, spd_draw draw);

/* ---- safetensors --------------------------------------------------------------------------- */

typedef struct spd_safetensors spd_safetensors; /* opaque: an open, checked file, mapped into memory */

/* Open and check everything that formats.md demands; NULL with "PATH: what is wrong". */
spd_safetensors *spd_safetensors_open(spd_context *context, const char *path);
void spd_safetensors_close(spd_safetensors *file); /* NULL allowed */
int spd_safetensors_count(const spd_safetensors *file);
const char *spd_safetensors_name(const spd_safetensors *file, int i);    /* in file order */
int spd_safetensors_find(const spd_safetensors *file, const char *name); /* -1 if absent */
const char *spd_safetensors_dtype(const spd_safetensors *file, int i);   /* "F32", "BF16", ... */
const int64_t *spd_safetensors_shape(const spd_safetensors *file, int i, int *dimensions);
/* A tensor of its own: F64, F32, F16, BF16 as SPD_REAL; I64, I32, I16, I8, U8, BOOL as SPD_INT32 (out of range
** is an error). */
spd_tensor *spd_safetensors_read(const spd_safetensors *file, int i);
/* Metadata pairs in file order; NULL past the end. */
const char *spd_safetensors_metadata(const spd_safetensors *file, int i, const char **value);
/* Write atomically: a temporary name in the same folder, fsync, rename. Reals are stored as F32 (F64 in
** the double build), int32 as I32; metadata is pairs of strings, 2 * metadata_count of them. */
bool spd_safetensors_write(spd_context *context, const char *path, int count, const char *const *names,
                           spd_tensor *const *tensors, int metadata_count, const char *const *metadata);

#endif
