#include "oracle/batch_rows.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

#include "model/numerics/philox.h"

namespace meshparity::equations {
namespace {

std::uint32_t coordinate(std::uint64_t value) {
  if (value > std::numeric_limits<std::uint32_t>::max()) {
    throw std::invalid_argument("a coordinate of dropout is 2^32 or more");
  }
  return static_cast<std::uint32_t>(value);
}

}  // namespace

std::vector<std::size_t> places_of(const MicroBatch& batch, Read read) {
  if (read == Read::tokens) return {batch.tokens.begin(), batch.tokens.end()};
  std::vector<std::size_t> places(batch.rows());
  for (std::size_t row = 0; row < places.size(); ++row) {
    places[row] = row % batch.leaves.positions;
  }
  return places;
}

std::vector<Range> parts_of(const RowLeaves& leaves) {
  const std::size_t whole = leaves.sequence > 0 ? leaves.sequence : leaves.positions;
  const std::size_t grain = (whole + leaves.parts - 1) / leaves.parts;
  std::vector<Range> parts;
  for (std::size_t j = 0; j < leaves.parts; ++j) {
    const bool last = j + 1 == leaves.parts;
    parts.push_back({std::min(j * grain, leaves.positions),
                     last ? leaves.positions : std::min((j + 1) * grain, leaves.positions)});
  }
  return parts;
}

std::vector<Range> leaves_of(const MicroBatch& batch) {
  const std::size_t positions = batch.leaves.positions;
  std::vector<Range> leaves;
  for (std::size_t sample = 0; sample < batch.samples(); sample += batch.leaves.samples) {
    const std::size_t first = sample * positions;
    if (batch.leaves.parts == 1) {
      const std::size_t end = std::min(sample + batch.leaves.samples, batch.samples());
      leaves.push_back({first, end * positions});
      continue;
    }
    for (const Range part : parts_of(batch.leaves)) {
      leaves.push_back({first + part.begin, first + part.end});
    }
  }
  return leaves;
}

std::size_t divisor_of(const MicroBatch& batch) {
  const auto absent = static_cast<std::size_t>(std::ranges::count(batch.targets, kNoTarget));
  return std::max<std::size_t>(batch.targets.size() - absent, 1);
}

Dropped::Dropped(const MicroBatch& batch, const DropoutSpec& spec)
    : batch_(batch),
      spec_(spec),
      active_(batch.training && spec.probability > 0),
      scale_(active_ ? static_cast<float>(1 / (1 - spec.probability)) : 1) {}

bool Dropped::keeps(std::size_t row, std::size_t feature) const {
  if (!active_) return true;
  const RowLeaves& leaves = batch_.leaves;
  const std::size_t sequence = leaves.sequence > 0 ? leaves.sequence : leaves.positions;
  const std::size_t slot = batch_.slots.begin + row / leaves.positions;
  coordinate(feature);
  const std::array<std::uint32_t, 4> words =
      philox4x32({coordinate(feature / 4), coordinate(slot * sequence + row % leaves.positions),
                  coordinate(batch_.step), spec_.place},
                 RandomStream(batch_.seed, Stream::dropout).key());
  return unit_float(words[feature % 4]) >= static_cast<float>(spec_.probability);
}

}  // namespace meshparity::equations
