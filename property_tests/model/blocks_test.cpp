// Blocks against their equations, written out element by element as canonical sums.
#include "model/blocks.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "model/transformer.h"
#include "oracle/canonical_reference.h"
#include "property_tests/model/block_cases.h"
#include "property_tests/random_values.h"
#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

struct LinearCase {
  LinearSpec spec;
  std::size_t inputs = *from_to(1, 20);
  std::size_t outputs = *from_to(1, 20);
  BatchCut batch;
  std::vector<float> weight;
  std::vector<float> bias;
  std::vector<float> input;
  std::vector<float> output_gradient;

  LinearCase() {
    batch = random_batch();
    spec.relu = *rc::gen::arbitrary<bool>();
    spec.input_grain = *from_to(1, 24);
    spec.output_grain = *from_to(1, 24);
    const rc::Gen<float> kind =
        *rc::gen::element(random::moderate_float(), random::special_float());
    weight = floats(inputs * outputs, kind);
    bias = floats(outputs, kind);
    input = floats(batch.samples * inputs, kind);
    output_gradient = floats(batch.samples * outputs, kind);
    RC_CLASSIFY(spec.relu, "relu");
  }

  std::vector<float> output() const {
    std::vector<float> y;
    for (std::size_t b = 0; b < batch.samples; ++b) {
      for (std::size_t o = 0; o < outputs; ++o) {
        const float sum = reference::canonical_dot(
            inputs, spec.input_grain, [&](std::size_t i) { return input[b * inputs + i]; },
            [&](std::size_t i) { return weight[i * outputs + o]; });
        const float biased = sum + bias[o];
        y.push_back(spec.relu && biased <= 0.0F ? 0.0F : biased);
      }
    }
    return y;
  }

  /// Of what the ReLU takes.
  std::vector<float> sum_gradient(const std::vector<float>& y) const {
    std::vector<float> gradient = output_gradient;
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (spec.relu && !(y[i] > 0.0F)) gradient[i] = 0.0F;
    }
    return gradient;
  }
};

RC_GTEST_PROP(Block, LinearHasTheBitsOfItsEquations, ()) {
  const LinearCase c;
  const auto [samples, grain, leaves, microbatches] = c.batch;
  const std::size_t inputs = c.inputs;
  const std::size_t outputs = c.outputs;
  const std::unique_ptr<Block> block =
      alone(c.spec,
            {{.name = "weight", .rows = inputs, .columns = outputs},
             {.name = "bias", .columns = outputs, .is_vector = true}},
            samples);
  RC_ASSERT(block->input().width == inputs);
  RC_ASSERT(block->output().width == outputs);
  const std::vector<std::span<const float>> parameters{c.weight, c.bias};
  std::vector<PartialSum> sums = sums_for(*block, c.batch);

  std::vector<float> output(samples * outputs, kNan);
  std::vector<float> input_gradient(samples * inputs, kNan);
  std::vector<float> output_gradient = c.output_gradient;
  for (const Range microbatch : microbatches) {
    const Range run = c.batch.samples_of(microbatch);
    const MicroBatch batch{.slots = run, .leaves = {.samples = grain}};
    const auto rows = [&](auto& values, std::size_t width) {
      return std::span(values).subspan(run.begin * width, run.size() * width);
    };
    block->forward(batch, parameters, rows(c.input, inputs), rows(output, outputs), {});
    block->backward(batch, parameters, rows(c.input, inputs), rows(output, outputs), {},
                    rows(output_gradient, outputs), rows(input_gradient, inputs), sums);
    for (const PartialSum& sum : sums) RC_ASSERT(sum.pushed() == (Range{0, microbatch.end}));
  }

  const std::vector<float> y = c.output();
  require_same(output, y);
  const std::vector<float> dz = c.sum_gradient(y);
  std::vector<float> dx;
  for (std::size_t b = 0; b < samples; ++b) {
    for (std::size_t i = 0; i < inputs; ++i) {
      dx.push_back(reference::canonical_dot(
          outputs, c.spec.output_grain, [&](std::size_t o) { return dz[b * outputs + o]; },
          [&](std::size_t o) { return c.weight[i * outputs + o]; }));
    }
  }
  require_same(input_gradient, dx);
  std::vector<float> dw;
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t o = 0; o < outputs; ++o) {
      dw.push_back(reference::canonical_dot(
          samples, grain, [&](std::size_t b) { return c.input[b * inputs + i]; },
          [&](std::size_t b) { return dz[b * outputs + o]; }));
    }
  }
  require_same(sums[0].total(), dw);
  std::vector<float> db;
  for (std::size_t o = 0; o < outputs; ++o) {
    db.push_back(reference::canonical_sum(samples, grain,
                                          [&](std::size_t b) { return dz[b * outputs + o]; }));
  }
  require_same(sums[1].total(), db);
}

