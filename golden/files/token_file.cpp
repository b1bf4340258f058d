#include "golden/files/token_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <span>
#include <system_error>

#include "golden/files/file_io.h"
#include "model/error.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kMagic = 20240520;
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 1024;
constexpr const char* kHint = "give token files as llm.c's dev/data scripts write them for GPT-2";

/// True if `name` matches `pattern`, whose `*` stand for any characters.
bool matches(std::string_view name, std::string_view pattern) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  name.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  for (std::size_t skipped = 0; skipped <= name.size(); ++skipped) {
    if (matches(name.substr(skipped), pattern)) return true;
  }
  return false;
}

/// Header word `index`, little-endian.
std::uint32_t word_at(std::span<const char> header, std::size_t index) {
  std::uint32_t word = 0;
  for (std::size_t byte = 4; byte-- > 0;) {
    word = word << 8 | static_cast<unsigned char>(header[4 * index + byte]);
  }
  return word;
}

/// The number of tokens that a file's header promises, and its size keeps.
std::size_t checked_size(const std::string& path, std::span<const char> header, std::size_t bytes) {
  if (bytes < kHeaderBytes) {
    throw UsageError(fmt::format("'{}' has {} bytes, a token file's header alone has {}", path,
                                 bytes, kHeaderBytes),
                     kHint);
  }
  if (word_at(header, 0) != kMagic) {
    throw UsageError(fmt::format("'{}' is no token file: its magic number is {}, not {}", path,
                                 word_at(header, 0), kMagic),
                     kHint);
  }
  if (word_at(header, 1) != kVersion) {
    throw UsageError(fmt::format("'{}' is a token file of version {}, which is not read: only {}",
                                 path, word_at(header, 1), kVersion),
                     kHint);
  }
  const std::size_t count = word_at(header, 2);
  if (bytes == kHeaderBytes + count * sizeof(std::uint16_t)) return count;
  throw UsageError(fmt::format("'{}' has {} bytes, but {} tokens would take {}", path, bytes, count,
                               kHeaderBytes + count * sizeof(std::uint16_t)),
                   "it was cut off, or is still being written: get it again");
}

}  // namespace

std::vector<std::string> token_paths(const std::string& path) {
  std::error_code error;
  const bool is_folder = fs::is_directory(path, error);
  const fs::path folder = is_folder ? fs::path(path) : fs::path(path).parent_path();
  const std::string pattern = is_folder ? "*.bin" : fs::path(path).filename().string();
  if (pattern.find('*') == std::string::npos) return {path};
  std::vector<std::string> paths;
  for (const std::string& name : read_folder(folder.empty() ? "." : folder.string())) {
    if (matches(name, pattern)) paths.push_back((folder / name).string());
  }
  if (paths.empty()) {
    throw UsageError(fmt::format("no file is called '{}'", (folder / pattern).string()), kHint);
  }
  return paths;
}

void add_token_file(const std::string& path, std::size_t vocabulary, TokenFiles& files,
                    Sha256& hash) {
  InputFile file(path, "corpus");
  if (!file.size()) throw UsageError(fmt::format("corpus '{}' is not a regular file", path), kHint);
  std::array<char, kHeaderBytes> header{};
  file.read(header.data(), header.size());
  const std::size_t count = checked_size(path, header, *file.size());
  const std::size_t before = files.tokens.size();
  files.tokens.resize(before + count);
  auto* const bytes = reinterpret_cast<char*>(files.tokens.data() + before);
  const std::size_t size = count * sizeof(std::uint16_t);
  if (file.read(bytes, size) != size) {
    throw EnvironmentError(fmt::format("corpus '{}' became shorter while it was read", path));
  }
  hash.add({header.data(), header.size()});
  hash.add({bytes, size});
  const std::span<std::uint16_t> tokens = std::span(files.tokens).subspan(before);
  if constexpr (std::endian::native == std::endian::big) {
    for (std::uint16_t& token : tokens) token = static_cast<std::uint16_t>(token << 8 | token >> 8);
  }
  const auto beyond =
      std::ranges::find_if(tokens, [&](std::uint16_t token) { return token >= vocabulary; });
  if (beyond != tokens.end()) {
    throw UsageError(fmt::format("'{}' holds token {} at place {}, the vocabulary has {}", path,
                                 *beyond, beyond - tokens.begin(), vocabulary),
                     "give --vocabulary the size of the vocabulary it was made with");
  }
  files.sizes.push_back(count);
}

}  // namespace meshparity
