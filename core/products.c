/*
** A list of the products that were computed, and the same products again: what a training step would take if it did
** nothing else.
*/
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"

enum { OPERANDS = 3 }; /* a, b and the result */

/* A product as it was made: its kind, where its operands lay, and in which parallel loop. */
typedef struct {
  size_t kind;
  const spd_real *at[OPERANDS];
  unsigned long loop;
} made_product;

/* Memory that operands lay in: stretches without gaps, in ascending order, and where each begins in a copy of all. */
typedef struct {
  const spd_real *begin, *end;
  size_t offset; /* numbers */
} stretch;

/* Zeros in place of what lay there. */
typedef struct {
  stretch *stretches;
  size_t count, capacity; /* of the stretches */
  spd_real *numbers;
  size_t bytes;
} memory_copy;

struct spd_product_list {
  spd_context *context;
  pthread_mutex_t mutex; /* products are made on all threads */
  bool open, failed;
  spd_recorded_product *kinds; /* no two alike but in their count */
  size_t kind_count, kind_capacity;
  made_product *made; /* in their order */
  size_t made_count, made_capacity;
  memory_copy copy; /* to make them again */
};

/* ---- recording ----------------------------------------------------------------------------------- */

static bool are_alike(const spd_recorded_product *x, const spd_recorded_product *y) {
  return x->m == y->m && x->n == y->n && x->k == y->k && x->transpose_a == y->transpose_a &&
         x->transpose_b == y->transpose_b && x->add == y->add && x->stride_a == y->stride_a &&
         x->stride_b == y->stride_b && x->stride_out == y->stride_out;
}

/* The number of its kind in the list; that of all kinds if there is no memory for a new one. */
static size_t find_kind(spd_product_list *list, const spd_recorded_product *product) {
  for (size_t i = 0; i < list->kind_count; i++)
    if (are_alike(&list->kinds[i], product)) return i;
  if (!spd_grow_list(list->context, (void **)&list->kinds, &list->kind_capacity, list->kind_count, sizeof *list->kinds))
    return list->kind_count;
  list->kinds[list->kind_count] = *product;
  return list->kind_count++;
}

static void add_product(spd_product_list *list, const spd_recorded_product *product, const made_product *made) {
  const size_t kind = find_kind(list, product);
  if (kind == list->kind_count ||
      !spd_grow_list(list->context, (void **)&list->made, &list->made_capacity, list->made_count, sizeof *list->made)) {
    list->failed = true;
    return;
  }
  list->kinds[kind].count++;
  list->made[list->made_count] = *made;
  list->made[list->made_count++].kind = kind;
}

void spd_note_product(const spd_context *context, const spd_recorded_product *product, const spd_real *a,
                      const spd_real *b, const spd_real *out) {
  spd_product_list *list = spd_context_products(context);
  if (list == NULL || !list->open) return;
  pthread_mutex_lock(&list->mutex);
  add_product(list, product, &(made_product){.at = {a, b, out}, .loop = spd_parallel_loops(context)});
  pthread_mutex_unlock(&list->mutex);
}

spd_product_list *spd_product_list_new(spd_context *context) {
  spd_product_list *list = spd_allocate(context, sizeof *list);
  if (list == NULL) return NULL;
  list->context = context;
  pthread_mutex_init(&list->mutex, NULL);
  return list;
}

static void forget_copy(spd_product_list *list) {
  spd_deallocate(list->context, list->copy.stretches, list->copy.capacity * sizeof *list->copy.stretches);
  spd_deallocate(list->context, list->copy.numbers, list->copy.bytes);
  list->copy = (memory_copy){0};
}

void spd_product_list_free(spd_product_list *list) {
  if (list == NULL) return;
  forget_copy(list);
  pthread_mutex_destroy(&list->mutex);
  spd_deallocate(list->context, list->kinds, list->kind_capacity * sizeof *list->kinds);
  spd_deallocate(list->context, list->made, list->made_capacity * sizeof *list->made);
  spd_deallocate(list->context, list, sizeof *list);
}

void spd_product_list_open(spd_product_list *list, bool open) {
  if (open) {
    forget_copy(list);
    list->kind_count = list->made_count = 0;
    list->failed = false;
  }
  list->open = open;
}

const spd_recorded_product *spd_recorded_products(spd_context *context, size_t *count) {
  static const spd_recorded_product none[1];
  const spd_product_list *list = spd_context_products(context);
  *count = list == NULL ? 0 : list->kind_count;
  if (list != NULL && list->failed) {
    spd_fail(context, "not enough memory to record products");
    return NULL;
  }
  return *count == 0 ? none : list->kinds;
}

