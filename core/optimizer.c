/*
** AdamW over a list of parameters, with the update rule of PyTorch's single-tensor version:
** x *= 1 - rate * decay; m += (1 - beta1)(g - m); v = beta2 v + (1 - beta2) g^2;
** x -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon).
*/
#include <math.h>
#include <string.h>

#include "context.h"
#include "kernels/kernels.h"
#include "tensor.h"

typedef struct {
  spd_tensor *parameter, *first_moment, *second_moment;
  spd_tensor *delta; /* of a tied parameter and of its partner: the change of this step */
  int transposed_of; /* index of the partner, or -1 */
} entry;

struct spd_adamw {
  spd_context *context;
  spd_adamw_settings settings;
  uint64_t steps;
  entry *entries;
  int count, capacity;
};

spd_adamw *spd_adamw_new(spd_context *context, spd_adamw_settings settings) {
  spd_adamw *optimizer = spd_allocate(context, sizeof *optimizer);
  if (optimizer == NULL) return NULL;
  *optimizer = (spd_adamw){.context = spd_context_retain(context), .settings = settings};
  return optimizer;
}

static void release(entry *e) {
  spd_tensor_release(e->parameter);
  spd_tensor_release(e->first_moment);
  spd_tensor_release(e->second_moment);
  spd_tensor_release(e->delta);
}

void spd_adamw_free(spd_adamw *optimizer) {
  if (optimizer == NULL) return;
  for (int i = 0; i < optimizer->count; i++) release(&optimizer->entries[i]);
  spd_context *context = optimizer->context;
  spd_deallocate(context, optimizer->entries, (size_t)optimizer->capacity * sizeof *optimizer->entries);
  spd_deallocate(context, optimizer, sizeof *optimizer);
  spd_context_release(context);
}

static bool grow(spd_adamw *optimizer) {
  if (optimizer->count < optimizer->capacity) return true;
  const int larger = optimizer->capacity == 0 ? 16 : 2 * optimizer->capacity;
  entry *entries = spd_allocate(optimizer->context, (size_t)larger * sizeof *entries);
  if (entries == NULL) return false;
  if (optimizer->count > 0) memcpy(entries, optimizer->entries, (size_t)optimizer->count * sizeof *entries);
  spd_deallocate(optimizer->context, optimizer->entries, (size_t)optimizer->capacity * sizeof *entries);
  optimizer->entries = entries;
  optimizer->capacity = larger;
  return true;
}

static int find(const spd_adamw *optimizer, const spd_tensor *parameter) {
  for (int i = 0; i < optimizer->count; i++)
    if (optimizer->entries[i].parameter == parameter) return i;
  return -1;
}

static bool tie(spd_adamw *optimizer, entry *e, const spd_tensor *partner) {
  const spd_tensor *p = e->parameter;
  e->transposed_of = find(optimizer, partner);
  if (e->transposed_of < 0) return spd_fail(optimizer->context, "adamw: a tied parameter must follow its partner");
  entry *other = &optimizer->entries[e->transposed_of];
  if (p->dimensions != 2 || partner->dimensions != 2 || p->shape[0] != partner->shape[1] ||
      p->shape[1] != partner->shape[0])
    return spd_fail(optimizer->context, "adamw: a tied parameter must have the transposed shape of its partner");
  if (other->delta != NULL || other->transposed_of >= 0)
    return spd_fail(optimizer->context, "adamw: a parameter can be tied to one other");
  e->delta = spd_tensor_new(optimizer->context, SPD_REAL, p->dimensions, p->shape);
  if (e->delta == NULL) return false;
  other->delta = spd_tensor_new(optimizer->context, SPD_REAL, partner->dimensions, partner->shape);
  return other->delta != NULL;
}

