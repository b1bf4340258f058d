#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "model/numerics/kernels.h"
#include "model/numerics/range.h"

/// What a block asks of the ranks that share out its features (tensor parallelism): which are mine,
/// and sums over the features of all. A rank alone has all features, and its sums are finished as
/// they are formed; parallel/tensor_parallel.h has the group of several.
namespace meshparity {

/// A product whose sums run over the features of the group. All memory is taken by the constructor.
class FeatureSum {
 public:
  virtual ~FeatureSum() = default;

  /// Adds up this rank's features: left (rows, features here) * right (features here, columns).
  /// What it was given must stay as it is until `finish`.
  virtual void begin(const MatrixView& left, const MatrixView& right, std::span<float> output,
                     const Epilogue& epilogue = {}) = 0;

  /// Collective. The sum over all features, then the epilogue, stands in the output: the same on
  /// every rank.
  virtual void finish() = 0;

  /// Begun and finished at once.
  void product(const MatrixView& left, const MatrixView& right, std::span<float> output,
               const Epilogue& epilogue = {}) {
    begin(left, right, output, epilogue);
    finish();
  }
};

/// The ranks that share out the features inside a block, as one of them sees it.
class FeatureGroup {
 public:
  virtual ~FeatureGroup() = default;

  /// Of what all ranks hold alike, one copy counts: this one?
  virtual bool counts_copies() const = 0;

  /// This rank's features: a range of whole leaves of `grain` features, perhaps empty.
  virtual Range share(std::size_t features, std::size_t grain) const = 0;

  /// A sum over `features` features, for outputs of up to `most_elements` elements.
  virtual std::unique_ptr<FeatureSum> sum_over(std::size_t features, std::size_t grain,
                                               std::size_t most_elements) = 0;
};

/// The group of a rank alone.
class AloneGroup final : public FeatureGroup {
 public:
  bool counts_copies() const override { return true; }
  Range share(std::size_t features, std::size_t /*grain*/) const override { return {0, features}; }
  std::unique_ptr<FeatureSum> sum_over(std::size_t features, std::size_t grain,
                                       std::size_t most_elements) override;
};

}  // namespace meshparity
