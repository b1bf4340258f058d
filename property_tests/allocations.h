#pragma once

#include <cstddef>

namespace meshparity {

/// How often this program has taken memory: whoever links this has an operator new that counts.
std::size_t allocations();

}  // namespace meshparity
