#pragma once

#include <string>

#include "model/corpus.h"

/// The vocabulary of a model in its file: the bytes of tokens 1, 2, ... as hexadecimal digits.
namespace meshparity {

/// The bytes of tokens 1, 2, ...
std::string vocabulary_of(const Corpus& corpus);

std::string hex_of(const std::string& bytes);

/// The bytes of a vocabulary, which ascend and hold no line end. Throws UsageError.
std::string vocabulary_bytes(const std::string& hex);

}  // namespace meshparity
