// The residual block against its equations, written out element by element as canonical sums.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "model/block.h"
#include "oracle/canonical_reference.h"
#include "property_tests/model/block_cases.h"
#include "property_tests/random_values.h"
#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

struct FeedForwardCase {
  BatchCut batch = random_batch();
  std::size_t width = *from_to(1, 9);
  std::size_t features = *from_to(1, 12);
  FeedForwardSpec spec{*from_to(1, 10), *from_to(1, 13)};
  rc::Gen<float> kind = random::moderate_float();
  std::vector<float> up = floats(width * features, kind);
  std::vector<float> up_bias = floats(features, kind);
  std::vector<float> down = floats(features * width, kind);
  std::vector<float> down_bias = floats(width, kind);
  std::vector<float> input = floats(batch.samples * width, kind);
  std::vector<float> output_gradient = floats(batch.samples * width, kind);

  std::vector<ParameterSpec> parameters() const {
    return {{.name = "up", .rows = width, .columns = features},
            {.name = "up_bias", .columns = features, .is_vector = true},
            {.name = "down", .rows = features, .columns = width},
            {.name = "down_bias", .columns = width, .is_vector = true}};
  }

  /// The features after the ReLU.
  std::vector<float> hidden() const {
    std::vector<float> h;
    for (std::size_t b = 0; b < batch.samples; ++b) {
      for (std::size_t f = 0; f < features; ++f) {
        const float sum = reference::canonical_dot(
            width, spec.width_grain, [&](std::size_t i) { return input[b * width + i]; },
            [&](std::size_t i) { return up[i * features + f]; });
        h.push_back(std::max(sum + up_bias[f], 0.0F));
      }
    }
    return h;
  }

  std::vector<float> output(const std::vector<float>& h) const {
    std::vector<float> y;
    for (std::size_t b = 0; b < batch.samples; ++b) {
      for (std::size_t i = 0; i < width; ++i) {
        const float sum = reference::canonical_dot(
            features, spec.feature_grain, [&](std::size_t f) { return h[b * features + f]; },
            [&](std::size_t f) { return down[f * width + i]; });
        y.push_back(input[b * width + i] + (sum + down_bias[i]));
      }
    }
    return y;
  }

  /// Of what the ReLU takes.
  std::vector<float> feature_gradient(const std::vector<float>& h) const {
    std::vector<float> dh;
    for (std::size_t b = 0; b < batch.samples; ++b) {
      for (std::size_t f = 0; f < features; ++f) {
        const float sum = reference::canonical_dot(
            width, spec.width_grain, [&](std::size_t i) { return output_gradient[b * width + i]; },
            [&](std::size_t i) { return down[f * width + i]; });
        dh.push_back(h[b * features + f] > 0.0F ? sum : 0.0F);
      }
    }
    return dh;
  }

  std::vector<float> input_gradient(const std::vector<float>& dh) const {
    std::vector<float> dx;
    for (std::size_t b = 0; b < batch.samples; ++b) {
      for (std::size_t i = 0; i < width; ++i) {
        const float sum = reference::canonical_dot(
            features, spec.feature_grain, [&](std::size_t f) { return dh[b * features + f]; },
            [&](std::size_t f) { return up[i * features + f]; });
        dx.push_back(output_gradient[b * width + i] + sum);
      }
    }
    return dx;
  }
};

/// left^T right over the batch.
std::vector<float> over_samples(const BatchCut& batch, const std::vector<float>& left,
                                const std::vector<float>& right) {
  const std::size_t rows = left.size() / batch.samples;
  const std::size_t columns = right.size() / batch.samples;
  std::vector<float> product;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      product.push_back(reference::canonical_dot(
          batch.samples, batch.grain, [&](std::size_t b) { return left[b * rows + i]; },
          [&](std::size_t b) { return right[b * columns + j]; }));
    }
  }
  return product;
}

RC_GTEST_PROP(Block, FeedForwardHasTheBitsOfItsEquations, ()) {
  const FeedForwardCase c;
  const std::unique_ptr<Block> block = alone(c.spec, c.parameters(), c.batch.samples);
  RC_ASSERT(block->saved() == c.features);
  const std::vector<std::span<const float>> parameters{c.up, c.up_bias, c.down, c.down_bias};
  std::vector<PartialSum> sums = sums_for(*block, c.batch);
  std::vector<float> output(c.batch.samples * c.width, kNan);
  std::vector<float> saved(c.batch.samples * c.features, kNan);
  std::vector<float> input_gradient(output.size(), kNan);
  std::vector<float> output_gradient = c.output_gradient;
  for (const Range microbatch : c.batch.microbatches) {
    const Range run = c.batch.samples_of(microbatch);
    const MicroBatch batch{.slots = run, .leaves = {.samples = c.batch.grain}};
    const auto rows = [&](auto& values, std::size_t width) {
      return std::span(values).subspan(run.begin * width, run.size() * width);
    };
    block->forward(batch, parameters, rows(c.input, c.width), rows(output, c.width),
                   rows(saved, c.features));
    block->backward(batch, parameters, rows(c.input, c.width), rows(output, c.width),
                    rows(saved, c.features), rows(output_gradient, c.width),
                    rows(input_gradient, c.width), sums);
  }
  const std::vector<float> h = c.hidden();
  const std::vector<float> dh = c.feature_gradient(h);
  const std::vector<float> ones(c.batch.samples, 1.0F);
  require_same(saved, h);
  require_same(output, c.output(h));
  require_same(input_gradient, c.input_gradient(dh));
  require_same(sums[0].total(), over_samples(c.batch, c.input, dh));
  require_same(sums[1].total(), over_samples(c.batch, ones, dh));
  require_same(sums[2].total(), over_samples(c.batch, h, c.output_gradient));
  require_same(sums[3].total(), over_samples(c.batch, ones, c.output_gradient));
}

}  // namespace
}  // namespace meshparity
