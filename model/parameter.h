#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/numerics/canonical_sum.h"

namespace meshparity {

/// A parameter of the model, whole: a (rows, columns) matrix, row-major; a bias is (1, columns).
struct ParameterSpec {
  std::string name;
  std::size_t rows = 1;
  std::size_t columns = 1;
  bool is_vector = false;  ///< stored with one dimension (a bias)
  std::size_t fan_in =
      1;  ///< of the layer: initial values are uniform in [-k, k), k = init_scale / fan_in

  std::size_t size() const { return rows * columns; }
};

/// The part of a parameter that a rank holds: the elements [flat.begin, flat.end) of the block
/// (`rows` x `columns`), counted row by row in the block.
/// Tensor parallelism chooses the block, fully sharded parallelism the flat range.
struct Shard {
  ParameterSpec spec;
  Range rows;
  Range columns;
  Range flat;
  bool tensor_split = false;  ///< each tensor-parallel rank has its own block; otherwise copies

  /// The whole parameter.
  explicit Shard(const ParameterSpec& whole);
  /// A block of it.
  Shard(ParameterSpec whole, Range block_rows, Range block_columns);

  std::size_t size() const { return flat.size(); }
  /// Index in the whole parameter of this shard's element `element`.
  std::size_t global_index(std::size_t element) const {
    const std::size_t local = flat.begin + element;
    return (rows.begin + local / columns.size()) * spec.columns + columns.begin +
           local % columns.size();
  }
};

/// Where the first values of parameters come from.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  /// Fills `values` with the elements of `shard`, and touches no others.
  virtual void fill(const Shard& shard, std::span<float> values) const = 0;
};

/// Uniform in [-k, k), each element a function of (seed, parameter name, global element index):
/// the shard of the initialisation is the initialisation of the shard.
class RandomParameters final : public ParameterSource {
 public:
  RandomParameters(std::uint64_t seed, float init_scale) : seed_(seed), init_scale_(init_scale) {}
  void fill(const Shard& shard, std::span<float> values) const override;

 private:
  std::uint64_t seed_;
  float init_scale_;
};

}  // namespace meshparity
