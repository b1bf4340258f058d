#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/observer.h"

namespace meshparity {

/// What passes between blocks, as numbers that do not depend on the mesh: for each step and each
/// boundary, the sum modulo 2^64 of a hash of (place, bits) over all elements. Ranks add theirs.
/// Where ranks hold the same, the copies that do not count have a sum of their own.
class BoundaryDigests final : public StepObserver, private BoundaryObserver {
 public:
  BoundaryDigests(const Model& model, std::size_t steps);

  BoundaryObserver* boundaries() override { return this; }
  /// Communicates like the run that differed: what depends on timing comes about again.
  bool wants_statistics() const override { return true; }

  /// [step][boundary][what counts, copies]: values first, in the order of the blocks, then
  /// gradients in the opposite order: the order in which they come about.
  std::vector<std::uint64_t>& words() { return words_; }

  /// "step 0, output of hidden.0" or "step 0, gradient of the output of hidden.0": the first that
  /// is not the same in `other`, of the same model and steps. `copies` is how many ranks hold what
  /// they hold alike without counting.
  std::optional<std::string> first_difference(const BoundaryDigests& other,
                                              std::size_t copies) const;

 private:
  void value(const BoundaryView& view) override;
  void gradient(const BoundaryView& view) override;
  void add(std::size_t place, const BoundaryView& view);

  std::vector<std::string> names_;
  std::vector<std::uint64_t> words_;
};

}  // namespace meshparity
