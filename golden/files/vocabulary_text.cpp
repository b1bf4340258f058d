#include "golden/files/vocabulary_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "golden/files/printable.h"
#include "model/error.h"

namespace meshparity {

std::string hex_of(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

std::string vocabulary_bytes(const std::string& hex, bool of_lines) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned int byte = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
    bytes.push_back(static_cast<char>(byte));
  }
  const auto unsigned_less = [](char a, char b) {
    return static_cast<unsigned char>(a) < static_cast<unsigned char>(b);
  };
  const bool ascends = std::is_sorted(bytes.begin(), bytes.end(), unsigned_less) &&
                       std::adjacent_find(bytes.begin(), bytes.end()) == bytes.end();
  const bool line_end = of_lines && bytes.find('\n') != std::string::npos;
  if (bytes.empty() || hex_of(bytes) != hex || !ascends || line_end) {
    throw UsageError(fmt::format("vocabulary '{}' is damaged", printable(hex)));
  }
  return bytes;
}

}  // namespace meshparity
