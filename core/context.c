/*
** The context: memory accounts, the last error, and a pool of worker threads.
**
** A parallel loop is published as a job: the caller takes part in it, workers join while it is open, and the
** caller closes it when no index is left and waits only for those that are inside. So a worker that
** is asleep or descheduled delays nobody. Workers spin a little before they sleep, because the
** operators of one training step follow each other within microseconds.
*/
#include "context.h"

#include <cblas.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

enum { ERROR_LENGTH = 1024, SPIN_ROUNDS = 2000, MAX_THREADS = 1024 };

typedef struct {
  spd_context *context;
  pthread_t thread;
  int number;
} worker;

struct spd_context {
  char error[ERROR_LENGTH];
  const spd_kernels *kernels;
  size_t live_bytes;
  uint64_t allocations, fail_at;
  uint32_t generations; /* of tapes */
  size_t owners;        /* who made it, and each object made from it */
  spd_product_list *products;
  /* the job, written by the caller while no worker is inside */
  spd_task *task;
  void *argument;
  int64_t count;
  atomic_llong next;
  atomic_ulong open; /* number of the open job, 0 between jobs */
  atomic_int inside, sleepers;
  unsigned long loops; /* so far; the number of the open job */
  bool stop;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  int threads;  /* the caller and threads - 1 workers */
  int capacity; /* of the next two lists */
  worker *workers;
  void **scratch;
  size_t scratch_bytes;
};

bool spd_fail(spd_context *context, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(context->error, sizeof context->error, format, arguments);
  va_end(arguments);
  return false;
}

const char *spd_error(const spd_context *context) { return context->error; }
size_t spd_live_bytes(const spd_context *context) { return context->live_bytes; }
uint64_t spd_allocation_count(const spd_context *context) { return context->allocations; }
void spd_fail_allocation(spd_context *context, uint64_t n) { context->fail_at = n == 0 ? 0 : context->allocations + n; }
int spd_threads(const spd_context *context) { return context->threads; }
const spd_kernels *spd_context_kernels(const spd_context *context) { return context->kernels; }
spd_product_list *spd_context_products(const spd_context *context) { return context->products; }

bool spd_record_products(spd_context *context, bool on) {
  if (context->products == NULL && on) context->products = spd_product_list_new(context);
  if (context->products != NULL) spd_product_list_open(context->products, on);
  return context->products != NULL || !on;
}

void spd_forget_products(spd_context *context) {
  spd_product_list_free(context->products);
  context->products = NULL;
}

const char *spd_instruction_set(const spd_context *context) { return context->kernels->name; }

bool spd_set_instruction_set(spd_context *context, const char *name) {
  const spd_kernels *kernels = spd_select_kernels(name);
  if (kernels == NULL) return spd_fail(context, "instruction set '%s': not on this processor", name);
  context->kernels = kernels;
  return true;
}

uint32_t spd_next_generation(spd_context *context) {
  if (++context->generations == 0) context->generations = 1;
  return context->generations;
}

/* ---- memory -------------------------------------------------------------------------------- */

void *spd_allocate_uninitialized(spd_context *context, size_t bytes) {
  void *memory = NULL;
  context->allocations++;
  if (context->allocations == context->fail_at || posix_memalign(&memory, 64, bytes == 0 ? 1 : bytes) != 0) {
    spd_fail(context, "not enough memory for %zu bytes", bytes);
    return NULL;
  }
  context->live_bytes += bytes;
  return memory;
}

void *spd_allocate(spd_context *context, size_t bytes) {
  void *memory = spd_allocate_uninitialized(context, bytes);
  if (memory != NULL) memset(memory, 0, bytes);
  return memory;
}

void spd_deallocate(spd_context *context, void *memory, size_t bytes) {
  if (memory == NULL) return;
  context->live_bytes -= bytes;
  free(memory);
}

bool spd_multiply_sizes(spd_context *context, size_t a, size_t b, size_t *product) {
  if (__builtin_mul_overflow(a, b, product)) return spd_fail(context, "size %zu x %zu does not fit in memory", a, b);
  return true;
}

