#pragma once

#include <cstddef>
#include <memory>

#include "model/feature_group.h"
#include "parallel/reducer.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// The features inside a block, shared out over a group: each rank has a range of whole leaves, so
/// its partial sums are nodes of the sum that one rank would form. With one rank in the group every
/// sum is that rank's own. `tp` must outlive this and its sums, which are collective over it.
class TensorParallelGroup final : public FeatureGroup {
 public:
  TensorParallelGroup(Comm& tp, Reduction reduction) : tp_(tp), reduction_(reduction) {}

  bool counts_copies() const override { return tp_.rank() == 0; }
  Range share(std::size_t features, std::size_t grain) const override;
  std::unique_ptr<FeatureSum> sum_over(std::size_t features, std::size_t grain,
                                       std::size_t most_elements) override;
  std::unique_ptr<FeatureRows> rows_of(std::size_t features, std::size_t grain,
                                       std::size_t most_rows, std::size_t width) override;
  void maximum(std::span<float> values) override;

 private:
  Comm& tp_;
  Reduction reduction_;
};

}  // namespace meshparity
