#pragma once

#include <string>
#include <string_view>

namespace meshparity {

/// The SHA-256 of `bytes` (FIPS 180-4) as 64 lower-case hex digits.
/// Written out here because no header-only library is packaged, and cross builds should not need a
/// compiled one.
std::string sha256(std::string_view bytes);

}  // namespace meshparity
