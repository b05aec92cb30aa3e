/* The choice of BLAS kernels when the host starts. */
#ifndef SPDL_BLAS_H
#define SPDL_BLAS_H

/* Start this program again with faster kernels, if OpenBLAS took its slowest and the processor can do better.
** The user's own OPENBLAS_CORETYPE is respected. argv: of main. */
void spdL_choose_blas_kernels(char **argv);

#endif
