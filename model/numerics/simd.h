#pragma once

// Vectors of floats for the instruction set that this translation unit is compiled for. The kernels
// are written once on top of this; only the fused multiply-add has to be spelled per instruction
// set, because compilers offer no portable one for vectors.
//
// Included by translation units that are compiled several times with different flags. The linker
// must not mix their functions up: everything here is inlined or has internal linkage, and the
// standard library's inline functions are not used.

#include <cstddef>

#include "model/numerics/strict_arithmetic.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(MESHPARITY_NEON)
#include <arm_neon.h>
#endif

#ifdef MESHPARITY_AVX512_SHAPES  // in plain code, for tests
#define MESHPARITY_UNROLL
#define MESHPARITY_UNROLL_TERMS
#else
#define MESHPARITY_UNROLL _Pragma("GCC unroll 16")  // before loops over registers
// Before loops over terms: one that ends after few turns is mispredicted every time.
#define MESHPARITY_UNROLL_TERMS _Pragma("GCC unroll 4")
#endif

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

// A tile of the matrix product: kTileRows x 2 vectors of the output, and kTileLeaves leaves of each
// of them at once. Their sums fill most of the registers, and leave room for the operands.
// kPacksLeftRows: a left matrix is packed even if each row lies side by side, by measurement.
#if defined(__AVX512F__) || defined(MESHPARITY_AVX512_SHAPES)
constexpr std::size_t kLanes = 16;
constexpr std::size_t kTileRows = 7;
constexpr std::size_t kTileLeaves = 2;
constexpr bool kPacksLeftRows = true;
#elif defined(__AVX2__)
constexpr std::size_t kLanes = 8;
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTileLeaves = 1;
constexpr bool kPacksLeftRows = false;
#elif defined(MESHPARITY_NEON)
constexpr std::size_t kLanes = 4;
constexpr std::size_t kTileRows = 4;
constexpr std::size_t kTileLeaves = 2;
constexpr bool kPacksLeftRows = true;
#else
constexpr std::size_t kLanes = 4;
constexpr std::size_t kTileRows = 1;
constexpr std::size_t kTileLeaves = 1;
constexpr bool kPacksLeftRows = true;
#endif

using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

[[gnu::always_inline]] inline Vector load(const float* from) {
  Vector vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

[[gnu::always_inline]] inline void store(float* to, const Vector& vector) {
  __builtin_memcpy(to, &vector, sizeof(vector));
}

/// `value` in every lane: x - 0 is x for every x, zeros of both signs included.
[[gnu::always_inline]] inline Vector broadcast(float value) { return value - Vector{}; }

/// a * b + c, rounded once.
[[gnu::always_inline]] inline Vector fma(const Vector& a, const Vector& b, const Vector& c) {
#if defined(__AVX512F__)
  return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(MESHPARITY_NEON)
  return (Vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  Vector result;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    result[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  }
  return result;
#endif
}

[[gnu::always_inline]] inline Vector square_root(const Vector& x) {
#if defined(__AVX512F__)
  return (Vector)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)x);  // GCC 12 warns of the plain one
#elif defined(__AVX2__)
  return (Vector)_mm256_sqrt_ps((__m256)x);
#elif defined(MESHPARITY_NEON)
  return (Vector)vsqrtq_f32((float32x4_t)x);
#else
  Vector result;
  for (std::size_t lane = 0; lane < kLanes; ++lane) result[lane] = __builtin_sqrtf(x[lane]);
  return result;
#endif
}

/// The first `count` < kLanes lanes, and 0 in the others.
[[gnu::always_inline]] inline Vector load_first(const float* from, std::size_t count) {
#if defined(__AVX512F__)
  return (Vector)_mm512_maskz_loadu_ps((__mmask16)((1U << count) - 1U), from);
#else
  Vector vector{};
  for (std::size_t lane = 0; lane < count; ++lane) vector[lane] = from[lane];
  return vector;
#endif
}

[[gnu::always_inline]] inline void store_first(float* to, const Vector& vector, std::size_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, (__mmask16)((1U << count) - 1U), (__m512)vector);
#else
  for (std::size_t lane = 0; lane < count; ++lane) to[lane] = vector[lane];
#endif
}

/// What a vector covers: all lanes, or at the end of an array the first few.
struct AllLanes {
  [[gnu::always_inline]] Vector load(const float* from) const { return meshparity::load(from); }
  [[gnu::always_inline]] void store(float* to, const Vector& vector) const {
    meshparity::store(to, vector);
  }
};

struct FirstLanes {
  std::size_t count;
  [[gnu::always_inline]] Vector load(const float* from) const { return load_first(from, count); }
  [[gnu::always_inline]] void store(float* to, const Vector& vector) const {
    store_first(to, vector, count);
  }
};

/// body(i, lanes) for each vector of an array of `size` elements, i its first element.
template <typename Body>
[[gnu::always_inline]] inline void for_each_vector(std::size_t size, Body body) {
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body(i, AllLanes{});
  if (i < size) body(i, FirstLanes{size - i});
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
