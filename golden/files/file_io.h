#pragma once

#include <string>
#include <string_view>

namespace meshparity {

/// The whole file. `kind` ("corpus", "recipe", ...) names it in errors. Throws UsageError if it is
/// missing, a directory or unreadable.
std::string read_file(const std::string& path, const std::string& kind);

/// A file that appears under its name complete or not at all: it is written under a temporary name
/// in the same directory, and `commit` flushes it to the disk and renames it. Without a commit the
/// temporary is removed and whatever stood under the name stays.
///
/// Throws UsageError if the path cannot be written (no such directory, no permission, not a regular
/// file), EnvironmentError if writing fails (a full disk).
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Adds to the end. Small pieces are collected.
  void write(std::string_view bytes);
  void commit();

 private:
  void flush();
  void write_out(std::string_view bytes);
  [[noreturn]] void fail(const std::string& action) const;

  std::string path_;
  std::string temporary_;
  std::string pending_;
  int descriptor_ = -1;
};

/// Writes a whole file atomically.
void write_file(const std::string& path, std::string_view bytes);

/// Throws the UsageError that writing to `path` would; leaves nothing behind.
void require_writable(const std::string& path);

}  // namespace meshparity
