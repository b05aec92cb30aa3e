/*
** Products by BLAS in the precision of this build. Private to core/.
*/
#ifndef SPD_BLAS_H
#define SPD_BLAS_H

#include <cblas.h>

#include "spd.h"

/* c [m, n] = scale op(a) op(b) + keep c, on one thread; op(a) is [m, k], op(b) [k, n], strides are those of rows as stored. */
static inline void spd_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, spd_real scale,
                            const spd_real *a, int64_t lda, const spd_real *b, int64_t ldb, spd_real keep, spd_real *c,
                            int64_t ldc) {
  const CBLAS_TRANSPOSE ta = transpose_a ? CblasTrans : CblasNoTrans, tb = transpose_b ? CblasTrans : CblasNoTrans;
#if defined(SPD_DOUBLE)
  cblas_dgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, scale, a, (int)lda, b, (int)ldb, keep, c, (int)ldc);
#else
  cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, scale, a, (int)lda, b, (int)ldb, keep, c, (int)ldc);
#endif
}

#endif
