/*
** Products by BLAS, and a list of those that were computed: what a training step would take if it did nothing else.
*/
#include "blas.h"

#include <cblas.h>
#include <pthread.h>
#include <string.h>

struct spd_product_list {
  spd_context *context;
  pthread_mutex_t mutex; /* products are made on all threads */
  bool open, failed;
  spd_recorded_product *products; /* no two alike but in their count */
  size_t count, capacity;
};

static bool are_alike(const spd_recorded_product *x, const spd_recorded_product *y) {
  return x->m == y->m && x->n == y->n && x->k == y->k && x->transpose_a == y->transpose_a &&
         x->transpose_b == y->transpose_b && x->add == y->add && x->stride_a == y->stride_a &&
         x->stride_b == y->stride_b && x->stride_out == y->stride_out;
}

static void record(spd_product_list *list, const spd_recorded_product *product) {
  pthread_mutex_lock(&list->mutex);
  size_t i = 0;
  while (i < list->count && !are_alike(&list->products[i], product)) i++;
  if (i == list->count &&
      spd_grow_list(list->context, (void **)&list->products, &list->capacity, list->count, sizeof *list->products)) {
    list->products[list->count] = *product;
    list->products[list->count++].count = 0;
  }
  if (i < list->count)
    list->products[i].count++;
  else
    list->failed = true;
  pthread_mutex_unlock(&list->mutex);
}

static void call_blas(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, spd_real scale,
                      const spd_real *a, int64_t lda, const spd_real *b, int64_t ldb, spd_real keep, spd_real *c,
                      int64_t ldc) {
  const CBLAS_TRANSPOSE ta = transpose_a ? CblasTrans : CblasNoTrans, tb = transpose_b ? CblasTrans : CblasNoTrans;
#if defined(SPD_DOUBLE)
  cblas_dgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, scale, a, (int)lda, b, (int)ldb, keep, c, (int)ldc);
#else
  cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, scale, a, (int)lda, b, (int)ldb, keep, c, (int)ldc);
#endif
}

void spd_gemm(const spd_context *context, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
              spd_real scale, const spd_real *a, int64_t lda, const spd_real *b, int64_t ldb, spd_real keep,
              spd_real *c, int64_t ldc) {
  spd_product_list *list = spd_context_products(context);
  if (list != NULL && list->open)
    record(list, &(spd_recorded_product){m, n, k, lda, ldb, ldc, transpose_a, transpose_b, keep != 0, 0});
  call_blas(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, keep, c, ldc);
}

/* ---- the list ------------------------------------------------------------------------------------ */

spd_product_list *spd_product_list_new(spd_context *context) {
  spd_product_list *list = spd_allocate(context, sizeof *list);
  if (list == NULL) return NULL;
  list->context = context;
  pthread_mutex_init(&list->mutex, NULL);
  return list;
}

void spd_product_list_free(spd_product_list *list) {
  if (list == NULL) return;
  pthread_mutex_destroy(&list->mutex);
  spd_deallocate(list->context, list->products, list->capacity * sizeof *list->products);
  spd_deallocate(list->context, list, sizeof *list);
}

void spd_product_list_open(spd_product_list *list, bool open) {
  if (open) list->count = 0, list->failed = false;
  list->open = open;
}

const spd_recorded_product *spd_recorded_products(spd_context *context, size_t *count) {
  static const spd_recorded_product none[1];
  const spd_product_list *list = spd_context_products(context);
  *count = list == NULL ? 0 : list->count;
  if (*count == 0 && (list == NULL || !list->failed)) return none;
  if (list->failed) {
    spd_fail(context, "not enough memory to record products");
    return NULL;
  }
  return list->products;
}

/* ---- again --------------------------------------------------------------------------------------- */

/* Numbers of the buffers of a, b and the result. */
typedef struct {
  size_t a, b, out;
} sizes;

typedef struct {
  spd_context *context;
  const spd_recorded_product *product;
  sizes size; /* of the largest buffers */
} repeat_job;

static size_t most(size_t a, int64_t rows, int64_t stride) {
  const size_t b = (size_t)rows * (size_t)stride;
  return a > b ? a : b;
}

static void repeat_product(void *argument, int64_t i, int worker) {
  (void)i;
  const repeat_job *job = argument;
  const spd_recorded_product *p = job->product;
  spd_real *a = spd_scratch(job->context, worker), *b = a + job->size.a, *out = b + job->size.b;
  call_blas(p->transpose_a, p->transpose_b, p->m, p->n, p->k, 1, a, p->stride_a, b, p->stride_b, p->add ? 1 : 0, out,
            p->stride_out);
}

bool spd_repeat_products(spd_context *context) {
  size_t count;
  const spd_recorded_product *products = spd_recorded_products(context, &count);
  if (products == NULL) return false;
  if (count == 0) return true;
  repeat_job job = {.context = context};
  for (const spd_recorded_product *p = products; p < products + count; p++) {
    job.size.a = most(job.size.a, p->transpose_a ? p->k : p->m, p->stride_a);
    job.size.b = most(job.size.b, p->transpose_b ? p->n : p->k, p->stride_b);
    job.size.out = most(job.size.out, p->m, p->stride_out);
  }
  const size_t bytes = (job.size.a + job.size.b + job.size.out) * sizeof(spd_real);
  if (!spd_reserve_scratch(context, bytes)) return false;
  for (int worker = 0; worker < spd_threads(context); worker++) memset(spd_scratch(context, worker), 0, bytes);
  for (job.product = products; job.product < products + count; job.product++)
    spd_parallel(context, (int64_t)job.product->count, repeat_product, &job);
  return true;
}
