#pragma once

#include <vector>

#include "model/parameter.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// This rank's even share of the elements of each shard: [layer][parameter].
inline std::vector<std::vector<Shard>> own_shares(std::vector<std::vector<Shard>> shards,
                                                  const Comm& group) {
  for (auto& layer : shards) {
    for (Shard& shard : layer) shard.flat = share_of(shard.flat, group.size(), group.rank());
  }
  return shards;
}

}  // namespace meshparity
