#pragma once

#include <string>

/// The vocabulary of a model in its file: `Corpus::bytes` as hexadecimal digits.
namespace meshparity {

std::string hex_of(const std::string& bytes);

/// The bytes of a vocabulary, which ascend; that of lines holds no line end. Throws UsageError.
std::string vocabulary_bytes(const std::string& hex, bool of_lines);

}  // namespace meshparity
