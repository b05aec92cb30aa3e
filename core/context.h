/*
** Inside of a context: memory accounts, the last error, and the worker threads. Private to core/.
*/
#ifndef SPD_CONTEXT_H
#define SPD_CONTEXT_H

#include "spd.h"

typedef struct spd_kernels spd_kernels; /* kernels/kernels.h */

/* Leave a message in spd_error(); returns false, so that callers can `return spd_fail(...)`. */
bool spd_fail(spd_context *context, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each object made from a context is one of its owners, so that it can still be freed after spd_context_free. Releasing is
** the last that an object does. */
spd_context *spd_context_retain(spd_context *context);
void spd_context_release(spd_context *context);

/* A number that no other tape of this context has had for its values, never 0. */
uint32_t spd_next_generation(spd_context *context);

/* Zeroed memory aligned to 64 bytes, of exactly this size (so that sanitizers see each overrun);
** NULL with a message when there is no more. Zero bytes are legal and give a unique pointer. */
void *spd_allocate(spd_context *context, size_t bytes);
void *spd_allocate_uninitialized(spd_context *context, size_t bytes);
void spd_deallocate(spd_context *context, void *memory, size_t bytes); /* NULL allowed */

/* Room for one more element in a list that doubles; false when memory is exhausted. */
bool spd_grow_list(spd_context *context, void **list, size_t *capacity, size_t count, size_t element);

/* a * b; false with a message if it does not fit. */
bool spd_multiply_sizes(spd_context *context, size_t a, size_t b, size_t *product);

/*
** Call task(argument, i, worker) for i = 0 ... count-1, each once, on the threads of the context. The order
** is open, so a task must write only what is its own. worker in [0, spd_threads()) is for scratch memory.
** BLAS runs single-threaded meanwhile.
*/
typedef void spd_task(void *argument, int64_t i, int worker);
void spd_parallel(spd_context *context, int64_t count, spd_task *task, void *argument);
/* How many such loops there were so far, the one that runs included. */
unsigned long spd_parallel_loops(const spd_context *context);

/* Scratch of at least this size for each worker, kept between calls; false when memory is exhausted. */
bool spd_reserve_scratch(spd_context *context, size_t bytes);
void *spd_scratch(const spd_context *context, int worker);

const spd_kernels *spd_context_kernels(const spd_context *context);

/* Products that were recorded (products.c). The context's list is NULL until spd_record_products. */
typedef struct spd_product_list spd_product_list;
spd_product_list *spd_product_list_new(spd_context *context);
void spd_product_list_free(spd_product_list *list);
void spd_product_list_open(spd_product_list *list, bool open);
spd_product_list *spd_context_products(const spd_context *context);

#endif