bool spd_grow_list(spd_context *context, void **list, size_t *capacity, size_t count, size_t element) {
  if (count < *capacity) return true;
  const size_t larger = *capacity == 0 ? 64 : 2 * *capacity;
  void *moved = spd_allocate(context, larger * element);
  if (moved == NULL) return false;
  if (count > 0) memcpy(moved, *list, count * element);
  spd_deallocate(context, *list, *capacity * element);
  *list = moved;
  *capacity = larger;
  return true;
}

void spd_release_scratch(spd_context *context) {
  for (int i = 0; i < context->threads; i++) {
    spd_deallocate(context, context->scratch[i], context->scratch_bytes);
    context->scratch[i] = NULL;
  }
  context->scratch_bytes = 0;
}

bool spd_reserve_scratch(spd_context *context, size_t bytes) {
  if (bytes <= context->scratch_bytes) return true;
  spd_release_scratch(context);
  for (int i = 0; i < context->threads; i++) {
    context->scratch[i] = spd_allocate_uninitialized(context, bytes);
    if (context->scratch[i] == NULL) {
      while (i-- > 0) {
        spd_deallocate(context, context->scratch[i], bytes);
        context->scratch[i] = NULL;
      }
      return false;
    }
  }
  context->scratch_bytes = bytes;
  return true;
}

void *spd_scratch(const spd_context *context, int number) { return context->scratch[number]; }

/* ---- BLAS ---------------------------------------------------------------------------------- */

/*
** OpenBLAS has one thread count for the whole process. It is 1 while any context runs a loop, and what it was
** before when the last one ends; this is the only state that contexts share.
*/
static pthread_mutex_t blas_mutex = PTHREAD_MUTEX_INITIALIZER;
static int blas_users, blas_threads_before;

static void enter_blas(void) {
  pthread_mutex_lock(&blas_mutex);
  if (blas_users++ == 0) {
    blas_threads_before = openblas_get_num_threads();
    if (blas_threads_before != 1) openblas_set_num_threads(1);
  }
  pthread_mutex_unlock(&blas_mutex);
}

