/* Which kernels this processor can run. */
#include <string.h>

#include "kernels.h"

SPD_KERNEL_LIST(SPD_DECLARE_KERNEL, baseline)
static const spd_kernels baseline = {.name = "baseline", SPD_KERNEL_LIST(SPD_KERNEL_ENTRY, baseline)};

#if defined(SPD_ISA_X86)
SPD_KERNEL_LIST(SPD_DECLARE_KERNEL, avx2)
SPD_KERNEL_LIST(SPD_DECLARE_KERNEL, avx512)
static const spd_kernels avx2 = {.name = "avx2", SPD_KERNEL_LIST(SPD_KERNEL_ENTRY, avx2)};
static const spd_kernels avx512 = {.name = "avx512", SPD_KERNEL_LIST(SPD_KERNEL_ENTRY, avx512)};

static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

const spd_kernels *spd_select_kernels(const char *name) {
#if defined(SPD_ISA_X86)
  if (has_avx512() && (name == NULL || strcmp(name, "avx512") == 0)) return &avx512;
  if (has_avx2() && (name == NULL || strcmp(name, "avx2") == 0)) return &avx2;
#endif
  return name == NULL || strcmp(name, "baseline") == 0 ? &baseline : NULL;
}