bool spd_adamw_add(spd_adamw *optimizer, spd_tensor *parameter, spd_tensor *transposed_of) {
  spd_context *context = optimizer->context;
  if (parameter->gradient == NULL) return spd_fail(context, "adamw: a tensor that is not a parameter");
  if (find(optimizer, parameter) >= 0) return spd_fail(context, "adamw: a parameter was added twice");
  if (!grow(optimizer)) return false;
  entry e = {.parameter = spd_tensor_retain(parameter), .transposed_of = -1};
  e.first_moment = spd_tensor_new(context, SPD_REAL, parameter->dimensions, parameter->shape);
  e.second_moment = spd_tensor_new(context, SPD_REAL, parameter->dimensions, parameter->shape);
  if (e.first_moment == NULL || e.second_moment == NULL ||
      (transposed_of != NULL && !tie(optimizer, &e, transposed_of))) {
    release(&e);
    return false;
  }
  optimizer->entries[optimizer->count++] = e;
  return true;
}

/* Apply both changes to the partner, and make the tied parameter its transpose again. */
static void apply_tied(entry *first, entry *second) {
  spd_real *x = spd_tensor_write_real(first->parameter), *y = spd_tensor_write_real(second->parameter);
  const spd_real *dx = spd_tensor_real(first->delta), *dy = spd_tensor_real(second->delta);
  const int64_t rows = first->parameter->shape[0], columns = first->parameter->shape[1];
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      x[i * columns + j] += dx[i * columns + j] + dy[j * rows + i];
      y[j * rows + i] = x[i * columns + j];
    }
}

typedef struct {
  spd_adamw *optimizer;
  double decay, rate1, correction2;
} update;

static void update_entry(void *argument, int64_t i, int worker) {
  (void)worker;
  const update *u = argument;
  const spd_adamw_settings *s = &u->optimizer->settings;
  entry *e = &u->optimizer->entries[i];
  spd_context_kernels(u->optimizer->context)
      ->adamw(spd_tensor_write_real(e->parameter), e->delta == NULL ? NULL : spd_tensor_write_real(e->delta),
              spd_tensor_write_real(e->first_moment), spd_tensor_write_real(e->second_moment),
              spd_tensor_real(e->parameter->gradient), spd_tensor_count(e->parameter), u->decay, u->rate1,
              u->correction2, s->beta1, s->beta2, s->epsilon);
}

bool spd_adamw_step(spd_adamw *optimizer, double learning_rate) {
  const spd_adamw_settings *s = &optimizer->settings;
  const double t = (double)++optimizer->steps;
  update u = {.optimizer = optimizer,
              .decay = 1 - learning_rate * s->weight_decay,
              .rate1 = learning_rate / (1 - pow(s->beta1, t)),
              .correction2 = sqrt(1 - pow(s->beta2, t))};
  spd_parallel(optimizer->context, optimizer->count, update_entry, &u);
  for (int i = 0; i < optimizer->count; i++) {
    entry *e = &optimizer->entries[i];
    if (e->transposed_of >= 0) apply_tied(&optimizer->entries[e->transposed_of], e);
  }
  return true;
}

void spd_adamw_zero_gradients(spd_adamw *optimizer) {
  for (int i = 0; i < optimizer->count; i++) {
    spd_tensor *gradient = optimizer->entries[i].parameter->gradient;
    memset(spd_tensor_write_real(gradient), 0, gradient->bytes);
  }
}

double spd_adamw_gradient_norm(const spd_adamw *optimizer) {
  double sum = 0;
  for (int i = 0; i < optimizer->count; i++) {
    const spd_tensor *gradient = optimizer->entries[i].parameter->gradient;
    const spd_real *g = spd_tensor_real(gradient);
    for (int64_t j = 0; j < spd_tensor_count(gradient); j++) sum += (double)g[j] * (double)g[j];
  }
  return sqrt(sum);
}

int spd_adamw_count(const spd_adamw *optimizer) { return optimizer->count; }
uint64_t spd_adamw_steps(const spd_adamw *optimizer) { return optimizer->steps; }
void spd_adamw_set_steps(spd_adamw *optimizer, uint64_t steps) { optimizer->steps = steps; }
spd_tensor *spd_adamw_first_moment(spd_adamw *optimizer, int i) { return optimizer->entries[i].first_moment; }
spd_tensor *spd_adamw_second_moment(spd_adamw *optimizer, int i) { return optimizer->entries[i].second_moment; }
