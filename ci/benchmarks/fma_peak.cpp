// Compiled once for each instruction set; with AVX-512 when the compiler is told so.
#include "ci/benchmarks/fma_peak.h"

#include <immintrin.h>

namespace meshparity::bench {
namespace {

#ifdef __AVX512F__
using Vector = __m512;
Vector filled(float value) { return _mm512_set1_ps(value); }
Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
#else
using Vector = __m256;
Vector filled(float value) { return _mm256_set1_ps(value); }
Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
#endif

// Two units times a latency of four or five; as many as fit AVX2's sixteen registers with operands.
constexpr std::size_t kChains = 12;

double fma_chains(std::size_t steps) {
  const Vector factor = filled(0.5F);
  const Vector term = filled(1.0F);
  Vector sums[kChains];
  for (Vector& sum : sums) sum = filled(0.0F);
  for (std::size_t step = 0; step < steps; ++step) {
    for (Vector& sum : sums) sum = fma(sum, factor, term);
  }
  for (Vector& sum : sums) asm volatile("" : : "x"(sum));
  constexpr std::size_t lanes = sizeof(Vector) / sizeof(float);
  return 2.0 * static_cast<double>(steps * kChains * lanes);
}

}  // namespace

#ifdef __AVX512F__
double fma_chains_avx512(std::size_t steps) { return fma_chains(steps); }
#else
double fma_chains_avx2(std::size_t steps) { return fma_chains(steps); }
#endif

}  // namespace meshparity::bench
