/*
** Products by BLAS.
*/
#include "blas.h"

#include <cblas.h>

void spd_call_blas(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, spd_real scale,
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
  const spd_recorded_product product = {m, n, k, lda, ldb, ldc, transpose_a, transpose_b, keep != 0, 0};
  spd_note_product(context, &product, a, b, c);
  spd_call_blas(transpose_a, transpose_b, m, n, k, scale, a, lda, b, ldb, keep, c, ldc);
}
