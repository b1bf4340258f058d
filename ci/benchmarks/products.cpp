#include "ci/benchmarks/products.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "ci/benchmarks/measurement.h"
#include "model/numerics/kernels.h"

namespace meshparity::bench {
namespace {

constexpr const char* kPart = "products";

std::vector<LayerSizes> measured_layers() {
  return {
      // ml.c's model with its recipe's grains, and a second hidden layer.
      {"ml.c hidden", 32, 256, 64, 16, 16, 8},
      {"ml.c output", 32, 64, 27, 16, 32, 8},
      {"ml.c second hidden", 32, 64, 64, 16, 16, 8},
      {"wide", 256, 1024, 1024},
      {"GPT-2 attention out", 256, 768, 768},
      {"GPT-2 query key value", 256, 768, 2304},
      {"GPT-2 up", 256, 768, 3072},
      {"GPT-2 down", 256, 3072, 768},
  };
}

AlignedFloats random_values(std::size_t size, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> draw(-1.0F, 1.0F);
  AlignedFloats values(size);
  std::generate(values.begin(), values.end(), [&] { return draw(engine); });
  return values;
}

/// Throws std::runtime_error if the peer's product is not ours. Two sums of `terms` products, each
/// below 1 in size, in any two orders differ by at most 2 * terms^2 * u / (1 - terms * u).
void require_same_product(const Peer& peer, ProductData& data, const Product& product) {
  data.multiply(product.grain);
  const std::vector<float> ours(data.output().begin(), data.output().end());
  std::fill_n(data.operands().output, ours.size(), std::nanf(""));
  peer.multiply();
  const auto terms = static_cast<double>(product.terms);
  const double unit = std::ldexp(1.0, -24);
  const double bound = 2 * terms * terms * unit / (1 - terms * unit);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double difference = std::abs(double{ours[i]} - double{data.output()[i]});
    if (difference <= bound) continue;
    throw std::runtime_error(
        fmt::format("{} computes another product for {}: element {} is {}, "
                    "not {}",
                    peer.name, product.name, i, data.output()[i], ours[i]));
  }
}

/// The ratio of our speed to the best peer's.
double measure(const Product& product) {
  ProductData data(product);
  const std::vector<Peer> peers = peers_for(data.operands());
  if (peers.empty()) throw std::runtime_error("built without any peer: install the part 'bench'");
  std::vector<Action> contestants = {[&] { data.multiply(product.grain); }};
  for (const Peer& peer : peers) {
    require_same_product(peer, data, product);
    contestants.push_back(peer.multiply);
  }
  const auto seconds = paired_seconds(contestants);
  const auto gflops = [&](std::size_t c) { return product.flops() / median(seconds[c]) * 1e-9; };
  Measurement result{kPart, product.name, 1e9, 0.8, Good::above, {}};
  result.note = fmt::format("{:.1f} GFLOP/s;", gflops(0));
  for (std::size_t p = 0; p < peers.size(); ++p) {
    result.ratio = std::min(result.ratio, paired_ratio(seconds[p + 1], seconds[0]));
    result.note += fmt::format("{} {} {:.1f}", p == 0 ? "" : ",", peers[p].name, gflops(p + 1));
  }
  print(result);
  return result.ratio;
}

}  // namespace

double Product::flops() const {
  return 2 * static_cast<double>(rows) * static_cast<double>(terms) * static_cast<double>(columns);
}

std::vector<Product> products_of(const LayerSizes& layer) {
  const auto [name, samples, inputs, outputs, input_grain, output_grain, batch_grain] = layer;
  const auto named = [&name = name](const char* kind, std::size_t rows, std::size_t terms,
                                    std::size_t columns) {
    return fmt::format("{}, {} {}x{}x{}", name, kind, rows, terms, columns);
  };
  using Kind = Product::Kind;
  return {{named("forward", samples, inputs, outputs), Kind::forward, samples, inputs, outputs,
           input_grain},
          {named("input gradient", samples, outputs, inputs), Kind::input_gradient, samples,
           outputs, inputs, output_grain},
          {named("weight gradient", inputs, samples, outputs), Kind::weight_gradient, inputs,
           samples, outputs, batch_grain}};
}

ProductData::ProductData(const Product& product)
    : left_(random_values(product.rows * product.terms, 1)),
      right_(random_values(product.terms * product.columns, 2)),
      output_(product.rows * product.columns) {
  operands_ = {product.rows,
               product.terms,
               product.columns,
               product.kind == Product::Kind::weight_gradient,
               product.kind == Product::Kind::input_gradient,
               left_.data(),
               right_.data(),
               output_.data()};
}

void ProductData::multiply(std::size_t grain) {
  const Operands& o = operands_;
  const MatrixView left = o.left_transposed ? MatrixView(left_, o.terms, o.rows).transposed()
                                            : MatrixView(left_, o.rows, o.terms);
  const MatrixView right = o.right_transposed ? MatrixView(right_, o.columns, o.terms).transposed()
                                              : MatrixView(right_, o.terms, o.columns);
  canonical_product(left, right, grain, output_);
}

void measure_products(const std::string& filter) {
  double log_sum = 0;
  double lowest = 1e9;
  std::size_t count = 0;
  for (const LayerSizes& layer : measured_layers()) {
    for (const Product& product : products_of(layer)) {
      if (product.name.find(filter) == std::string::npos) continue;
      const double ratio = measure(product);
      log_sum += std::log(ratio);
      lowest = std::min(lowest, ratio);
      ++count;
    }
  }
  if (count == 0) return;
  print({kPart, "geometric mean", std::exp(log_sum / static_cast<double>(count)), 0.95, Good::above,
         fmt::format("{} products, the lowest {:.3f}", count, lowest)});
}

}  // namespace meshparity::bench
