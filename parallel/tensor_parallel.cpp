#include "parallel/tensor_parallel.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/kernels.h"

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
        sum_(leaves_, {most_nodes({&mine_, 1}, leaves_, Pushed::by_node), most_elements}),
        reducer_(tp, reduction, leaves_) {
    reducer_.reserve(shares_, most_elements);
  }

  void begin(const MatrixView& left, const MatrixView& right, std::span<float> output,
             const Epilogue& epilogue) override {
    rows_ = left.rows;
    output_ = output;
    epilogue_ = epilogue;
    sum_.start(mine_, left.rows * right.columns);
    push_nodes([&](Range here, std::span<float> node) {
      canonical_product(left.column_range(here), right.row_range(here), grain_, node);
    });
    reducer_.begin_all_reduce(sum_, shares_);  // partial
  }

  void finish() override {
    reducer_.finish_all_reduce(sum_);  // replicated
    std::ranges::copy(sum_.total(), output_.begin());
    apply_epilogue(epilogue_, rows_, output_);  // once, after the whole sum
  }

  void row_sums(std::span<const float> values, std::span<float> sums) override {
    sum_.start(mine_, sums.size());
    const std::size_t width = terms_of(mine_, grain_, features_).size();
    push_nodes([&](Range here, std::span<float> node) {
      for (std::size_t r = 0; r < node.size(); ++r) {
        const auto terms = values.subspan(r * width + here.begin, here.size());
        node[r] = canonical_row_sum(terms, grain_);
      }
    });
    reducer_.all_reduce(sum_, shares_, sum_);  // partial -> replicated
    std::ranges::copy(sum_.total(), sums.begin());
  }

 private:
  /// `form(here, node)` writes the node over `here`, a range of the features of this rank.
  template <typename Form>
  void push_nodes(Form form) {
    const std::size_t first = terms_of(mine_, grain_, features_).begin;
    for (Range rest = mine_; !rest.empty();) {
      const Range node = first_node_of(rest, leaves_);
      const Range terms = terms_of(node, grain_, features_);
      form({terms.begin - first, terms.end - first}, sum_.next());
      sum_.push(node.size());
      rest.begin = node.end;
    }
  }

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

/// A row travels from the rank that has its feature to all others.
class SharedRows final : public FeatureRows {
 public:
  SharedRows(std::size_t features, std::size_t grain, std::size_t most_rows, std::size_t width,
             Comm& tp)
      : tp_(tp),
        width_(width),
        owners_(most_rows),
        counts_(tp.size()),
        starts_(tp.size()),
        mine_(most_rows * width),
        all_(most_rows * width) {
    for (const Range share : shares_of({0, leaf_count(features, grain)}, tp.size())) {
      ends_.push_back(terms_of(share, grain, features).end);
    }
  }

  void exchange(std::span<const std::int32_t> features, std::span<float> rows) override {
    if (features.size() > owners_.size()) throw std::logic_error("FeatureRows: too many rows");
    // Everyone knows the features, so everyone knows who sends how much.
    std::ranges::fill(counts_, 0);
    for (std::size_t i = 0; i < features.size(); ++i) {
      owners_[i] = owner_of(features[i]);
      if (owners_[i] == kNobody) continue;
      if (owners_[i] == tp_.rank()) {
        std::ranges::copy(rows.subspan(i * width_, width_),
                          std::span(mine_).subspan(counts_[owners_[i]], width_).begin());
      }
      counts_[owners_[i]] += width_;
    }
    std::exclusive_scan(counts_.begin(), counts_.end(), starts_.begin(), std::size_t{0});
    const std::size_t total = starts_.back() + counts_.back();
    tp_.all_gather(std::span(mine_).first(counts_[tp_.rank()]), std::span(all_).first(total),
                   counts_);
    for (std::size_t i = 0; i < features.size(); ++i) {
      if (owners_[i] == kNobody) continue;
      std::size_t& next = starts_[owners_[i]];
      std::ranges::copy(std::span(all_).subspan(next, width_),
                        rows.subspan(i * width_, width_).begin());
      next += width_;
    }
  }

 private:
  static constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

  std::size_t owner_of(std::int32_t feature) const {
    if (feature < 0) return kNobody;
    const auto end = std::ranges::upper_bound(ends_, static_cast<std::size_t>(feature));
    if (end == ends_.end()) throw std::logic_error("FeatureRows: a feature that nobody has");
    return static_cast<std::size_t>(end - ends_.begin());
  }

  Comm& tp_;
  std::size_t width_;
  std::vector<std::size_t> ends_;    // [rank]: one past its last feature
  std::vector<std::size_t> owners_;  // [row]
  std::vector<std::size_t> counts_;  // [rank]: floats
  std::vector<std::size_t> starts_;
  AlignedFloats mine_;  // this rank's rows, one behind the other
  AlignedFloats all_;   // everyone's
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

std::unique_ptr<FeatureRows> TensorParallelGroup::rows_of(std::size_t features, std::size_t grain,
                                                          std::size_t most_rows,
                                                          std::size_t width) {
  return std::make_unique<SharedRows>(features, grain, most_rows, width, tp_);
}

void TensorParallelGroup::maximum(std::span<float> values) { tp_.all_reduce_maximum(values); }

}  // namespace meshparity
