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

/* The lanes of v with lane i and lane i ^ width exchanged. */
INLINE vec exchange(vec v, int width) {
  bits from;
  for (int i = 0; i < LANES; i++) from[i] = i ^ width;
  return __builtin_shuffle(v, from);
}

INLINE spd_real sum_lanes(vec v) {
  if (LANES > 8) v += exchange(v, 8);
  if (LANES > 4) v += exchange(v, 4);
  if (LANES > 2) v += exchange(v, 2);
  v += exchange(v, 1);
  return v[0];
}

/* Up to LANES numbers of x, filled up. */
INLINE vec load_some(const spd_real *x, int64_t count, spd_real fill) {
  if (count >= LANES) return load(x);
  vec v = splat(fill);
  memcpy(&v, x, (size_t)count * sizeof *x);
  return v;
}
INLINE void store_some(spd_real *x, vec v, int64_t count) {
  memcpy(x, &v, (size_t)(count < LANES ? count : LANES) * sizeof *x);
}

/* The smaller, the larger of a number and x; NaN where x is NaN (the instructions return their second operand then). */
INLINE vec at_most(vec x, spd_real limit) {
#if defined(__AVX512F__) && !defined(SPD_DOUBLE)
  return (vec)_mm512_min_ps(_mm512_set1_ps(limit), (__m512)x);
#elif defined(__AVX2__) && !defined(SPD_DOUBLE)
  return (vec)_mm256_min_ps(_mm256_set1_ps(limit), (__m256)x);
#else
  return choose(x > limit, splat(limit), x);
#endif
}

INLINE vec at_least(vec x, spd_real limit) {
#if defined(__AVX512F__) && !defined(SPD_DOUBLE)
  return (vec)_mm512_max_ps(_mm512_set1_ps(limit), (__m512)x);
#elif defined(__AVX2__) && !defined(SPD_DOUBLE)
  return (vec)_mm256_max_ps(_mm256_set1_ps(limit), (__m256)x);
#else
  return choose(x < limit, splat(limit), x);
#endif
}

/* The larger of two numbers; b where one of them is NaN. */
INLINE vec larger(vec a, vec b) {
#if defined(__AVX512F__) && !defined(SPD_DOUBLE)
  return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && !defined(SPD_DOUBLE)
  return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return choose(a > b, a, b);
#endif
}

/* The largest of n numbers, NaN aside; four maxima at a time, since each waits for the one before it. */
INLINE spd_real largest(const spd_real *x, int64_t n) {
  const vec none = splat(-(spd_real)INFINITY);
  vec most[4] = {none, none, none, none};
  int64_t i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES)
    for (int k = 0; k < 4; k++) most[k] = larger(load(x + i + k * LANES), most[k]);
  for (; i < n; i += LANES) most[0] = larger(load_some(x + i, n - i, -(spd_real)INFINITY), most[0]);
  const vec m = larger(larger(most[0], most[1]), larger(most[2], most[3]));
  spd_real result = m[0];
  for (int lane = 1; lane < LANES; lane++) result = m[lane] > result ? m[lane] : result;
  return result;
}

/* Run a statement for i = 0, LANES, 2 LANES, ... below n, with count = LANES, a constant, or the fewer that are left. */
#define EACH_VECTOR(n, statement)          \
  do {                                     \
    int64_t i = 0;                         \
    for (; i + LANES <= (n); i += LANES) { \
      const int64_t count = LANES;         \
      statement;                           \
    }                                      \
    const int64_t count = (n)-i;           \
    if (count > 0) statement;              \
  } while (0)

/*
** Sums in double, one to each lane of a vec: in two registers, since a vector that is wider than a register is kept in
** memory by the compiler.
*/
#if defined(SPD_DOUBLE)
typedef vec lane_sums;

INLINE void add_lanes(lane_sums *sums, vec a) { *sums += a; }
INLINE void add_products(lane_sums *sums, vec a, vec b) { *sums += a * b; }
INLINE double total_of(lane_sums sums) { return sum_lanes(sums); }
#else
typedef double doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef spd_real half_vec __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef struct {
  doubles lower, upper;
} lane_sums;

INLINE doubles half_in_double(vec v, int half) {
  half_vec part;
  memcpy(&part, (const char *)&v + half * (int)sizeof part, sizeof part);
#if defined(__AVX512F__)
  return (doubles)_mm512_cvtps_pd((__m256)part);
#elif defined(__AVX2__)
  return (doubles)_mm256_cvtps_pd((__m128)part);
#else
  return __builtin_convertvector(part, doubles);
#endif
}

