/*
** Products by BLAS in the precision of this build. Private to core/.
*/
#ifndef SPD_BLAS_H
#define SPD_BLAS_H

#include "context.h"

/* c [m, n] = scale op(a) op(b) + keep c, on one thread; op(a) is [m, k], op(b) [k, n], strides are those of rows as
** stored. All products of core/ are made here, so that they can be recorded (see spd_record_products). */
void spd_gemm(const spd_context *context, bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
              spd_real scale, const spd_real *a, int64_t lda, const spd_real *b, int64_t ldb, spd_real keep,
              spd_real *c, int64_t ldc);
/* The same, not recorded. */
void spd_call_blas(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, spd_real scale,
                   const spd_real *a, int64_t lda, const spd_real *b, int64_t ldb, spd_real keep, spd_real *c,
                   int64_t ldc);
/* Record a product and where its operands lie, if products are recorded now. */
void spd_note_product(const spd_context *context, const spd_recorded_product *product, const spd_real *a,
                      const spd_real *b, const spd_real *out);

#endif
