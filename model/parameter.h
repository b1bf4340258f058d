#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "model/numerics/range.h"

namespace meshparity {

/// A parameter's values before training.
struct Initial {
  enum class Kind { constant, uniform, normal };
  Kind kind = Kind::constant;
  float size = 0;        ///< the constant, or k of the range [-k, k)
  double deviation = 0;  ///< of a normal distribution around 0
};

/// A parameter of the model, whole: a (rows, columns) matrix, row-major; a bias is (1, columns).
struct ParameterSpec {
  std::string name;  ///< its identity: in files, reports and the streams of random numbers
  std::size_t rows = 1;
  std::size_t columns = 1;
  bool is_vector = false;  ///< stored with one dimension (a bias)
  bool decays = false;     ///< subject to weight decay, where the optimizer has one
  Initial initial{};

  std::size_t size() const { return rows * columns; }
};

/// A part of a parameter: the elements [flat.begin, flat.end) of the block (`rows` x `columns`),
/// counted row by row in the block. Tensor parallelism chooses the block, everything that shares
/// out elements the flat range.
struct Shard {
  ParameterSpec spec;
  Range rows;
  Range columns;
  Range flat;

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

/// Part `index` of `parts` even parts of a shard's elements.
Shard share_of(Shard shard, std::size_t parts, std::size_t index);

/// Where the first values of parameters come from.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  /// Fills `values` with the elements of `shard`, and touches no others.
  virtual void fill(const Shard& shard, std::span<float> values) const = 0;
};

/// As the parameters' specs say. Each random element is a function of (seed, parameter name, global
/// element index): the shard of the initialisation is the initialisation of the shard.
class InitialParameters final : public ParameterSource {
 public:
  explicit InitialParameters(std::uint64_t seed) : seed_(seed) {}
  void fill(const Shard& shard, std::span<float> values) const override;

 private:
  std::uint64_t seed_;
};

}  // namespace meshparity