INLINE void add_lanes(lane_sums *sums, vec a) {
  sums->lower += half_in_double(a, 0);
  sums->upper += half_in_double(a, 1);
}

INLINE void add_products(lane_sums *sums, vec a, vec b) {
  sums->lower += half_in_double(a, 0) * half_in_double(b, 0);
  sums->upper += half_in_double(a, 1) * half_in_double(b, 1);
}

INLINE double total_of(lane_sums sums) {
  const doubles both = sums.lower + sums.upper;
  double total = 0;
  for (int i = 0; i < LANES / 2; i++) total += both[i];
  return total;
}
#endif

/*
** exp(x), correct to 2 units in the last place of float32, down to 0 and up to infinity. NaN comes out as NaN. x = n log 2
** + r with |r| <= log(2)/2; the polynomial is that of Chebyshev's nodes, and 2^n is multiplied in two halves, since n may
** be one more or some less than an exponent can be. The build in double uses the C library.
*/
#if defined(SPD_DOUBLE)
INLINE vec exp_of(vec x) {
  vec y;
  for (int i = 0; i < LANES; i++) y[i] = exp(x[i]);
  return y;
}
#else
typedef uint32_t counts __attribute__((vector_size(VECTOR_BYTES)));

INLINE vec power_of_two(bits n) { return (vec)(((counts)n + 127) << 23); }

INLINE vec exp_of(vec x) {
  const float shift = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to an integer, in its last bits */
  const vec z = at_most(at_least(x, -104.0f), 89.0f), shifted = z * 1.442695041f + shift, n = shifted - shift;
  const vec r = z - n * 0.693145752f - n * 1.428606820e-06f; /* log 2 in two parts; n times the first is exact */
  vec p = r * 1.392625083e-03f + 8.363232884e-03f;
  p = p * r + 4.166655421e-02f;
  p = p * r + 1.666657667e-01f;
  p = p * r + 0.5f;
  p = p * r * r + r;
  const bits whole = (bits)((counts)shifted - 0x4b400000u), half = whole >> 1;
  return (p + 1.0f) * power_of_two(half) * power_of_two((bits)((counts)whole - (counts)half));
}
#endif

/*
** GELU, z Phi(z) with the standard normal distribution function Phi, and its slope, Phi(z) + z phi(z). Phi and the slope
** are correct to 4e-7 absolutely, which is what float32 keeps of a number near 1. NaN comes out as NaN.
**
** Both are 1/2 plus an odd function: z P(s)/Q(s) and z S(s)/Q(s) with s = z^2 and one denominator, fitted for this
** project by reweighted least squares up to |z| = 5.6, beyond which Phi is 0 or 1 (and GELU 0 or z). The build in double
** uses the C library.
*/
#if defined(SPD_DOUBLE)
INLINE vec gelu_of(vec z, vec *slope) {
  vec y;
  for (int i = 0; i < LANES; i++) {
    const double phi = 0.5 * erfc(-z[i] * 0.70710678118654752440);
    y[i] = z[i] * phi;
    (*slope)[i] = phi + z[i] * 0.39894228040143267794 * exp(-0.5 * z[i] * z[i]);
  }
  return y;
}
#else
INLINE vec reciprocal(vec x) {
#if defined(__AVX512F__)
  const vec guess = (vec)_mm512_rcp14_ps((__m512)x); /* 14 bits; one Newton step doubles them */
  return guess * (2.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

INLINE vec gelu_of(vec z, vec *slope) {
  const vec above = at_least(z, -5.6f), x = at_most(above, 5.6f), s = x * x;
  vec p = s * 4.979530122e-10f + 1.940625651e-07f;
  p = p * s + 1.197929123e-05f;
  p = p * s + 2.803547832e-04f;
  p = p * s + 5.554476753e-03f;
  p = p * s + 4.218719527e-02f;
  p = p * s + 3.989420831e-01f;
  vec r = s * -3.158399237e-11f + 6.145983278e-09f;
  r = r * s - 2.474718030e-07f;
  r = r * s + 3.163232395e-05f;
  r = r * s - 2.601066662e-04f;
  r = r * s + 1.477785595e-02f;
  r = r * s - 4.860695079e-02f;
  r = r * s + 7.978843451e-01f;
  vec q = s * 2.851281877e-08f + 3.523615533e-06f;
  q = q * s + 1.253035298e-04f;
  q = q * s + 2.587822732e-03f;
  q = q * s + 3.432845697e-02f;
  q = q * s + 2.724118531e-01f;
  q = q * s + 1.000000000e+00f;
  const vec scaled = x * reciprocal(q);
  *slope = r * scaled + 0.5f;
  return above * (p * scaled + 0.5f);
}
#endif

#endif
