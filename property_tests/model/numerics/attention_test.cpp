// Attention's kernels against their definition, bit for bit.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "model/numerics/functions.h"
#include "model/numerics/philox.h"
#include "model/numerics/transformer_kernels.h"
#include "oracle/attention_reference.h"
#include "property_tests/model/numerics/kernel_sets.h"
#include "property_tests/random_values.h"
#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

/// A case of attention, as the kernels and as the definition take it.
struct Case {
  AttentionShape shape;
  Dropout dropout;
  std::vector<float> qkv;
  std::vector<float> output_gradient;

  std::size_t outputs() const { return shape.rows() * shape.heads * shape.head_size; }

  float factor(std::size_t row, std::size_t head, std::size_t key) const {
    const std::uint64_t feature = (shape.first_head + head) * shape.sequence + key;
    const auto words = philox4x32({static_cast<std::uint32_t>(feature / 4),
                                   static_cast<std::uint32_t>(dropout.first_row + row),
                                   static_cast<std::uint32_t>(dropout.step), dropout.place},
                                  dropout.key);
    return unit_float(words.at(feature % 4)) >= dropout.probability ? dropout.scale : 0.0F;
  }

  reference::AttentionCase definition() const {
    reference::AttentionCase given{.samples = shape.samples,
                                   .positions = shape.positions,
                                   .heads = shape.heads,
                                   .head_size = shape.head_size,
                                   .part = shape.part,
                                   .parts = shape.parts,
                                   .scale = shape.scale,
                                   .exp = portable_exp,
                                   .dropout = {}};
    if (dropout.active()) {
      given.dropout = [this](std::size_t row, std::size_t head, std::size_t key) {
        return factor(row, head, key);
      };
    }
    return given;
  }
};

Dropout random_dropout() {
  const float probability = *rc::gen::element(0.1F, 0.5F, 0.9F);
  return {.key = {static_cast<std::uint32_t>(*random::any_seed()), 7},
          .step = *from_to(0, 1000),
          .place = static_cast<std::uint32_t>(*from_to(0, 50)),
          .first_row = *from_to(0, 500),
          .probability = probability,
          .scale = static_cast<float>(1.0 / (1.0 - static_cast<double>(probability)))};
}

/// Sizes; the values are the caller's.
Case random_case(std::size_t most_positions, std::size_t most_features) {
  Case given;
  AttentionShape& shape = given.shape;
  shape.samples = *from_to(1, 2);
  shape.sequence = *from_to(1, most_positions);
  shape.positions = shape.sequence;
  shape.heads = *from_to(1, 3);
  shape.head_size = *from_to(1, most_features);
  shape.parts = *rc::gen::element<std::size_t>(1, 1, 2, 4);
  shape.part = (shape.sequence + shape.parts - 1) / shape.parts;
  shape.first_head = *from_to(0, 5);
  shape.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_size)));
  const std::size_t way = *from_to(0, 3);
  if (way == 0) given.dropout = random_dropout();
  if (way == 1) shape.positions = *from_to(1, shape.sequence);  // a prompt
  if (way == 2) shape.positions += *from_to(0, 3);              // a sample grows beyond
  RC_CLASSIFY(given.dropout.active(), "dropout");
  RC_CLASSIFY(shape.parts > 1, "parts");
  return given;
}

/// What the kernels give.
struct Actual {
  std::vector<float> output;
  std::vector<float> largest;
  std::vector<float> sums;
  std::vector<float> qkv_gradient;
};

/// Everything is filled with NaN first: nothing may be read before it is written.
Actual run_kernels(const Case& given) {
  const std::size_t row_heads = given.shape.rows() * given.shape.heads;
  Actual actual{std::vector<float>(given.outputs(), kNan), std::vector<float>(row_heads, kNan),
                std::vector<float>(row_heads, kNan), std::vector<float>(given.qkv.size(), kNan)};
  constexpr float kGuard = 12345.0F;
  const std::size_t needed = attention_scratch(given.shape);
  std::vector<float> memory(needed + 1, kNan);
  memory.back() = kGuard;
  const auto scratch = std::span(memory).first(needed);
  attention(given.shape, given.dropout, given.qkv, actual.output, actual.largest, actual.sums,
            scratch);
  std::fill(scratch.begin(), scratch.end(), kNan);
  attention_backward(given.shape, given.dropout, given.qkv, actual.output, actual.largest,
                     actual.sums, given.output_gradient, actual.qkv_gradient, scratch);
  RC_ASSERT(memory.back() == kGuard);
  return actual;
}

void require_all_same(const std::vector<float>& actual, const std::vector<float>& expected) {
  RC_ASSERT(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) require_same(actual[i], expected[i]);
}

