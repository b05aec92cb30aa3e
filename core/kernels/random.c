/*
** Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; 2011), several
** counters at a time: a 32-bit word per 64-bit lane, because the generator lives on 32 x 32 -> 64 products.
*/
#include "philox.h"
#include "vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));
enum { COUNTERS = VECTOR_BYTES / 8 };
/* Rows of up to this many blocks are packed; measured, longer ones cost more that way. */
enum { PACKED_BLOCKS = 3 };

/* The product of the low halves; whatever stands in the high halves of a is ignored. */
INLINE words product(words a, uint32_t constant) {
#if defined(__AVX512F__)
  return (words)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(constant));
#elif defined(__AVX2__)
  return (words)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(constant));
#elif defined(__x86_64__)
  return (words)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(constant));
#else
  return (a & 0xffffffffu) * constant;
#endif
}

/* Words 0 and 1, and words 2 and 3, of each counter's block, side by side in a lane. */
INLINE void philox(words c0, words c1, words c2, words c3, const uint32_t key[2], words *first, words *second) {
  uint32_t key0 = key[0], key1 = key[1];
  for (int round = 0; round < PHILOX_ROUNDS; round++) {
    const words p0 = product(c0, PHILOX_MULTIPLIER_0), p1 = product(c2, PHILOX_MULTIPLIER_1);
    c0 = (p1 >> 32) ^ c1 ^ key0;
    c2 = (p0 >> 32) ^ c3 ^ key1;
    c1 = p1;
    c3 = p0;
    key0 += PHILOX_WEYL_0;
    key1 += PHILOX_WEYL_1;
  }
  *first = (c0 & 0xffffffffu) | (c1 << 32);
  *second = (c2 & 0xffffffffu) | (c3 << 32);
}

INLINE void store_uniform(spd_real *r, words first, words second) {
  uint32_t out[COUNTERS][4];
  for (int i = 0; i < COUNTERS; i++) {
    memcpy(&out[i][0], &(uint64_t){first[i]}, 8);
    memcpy(&out[i][2], &(uint64_t){second[i]}, 8);
  }
  for (int i = 0; i < 4 * COUNTERS; i++) r[i] = PHILOX_UNIFORM((&out[0][0])[i]);
}

/* Rows one after another; the last lanes of each row are wasted. */
static void long_rows(spd_real *r, const spd_row_draw *draw, const uint32_t *row_names, uint32_t first, int64_t rows,
                      int64_t blocks) {
  words lane, zero = {0};
  for (int i = 0; i < COUNTERS; i++) lane[i] = (uint64_t)i;
  for (int64_t row = 0; row < rows; row++) {
    const words name = zero + (row_names != NULL ? row_names[row] : first + (uint32_t)row);
    for (int64_t block = 0; block < blocks; block += COUNTERS) {
      words low, high;
      philox(lane + (uint64_t)block, name, zero + draw->counter2, zero + draw->counter3, draw->key, &low, &high);
      store_uniform(r + 4 * (row * blocks + block), low, high);
    }
  }
}

/* Rows of few blocks, packed: the lanes go from one row on to the next. */
static void short_rows(spd_real *r, const spd_row_draw *draw, const uint32_t *row_names, uint32_t first, int64_t rows,
                       int64_t blocks) {
  const words zero = {0};
  int64_t row = 0, block = 0;
  for (int64_t at = 0; at < rows * blocks; at += COUNTERS) {
    uint64_t place[COUNTERS], name[COUNTERS];
    for (int i = 0; i < COUNTERS; i++) {
      place[i] = (uint64_t)block;
      name[i] = row_names != NULL ? row_names[row] : first + (uint32_t)row;
      if (++block == blocks) block = 0, row += row + 1 < rows;
    }
    words c0, c1, low, high;
    memcpy(&c0, place, sizeof c0);
    memcpy(&c1, name, sizeof c1);
    philox(c0, c1, zero + draw->counter2, zero + draw->counter3, draw->key, &low, &high);
    store_uniform(r + 4 * at, low, high);
  }
}

void SPD_KERNEL(uniform_rows)(spd_real *r, const spd_row_draw *draw, const uint32_t *row_names, uint32_t first,
                              int64_t rows, int64_t columns) {
  const int64_t blocks = (columns + 3) / 4;
  if (blocks <= PACKED_BLOCKS)
    short_rows(r, draw, row_names, first, rows, blocks);
  else
    long_rows(r, draw, row_names, first, rows, blocks);
}
