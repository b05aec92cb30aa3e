/*
** A pool of buffers, so that a training step allocates nothing once every kind of step was seen. Private to core/.
*/
#ifndef SPD_POOL_H
#define SPD_POOL_H

#include "context.h"

typedef struct {
  void *memory;
  size_t bytes;
} spd_block;

/* Buffers that nobody uses now. All zero: an empty pool. */
typedef struct {
  spd_block *blocks;
  size_t count, capacity;
} spd_pool;

/* The smallest buffer of the pool that fits and is not wasteful, or a new one; its size, at least 1, in *capacity. NULL
** when memory is exhausted. */
void *spd_pool_take(spd_pool *pool, spd_context *context, size_t bytes, size_t *capacity);
/* Put a buffer back; NULL allowed. */
void spd_pool_give(spd_pool *pool, spd_context *context, void *memory, size_t capacity);
/* Free all buffers that are in the pool. */
void spd_pool_free(spd_pool *pool, spd_context *context);

#endif
