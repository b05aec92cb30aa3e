/*
** An OpenBLAS that is older than the processor takes its slowest kernels. It chooses when it is loaded, by the
** processor's name or by OPENBLAS_CORETYPE, so the host starts itself again with that set to what the processor can do.
*/
#include "blas.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cblas.h>

void spdL_choose_blas_kernels(char **argv) {
#if defined(__x86_64__)
  const char *core = NULL, *taken = openblas_get_corename();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    core = "SkylakeX";
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    core = "Haswell";
  if (core == NULL || (strcmp(taken, "Prescott") != 0 && strcmp(taken, "Nehalem") != 0)) return;
  if (getenv("OPENBLAS_CORETYPE") != NULL || setenv("OPENBLAS_CORETYPE", core, 1) != 0) return;
  execv("/proc/self/exe", argv); /* if this fails, the slow kernels do */
#else
  (void)argv;
#endif
}
