#include "golden/files/positioned_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/files/little_endian.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::size_t kPieceFloats = std::size_t{1} << 16;

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw EnvironmentError(fmt::format("{} '{}' failed: {}", what, path, std::strerror(errno)));
}

void flush_descriptor(int descriptor, const std::string& path) {
  while (::fsync(descriptor) != 0) {
    if (errno == EINVAL || errno == ENOTSUP) return;  // some file systems cannot
    if (errno != EINTR) fail("flushing", path);
  }
}

}  // namespace

ReadableFile::ReadableFile(const std::string& path, const std::string& kind)
    : path_(path),
      kind_(kind),
      // Regular files know no O_NONBLOCK; opening a pipe waits for a writer without it.
      descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  const std::string what = fmt::format("{} '{}' cannot be read", kind, path);
  const std::string hint = fmt::format("give a readable {}", kind);
  if (descriptor_ < 0) refuse_file(what, errno, hint);
  struct stat status {};
  const int reason = ::fstat(descriptor_, &status) != 0 ? errno : 0;
  if (reason != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    if (reason != 0) refuse_file(what, reason, hint);
    throw UsageError(what + ": it is no regular file", hint);
  }
  size_ = static_cast<std::size_t>(status.st_size);
}

ReadableFile::~ReadableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ReadableFile::ReadableFile(ReadableFile&& other) noexcept
    : path_(std::move(other.path_)),
      kind_(std::move(other.kind_)),
      size_(other.size_),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

void ReadableFile::read_bytes(std::size_t begin, char* to, std::size_t bytes) const {
  while (bytes > 0) {
    const ssize_t count = ::pread(descriptor_, to, bytes, static_cast<off_t>(begin));
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("reading", path_);
    }
    if (count == 0) throw UsageError(fmt::format("{} '{}' is cut off", kind_, path_));
    const auto done = static_cast<std::size_t>(count);
    begin += done;
    to += done;
    bytes -= done;
  }
}

std::string ReadableFile::read(std::size_t begin, std::size_t bytes) const {
  std::string text(bytes, '\0');
  read_bytes(begin, text.data(), bytes);
  return text;
}

void ReadableFile::read(std::size_t begin, std::span<float> values) const {
  read_bytes(begin, reinterpret_cast<char*>(values.data()), values.size_bytes());
  if constexpr (std::endian::native == std::endian::big) {
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = float_at(bytes, i * sizeof(float));
  }
}

WritableFile::WritableFile(std::string path, int flags)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0666)) {
  if (descriptor_ < 0) fail("opening", path_);
}

WritableFile WritableFile::create(const std::string& path, std::size_t bytes) {
  WritableFile file(path, O_CREAT | O_TRUNC);
  const int error = ::posix_fallocate(file.descriptor_, 0, static_cast<off_t>(bytes));
  if (error != 0) {
    errno = error;
    fail(fmt::format("taking {} bytes for", bytes), path);
  }
  return file;
}

WritableFile WritableFile::open(const std::string& path) { return {path, 0}; }

WritableFile::~WritableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

WritableFile::WritableFile(WritableFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

void WritableFile::write(std::size_t begin, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(begin));
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("writing", path_);
    }
    begin += static_cast<std::size_t>(count);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void WritableFile::write(std::size_t begin, std::span<const float> values) {
  if constexpr (std::endian::native == std::endian::little) {
    write(begin, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
    return;
  }
  std::string bytes;
  for (std::size_t i = 0; i < values.size(); i += kPieceFloats) {
    bytes.clear();
    for (const float value : values.subspan(i, std::min(kPieceFloats, values.size() - i))) {
      append_little_endian(bytes, std::bit_cast<std::uint32_t>(value));
    }
    write(begin + i * sizeof(float), bytes);
  }
}

void WritableFile::start_flush() const {
#ifdef SYNC_FILE_RANGE_WRITE
  // Only a hint: `flush` tells whether it worked.
  static_cast<void>(::sync_file_range(descriptor_, 0, 0, SYNC_FILE_RANGE_WRITE));
#endif
}

void WritableFile::flush() { flush_descriptor(descriptor_, path_); }

void flush_folder(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail("opening", path);
  try {
    flush_descriptor(descriptor, path);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
}

}  // namespace meshparity
