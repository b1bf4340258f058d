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

 private:
  std::size_t grain_;
};

}  // namespace

std::unique_ptr<FeatureSum> AloneGroup::sum_over(std::size_t /*features*/, std::size_t grain,
                                                 std::size_t /*most_elements*/) {
  return std::make_unique<WholeSum>(grain);
}

}  // namespace meshparity
