#pragma once

// The functions of inline_functions.h for vectors, for one instruction set. Only the kernels
// include this.

#include <utility>

#include "model/numerics/inline_functions.h"
#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

constexpr std::size_t kWideLanes = kLanes / 2;

/// As many binary64 numbers as fill a vector.
struct VectorArithmetic {
  using Narrow = float __attribute__((vector_size(kWideLanes * sizeof(float))));
  using Wide = double __attribute__((vector_size(kWideLanes * sizeof(double))));
  using Bits = std::uint64_t __attribute__((vector_size(kWideLanes * sizeof(double))));

  [[gnu::always_inline]] static Wide fma(const Wide& a, const Wide& b, const Wide& c) {
#if defined(__AVX512F__)
    return (Wide)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
    return (Wide)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(MESHPARITY_NEON)
    return (Wide)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    Wide result;
    for (std::size_t lane = 0; lane < kWideLanes; ++lane) {
      result[lane] = __builtin_fma(a[lane], b[lane], c[lane]);
    }
    return result;
#endif
  }
  // GCC 12 takes __builtin_convertvector apart.
  [[gnu::always_inline]] static Wide widen(const Narrow& x) {
#if defined(__AVX512F__)
    return (Wide)_mm512_maskz_cvtps_pd(0xFF, (__m256)x);
#elif defined(__AVX2__)
    return (Wide)_mm256_cvtps_pd((__m128)x);
#else
    return __builtin_convertvector(x, Wide);
#endif
  }
  [[gnu::always_inline]] static Narrow narrow(const Wide& x) {
#if defined(__AVX512F__)
    return (Narrow)_mm512_maskz_cvtpd_ps(0xFF, (__m512d)x);
#elif defined(__AVX2__)
    return (Narrow)_mm256_cvtpd_ps((__m256d)x);
#else
    return __builtin_convertvector(x, Narrow);
#endif
  }
  [[gnu::always_inline]] static Wide all(double value) { return value - Wide{}; }
};

/// function(x) of each lane, rounded to binary32.
template <typename Function, std::size_t... Lane>
[[gnu::always_inline]] inline Vector in_wide(const Vector& x, Function function,
                                             std::index_sequence<Lane...> /*half*/) {
  using Arithmetic = VectorArithmetic;
  const Arithmetic::Narrow lower = __builtin_shufflevector(x, x, Lane...);
  const Arithmetic::Narrow upper = __builtin_shufflevector(x, x, (Lane + kWideLanes)...);
  const Arithmetic::Narrow first = Arithmetic::narrow(function(Arithmetic::widen(lower)));
  const Arithmetic::Narrow second = Arithmetic::narrow(function(Arithmetic::widen(upper)));
  return __builtin_shufflevector(first, second, Lane..., (Lane + kWideLanes)...);
}
using WideHalf = std::make_index_sequence<kWideLanes>;

[[gnu::always_inline]] inline Vector exponential(const Vector& x) {
  return in_wide(
      x, [](const auto& wide) { return portable_exp_wide<VectorArithmetic>(wide); }, WideHalf());
}

[[gnu::always_inline]] inline Vector gelu_of(const Vector& x) {
  return in_wide(
      x, [](const auto& wide) { return portable_gelu_wide<VectorArithmetic>(wide); }, WideHalf());
}

[[gnu::always_inline]] inline Vector gelu_derivative_of(const Vector& x) {
  return in_wide(
      x, [](const auto& wide) { return portable_gelu_derivative_wide<VectorArithmetic>(wide); },
      WideHalf());
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
