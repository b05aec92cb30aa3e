/*
** Operators in Lua. While a tape is open they record on the innermost one and return a value; otherwise
** they compute at once and return a tensor.
*/
#include "tape.h"

/* The tape to record on: the innermost open one, or one that computes at once. Leaves `arguments` arguments on the stack,
** and in the second case a box for the result above them. Until finish() no Lua code may run, which could close the tape
** or an argument: arguments that are tables are read before, and nothing is allocated, since any allocation can run
** finalizers. */
static spdL_tape begin(lua_State *L, int arguments) {
  spdL_state *state = spdL_get_state(L);
  spdL_check_count(L, arguments);
  lua_settop(L, arguments);
  if (state->open == NULL) spdL_new_tensor_box(L);
  if (state->open != NULL) return *state->open;
  if (state->immediate == NULL) state->immediate = spd_tape_new(state->context);
  if (state->immediate == NULL) spdL_call_error(L);
  spd_tape_reset(state->immediate); /* an error may have left something */
  return (spdL_tape){.tape = state->immediate, .number = 0};
}

static int finish(lua_State *L, const spdL_tape *tape, spd_value value) {
  if (tape->number != 0) {
    spdL_push_value(L, tape, value);
    return 1;
  }
  if (!spd_ok(value)) return spdL_call_error(L);
  spd_tensor **box = lua_touserdata(L, -1); /* from begin() */
  *box = spd_read(tape->tape, value);
  spd_tape_reset(tape->tape);
  if (*box == NULL) return spdL_call_error(L);
  spdL_account(L, *box);
  return 1;
}

/* ---- by the number of operands ------------------------------------------------------------- */

static int unary(lua_State *L, spd_value function(spd_tape *, spd_value)) {
  const spdL_tape tape = begin(L, 1);
  return finish(L, &tape, function(tape.tape, spdL_check_value(L, 1, &tape)));
}

static int binary(lua_State *L, spd_value function(spd_tape *, spd_value, spd_value)) {
  const spdL_tape tape = begin(L, 2);
  const spd_value a = spdL_check_value(L, 1, &tape), b = spdL_check_value(L, 2, &tape);
  return finish(L, &tape, function(tape.tape, a, b));
}

#define UNARY(name) \
  static int core_##name(lua_State *L) { return unary(L, spd_##name); }
#define BINARY(name) \
  static int core_##name(lua_State *L) { return binary(L, spd_##name); }

UNARY(transpose)
UNARY(absolute)
UNARY(relu)
UNARY(gelu)
UNARY(gelu_tanh)
UNARY(silu)
UNARY(lower_leaky)
UNARY(upper_leaky)
UNARY(sum)
UNARY(sum_rows)
UNARY(sum_columns)
BINARY(matmul)
BINARY(add_bias)
BINARY(embedding)
BINARY(squared_error)
BINARY(softmax_kl)
BINARY(cross_entropy)

static int core_affine(lua_State *L) {
  const spdL_tape tape = begin(L, 3);
  const double scale = spdL_check_number(L, 2), shift = lua_isnil(L, 3) ? 0 : spdL_check_number(L, 3);
  return finish(L, &tape, spd_affine(tape.tape, spdL_check_value(L, 1, &tape), scale, shift));
}

static int core_power(lua_State *L) {
  const spdL_tape tape = begin(L, 2);
  const double exponent = spdL_check_number(L, 2);
  return finish(L, &tape, spd_power(tape.tape, spdL_check_value(L, 1, &tape), exponent));
}

static int core_greater(lua_State *L) {
  const spdL_tape tape = begin(L, 2);
  const double threshold = spdL_check_number(L, 2);
  return finish(L, &tape, spd_greater(tape.tape, spdL_check_value(L, 1, &tape), threshold));
}

static int core_reshape(lua_State *L) {
  int64_t shape[SPD_MAX_DIMENSIONS];
  if (lua_istable(L, 2)) spdL_check_count(L, 2);
  const int dimensions = spdL_check_shape(L, 2, shape);
  lua_settop(L, 1); /* the sizes are read */
  const spdL_tape tape = begin(L, 1);
  return finish(L, &tape, spd_reshape(tape.tape, spdL_check_value(L, 1, &tape), dimensions, shape));
}

