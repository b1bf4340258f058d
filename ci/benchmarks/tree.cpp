#include <fmt/format.h>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/products.h"

namespace meshparity::bench {
namespace {

/// With this many terms in a leaf or more, the tree has to be almost free.
constexpr std::size_t kCheapGrain = 64;

void measure(const Product& product) {
  const std::size_t grains[] = {16, 32, 64, 128, 256};
  ProductData data(product);
  std::vector<Action> contestants = {[&] { data.multiply(product.terms); }};
  for (const std::size_t grain : grains) {
    contestants.emplace_back([&data, grain] { data.multiply(grain); });
  }
  const auto seconds = paired_seconds(contestants, {.rounds = 41});
  for (std::size_t g = 0; g < std::size(grains); ++g) {
    if (grains[g] >= product.terms) continue;
    print({"tree", fmt::format("{}, grain {}", product.name, grains[g]),
           paired_ratio(seconds[0], seconds[g + 1]), grains[g] >= kCheapGrain ? 0.97 : 0,
           Good::above,
           fmt::format("{:.1f} GFLOP/s; one chain {:.1f}",
                       product.flops() / median(seconds[g + 1]) * 1e-9,
                       product.flops() / median(seconds[0]) * 1e-9)});
  }
}

}  // namespace

void measure_tree(const std::string& filter) {
  for (const LayerSizes& layer :
       {LayerSizes{"wide", 256, 1024, 1024}, LayerSizes{"GPT-2 down", 256, 3072, 768},
        LayerSizes{"long batch", 1024, 256, 256}}) {
    for (const Product& product : products_of(layer)) {
      if (product.name.find(filter) != std::string::npos) measure(product);
    }
  }
}

}  // namespace meshparity::bench