/* ---- where operands lie -------------------------------------------------------------------------- */

static int by_address(const void *x, const void *y) {
  const stretch *a = x, *b = y;
  return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static stretch operand_of(const spd_recorded_product *p, const made_product *made, int operand) {
  const int64_t rows[OPERANDS] = {p->transpose_a ? p->k : p->m, p->transpose_b ? p->n : p->k, p->m};
  const int64_t columns[OPERANDS] = {p->transpose_a ? p->m : p->k, p->transpose_b ? p->k : p->n, p->n};
  const int64_t strides[OPERANDS] = {p->stride_a, p->stride_b, p->stride_out};
  const spd_real *begin = made->at[operand];
  const bool empty = rows[operand] < 1 || columns[operand] < 1;
  return (stretch){begin, empty ? begin : begin + (rows[operand] - 1) * strides[operand] + columns[operand], 0};
}

/* Joins what touches, and lays the rest one after the other; returns their number. */
static size_t join(stretch *list, size_t count, size_t *numbers) {
  enum { LINE = 64 / sizeof(spd_real) }; /* each keeps its place in a line of the cache */
  size_t kept = 0;
  qsort(list, count, sizeof *list, by_address);
  for (size_t i = 0; i < count; i++) {
    stretch *last = &list[kept - (kept > 0)];
    if (kept > 0 && list[i].begin <= last->end)
      last->end = list[i].end > last->end ? list[i].end : last->end;
    else
      list[kept++] = list[i];
  }
  *numbers = 0;
  for (size_t i = 0; i < kept; i++) {
    list[i].offset = *numbers + ((uintptr_t)list[i].begin / sizeof(spd_real)) % LINE;
    *numbers = (list[i].offset + (size_t)(list[i].end - list[i].begin) + LINE - 1) / LINE * LINE;
  }
  return kept;
}

static size_t offset_of(const stretch *list, size_t count, const spd_real *address) {
  size_t low = 0;
  for (size_t high = count; high - low > 1;) {
    const size_t middle = low + (high - low) / 2;
    if (list[middle].begin <= address)
      low = middle;
    else
      high = middle;
  }
  return list[low].offset + (size_t)(address - list[low].begin);
}

static bool copy_memory(spd_product_list *list) {
  memory_copy *copy = &list->copy;
  size_t numbers;
  copy->capacity = list->made_count * OPERANDS;
  copy->stretches = spd_allocate(list->context, copy->capacity * sizeof *copy->stretches);
  if (copy->stretches == NULL) copy->capacity = 0;
  for (size_t i = 0; i < copy->capacity; i++) {
    const made_product *made = &list->made[i / OPERANDS];
    copy->stretches[i] = operand_of(&list->kinds[made->kind], made, (int)(i % OPERANDS));
  }
  if (copy->stretches == NULL) return false;
  copy->count = join(copy->stretches, copy->capacity, &numbers);
  copy->numbers = spd_allocate(list->context, numbers * sizeof(spd_real));
  copy->bytes = copy->numbers == NULL ? 0 : numbers * sizeof(spd_real);
  if (copy->numbers != NULL) return true;
  forget_copy(list);
  return false;
}

/* ---- again --------------------------------------------------------------------------------------- */

typedef struct {
  const spd_product_list *list;
  size_t first; /* product of the loop */
} loop;

static void repeat_product(void *argument, int64_t i, int worker) {
  (void)worker;
  const loop *job = argument;
  const memory_copy *copy = &job->list->copy;
  const made_product *made = &job->list->made[job->first + (size_t)i];
  const spd_recorded_product *p = &job->list->kinds[made->kind];
  spd_real *at[OPERANDS];
  for (int operand = 0; operand < OPERANDS; operand++)
    at[operand] = copy->numbers + offset_of(copy->stretches, copy->count, made->at[operand]);
  spd_call_blas(p->transpose_a, p->transpose_b, p->m, p->n, p->k, 1, at[0], p->stride_a, at[1], p->stride_b,
                p->add ? 1 : 0, at[2], p->stride_out);
}

bool spd_repeat_products(spd_context *context) {
  size_t kinds, next;
  if (spd_recorded_products(context, &kinds) == NULL) return false;
  if (kinds == 0) return true;
  spd_product_list *list = spd_context_products(context);
  if (list->copy.numbers == NULL && !copy_memory(list)) return false;
  for (loop job = {.list = list}; job.first < list->made_count; job.first = next) {
    next = job.first + 1;
    while (next < list->made_count && list->made[next].loop == list->made[job.first].loop) next++;
    spd_parallel(context, (int64_t)(next - job.first), repeat_product, &job);
  }
  return true;
}
