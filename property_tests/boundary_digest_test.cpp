// What names the first boundary that differs: it must not depend on who holds which part.

#include "property_tests/proof/boundary_digest.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace meshparity {
namespace {

constexpr std::size_t kSamples = 4;
constexpr std::size_t kWidth = 3;

Model two_blocks() {
  Model model;
  model.blocks = {{"first", LinearSpec{}, {}}, {"second", LinearSpec{}, {}}};
  return model;
}

std::vector<float> boundary_of(std::size_t boundary) {
  std::vector<float> values;
  for (std::size_t i = 0; i < kSamples * kWidth; ++i) {
    values.push_back(static_cast<float>(boundary * 100 + i));
  }
  return values;
}

/// A rank's rows and features of every boundary, each changed as `change` will have it.
using Change = std::function<void(const std::string& what, std::vector<float>& values)>;
void show(
    BoundaryDigests& digests, Range slots, Range features, bool counted,
    const Change& change = [](const std::string&, std::vector<float>&) {}) {
  for (const bool is_gradient : {false, true}) {
    for (const std::size_t boundary : {1U, 2U}) {
      std::vector<float> whole = boundary_of(boundary + (is_gradient ? 10 : 0));
      change((is_gradient ? "gradient " : "value ") + std::to_string(boundary), whole);
      std::vector<float> here;
      for (std::size_t row = slots.begin; row < slots.end; ++row) {
        for (std::size_t f = features.begin; f < features.end; ++f) {
          here.push_back(whole[row * kWidth + f]);
        }
      }
      const MicroBatch batch{.slots = slots, .leaves = {}};
      const BoundaryView view{.boundary = boundary,
                              .batch = &batch,
                              .width = kWidth,
                              .features = features,
                              .counted = counted,
                              .values = here};
      BoundaryObserver& observer = *digests.boundaries();
      is_gradient ? observer.gradient(view) : observer.value(view);
    }
  }
}

BoundaryDigests of_one_rank(const Change& change = [](const std::string&, std::vector<float>&) {}) {
  BoundaryDigests digests(two_blocks(), 1);
  show(digests, {0, kSamples}, {0, kWidth}, true, change);
  return digests;
}

TEST(BoundaryDigests, PartsOfAnyRankAddUpToTheWhole) {
  BoundaryDigests spread(two_blocks(), 1);
  show(spread, {2, kSamples}, {1, kWidth}, true);
  show(spread, {0, 2}, {0, 1}, true);
  show(spread, {0, 2}, {1, kWidth}, true);
  show(spread, {2, kSamples}, {0, 1}, true);
  EXPECT_EQ(of_one_rank().first_difference(spread, 1), std::nullopt);
}

TEST(BoundaryDigests, TheFirstThatDiffersIsNamed) {
  const auto name_of_change = [](const std::vector<std::string>& changed) {
    const BoundaryDigests other =
        of_one_rank([&](const std::string& what, std::vector<float>& values) {
          for (const std::string& one : changed) {
            if (what == one) values[5] += 1;
          }
        });
    return of_one_rank().first_difference(other, 0).value_or("none");
  };
  EXPECT_EQ(name_of_change({}), "none");
  EXPECT_EQ(name_of_change({"value 1"}), "step 0, output of first");
  EXPECT_EQ(name_of_change({"value 2", "gradient 1"}), "step 0, output of second");
  // Backward begins with the last block.
  EXPECT_EQ(name_of_change({"gradient 1", "gradient 2"}),
            "step 0, gradient of the output of second");
  EXPECT_EQ(name_of_change({"gradient 1"}), "step 0, gradient of the output of first");
}

TEST(BoundaryDigests, ValuesThatChangePlacesDiffer) {
  const BoundaryDigests other =
      of_one_rank([](const std::string& what, std::vector<float>& values) {
        if (what == "value 2") std::swap(values[0], values[kWidth]);
      });
  EXPECT_EQ(of_one_rank().first_difference(other, 0), "step 0, output of second");
}

TEST(BoundaryDigests, CopiesThatDoNotCountAreHeldToTheSame) {
  BoundaryDigests copied = of_one_rank();
  show(copied, {0, kSamples}, {0, kWidth}, false);
  EXPECT_EQ(of_one_rank().first_difference(copied, 1), std::nullopt);
  BoundaryDigests wrong = of_one_rank();
  show(wrong, {0, kSamples}, {0, kWidth}, false,
       [](const std::string& what, std::vector<float>& values) {
         if (what == "gradient 2") values[0] = -1;
       });
  EXPECT_EQ(of_one_rank().first_difference(wrong, 1), "step 0, gradient of the output of second");
}

}  // namespace
}  // namespace meshparity
