#include "golden/jobs/gather.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace meshparity {
namespace {

/// Where a rank's part of a parameter lies: rows, columns and flat range, each a begin and an end.
constexpr std::size_t kPlaceWords = 6;

const ShardView* find(std::span<const ShardView> shards, const ParameterSpec& spec) {
  for (const ShardView& view : shards) {
    if (view.counted && view.shard->spec.name == spec.name) return &view;
  }
  return nullptr;
}

}  // namespace

std::span<const float> part_of(const ShardView& view, Gathered what) {
  switch (what) {
    case Gathered::values:
      return view.values;
    case Gathered::gradients:
      return view.gradient;
    case Gathered::first_moments:
      return view.first_moment;
    case Gathered::second_moments:
      return view.second_moment;
  }
  return {};
}

std::vector<std::vector<float>> gather_parameters(std::span<const ParameterSpec> specs,
                                                  std::span<const ShardView> shards, Gathered what,
                                                  Comm& world) {
  const bool root = world.rank() == 0;
  std::vector<std::vector<float>> whole;
  for (const ParameterSpec& spec : specs) {
    // Everyone learns where everyone's part lies: six words a rank, 0 where another rank wrote.
    std::vector<std::uint64_t> places(kPlaceWords * world.size(), 0);
    const ShardView* const mine = find(shards, spec);
    if (mine != nullptr) {
      const Shard& shard = *mine->shard;
      const std::array<std::size_t, kPlaceWords> words = {shard.rows.begin,    shard.rows.end,
                                                          shard.columns.begin, shard.columns.end,
                                                          shard.flat.begin,    shard.flat.end};
      std::copy(words.begin(), words.end(),
                places.begin() + static_cast<std::ptrdiff_t>(kPlaceWords * world.rank()));
    }
    world.all_reduce_integers(places);

    const std::span<const float> values =
        mine == nullptr ? std::span<const float>() : part_of(*mine, what);
    if (mine != nullptr && values.size() != mine->shard->size()) {
      throw std::logic_error(
          "gather_parameters: after the last step there are no gradients, and moments only where "
          "the optimizer has any");
    }
    if (!root) {
      if (!values.empty()) world.send(values, 0, 0);
      continue;
    }
    std::vector<float>& target = whole.emplace_back(spec.size());
    std::vector<float> part;
    for (std::size_t r = 0; r < world.size(); ++r) {
      const std::uint64_t* const place = places.data() + kPlaceWords * r;
      Shard shard(spec, {place[0], place[1]}, {place[2], place[3]});
      shard.flat = {place[4], place[5]};
      if (shard.size() == 0) continue;
      part.resize(shard.size());
      if (r == 0) {
        std::copy(values.begin(), values.end(), part.begin());
      } else {
        world.recv(part, r, 0);
      }
      for (std::size_t i = 0; i < part.size(); ++i) target[shard.global_index(i)] = part[i];
    }
  }
  return whole;
}

}  // namespace meshparity
