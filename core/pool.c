/*
** A pool of buffers.
*/
#include "pool.h"

void *spd_pool_take(spd_pool *pool, spd_context *context, size_t bytes, size_t *capacity) {
  if (bytes == 0) bytes = 1; /* whoever keeps the capacity knows by it that there is a buffer */
  size_t best = SIZE_MAX;
  for (size_t i = 0; i < pool->count; i++)
    if (pool->blocks[i].bytes >= bytes && pool->blocks[i].bytes / 2 <= bytes &&
        (best == SIZE_MAX || pool->blocks[i].bytes < pool->blocks[best].bytes))
      best = i;
  if (best == SIZE_MAX) {
    *capacity = bytes;
    return spd_allocate_uninitialized(context, bytes);
  }
  void *memory = pool->blocks[best].memory;
  *capacity = pool->blocks[best].bytes;
  pool->blocks[best] = pool->blocks[--pool->count];
  return memory;
}

void spd_pool_give(spd_pool *pool, spd_context *context, void *memory, size_t capacity) {
  if (memory == NULL) return;
  if (spd_grow_list(context, (void **)&pool->blocks, &pool->capacity, pool->count, sizeof *pool->blocks))
    pool->blocks[pool->count++] = (spd_block){memory, capacity};
  else
    spd_deallocate(context, memory, capacity);
}

void spd_pool_free(spd_pool *pool, spd_context *context) {
  for (size_t i = 0; i < pool->count; i++) spd_deallocate(context, pool->blocks[i].memory, pool->blocks[i].bytes);
  spd_deallocate(context, pool->blocks, pool->capacity * sizeof *pool->blocks);
  *pool = (spd_pool){0};
}
