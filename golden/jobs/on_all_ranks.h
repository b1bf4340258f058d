#pragma once

#include <functional>
#include <string>

#include "model/error.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// What failed on one rank, thrown on all of them at the same point.
class SharedFailure : public EnvironmentError {
 public:
  using EnvironmentError::EnvironmentError;
};

/// Collective over `world` (null: this process is alone). Runs `work` on every rank; if it throws a
/// std::exception on any, every rank throws the message of the lowest of those.
void on_all_ranks(Comm* world, const std::function<void()>& work);

}  // namespace meshparity
