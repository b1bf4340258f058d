#pragma once

#include <cstddef>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"
#include "parallel/transport/comm.h"

namespace meshparity::bench {

/// What data parallel ranks send each other in a step, by itself: each part of the gradient to its
/// owner, and each part of the new parameters to everyone. With P ranks that is 2 (P - 1) / P of
/// the model's bytes for each of them, whatever the order of addition; nothing is added up here.
class ModelTransfer {
 public:
  ModelTransfer(std::size_t parameters, Comm& world);

  /// Collective. Seconds on this rank.
  double measure();

 private:
  Range part_of(std::size_t rank) const;
  /// With every other rank r: lends `outgoing(r)` and copies what it lends to `incoming(r)`.
  template <typename Outgoing, typename Incoming>
  void exchange(Outgoing outgoing, Incoming incoming);

  Comm& world_;
  AlignedFloats gradient_;
  AlignedFloats incoming_;
  AlignedFloats parameters_;
  float written_ = 0;
};

}  // namespace meshparity::bench