static void leave_blas(void) {
  pthread_mutex_lock(&blas_mutex);
  if (--blas_users == 0 && blas_threads_before != 1) openblas_set_num_threads(blas_threads_before);
  pthread_mutex_unlock(&blas_mutex);
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void take_part(spd_context *context, int number) {
  for (;;) {
    long long i = atomic_fetch_add_explicit(&context->next, 1, memory_order_relaxed);
    if (i >= context->count) return;
    context->task(context->argument, i, number);
  }
}

/* Wait for a job other than the last one; 0 when the context is being closed. */
static unsigned long wait_for_job(spd_context *context, unsigned long last) {
  for (int i = 0; i < SPIN_ROUNDS; i++) {
    unsigned long job = atomic_load(&context->open);
    if (job != 0 && job != last) return job;
    relax();
  }
  pthread_mutex_lock(&context->mutex);
  atomic_fetch_add(&context->sleepers, 1);
  unsigned long job;
  while (((job = atomic_load(&context->open)) == 0 || job == last) && !context->stop)
    pthread_cond_wait(&context->wake, &context->mutex);
  atomic_fetch_sub(&context->sleepers, 1);
  if (context->stop) job = 0;
  pthread_mutex_unlock(&context->mutex);
  return job;
}

static void *worker_main(void *argument) {
  worker *self = argument;
  spd_context *context = self->context;
  unsigned long last = 0;
  while ((last = wait_for_job(context, last)) != 0) {
    atomic_fetch_add(&context->inside, 1);
    /* still open? Then the caller waits for us; if a later job is open by now, that one will do. */
    unsigned long job = atomic_load(&context->open);
    if (job != 0) {
      last = job;
      take_part(context, self->number);
    }
    atomic_fetch_sub(&context->inside, 1);
  }
  return NULL;
}

static void run_job(spd_context *context) {
  atomic_store_explicit(&context->next, 0, memory_order_relaxed);
  atomic_store(&context->open, context->loops);
  if (atomic_load(&context->sleepers) > 0) {
    pthread_mutex_lock(&context->mutex);
    pthread_cond_broadcast(&context->wake);
    pthread_mutex_unlock(&context->mutex);
  }
  take_part(context, 0);
  atomic_store(&context->open, 0);
  for (int i = 0; atomic_load(&context->inside) > 0; i++) {
    if (i < SPIN_ROUNDS)
      relax();
    else
      sched_yield();
  }
}

void spd_parallel(spd_context *context, int64_t count, spd_task *task, void *argument) {
  context->loops++;
  enter_blas();
  if (context->threads == 1 || count <= 1) {
    for (int64_t i = 0; i < count; i++) task(argument, i, 0);
  } else {
    context->task = task;
    context->argument = argument;
    context->count = count;
    run_job(context);
  }
  leave_blas();
}

unsigned long spd_parallel_loops(const spd_context *context) { return context->loops; }

/* ---- life ---------------------------------------------------------------------------------- */

static int available_cores(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int cores = CPU_COUNT(&set);
  return cores < 1 ? 1 : cores;
}

static void stop_workers(spd_context *context) {
  pthread_mutex_lock(&context->mutex);
  context->stop = true;
  pthread_cond_broadcast(&context->wake);
  pthread_mutex_unlock(&context->mutex);
  for (int i = 1; i < context->threads; i++) pthread_join(context->workers[i].thread, NULL);
  context->stop = false;
  spd_release_scratch(context);
  spd_deallocate(context, context->workers, (size_t)context->capacity * sizeof *context->workers);
  spd_deallocate(context, context->scratch, (size_t)context->capacity * sizeof *context->scratch);
  context->workers = NULL;
  context->scratch = NULL;
  context->scratch_bytes = 0;
  context->threads = context->capacity = 0;
}

/* Start as many workers of the list as the system gives. Signals are left to the threads of the program. */
static void start_workers(spd_context *context) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  context->threads = 1;
  for (int i = 1; i < context->capacity; i++) {
    worker *new = &context->workers[i];
    *new = (worker){.context = context, .number = i};
    if (pthread_create(&new->thread, NULL, worker_main, new) != 0) break;
    context->threads++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool spd_set_threads(spd_context *context, int threads) {
  const int wanted = threads == 0 ? available_cores() : threads;
  if (wanted < 1 || wanted > MAX_THREADS)
    return spd_fail(context, "threads: expected 1 to %d, found %d", MAX_THREADS, wanted);
  if (wanted == context->threads) return true;
  worker *workers = spd_allocate(context, (size_t)wanted * sizeof *workers);
  void **scratch = spd_allocate(context, (size_t)wanted * sizeof *scratch);
  if (workers == NULL || scratch == NULL) {
    spd_deallocate(context, workers, (size_t)wanted * sizeof *workers);
    spd_deallocate(context, scratch, (size_t)wanted * sizeof *scratch);
    return false;
  }
  if (context->threads > 0) stop_workers(context);
  context->workers = workers;
  context->scratch = scratch;
  context->capacity = wanted;
  start_workers(context);
  if (threads == 0 || context->threads == wanted) return true;
  return spd_fail(context, "cannot start %d threads: the system gives %d", wanted, context->threads);
}

spd_context *spd_context_retain(spd_context *context) {
  context->owners++;
  return context;
}

void spd_context_release(spd_context *context) {
  if (--context->owners > 0) return;
  pthread_cond_destroy(&context->wake);
  pthread_mutex_destroy(&context->mutex);
  free(context);
}

spd_context *spd_context_new(int threads) {
  spd_context *context = calloc(1, sizeof *context);
  if (context == NULL) return NULL;
  context->owners = 1;
  pthread_mutex_init(&context->mutex, NULL);
  pthread_cond_init(&context->wake, NULL);
  context->kernels = spd_select_kernels(NULL);
  if (!spd_set_threads(context, threads)) {
    spd_context_free(context);
    return NULL;
  }
  return context;
}

void spd_context_free(spd_context *context) {
  if (context == NULL) return;
  if (context->threads > 0) stop_workers(context);
  spd_forget_products(context);
  spd_context_release(context);
}
