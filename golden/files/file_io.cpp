#include "golden/files/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::size_t kFlushBytes = std::size_t{1} << 20;

/// The file that will really be written: a link is followed, so that renaming does not replace it.
std::filesystem::path target_of(const std::string& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return error ? std::filesystem::path(path) : target;
}

/// Writes the directory to the disk, without which a rename may be lost.
void flush_directory(const std::filesystem::path& file) {
  const std::filesystem::path directory = file.has_parent_path() ? file.parent_path() : ".";
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);  // Some file systems cannot; the rename itself has already succeeded.
  ::close(descriptor);
}

}  // namespace

std::string read_file(const std::string& path, const std::string& kind) {
  const std::string hint = fmt::format("give a readable {} file", kind);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    throw UsageError(fmt::format("{} '{}' is a directory", kind, path), hint);
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw UsageError(fmt::format("{} '{}' cannot be read: {}", kind, path, std::strerror(errno)),
                     hint);
  }
  // Block by block: a stream that is copied whole takes a failed read for the end of the file.
  std::string text;
  const std::uintmax_t expected = std::filesystem::file_size(path, error);
  if (!error && expected < text.max_size()) text.reserve(static_cast<std::size_t>(expected));
  std::array<char, 65536> block{};
  while (file) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    text.append(block.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (file.bad()) {
    throw UsageError(fmt::format("{} '{}' cannot be read to its end", kind, path), hint);
  }
  return text;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  const std::filesystem::path target = target_of(path);
  const std::string hint = "name a file in a directory that exists and that you may write to";
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(target, error);
  if (std::filesystem::is_directory(status) || !target.has_filename()) {
    throw UsageError(fmt::format("cannot write '{}': it is a directory", path), hint);
  }
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw UsageError(fmt::format("cannot write '{}': it is not a regular file", path), hint);
  }
  if (std::filesystem::exists(status) && ::access(target.c_str(), W_OK) != 0) {
    throw UsageError(fmt::format("cannot write '{}': {}", path, std::strerror(errno)), hint);
  }
  std::filesystem::path temporary = target;
  temporary.replace_filename(fmt::format(".{}.{}.partial", target.filename().string(), ::getpid()));
  temporary_ = temporary.string();
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ >= 0) return;
  const int reason = errno;
  if (reason == ENOSPC || reason == EDQUOT || reason == EIO || reason == EMFILE) {
    throw EnvironmentError(fmt::format("cannot write '{}': {}", path, std::strerror(reason)));
  }
  throw UsageError(fmt::format("cannot write '{}': {}", path, std::strerror(reason)), hint);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const std::string& action) const {
  throw EnvironmentError(fmt::format("{} '{}' failed: {}", action, path_, std::strerror(errno)));
}

void AtomicFile::write(std::string_view bytes) {
  if (bytes.size() >= kFlushBytes) {
    flush();
    write_out(bytes);
    return;
  }
  pending_ += bytes;
  if (pending_.size() >= kFlushBytes) flush();
}

void AtomicFile::write_out(std::string_view rest) {
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("writing");
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::flush() {
  write_out(pending_);
  pending_.clear();
}

void AtomicFile::commit() {
  flush();
  if (::fsync(descriptor_) != 0) fail("flushing");
  const std::filesystem::path target = target_of(path_);
  if (std::rename(temporary_.c_str(), target.c_str()) != 0) fail("renaming to");
  ::close(descriptor_);
  descriptor_ = -1;
  flush_directory(target);
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void require_writable(const std::string& path) { const AtomicFile probe(path); }

}  // namespace meshparity
