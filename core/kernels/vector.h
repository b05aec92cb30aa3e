/*
** Vectors as the compiler's own extension, one register wide, so that a kernel is written once for all
** instruction sets. It may use LANES and the functions here, but never assume a width.
*/
#ifndef SPD_VECTOR_H
#define SPD_VECTOR_H

#include <math.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels.h"

/* A kernel's name carries the instruction set it is compiled for. */
#define SPD_JOIN_(name, isa) name##_##isa
#define SPD_JOIN(name, isa) SPD_JOIN_(name, isa)
#define SPD_KERNEL(name) SPD_JOIN(spd_kernel_##name, SPD_ISA)
#define SPD_DECLARE_(isa) SPD_KERNEL_LIST(SPD_DECLARE_KERNEL, isa)
#define SPD_DECLARE(isa) SPD_DECLARE_(isa)
SPD_DECLARE(SPD_ISA)

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
enum { LANES = VECTOR_BYTES / sizeof(spd_real) };
typedef spd_real vec __attribute__((vector_size(VECTOR_BYTES)));
#if defined(SPD_DOUBLE)
typedef int64_t bits __attribute__((vector_size(VECTOR_BYTES))); /* a comparison of two vec */
#define R(x) (x)
#else
typedef int32_t bits __attribute__((vector_size(VECTOR_BYTES)));
#define R(x) (x##f)
#endif

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vec load(const spd_real *x) {
  vec v;
  memcpy(&v, x, sizeof v);
  return v;
}
INLINE void store(spd_real *x, vec v) { memcpy(x, &v, sizeof v); }
INLINE vec splat(spd_real x) { return x - (vec){0}; }
INLINE vec choose(bits mask, vec yes, vec no) { return (vec)((mask & (bits)yes) | (~mask & (bits)no)); }

INLINE spd_real sum_lanes(vec v) {
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) v[i] += v[i + width];
  return v[0];
}

/*
** E = exp(-z^2 / 2) and the standard normal distribution function Phi(z), both correct to a few units in
** the last place of a float.
**
** Phi(-t) = E(t) Q(t) for t >= 0, where Q(t) = erfcx(t / sqrt 2) / 2 falls smoothly from 1/2. In u = 1 / (1 + 0.3 t)
** it is a polynomial of degree 8 with relative error 6e-8 for t < 14, where E is already below the smallest
** float. The coefficients were fitted for this project by reweighted least squares. The build in double
** uses the C library.
*/
#if defined(SPD_DOUBLE)
INLINE vec normal_distribution(vec z, vec *E) {
  vec phi;
  for (int i = 0; i < LANES; i++) {
    (*E)[i] = exp(-0.5 * z[i] * z[i]);
    phi[i] = 0.5 * erfc(-z[i] * 0.70710678118654752440);
  }
  return phi;
}
#else
/* 2^s for s <= 0, and about 2^-126 for all s below -126; s = n + f with |f| <= 1/2, 2^f by a polynomial of degree 5 that
** was fitted like the other (relative error 8e-8). */
INLINE vec exp2_negative(vec s) {
  const spd_real magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  s = choose(s < -126, splat(-126), s);
  const vec shifted = s + magic;
  const vec f = s - (shifted - magic);
  vec p = f * 1.3276441e-3f + 9.6755410e-3f;
  p = p * f + 5.5507135e-2f;
  p = p * f + 2.4022120e-1f;
  p = p * f + 6.9314694e-1f;
  p = p * f + 1.0000001f;
  return (vec)((bits)p + ((bits)shifted << 23)); /* the magic's own bits are shifted out */
}

INLINE vec reciprocal(vec x) {
#if defined(__AVX512F__)
  const vec guess = (vec)_mm512_rcp14_ps((__m512)x);
  return guess * (2.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

INLINE vec normal_distribution(vec z, vec *E) {
  const bits sign = (bits)z & (int32_t)0x80000000;
  const vec t = (vec)((bits)z ^ sign);
  *E = exp2_negative(z * z * -0.72134752044448170f);
  const vec u = reciprocal(1.0f + 0.3f * t);
  vec q = u * 3.8379680e-2f - 1.6917256e-1f;
  q = q * u + 2.2867267e-1f;
  q = q * u - 7.6519988e-2f;
  q = q * u + 1.4254421e-1f;
  q = q * u + 9.4680123e-2f;
  q = q * u + 1.2192114e-1f;
  q = q * u + 1.1948759e-1f;
  q = q * u + 7.1740897e-6f;
  const vec lower = *E * q;
  return choose(z < 0, lower, 1.0f - lower);
}
#endif

#endif
