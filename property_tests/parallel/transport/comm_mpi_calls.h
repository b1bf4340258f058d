#pragma once

#include <cstddef>

namespace meshparity {

/// Communicators that this process has made and freed. Whoever links this counts MPI's calls by way
/// of its profiling interface.
struct CommunicatorCalls {
  std::size_t made = 0;
  std::size_t freed = 0;
};
CommunicatorCalls communicator_calls();

}  // namespace meshparity
