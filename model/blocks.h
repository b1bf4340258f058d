#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "model/block.h"
#include "model/numerics/range.h"

namespace meshparity {

/// A block that uses a parameter, and which of the block's parameters that is.
struct Use {
  std::size_t block = 0;
  std::size_t place = 0;
};

/// A range of a model's blocks, as this rank computes them, and the parameters they use: each one
/// once, however many of the blocks use it.
class Blocks {
 public:
  /// For up to `most_rows` rows. `group` must outlive the blocks. Throws std::logic_error if two
  /// blocks need different parts of a parameter.
  Blocks(const Model& model, Range blocks, std::size_t most_rows, FeatureGroup& group);

  std::size_t size() const { return blocks_.size(); }
  Block& operator[](std::size_t block) const { return *blocks_[block]; }
  /// Of the whole model's blocks, these.
  Range range() const { return range_; }
  /// See FeatureGroup.
  bool counts_copies() const { return counts_copies_; }

  /// In the order of the model.
  const std::vector<HeldParameter>& parameters() const { return parameters_; }
  /// What each of parameters() is called in the model.
  const std::vector<std::size_t>& parameter_numbers() const { return numbers_; }
  /// Parameter number `place` of block `block`, in parameters().
  std::size_t parameter(Use use) const { return of_blocks_[use.block][use.place]; }
  std::size_t uses_in(std::size_t block) const { return of_blocks_[block].size(); }
  /// The uses of one of parameters(), first block first.
  std::vector<Use> uses_of(std::size_t parameter) const;

  /// Boundary b is what block b takes and block b - 1 gives.
  Features boundary(std::size_t boundary) const;

 private:
  std::vector<std::unique_ptr<Block>> blocks_;
  Range range_;
  bool counts_copies_;
  std::vector<HeldParameter> parameters_;
  std::vector<std::size_t> numbers_;
  std::vector<std::vector<std::size_t>> of_blocks_;
};

}  // namespace meshparity