static int core_linear(lua_State *L) {
  const spdL_tape tape = begin(L, 3);
  const spd_value x = spdL_check_value(L, 1, &tape), weight = spdL_check_value(L, 2, &tape);
  spd_value y = spd_matmul(tape.tape, x, spd_transpose(tape.tape, weight));
  if (!lua_isnil(L, 3)) y = spd_add_bias(tape.tape, y, spdL_check_value(L, 3, &tape));
  return finish(L, &tape, y);
}

static int core_columns(lua_State *L) {
  const spdL_tape tape = begin(L, 3);
  const lua_Integer first = spdL_check_integer(L, 2), count = spdL_check_integer(L, 3);
  return finish(L, &tape, spd_columns(tape.tape, spdL_check_value(L, 1, &tape), first, count));
}

static int core_rms_norm(lua_State *L) {
  const spdL_tape tape = begin(L, 3);
  const double epsilon = spdL_check_number(L, 3);
  const spd_value x = spdL_check_value(L, 1, &tape), weight = spdL_check_value(L, 2, &tape);
  return finish(L, &tape, spd_rms_norm(tape.tape, x, weight, epsilon));
}

static int core_layer_norm(lua_State *L) {
  const spdL_tape tape = begin(L, 4);
  const double epsilon = spdL_check_number(L, 4);
  spd_value input[3];
  for (int i = 0; i < 3; i++) input[i] = spdL_check_value(L, i + 1, &tape);
  return finish(L, &tape, spd_layer_norm(tape.tape, input[0], input[1], input[2], epsilon));
}

static int core_rotary(lua_State *L) {
  const spdL_tape tape = begin(L, 3);
  spd_value input[3];
  for (int i = 0; i < 3; i++) input[i] = spdL_check_value(L, i + 1, &tape);
  return finish(L, &tape, spd_rotary(tape.tape, input[0], input[1], input[2]));
}

static int core_compact(lua_State *L) {
  const spdL_tape tape = begin(L, 1);
  spd_tensor *tensor = spdL_check_tensor(L, 1);
  if (tape.number == 0) {
    lua_settop(L, 1);
    return 1;
  }
  return finish(L, &tape, spd_leaf_compact(tape.tape, tensor));
}