RC_GTEST_PROP(Block, EmbeddingHasTheBitsOfItsEquations, ()) {
  const BatchCut cut = random_batch();
  const std::size_t vocabulary = *from_to(2, 6);
  const std::size_t width = *from_to(1, 5);
  const std::size_t context = *from_to(1, 5);
  const rc::Gen<float> kind = *rc::gen::element(random::moderate_float(), random::special_float());
  const std::vector<float> weight = floats(vocabulary * width, kind);
  const std::size_t places = cut.samples * context;
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < places; ++i) {
    tokens.push_back(static_cast<Token>(*from_to(0, vocabulary - 1)));
  }
  const std::vector<float> output_gradient = floats(places * width, kind);

  const std::unique_ptr<Block> block =
      alone(EmbeddingSpec{context}, {{.name = "weight", .rows = vocabulary, .columns = width}},
            cut.samples);
  RC_ASSERT(block->input().width == 0U);
  RC_ASSERT(block->output().width == context * width);
  const std::vector<std::span<const float>> parameters{weight};
  std::vector<PartialSum> sums = sums_for(*block, cut);
  std::vector<float> output(places * width, kNan);
  std::vector<float> scratch = output_gradient;
  for (const Range microbatch : cut.microbatches) {
    const Range run = cut.samples_of(microbatch);
    const MicroBatch batch{
        .slots = run,
        .leaves = {.samples = cut.grain},
        .tokens = std::span(tokens).subspan(run.begin * context, run.size() * context)};
    const auto rows = [&](std::vector<float>& values) {
      const std::size_t row = context * width;
      return std::span(values).subspan(run.begin * row, run.size() * row);
    };
    block->forward(batch, parameters, {}, rows(output), {});
    block->backward(batch, parameters, {}, rows(output), {}, rows(scratch), {}, sums);
    RC_ASSERT(sums[0].pushed() == (Range{0, microbatch.end}));
  }

  std::vector<float> expected;
  for (const Token token : tokens) {
    for (std::size_t e = 0; e < width; ++e) {
      expected.push_back(weight[static_cast<std::size_t>(token) * width + e]);
    }
  }
  require_same(output, expected);

  std::vector<float> gradient;
  for (std::size_t token = 0; token < vocabulary; ++token) {
    for (std::size_t e = 0; e < width; ++e) {
      std::vector<float> leaf_values;
      for (std::size_t leaf = 0; leaf < cut.leaves; ++leaf) {
        const Range run = cut.samples_of({leaf, leaf + 1});
        float sum = 0.0F;
        for (std::size_t i = run.begin * context; i < run.end * context; ++i) {
          if (static_cast<std::size_t>(tokens[i]) == token) {
            sum = sum + output_gradient[i * width + e];
          }
        }
        leaf_values.push_back(sum);
      }
      gradient.push_back(reference::canonical_tree(leaf_values));
    }
  }
  require_same(sums[0].total(), gradient);
}

// Computed in float32 both would be one bit off.
TEST(Dropout, TheScaleIsTheInverseInBinary64RoundedOnce) {
  const MicroBatch batch{.slots = {0, 1}, .leaves = {}};
  EXPECT_EQ(dropout_of({.probability = 0.6}, batch).scale, 2.5F);
  EXPECT_EQ(dropout_of({.probability = 0.9}, batch).scale, 10.0F);
}

TEST(Block, ABatchWithoutSamplesPushesNothing) {
  const std::unique_ptr<Block> block = alone(LinearSpec{},
                                             {{.name = "weight", .rows = 2, .columns = 2},
                                              {.name = "bias", .columns = 2, .is_vector = true}},
                                             1);
  const std::vector<float> weight(4);
  const std::vector<float> bias(2);
  const std::vector<std::span<const float>> parameters{weight, bias};
  std::vector<PartialSum> sums;
  sums.emplace_back(1, share_of(0, 1, 0), 4);
  sums.emplace_back(1, share_of(0, 1, 0), 2);
  const MicroBatch none;
  block->forward(none, parameters, {}, {}, {});
  block->backward(none, parameters, {}, {}, {}, {}, {}, sums);
  EXPECT_TRUE(sums[0].nodes().empty());
  EXPECT_TRUE(sums[1].nodes().empty());
}

}  // namespace
}  // namespace meshparity
