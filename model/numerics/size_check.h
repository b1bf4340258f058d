#pragma once

#include <stdexcept>
#include <string>

namespace meshparity {

/// What every kernel begins with. Throws std::logic_error, naming the kernel.
inline void require_sizes(bool fit, const char* kernel) {
  if (!fit) throw std::logic_error(std::string(kernel) + ": sizes do not fit");
}

}  // namespace meshparity
