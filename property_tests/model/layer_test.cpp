// Layers against their equations, written out element by element as canonical sums.
#include "model/layer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "oracle/canonical_reference.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

void require_same(std::span<const float> actual, const std::vector<float>& expected) {
  RC_ASSERT(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!same_float(actual[i], expected[i])) RC_ASSERT(actual[i] == expected[i]);
  }
}

/// A batch and how it is cut into microbatches of whole leaves.
struct BatchCut {
  std::size_t samples = 1;
  std::size_t grain = 1;
  std::size_t leaves = 1;
  std::vector<Range> microbatches;  // runs of leaves

  Range samples_of(Range run) const { return terms_of(run, grain, samples); }
};

BatchCut random_batch() {
  BatchCut batch;
  batch.samples = *from_to(1, 13);
  batch.grain = *rc::gen::oneOf(rc::gen::just<std::size_t>(1), from_to(1, 15));
  batch.leaves = leaf_count(batch.samples, batch.grain);
  batch.microbatches = random::random_split({0, batch.leaves}, *from_to(1, 4));
  RC_CLASSIFY(batch.samples % batch.grain != 0, "short last leaf");
  return batch;
}

/// Gradients of one layer over the whole batch, whose microbatches push one after the other.
std::vector<PartialSum> sums_for(const Layer& layer, const BatchCut& batch) {
  std::vector<PartialSum> sums;
  for (const Shard& shard : layer.parameters()) {
    sums.emplace_back(batch.leaves, Range{0, batch.leaves}, shard.size());
  }
  return sums;
}

struct LinearCase {
  LinearSpec spec;
  BatchCut batch;
  std::vector<float> weight;
  std::vector<float> bias;
  std::vector<float> input;
  std::vector<float> output_gradient;

  LinearCase() {
    batch = random_batch();
    spec.name = "linear";
    spec.inputs = *from_to(1, 20);
    spec.outputs = *from_to(1, 20);
    spec.relu = *rc::gen::arbitrary<bool>();
    spec.input_grain = *from_to(1, 24);
    spec.output_grain = *from_to(1, 24);
    const rc::Gen<float> kind =
        *rc::gen::element(random::moderate_float(), random::special_float());
    weight = floats(spec.inputs * spec.outputs, kind);
    bias = floats(spec.outputs, kind);
    input = floats(batch.samples * spec.inputs, kind);
    output_gradient = floats(batch.samples * spec.outputs, kind);
    RC_CLASSIFY(spec.relu, "relu");
  }

