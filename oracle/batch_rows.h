#pragma once

#include <cstddef>
#include <vector>

#include "model/batch.h"
#include "model/model.h"
#include "model/numerics/range.h"

/// What the equations ask of a batch, transcribed from the contract: which rows a leaf of a sum
/// over rows holds, what a row reads from a table, and what is dropped.
namespace meshparity::equations {

/// Which row of a table a row of the batch reads.
enum class Read {
  tokens,     ///< one for each of its tokens
  positions,  ///< its position in its sample
};

/// The table's rows, row after row of the batch, place after place.
std::vector<std::size_t> places_of(const MicroBatch& batch, Read read);

/// The positions of each part of a sample; late ones may be empty. (Positions past the whole
/// sequence are the last part's.)
std::vector<Range> parts_of(const RowLeaves& leaves);

/// The rows of each leaf of a sum over the rows of the batch.
std::vector<Range> leaves_of(const MicroBatch& batch);

/// The targets of the batch, but at least 1: what the mean divides by.
std::size_t divisor_of(const MicroBatch& batch);

/// What a place of the model drops of a batch.
class Dropped {
 public:
  Dropped(const MicroBatch& batch, const DropoutSpec& spec);

  /// False: everything is kept as it is.
  bool active() const { return active_; }
  /// What kept values are multiplied with: 1 / (1 - probability), rounded once to binary32.
  float scale() const { return scale_; }
  /// Throws std::invalid_argument if a coordinate is 2^32 or more.
  bool keeps(std::size_t row, std::size_t feature) const;

 private:
  const MicroBatch& batch_;
  DropoutSpec spec_;
  bool active_;
  float scale_;
};

}  // namespace meshparity::equations
