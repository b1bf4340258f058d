#include "golden/files/assembled_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "golden/files/little_endian.h"
#include "golden/files/printable.h"
#include "model/error.h"

namespace meshparity {
namespace {

template <typename Whole>
float exact_float(Whole value) {
  constexpr Whole kMost = Whole{1} << 24;
  return value > -kMost && value < kMost ? static_cast<float>(value)
                                         : std::numeric_limits<float>::quiet_NaN();
}

/// Every element of a piece in turn: where it stands in the whole tensor.
class Walk {
 public:
  Walk(const std::vector<std::size_t>& shape, const Placement& placement)
      : shape_(shape), placement_(placement), index_(shape.size(), 0) {}

  std::size_t element() const {
    std::size_t at = 0;
    for (std::size_t d = 0; d < shape_.size(); ++d) {
      const auto& places = placement_.places[d];
      at = at * placement_.shape[d] + (places.empty() ? index_[d] : places[index_[d]]);
    }
    return at;
  }
  void next() {
    for (std::size_t d = shape_.size(); d-- > 0;) {
      if (++index_[d] < shape_[d]) return;
      index_[d] = 0;
    }
  }

 private:
  const std::vector<std::size_t>& shape_;
  const Placement& placement_;
  std::vector<std::size_t> index_;
};

bool contains(const Placement& placement, std::size_t element) {
  for (std::size_t d = placement.shape.size(); d-- > 0;) {
    const auto& places = placement.places[d];
    const std::size_t at = element % placement.shape[d];
    if (!places.empty() && std::ranges::find(places, at) == places.end()) return false;
    element /= placement.shape[d];
  }
  return true;
}

bool is_whole(const Placement& placement) {
  return std::ranges::all_of(placement.places, [](const auto& places) { return places.empty(); });
}

}  // namespace

std::vector<float> read_floats(const ReadableFile& file, const TensorEntry& entry) {
  std::vector<float> values(value_count(entry.shape).value_or(0));
  if (entry.dtype == "F32") {
    file.read(entry.begin, values);
    return values;
  }
  const std::string bytes = file.read(entry.begin, entry.end - entry.begin);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (entry.dtype == "BF16") {
      const std::uint32_t half = little_endian_at<std::uint16_t>(bytes, i * 2);
      values[i] = std::bit_cast<float>(half << 16);
    } else if (entry.dtype == "I32") {
      values[i] = exact_float(static_cast<std::int64_t>(
          std::bit_cast<std::int32_t>(little_endian_at<std::uint32_t>(bytes, i * 4))));
    } else {
      values[i] =
          exact_float(std::bit_cast<std::int64_t>(little_endian_at<std::uint64_t>(bytes, i * 8)));
    }
  }
  return values;
}

void AssembledTensors::place(const std::string& name, std::size_t rank,
                             const std::vector<std::size_t>& shape, const Placement& placement,
                             std::vector<float> values) {
  const auto [entry, is_new] = tensors_.try_emplace(name);
  Growing& growing = entry->second;
  if (!is_new && growing.tensor.shape != placement.shape) {
    throw std::invalid_argument(
        fmt::format("the whole is {} here, {} on rank {}", shape_text(placement.shape),
                    shape_text(growing.tensor.shape), growing.pieces.front().rank));
  }
  if (is_new) {
    growing.tensor.shape = placement.shape;
    if (is_whole(placement)) {
      growing.tensor.values = std::move(values);
      growing.pieces.push_back({rank, placement});
      return;
    }
    const std::optional<std::size_t> count = value_count(placement.shape);
    if (!count || *count > most_elements_) {
      throw std::invalid_argument(
          fmt::format("no slices of files of this size make {}", shape_text(placement.shape)));
    }
    growing.tensor.values.resize(*count);
    growing.filled.resize(growing.tensor.values.size());
  }
  Walk walk(shape, placement);
  for (const float value : values) {
    const std::size_t at = walk.element();
    walk.next();
    if (growing.filled.empty() || growing.filled[at]) {
      if (growing.tensor.values[at] != value) note_difference(growing, name, at, rank, value);
      continue;
    }
    growing.tensor.values[at] = value;
    growing.filled[at] = true;
  }
  growing.pieces.push_back({rank, placement});
}

void AssembledTensors::note_difference(Growing& growing, const std::string& name,
                                       std::size_t element, std::size_t rank, float value) {
  if (growing.differs) return;
  growing.differs = true;
  const auto holder = std::ranges::find_if(
      growing.pieces, [&](const Piece& piece) { return contains(piece.placement, element); });
  const std::size_t first = holder == growing.pieces.end() ? rank : holder->rank;
  differences_.push_back({name, element, first, rank, growing.tensor.values[element], value});
}

std::map<std::string, RecordedTensor> AssembledTensors::take(
    std::vector<ReplicaDifference>& differences) {
  std::map<std::string, RecordedTensor> whole;
  for (auto& [name, growing] : tensors_) {
    const auto gap = std::ranges::find(growing.filled, false);
    if (gap != growing.filled.end()) {
      throw UsageError(
          fmt::format("no rank's slice of tensor '{}' {} holds its element {}", printable(name),
                      shape_text(growing.tensor.shape),
                      index_text(growing.tensor.shape,
                                 static_cast<std::size_t>(gap - growing.filled.begin()))),
          "give 'slices' for what a rank does not hold whole, and the files of all ranks");
    }
    whole.emplace(name, std::move(growing.tensor));
  }
  tensors_.clear();
  differences = std::move(differences_);
  return whole;
}

}  // namespace meshparity
