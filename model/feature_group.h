#pragma once

#include <cstddef>
#include <cstdint>
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

  /// Collective. For each row of `values` (rows, features here), the canonical row sum over the
  /// features of all, the same on every rank. Not between `begin` and `finish`, and for no more
  /// rows than outputs have elements.
  virtual void row_sums(std::span<const float> values, std::span<float> sums) = 0;

  /// Begun and finished at once.
  void product(const MatrixView& left, const MatrixView& right, std::span<float> output,
               const Epilogue& epilogue = {}) {
    begin(left, right, output, epilogue);
    finish();
  }
};

/// Rows of numbers that belong to a feature, such as a token's vector or a target's logit: the rank
/// that has the feature knows them, and all get them. They are selected, never summed. All memory
/// is taken by the constructor.
class FeatureRows {
 public:
  virtual ~FeatureRows() = default;

  /// Collective. Row i of `rows` (features.size(), width) is valid on the rank that has feature
  /// features[i]; then on all. Rows of features below 0 are nobody's and stay as they are.
  virtual void exchange(std::span<const std::int32_t> features, std::span<float> rows) = 0;
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

  /// Rows of `width` numbers, up to `most_rows` of them, each of one of `features` features.
  virtual std::unique_ptr<FeatureRows> rows_of(std::size_t features, std::size_t grain,
                                               std::size_t most_rows, std::size_t width) = 0;

  /// Collective. The element-wise maximum over all ranks, in place: -0 is below +0, and a NaN above
  /// everything.
  virtual void maximum(std::span<float> values) = 0;
};

/// The group of a rank alone.
class AloneGroup : public FeatureGroup {
 public:
  bool counts_copies() const override { return true; }
  Range share(std::size_t features, std::size_t /*grain*/) const override { return {0, features}; }
  std::unique_ptr<FeatureSum> sum_over(std::size_t features, std::size_t grain,
                                       std::size_t most_elements) override;
  std::unique_ptr<FeatureRows> rows_of(std::size_t features, std::size_t grain,
                                       std::size_t most_rows, std::size_t width) override;
  void maximum(std::span<float> /*values*/) override {}
};

}  // namespace meshparity
