#include <fmt/format.h>

#include "ci/benchmarks/fma_peak.h"
#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/products.h"
#include "model/numerics/isa.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kSteps = 20'000;

/// The product's speed with one instruction set as a fraction of what `chains` reaches.
void measure(const Product& product, Isa isa, double (*chains)(std::size_t), double bar) {
  use_isa(isa);
  ProductData data(product);
  const Action contestants[] = {[&] { data.multiply(product.grain); }, [&] { chains(kSteps); }};
  // A machine is slow for seconds at a time: the median should not fall into one of them.
  const auto seconds = paired_seconds(contestants, {.rounds = 201});
  const double work = product.flops() / chains(kSteps);
  print({"peak", fmt::format("{}, {}", name_of(isa), product.name),
         work * paired_ratio(seconds[1], seconds[0]), bar, Good::above,
         fmt::format("{:.1f} GFLOP/s; peak {:.1f}", product.flops() / median(seconds[0]) * 1e-9,
                     chains(kSteps) / median(seconds[1]) * 1e-9)});
}

}  // namespace

void measure_peak(const std::string& filter) {
#ifdef MESHPARITY_BENCH_X86
  for (const Isa isa : available_isas()) {
    if (isa != Isa::avx2 && isa != Isa::avx512) continue;
    // Only AVX2 has a bar: how much of AVX-512's peak can be reached depends on how a processor
    // shares the work out over its units.
    const bool is_avx2 = isa == Isa::avx2;
    for (const Product& product : products_of({"wide", 256, 1024, 1024})) {
      if (product.name.find(filter) == std::string::npos) continue;
      const bool judged = is_avx2 && product.kind != Product::Kind::weight_gradient;
      measure(product, isa, is_avx2 ? fma_chains_avx2 : fma_chains_avx512, judged ? 0.85 : 0);
    }
  }
#else
  fmt::print(stderr, "  no peak is known for this architecture ({})\n", filter);
#endif
}

}  // namespace meshparity::bench