static int core_attention(lua_State *L) {
  const spdL_tape tape = begin(L, 6);
  const int64_t heads = spdL_check_integer(L, 4);
  const double scale = spdL_check_number(L, 5);
  const int64_t window = lua_isnil(L, 6) ? 0 : spdL_check_integer(L, 6);
  const spd_value q = spdL_check_value(L, 1, &tape), k = spdL_check_value(L, 2, &tape),
                  v = spdL_check_value(L, 3, &tape);
  return finish(L, &tape, spd_attention(tape.tape, q, k, v, heads, scale, window));
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

/* a + b, a - b with numbers on either side: scale and shift. */
static int add_scaled(lua_State *L, double scale_b, spd_value function(spd_tape *, spd_value, spd_value)) {
  const bool left = lua_type(L, 1) == LUA_TNUMBER, right = lua_type(L, 2) == LUA_TNUMBER;
  if (!left && !right) return binary(L, function);
  const spdL_tape tape = begin(L, 2);
  const spd_value x = spdL_check_value(L, left ? 2 : 1, &tape);
  if (left) return finish(L, &tape, spd_affine(tape.tape, x, scale_b, lua_tonumber(L, 1)));
  return finish(L, &tape, spd_affine(tape.tape, x, 1, scale_b * lua_tonumber(L, 2)));
}

static int core_add(lua_State *L) { return add_scaled(L, 1, spd_add); }
static int core_subtract(lua_State *L) { return add_scaled(L, -1, spd_subtract); }

static int core_multiply(lua_State *L) {
  const bool left = lua_type(L, 1) == LUA_TNUMBER, right = lua_type(L, 2) == LUA_TNUMBER;
  if (!left && !right) return binary(L, spd_multiply);
  const spdL_tape tape = begin(L, 2);
  return finish(L, &tape,
                spd_affine(tape.tape, spdL_check_value(L, left ? 2 : 1, &tape), lua_tonumber(L, left ? 1 : 2), 0));
}

static int core_divide(lua_State *L) {
  const spdL_tape tape = begin(L, 2);
  const double divisor = spdL_check_number(L, 2);
  return finish(L, &tape, spd_affine(tape.tape, spdL_check_value(L, 1, &tape), 1 / divisor, 0));
}

static int core_negate(lua_State *L) {
  lua_settop(L, 1); /* Lua passes the operand twice */
  const spdL_tape tape = begin(L, 1);
  return finish(L, &tape, spd_affine(tape.tape, spdL_check_value(L, 1, &tape), -1, 0));
}

/* ---- SPD ----------------------------------------------------------------------------------- */

static int core_gate_mlp(lua_State *L) {
  const spdL_tape tape = begin(L, 5);
  spd_value input[5];
  for (int i = 0; i < 5; i++) input[i] = spdL_check_value(L, i + 1, &tape);
  return finish(L, &tape, spd_gate_mlp(tape.tape, input[0], input[1], input[2], input[3], input[4]));
}

static int core_gate_linear(lua_State *L) {
  const spdL_tape tape = begin(L, 3);
  spd_value input[3];
  for (int i = 0; i < 3; i++) input[i] = spdL_check_value(L, i + 1, &tape);
  return finish(L, &tape, spd_gate_linear(tape.tape, input[0], input[1], input[2]));
}

static int core_stochastic_mask(lua_State *L) {
  const bool named = lua_istable(L, 3);
  const spd_draw draw = named ? spdL_check_draw(L, 3) : (spd_draw){0};
  const spdL_tape tape = begin(L, 3);
  const spd_value h = spdL_check_value(L, 1, &tape), g = spdL_check_value(L, 2, &tape);
  if (named) return finish(L, &tape, spd_stochastic_mask(tape.tape, h, g, draw));
  return finish(L, &tape, spd_given_mask(tape.tape, h, g, spdL_check_value(L, 3, &tape)));
}

/* ---- data ---------------------------------------------------------------------------------- */

static double number_field(lua_State *L, int argument, const char *name, double otherwise) {
  lua_getfield(L, argument, name);
  if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
    luaL_error(L, "fill_sparse_features: %s must be a number, found %s", name, luaL_typename(L, -1));
  const double value = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
  lua_pop(L, 1);
  return value;
}

/* The number of features that are active in a row; 0 if it goes by probability. */
static int exactly_active(lua_State *L, int argument) {
  const double number = number_field(L, argument, "exactly_active", 0);
  if (!(number >= 0 && number <= INT32_MAX) || number != (double)(int)number)
    luaL_error(L, "fill_sparse_features: exactly_active must be an integer, 0 or more");
  return (int)number;
}

static int64_t last_size(const spd_tensor *tensor) {
  const int dimensions = spd_tensor_dimensions(tensor);
  return dimensions == 0 ? 1 : spd_tensor_shape(tensor)[dimensions - 1];
}

/* Tensors are looked at last: a metamethod of a table could close them. */
static int core_fill_sparse_features(lua_State *L) {
  static const char *const known[] = {"probability", "exactly_active", "low", "high", "group", NULL};
  spdL_check_count(L, 3);
  spdL_check_tensor(L, 1);
  spdL_check_table(L, 2);
  spdL_check_keys(L, 2, "fill_sparse_features", known);
  const spd_draw draw = spdL_check_draw(L, 3);
  spd_sparse_features settings = {.probability = number_field(L, 2, "probability", 0),
                                  .exactly_active = exactly_active(L, 2),
                                  .low = number_field(L, 2, "low", 0),
                                  .high = number_field(L, 2, "high", 1)};
  lua_getfield(L, 2, "group");
  spd_tensor *tensor = spdL_check_tensor(L, 1);
  if (!lua_isnil(L, -1)) {
    const spd_tensor *group = spdL_test_tensor(L, -1);
    settings.group = group == NULL ? NULL : spd_tensor_int32(group);
    spdL_argument_check(L, settings.group != NULL && spd_tensor_count(group) == last_size(tensor), 2,
                        "group: expected an int32 tensor [features]");
  }
  if (!spd_fill_sparse_features(tensor, settings, draw)) return spdL_call_error(L);
  lua_settop(L, 1);
  return 1;
}

/* ---- registration -------------------------------------------------------------------------- */

static const spdL_function functions[] = {
    {"transpose", core_transpose, "transpose(x) -> y\n[m, n] -> [n, m]. On a tape this costs nothing."},
    {"reshape", core_reshape, "reshape(x, d1, d2, ...) -> y\nThe same elements in another shape."},
    {"matmul", core_matmul,
     "matmul(a, b) -> y\n"
     "Matrix product: [..., k] [k, n] -> [..., n]. On a tape, that of a wide sum of products may be computed term by term."},
    {"linear", core_linear,
     "linear(x, weight [, bias]) -> y\n"
     "A linear layer: y = x weight^T + bias, with x [..., d_in], weight [d_out, d_in], bias [d_out]."},
    {"add_bias", core_add_bias, "add_bias(x, bias) -> y\nAdd a vector [n] to each row of x [..., n]."},
    {"embedding", core_embedding,
     "embedding(ids, table) -> y\nRows of table [vocabulary, d] by int32 ids [...], counted from 0 -> [..., d]."},
    {"add", core_add, "add(a, b) -> y\nAlso a + b. Shapes must agree; one of them may be a number."},
    {"subtract", core_subtract, "subtract(a, b) -> y\nAlso a - b. Shapes must agree; one of them may be a number."},
    {"multiply", core_multiply,
     "multiply(a, b) -> y\nAlso a * b, elementwise. Shapes must agree; one of them may be a number."},
    {"affine", core_affine, "affine(x, scale [, shift]) -> y\nscale x + shift, elementwise, with two numbers."},
    {"power", core_power,
     "power(x, exponent) -> y\nx^exponent elementwise, for x >= 0 and exponent > 0. No gradient passes where x = 0."},
    {"greater", core_greater,
     "greater(x, threshold) -> y\n1 where x > threshold, else 0, elementwise. No gradient passes."},
    {"absolute", core_absolute, "absolute(x) -> y\n|x|, elementwise."},
    {"relu", core_relu, "relu(x) -> y\nmax(x, 0), elementwise."},
    {"gelu", core_gelu, "gelu(x) -> y\nx Phi(x), elementwise, with the exact normal distribution function."},
    {"gelu_tanh", core_gelu_tanh,
     "gelu_tanh(x) -> y\nx/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), elementwise: an approximation of gelu."},
    {"silu", core_silu, "silu(x) -> y\nx / (1 + exp(-x)), elementwise."},
    {"rms_norm", core_rms_norm,
     "rms_norm(x, weight, epsilon) -> y\n"
     "Each row of x [..., n] over the root of its mean square, times weight [n]: weight x / sqrt(mean(x^2) + epsilon)."},
    {"layer_norm", core_layer_norm,
     "layer_norm(x, weight, bias, epsilon) -> y\n"
     "Each row of x [..., n] with mean 0 and variance 1, times weight [n], plus bias [n]: with the deviations d from\n"
     "the row's mean, weight d / sqrt(mean(d^2) + epsilon) + bias."},
    {"rotary", core_rotary,
     "rotary(x, cosine, sine) -> y\n"
     "Rotary position embedding of x [..., T, heads d]: columns i and i + d/2 of each head are turned by the angle\n"
     "whose cosine and sine are in column i of the tables [P, d/2], P >= T, in the row of the position, which is the\n"
     "index in the last dimension but one. No gradient passes to the tables."},
    {"columns", core_columns,
     "columns(x, first, count) -> y\n"
     "Columns first ... first + count - 1 of x [..., n], counted from 0 -> [..., count]."},
    {"lower_leaky", core_lower_leaky,
     "lower_leaky(x) -> g\nThe causal importance for masks: 0.01x below 0, x in [0, 1], 1 above."},
    {"upper_leaky", core_upper_leaky,
     "upper_leaky(x) -> g\nThe causal importance for minimality: 0 below 0, x in [0, 1], 1 + 0.01(x - 1) above."},
    {"sum", core_sum, "sum(x) -> scalar\nThe sum of all elements."},
    {"sum_rows", core_sum_rows, "sum_rows(x) -> y\nSum over all dimensions but the last: [..., n] -> [n]."},
    {"sum_columns", core_sum_columns, "sum_columns(x) -> y\nSum over the last dimension: [..., n] -> [...]."},
    {"squared_error", core_squared_error, "squared_error(a, b) -> scalar\nThe sum of (a - b)^2 over all elements."},
    {"softmax_kl", core_softmax_kl,
     "softmax_kl(target, prediction) -> scalar\n"
     "KL(softmax(target) || softmax(prediction)) over the last dimension, averaged over all rows."},
    {"cross_entropy", core_cross_entropy,
     "cross_entropy(logits, labels) -> scalar\n"
     "Mean of -log softmax(logits)[label] over the rows whose label is not negative: logits [..., n], int32 labels [...]\n"
     "counted from 0; 0 where no row counts."},
    {"attention", core_attention,
     "attention(q, k, v, heads, scale [, window]) -> y\n"
     "Causal attention: q [B, T, heads*d], k and v [B, T, kv_heads*d] -> [B, T, heads*d]. Row i of a head is the mean of\n"
     "rows j <= i of v, weighted with the softmax over j of scale q_i . k_j. Each head of k and v serves heads/kv_heads\n"
     "neighbouring heads of q. With a window above 0, row i sees only the rows j > i - window."},
    {"compact", core_compact,
     "compact(x) -> value\n"
     "Put a batch x [..., n] on the tape with its all-zero rows kept once and counted with their number: every\n"
     "result stays the same and sparse data costs less. Outside of a tape: x itself."},
    {"gate_mlp", core_gate_mlp,
     "gate_mlp(h, w1, b1, w2, b2) -> x\n"
     "Pre-sigmoid causal importances [..., C] of inner activations h [..., C], from one small MLP per subcomponent:\n"
     "w2_c . gelu(w1_c h_c + b1_c) + b2_c, with w1, b1, w2 [C, n] and b2 [C]."},
    {"gate_linear", core_gate_linear,
     "gate_linear(h, w, b) -> x\n"
     "Pre-sigmoid causal importances w_c h_c + b_c [..., C] of inner activations h [..., C], with w, b [C]."},
    {"stochastic_mask", core_stochastic_mask,
     "stochastic_mask(h, g, draw) -> y\n"
     "Inner activations under a stochastic mask: h * (g + (1 - g) r) with r ~ U[0, 1), for h and g [..., C].\n"
     "draw = {seed =, purpose =, matrix =, sample =, step =} names the numbers r, which are made where they are\n"
     "used; a tensor r [..., C] can be given instead, to which no gradient passes."},
    {"fill_sparse_features", core_fill_sparse_features,
     "fill_sparse_features(x, settings, draw) -> x\n"
     "Overwrite x [rows, features] with sparse data: each feature active with settings.probability, or exactly\n"
     "settings.exactly_active of them in a row; active ones uniform in [settings.low, settings.high).\n"
     "settings.group, an int32 tensor [features]: the smallest number, from 0, of each feature's group; the features of a\n"
     "group are active together."},
    {NULL, NULL, NULL}};

static const luaL_Reg arithmetic[] = {{"__add", core_add},    {"__sub", core_subtract}, {"__mul", core_multiply},
                                      {"__div", core_divide}, {"__unm", core_negate},   {NULL, NULL}};

/* What also works as a method: t:relu(). */
static const char *const methods[] = {"transpose", "reshape", "matmul",   "power",       "absolute", "relu",
                                      "gelu",      "sum",     "sum_rows", "sum_columns", NULL};

static void add_methods(lua_State *L, const char *metatable) {
  luaL_getmetatable(L, metatable);
  luaL_setfuncs(L, arithmetic, 0);
  lua_getfield(L, -1, "methods");
  for (const char *const *name = methods; *name != NULL; name++) {
    lua_getfield(L, -3, *name);
    lua_setfield(L, -2, *name);
  }
  lua_pop(L, 2);
}

void spdL_open_operators(lua_State *L) {
  spdL_register(L, functions);
  add_methods(L, SPDL_NAME("tensor"));
  add_methods(L, SPDL_NAME("value"));
}