void expect_definition(const Case& given) {
  const Actual actual = run_kernels(given);
  const reference::AttentionCase definition = given.definition();
  const reference::AttentionResult expected = reference::attention(definition, given.qkv);
  require_all_same(actual.output, expected.output);
  require_all_same(actual.sums, expected.sums);
  require_all_same(
      actual.qkv_gradient,
      reference::attention_backward(definition, given.qkv, expected, given.output_gradient));
  for (std::size_t i = 0; i < actual.largest.size(); ++i) {
    if (std::isnan(actual.sums[i])) continue;  // then the largest score shows nowhere
    RC_ASSERT(actual.largest[i] == expected.largest[i]);
    RC_ASSERT(actual.largest[i] != 0.0F || !std::signbit(actual.largest[i]));
  }
}

RC_GTEST_PROP(Attention, HasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  Case given = random_case(12, 9);
  const rc::Gen<float> kind = rc::gen::noShrink(*random::kind_of_floats());
  given.qkv = floats(3 * given.outputs(), kind);
  given.output_gradient = floats(given.outputs(), kind);
  expect_definition(given);
}

RC_GTEST_PROP(Attention, LongSequencesHaveTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  Case given = random_case(70, *rc::gen::element<std::size_t>(8, 40));
  given.shape.samples = 1;
  const rc::Gen<float> kind = rc::gen::noShrink(random::moderate_float());
  given.qkv = floats(3 * given.outputs(), kind);
  given.output_gradient = floats(given.outputs(), kind);
  expect_definition(given);
}

RC_GTEST_PROP(Attention, WhatLiesBehindTheMaskHasNoEffect, ()) {
  const AnyKernels isa;
  Case given = random_case(40, 20);
  const rc::Gen<float> kind = rc::gen::noShrink(random::moderate_float());
  given.qkv = floats(3 * given.outputs(), kind);
  given.output_gradient = floats(given.outputs(), kind);
  const Actual before = run_kernels(given);
  // Of one sample, everything from a position on becomes infinite or NaN.
  const std::size_t sample = *from_to(0, given.shape.samples - 1);
  const std::size_t position = *from_to(0, given.shape.positions);
  const std::size_t width = given.shape.heads * given.shape.head_size;
  const std::size_t first = (sample * given.shape.positions + position) * width;
  const std::size_t end = (sample + 1) * given.shape.positions * width;
  for (std::size_t i = 3 * first; i < 3 * end; ++i) {
    given.qkv[i] = *rc::gen::element(kInfinity, -kInfinity, kNan);
  }
  const Actual after = run_kernels(given);
  for (std::size_t i = 0; i < before.output.size(); ++i) {
    if (i < first || i >= end) require_same(after.output[i], before.output[i]);
  }
  // Queries before it have the gradients that they had.
  for (std::size_t i = 0; i < before.qkv_gradient.size(); ++i) {
    const bool is_query = i % (3 * given.shape.head_size) < given.shape.head_size;
    const bool before_it = i < 3 * first || i >= 3 * end;
    if (is_query && before_it) require_same(after.qkv_gradient[i], before.qkv_gradient[i]);
  }
}

TEST(Attention, RefusesSizesThatDoNotFit) {
  AttentionShape shape{.samples = 1,
                       .positions = 2,
                       .heads = 1,
                       .head_size = 2,
                       .part = 2,
                       .parts = 1,
                       .first_head = 0,
                       .sequence = 2,
                       .scale = 1};
  std::vector<float> qkv(12);
  std::vector<float> output(4);
  std::vector<float> moments(2);
  std::vector<float> scratch(attention_scratch(shape));
  EXPECT_NO_THROW(attention(shape, {}, qkv, output, moments, moments, scratch));
  EXPECT_THROW(attention(shape, {}, qkv, output, moments, moments, std::span(scratch).subspan(1)),
               std::logic_error);
  EXPECT_THROW(attention(shape, {}, output, output, moments, moments, scratch), std::logic_error);
  Dropout dropout{.probability = 0.5F, .scale = 2};
  EXPECT_NO_THROW(attention(shape, dropout, qkv, output, moments, moments, scratch));
  dropout.first_row = 0xFFFFFFFFU;
  EXPECT_THROW(attention(shape, dropout, qkv, output, moments, moments, scratch), std::logic_error);
  dropout.first_row = 0;
  dropout.step = std::uint64_t{1} << 32;
  EXPECT_THROW(attention(shape, dropout, qkv, output, moments, moments, scratch), std::logic_error);
  dropout.step = 0;
  shape.sequence = 3;  // a prompt, where nothing is dropped
  EXPECT_THROW(attention(shape, dropout, qkv, output, moments, moments, scratch), std::logic_error);
  shape.sequence = 2;
  shape.parts = 3;
  EXPECT_THROW(attention_scratch(shape), std::logic_error);
}

}  // namespace
}  // namespace meshparity