  std::vector<float> output() const {
    std::vector<float> y;
    for (std::size_t b = 0; b < batch.samples; ++b) {
      for (std::size_t o = 0; o < spec.outputs; ++o) {
        const float sum = reference::canonical_dot(
            spec.inputs, spec.input_grain,
            [&](std::size_t i) { return input[b * spec.inputs + i]; },
            [&](std::size_t i) { return weight[i * spec.outputs + o]; });
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

RC_GTEST_PROP(Layer, LinearHasTheBitsOfItsEquations, ()) {
  const LinearCase c;
  const auto [samples, grain, leaves, microbatches] = c.batch;
  const std::size_t inputs = c.spec.inputs;
  const std::size_t outputs = c.spec.outputs;
  const std::unique_ptr<Layer> layer = make_layer(c.spec);
  RC_ASSERT(layer->input_width() == inputs);
  RC_ASSERT(layer->output_width() == outputs);
  const std::vector<std::span<const float>> parameters{c.weight, c.bias};
  std::vector<PartialSum> sums = sums_for(*layer, c.batch);

  std::vector<float> output(samples * outputs, kNan);
  std::vector<float> input_gradient(samples * inputs, kNan);
  std::vector<float> output_gradient = c.output_gradient;
  for (const Range microbatch : microbatches) {
    const Range run = c.batch.samples_of(microbatch);
    const MicroBatch batch{run.size(), grain, {}, {}};
    const auto rows = [&](auto& values, std::size_t width) {
      return std::span(values).subspan(run.begin * width, run.size() * width);
    };
    layer->forward(batch, parameters, rows(c.input, inputs), rows(output, outputs));
    layer->backward(batch, parameters, rows(c.input, inputs), rows(output, outputs),
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

RC_GTEST_PROP(Layer, EmbeddingHasTheBitsOfItsEquations, ()) {
  const BatchCut cut = random_batch();
  const EmbeddingSpec spec{"embedding", *from_to(2, 6), *from_to(1, 5), *from_to(1, 5)};
  const std::size_t width = spec.width;
  const rc::Gen<float> kind = *rc::gen::element(random::moderate_float(), random::special_float());
  const std::vector<float> weight = floats(spec.vocabulary * width, kind);
  const std::size_t places = cut.samples * spec.context;
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < places; ++i) {
    tokens.push_back(static_cast<Token>(*from_to(0, spec.vocabulary - 1)));
  }
  const std::vector<float> output_gradient = floats(places * width, kind);

  const std::unique_ptr<Layer> layer = make_layer(spec);
  RC_ASSERT(layer->input_width() == 0U);
  RC_ASSERT(layer->output_width() == spec.context * width);
  const std::vector<std::span<const float>> parameters{weight};
  std::vector<PartialSum> sums = sums_for(*layer, cut);
  std::vector<float> output(places * width, kNan);
  std::vector<float> scratch = output_gradient;
  for (const Range microbatch : cut.microbatches) {
    const Range run = cut.samples_of(microbatch);
    const MicroBatch batch{
        run.size(),
        cut.grain,
        std::span(tokens).subspan(run.begin * spec.context, run.size() * spec.context),
        {}};
    const auto rows = [&](std::vector<float>& values) {
      const std::size_t row = spec.context * width;
      return std::span(values).subspan(run.begin * row, run.size() * row);
    };
    layer->forward(batch, parameters, {}, rows(output));
    layer->backward(batch, parameters, {}, rows(output), rows(scratch), {}, sums);
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
  for (std::size_t token = 0; token < spec.vocabulary; ++token) {
    for (std::size_t e = 0; e < width; ++e) {
      std::vector<float> leaf_values;
      for (std::size_t leaf = 0; leaf < cut.leaves; ++leaf) {
        const Range run = cut.samples_of({leaf, leaf + 1});
        float sum = 0.0F;
        for (std::size_t i = run.begin * spec.context; i < run.end * spec.context; ++i) {
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

TEST(Layer, ParametersHaveTheirNamesAndShapes) {
  const LayerSpec embedding = EmbeddingSpec{"embedding", 5, 3, 4};
  LinearSpec linear;
  linear.name = "output";
  linear.inputs = 12;
  linear.outputs = 5;
  const std::vector<ParameterSpec> of_embedding = parameters_of(embedding);
  ASSERT_EQ(of_embedding.size(), 1U);
  EXPECT_EQ(of_embedding[0].name, "embedding.weight");
  EXPECT_EQ(of_embedding[0].rows, 5U);
  EXPECT_EQ(of_embedding[0].columns, 3U);
  EXPECT_EQ(of_embedding[0].fan_in, 3U);
  const std::vector<ParameterSpec> of_linear = parameters_of(LayerSpec{linear});
  ASSERT_EQ(of_linear.size(), 2U);
  EXPECT_EQ(of_linear[0].name, "output.weight");
  EXPECT_EQ(of_linear[0].rows, 12U);
  EXPECT_EQ(of_linear[0].columns, 5U);
  EXPECT_FALSE(of_linear[0].is_vector);
  EXPECT_EQ(of_linear[0].fan_in, 12U);
  EXPECT_EQ(of_linear[1].name, "output.bias");
  EXPECT_EQ(of_linear[1].rows, 1U);
  EXPECT_EQ(of_linear[1].columns, 5U);
  EXPECT_TRUE(of_linear[1].is_vector);
  EXPECT_EQ(of_linear[1].fan_in, 12U);
  const std::unique_ptr<Layer> layer = make_layer(linear);
  for (const Shard& shard : layer->parameters()) {
    EXPECT_EQ(shard.size(), shard.spec.size());
  }
}

TEST(Layer, ABatchWithoutSamplesPushesNothing) {
  LinearSpec linear;
  linear.inputs = 2;
  linear.outputs = 2;
  const std::unique_ptr<Layer> layer = make_layer(linear);
  const std::vector<float> weight(4);
  const std::vector<float> bias(2);
  const std::vector<std::span<const float>> parameters{weight, bias};
  std::vector<PartialSum> sums;
  sums.emplace_back(1, share_of(0, 1, 0), 4);
  sums.emplace_back(1, share_of(0, 1, 0), 2);
  const MicroBatch none{0, 1, {}, {}};
  layer->forward(none, parameters, {}, {});
  layer->backward(none, parameters, {}, {}, {}, {}, sums);
  EXPECT_TRUE(sums[0].nodes().empty());
  EXPECT_TRUE(sums[1].nodes().empty());
}

}  // namespace
}  // namespace meshparity
