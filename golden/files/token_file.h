#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "golden/files/sha256.h"

/// llm.c's token files: 256 int32 header words (magic 20240520, version 1, number of tokens, then
/// zeros), then the tokens as uint16; all little-endian.
namespace meshparity {

/// The tokens of some files, one after the other.
struct TokenFiles {
  std::vector<std::uint16_t> tokens;
  std::vector<std::size_t> sizes;  ///< tokens of each file
};

/// The files that a path names, in name order: itself; those of its folder that its last component
/// matches, where each `*` stands for any characters; all `*.bin` of a folder. Throws UsageError
/// where there are none.
std::vector<std::string> token_paths(const std::string& path);

/// Adds the tokens of a file to `files`, and its bytes to `hash`. Throws UsageError that names the
/// file and the value: another magic, version or size, a token that is not below `vocabulary`.
void add_token_file(const std::string& path, std::size_t vocabulary, TokenFiles& files,
                    Sha256& hash);

}  // namespace meshparity
