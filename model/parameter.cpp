#include "model/parameter.h"

#include <algorithm>
#include <utility>

#include "model/numerics/functions.h"
#include "model/numerics/philox.h"

namespace meshparity {

Shard::Shard(const ParameterSpec& whole) : Shard(whole, {0, whole.rows}, {0, whole.columns}) {}

Shard::Shard(ParameterSpec whole, Range block_rows, Range block_columns)
    : spec(std::move(whole)),
      rows(block_rows),
      columns(block_columns),
      flat{0, block_rows.size() * block_columns.size()} {}

Shard share_of(Shard shard, std::size_t parts, std::size_t index) {
  shard.flat = share_of(shard.flat, parts, index);
  return shard;
}

void InitialParameters::fill(const Shard& shard, std::span<float> values) const {
  const float k = shard.spec.initial.size;
  if (shard.spec.initial.kind == Initial::Kind::constant) {
    std::ranges::fill(values, k);
    return;
  }
  const std::uint64_t parameter = coordinate_of(shard.spec.name);
  const RandomStream random(seed_, Stream::initial_parameters);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t bits = random.bits(parameter, shard.global_index(i));
    values[i] = shard.spec.initial.kind == Initial::Kind::uniform
                    ? 2.0F * k * unit_float(bits) - k
                    : static_cast<float>(shard.spec.initial.deviation *
                                         normal_quantile(unit_midpoint(bits)));
  }
}

}  // namespace meshparity
