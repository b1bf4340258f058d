#include "model/model.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <vector>

#include "model/blocks.h"
#include "model/linear.h"
#include "oracle/canonical_reference.h"
#include "property_tests/model/block_cases.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

TEST(Blocks, ParametersAreHeldOnceHoweverManyBlocksUseThem) {
  Model model;
  model.parameters = {{.name = "w", .rows = 3, .columns = 3},
                      {.name = "unused", .rows = 1, .columns = 1},
                      {.name = "b", .columns = 3, .is_vector = true}};
  model.blocks = {{"first", LinearSpec{}, {0, 2}}, {"second", LinearSpec{}, {0, 2}}};
  AloneGroup group;
  const Blocks blocks(model, {0, 2}, 1, group);
  ASSERT_EQ(blocks.parameters().size(), 2U);
  EXPECT_EQ(blocks.parameter_numbers(), (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(blocks.parameter({1, 1}), 1U);
  ASSERT_EQ(blocks.uses_of(1).size(), 2U);
  EXPECT_EQ(blocks.uses_of(1)[1].block, 1U);
  const Blocks later(model, {1, 2}, 1, group);
  EXPECT_EQ(later.uses_of(0).size(), 1U);
}

/// The first of two ranks that share out features; what they add up nobody asks.
struct HalfGroup final : AloneGroup {
  Range share(std::size_t features, std::size_t /*grain*/) const override {
    return {0, features / 2};
  }
};

TEST(Blocks, BlocksThatCutAParameterDifferentlyCannotShareIt) {
  Model model;
  model.parameters = {{.name = "w", .rows = 4, .columns = 4},
                      {.name = "b", .columns = 4, .is_vector = true}};
  model.blocks = {{"cut", LinearSpec{.split = Split::columns}, {0, 1}},
                  {"whole", LinearSpec{}, {0, 1}}};
  AloneGroup alone;
  EXPECT_EQ(Blocks(model, {0, 2}, 1, alone).parameters().size(), 2U);
  HalfGroup half;
  EXPECT_THROW(Blocks(model, {0, 2}, 1, half), std::logic_error);
}

TEST(Model, TheMlpIsEmbeddingHiddenAndOutput) {
  Recipe recipe;
  recipe.context = 4;
  recipe.embedding = 3;
  recipe.hidden = 12;
  recipe.layers = 2;
  recipe.init_scale = 6;
  const Model model = model_of(recipe, 5);
  ASSERT_EQ(model.parameters.size(), 7U);
  EXPECT_EQ(model.parameters[0].name, "embedding.weight");
  EXPECT_EQ(model.parameters[0].rows, 5U);
  EXPECT_EQ(model.parameters[0].columns, 3U);
  EXPECT_EQ(model.parameters[0].initial.size, 2.0F);
  EXPECT_EQ(model.parameters[1].name, "hidden.0.weight");
  EXPECT_EQ(model.parameters[1].rows, 12U);
  EXPECT_EQ(model.parameters[1].columns, 12U);
  EXPECT_EQ(model.parameters[1].initial.size, 0.5F);
  EXPECT_TRUE(model.parameters[1].decays);
  EXPECT_EQ(model.parameters[6].name, "output.bias");
  EXPECT_EQ(model.parameters[6].columns, 5U);
  EXPECT_TRUE(model.parameters[6].is_vector);
  EXPECT_FALSE(model.parameters[6].decays);
  ASSERT_EQ(model.blocks.size(), 4U);
  EXPECT_EQ(model.blocks[0].name, "embedding");
  EXPECT_EQ(model.blocks[2].name, "hidden.1");
  EXPECT_EQ(model.blocks[3].uses, (std::vector<std::size_t>{5, 6}));
  EXPECT_EQ(model.head.vocabulary, 5U);
}

RC_GTEST_PROP(RowLeaves, LeavesOfPositionsAreAddedUpOneByOne, ()) {
  // Samples of several positions, each sample a whole node of `parts` leaves, some of them empty.
  const std::size_t samples = *from_to(1, 4);
  const RowLeaves leaves{
      .positions = *from_to(1, 9), .samples = 1, .parts = std::size_t{1} << *from_to(0, 3)};
  const std::size_t rows = samples * leaves.positions;
  const std::size_t inputs = *from_to(1, 4);
  const std::size_t outputs = *from_to(1, 4);
  const std::vector<float> x = floats(rows * inputs, random::moderate_float());
  const std::vector<float> dy = floats(rows * outputs, random::moderate_float());
  RC_CLASSIFY(leaves.positions % leaves.parts != 0, "uneven parts");

  PartialSum weight(leaves.count(samples), Range{0, leaves.count(samples)}, inputs * outputs);
  PartialSum bias(leaves.count(samples), Range{0, leaves.count(samples)}, outputs);
  const MicroBatch batch{.slots = {0, samples}, .leaves = leaves};
  push_weight_gradient(batch, MatrixView(x, rows, inputs), MatrixView(dy, rows, outputs), weight);
  push_bias_gradient(batch, MatrixView(dy, rows, outputs), bias);

  const std::size_t grain = leaf_count(leaves.positions, leaves.parts);
  const auto sum_of = [&](const auto& add) {
    std::vector<float> values;
    for (std::size_t sample = 0; sample < samples; ++sample) {
      for (std::size_t part = 0; part < leaves.parts; ++part) {
        float leaf = 0.0F;
        for (std::size_t t = part * grain; t < std::min((part + 1) * grain, leaves.positions);
             ++t) {
          leaf = add(leaf, sample * leaves.positions + t);
        }
        values.push_back(leaf);
      }
    }
    return reference::canonical_tree(values);
  };
  std::vector<float> dw;
  std::vector<float> db;
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t o = 0; o < outputs; ++o) {
      dw.push_back(sum_of([&](float sum, std::size_t row) {
        return std::fma(x[row * inputs + i], dy[row * outputs + o], sum);
      }));
    }
  }
  for (std::size_t o = 0; o < outputs; ++o) {
    db.push_back(sum_of([&](float sum, std::size_t row) { return sum + dy[row * outputs + o]; }));
  }
  require_same(weight.total(), dw);
  require_same(bias.total(), db);
}

}  // namespace
}  // namespace meshparity
