#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "golden/files/positioned_file.h"
#include "golden/files/recording_folder.h"
#include "golden/files/safetensors.h"

namespace meshparity {

/// Where the elements of a rank's tensor stand in the whole one.
struct Placement {
  std::vector<std::size_t> shape;                ///< of the whole
  std::vector<std::vector<std::size_t>> places;  ///< by dimension; empty: all of them
};

/// A tensor's values in a file, of the types F32, BF16, I32 and I64. Whole numbers of 2^24 and more
/// become NaN.
std::vector<float> read_floats(const ReadableFile& file, const TensorEntry& entry);

/// Whole tensors, put together from the pieces of ranks.
class AssembledTensors {
 public:
  /// No whole tensor has more elements than this.
  void limit(std::size_t elements) { most_elements_ = elements; }
  /// Throws std::invalid_argument if the piece does not fit what came before.
  void place(const std::string& name, std::size_t rank, const std::vector<std::size_t>& shape,
             const Placement& placement, std::vector<float> values);

  /// Everything, and the first difference of each tensor of which ranks have different copies.
  /// Throws UsageError for a tensor with a gap.
  std::map<std::string, RecordedTensor> take(std::vector<ReplicaDifference>& differences);

 private:
  struct Piece {
    std::size_t rank = 0;
    Placement placement;
  };
  struct Growing {
    RecordedTensor tensor;
    std::vector<bool> filled;  // empty: completely
    std::vector<Piece> pieces;
    bool differs = false;
  };
  void note_difference(Growing& growing, const std::string& name, std::size_t element,
                       std::size_t rank, float value);

  std::size_t most_elements_ = 0;
  std::map<std::string, Growing> tensors_;
  std::vector<ReplicaDifference> differences_;
};

}  // namespace meshparity
