#include "parallel/tensor_parallel.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace meshparity {
namespace {

/// A product whose sums run over the features of all ranks.
class SharedSum final : public FeatureSum {
 public:
  SharedSum(std::size_t features, std::size_t grain, std::size_t most_elements, Comm& tp,
            Reduction reduction)
      : features_(features),
        grain_(grain),
        leaves_(leaf_count(features, grain)),
        shares_(shares_of({0, leaves_}, tp.size())),
        mine_(shares_[tp.rank()]),
        sum_(leaves_, mine_, most_elements),
        reducer_(tp, reduction, leaves_) {
    reducer_.reserve(shares_, most_elements);
  }

  void begin(const MatrixView& left, const MatrixView& right, std::span<float> output,
             const Epilogue& epilogue) override {
    rows_ = left.rows;
    output_ = output;
    epilogue_ = epilogue;
    sum_.start(mine_, left.rows * right.columns);
    const std::size_t first = terms_of(mine_, grain_, features_).begin;
    for (Range rest = mine_; !rest.empty();) {
      const Range node = first_node_of(rest, leaves_);
      const Range terms = terms_of(node, grain_, features_);
      const Range here{terms.begin - first, terms.end - first};
      canonical_product(left.column_range(here), right.row_range(here), grain_, sum_.next());
      sum_.push(node.size());
      rest.begin = node.end;
    }
    reducer_.begin_all_reduce(sum_, shares_);  // partial
  }

  void row_sums(std::span<const float> /*values*/, std::span<float> /*sums*/) override {
    throw std::logic_error("not yet");
  }

  void finish() override {
    reducer_.finish_all_reduce(sum_);  // replicated
    std::ranges::copy(sum_.total(), output_.begin());
    apply_epilogue(epilogue_, rows_, output_);  // once, after the whole sum
  }

 private:
  std::size_t features_;
  std::size_t grain_;
  std::size_t leaves_;
  std::vector<Range> shares_;  // of each rank, in leaves
  Range mine_;
  PartialSum sum_;  // of this rank's features, then of all
  Reducer reducer_;
  std::size_t rows_ = 0;  // what is under way
  std::span<float> output_;
  Epilogue epilogue_;
};

}  // namespace

Range TensorParallelGroup::share(std::size_t features, std::size_t grain) const {
  const Range leaves = share_of(leaf_count(features, grain), tp_.size(), tp_.rank());
  return terms_of(leaves, grain, features);
}

std::unique_ptr<FeatureSum> TensorParallelGroup::sum_over(std::size_t features, std::size_t grain,
                                                          std::size_t most_elements) {
  return std::make_unique<SharedSum>(features, grain, most_elements, tp_, reduction_);
}

std::unique_ptr<FeatureRows> TensorParallelGroup::rows_of(std::size_t /*features*/,
                                                          std::size_t /*grain*/,
                                                          std::size_t /*most_rows*/,
                                                          std::size_t /*width*/) {
  throw std::logic_error("not yet");
}

void TensorParallelGroup::maximum(std::span<float> /*values*/) {
  throw std::logic_error("not yet");
}

}  // namespace meshparity
