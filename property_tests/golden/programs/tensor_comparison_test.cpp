// What is said of two files of tensors that are not the same, and how it is counted.

#include "golden/programs/tensor_comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace meshparity {
namespace {

StoredTensor floats(const std::string& name, const std::vector<float>& values) {
  return {name, {values.size()}, values};
}
StoredTensor whole_numbers(const std::string& name, const std::vector<std::int32_t>& values) {
  return {name, {values.size()}, values};
}
/// Two bytes each, the lower one first.
StoredTensor halves(const std::string& dtype, const std::string& bytes) {
  return {"x", {bytes.size() / 2}, OtherValues{dtype, 2, bytes}};
}
TensorFile of(const std::vector<StoredTensor>& tensors) { return {tensors, {}}; }

std::string difference(const TensorFile& left, const TensorFile& right) {
  return compare_tensor_files(left, right).value_or("none");
}

TEST(TensorComparison, NamesTheFirstTensorThatDiffers) {
  const TensorFile file = of({floats("a", {1, 2}), whole_numbers("b", {3, 4})});
  EXPECT_EQ(difference(file, file), "none");
  EXPECT_EQ(difference(file, of({floats("c", {1, 2}), file.tensors[1]})),
            "tensor 'a' stands where the other file has 'c'");
  EXPECT_EQ(difference(file, of({floats("a", {1, 2, 3}), whole_numbers("b", {3, 5})})),
            "tensor 'a' is (2) in one, (3) in the other");
  EXPECT_EQ(difference(file, of({whole_numbers("a", {1, 2}), file.tensors[1]})),
            "tensor 'a' is F32 in one, I32 in the other");
  EXPECT_EQ(difference(file, of({file.tensors[0], whole_numbers("b", {3, -4})})),
            "tensor 'b' [1]: expected 4, got -4");
  EXPECT_EQ(difference(file, of({file.tensors[0]})), "only one file has tensor 'b'");
  EXPECT_EQ(difference(of({file.tensors[0]}), file), "only one file has tensor 'b'");
}

TEST(TensorComparison, ShowsTheBitsOfTypesThatItDoesNotKnow) {
  const std::string one("\x80\x3f\x00\x40", 4);
  EXPECT_EQ(difference(of({halves("BF16", one)}), of({halves("BF16", one)})), "none");
  EXPECT_EQ(difference(of({halves("BF16", one)}),
                       of({halves("BF16", std::string("\x80\x3f\x01\xc0", 4))})),
            "tensor 'x' [1]: expected bits 4000, got c001 (BF16)");
  EXPECT_EQ(difference(of({halves("BF16", one)}), of({halves("F16", one)})),
            "tensor 'x' is BF16 in one, F16 in the other");
}

TEST(TensorComparison, MetadataIsComparedLast) {
  const TensorFile plain = of({floats("a", {1})});
  TensorFile left = plain;
  left.metadata = {{"format", "pt"}, {"run", "7"}};
  TensorFile right = left;
  right.metadata["run"] = "8";
  EXPECT_EQ(difference(left, right), "metadata 'run': expected '7', got '8'");
  right.metadata.erase("run");
  EXPECT_EQ(difference(left, right), "only one file has metadata 'run'");
  EXPECT_EQ(difference(right, left), "one file has more metadata than the other");
  right.tensors[0] = floats("a", {2});
  EXPECT_TRUE(difference(left, right).starts_with("tensor 'a' [0]: "));
}

const float kNan = std::numeric_limits<float>::quiet_NaN();

/// The only tensor of both files.
TensorComparison only(const StoredTensor& left, const StoredTensor& right) {
  const std::vector<TensorComparison> all = compare_every_tensor(of({left}), of({right}), 6);
  EXPECT_EQ(all.size(), 1U);
  return all.at(0);
}

TEST(TensorComparison, CountsWhatDiffersAndByHowMuch) {
  const TensorComparison same = only(floats("a", {1, kNan}), floats("a", {1, kNan}));
  EXPECT_EQ(same.step, 6U);
  EXPECT_EQ(same.tensor, "a");
  EXPECT_EQ(same.elements, 2U);
  EXPECT_EQ(same.different, 0U);
  EXPECT_EQ(same.relative, 0);
  EXPECT_EQ(same.finding, "");

  const TensorComparison off = only(floats("a", {3, 4, 0}), floats("a", {3, 4, -0.5F}));
  EXPECT_EQ(off.elements, 3U);
  EXPECT_EQ(off.different, 1U);
  EXPECT_DOUBLE_EQ(off.relative, 0.1);
  EXPECT_TRUE(off.finding.starts_with("tensor 'a' [2]: ")) << off.finding;

  // Signs of zero are bits, too, but nothing is off by them.
  const TensorComparison zeros = only(floats("a", {0.0F, 1}), floats("a", {-0.0F, 1}));
  EXPECT_EQ(zeros.different, 1U);
  EXPECT_EQ(zeros.relative, 0);

  const TensorComparison no_number = only(floats("a", {1, 2}), floats("a", {1, kNan}));
  EXPECT_EQ(no_number.different, 1U);
  EXPECT_TRUE(std::isinf(no_number.relative));
}

TEST(TensorComparison, WhatCannotBeSubtractedDiffersAltogether) {
  for (const auto& [left, right] :
       {std::pair(floats("a", {1, 2}), floats("a", {1, 2, 3})),
        std::pair(whole_numbers("a", {1, 2}), whole_numbers("a", {1, 3})),
        std::pair(floats("a", {1, 2}), whole_numbers("a", {1, 2}))}) {
    const TensorComparison comparison = only(left, right);
    EXPECT_EQ(comparison.elements, 2U);
    EXPECT_EQ(comparison.different, 2U) << comparison.finding;
    EXPECT_EQ(comparison.relative, 1) << comparison.finding;
    EXPECT_NE(comparison.finding, "");
  }
}

TEST(TensorComparison, TensorsOfOneFileAloneAreToldToo) {
  const TensorFile left = of({floats("a", {1, 2}), floats("b", {1})});
  const TensorFile right = of({whole_numbers("c", {1, 2, 3}), floats("b", {1})});
  const std::vector<TensorComparison> all = compare_every_tensor(left, right, 0);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].finding, "only one has tensor 'a'");
  EXPECT_EQ(all[0].different, 2U);
  EXPECT_EQ(all[0].relative, 1);
  EXPECT_EQ(all[1].tensor, "b");
  EXPECT_EQ(all[1].finding, "");
  EXPECT_EQ(all[2].finding, "only one has tensor 'c'");
  EXPECT_EQ(all[2].elements, 3U);
  EXPECT_EQ(all[2].different, 3U);
}

}  // namespace
}  // namespace meshparity
