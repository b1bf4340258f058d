#pragma once

#include <string>

namespace meshparity {

/// For texts of which a part matters.
inline bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace meshparity
