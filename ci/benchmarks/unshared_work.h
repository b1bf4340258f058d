#pragma once

#include <cstddef>

#include "model/aligned_floats.h"
#include "model/canonical_sum.h"
#include "parallel/comm.h"

namespace meshparity::bench {

/// What data parallelism cannot share out, done by itself: with P ranks, each one receives
/// 2 (P - 1) / P of a gradient's bytes in a step, and updates all parameters. Nothing is added up:
/// no step can spend less on this machine at this moment.
class UnsharedWork {
 public:
  UnsharedWork(std::size_t parameters, Comm& world);

  /// Seconds on this rank.
  struct Seconds {
    double transfer = 0;
    double update = 0;
  };
  /// Collective.
  Seconds measure();

 private:
  /// The gradient's parts travel to their owners, each arriving in memory of its own.
  void scatter_parts();
  /// The owners' parts travel to everyone, into the gradient.
  void gather_parts();
  /// With every other rank r: sends the elements `outgoing(r)` of the gradient and receives into
  /// `incoming(r)`.
  template <typename Outgoing, typename Incoming>
  void exchange(Outgoing outgoing, Incoming incoming);
  Run part_of(std::size_t rank) const;

  Comm& world_;
  AlignedFloats values_;
  AlignedFloats gradient_;
  AlignedFloats incoming_;
  float written_ = 0;
};

}  // namespace meshparity::bench
