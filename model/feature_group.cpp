#include "model/feature_group.h"

namespace meshparity {
namespace {

/// All features are here: the product is the sum.
class WholeSum final : public FeatureSum {
 public:
  explicit WholeSum(std::size_t grain) : grain_(grain) {}

  void begin(const MatrixView& left, const MatrixView& right, std::span<float> output,
             const Epilogue& epilogue) override {
    canonical_product(left, right, grain_, output, epilogue);
  }
  void finish() override {}
  void row_sums(std::span<const float> values, std::span<float> sums) override {
    if (sums.empty()) return;
    const std::size_t width = values.size() / sums.size();
    for (std::size_t r = 0; r < sums.size(); ++r) {
      sums[r] = canonical_row_sum(values.subspan(r * width, width), grain_);
    }
  }

 private:
  std::size_t grain_;
};

/// Every feature is here.
class OwnRows final : public FeatureRows {
 public:
  void exchange(std::span<const std::int32_t> /*features*/, std::span<float> /*rows*/) override {}
};

}  // namespace

std::unique_ptr<FeatureSum> AloneGroup::sum_over(std::size_t /*features*/, std::size_t grain,
                                                 std::size_t /*most_elements*/) {
  return std::make_unique<WholeSum>(grain);
}

std::unique_ptr<FeatureRows> AloneGroup::rows_of(std::size_t /*features*/, std::size_t /*grain*/,
                                                 std::size_t /*most_rows*/, std::size_t /*width*/) {
  return std::make_unique<OwnRows>();
}

}  // namespace meshparity
