#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "golden/files/temporary_name.h"

namespace meshparity {

/// Throws for a file that cannot be opened or named; `reason` is the errno. An EnvironmentError if
/// the machine fails (no memory, a broken or full disk), otherwise a UsageError with the hint.
[[noreturn]] void refuse_file(const std::string& what, int reason, const std::string& hint);

/// A file that is read from its beginning to its end. `kind` ("corpus", "recipe", ...) and the path
/// name it in errors. Throws UsageError if it is missing, a directory or may not be read,
/// EnvironmentError if reading fails.
class InputFile {
 public:
  InputFile(const std::string& path, std::string kind);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// The size of a regular file; nothing of others (a pipe).
  std::optional<std::size_t> size() const { return size_; }
  /// Fills `to`, as far as the file has bytes left, and returns how many it had.
  std::size_t read(char* to, std::size_t bytes);

 private:
  std::string name_;
  std::optional<std::size_t> size_;
  int descriptor_;
};

/// The whole file. Throws as InputFile does.
std::string read_file(const std::string& path, const std::string& kind);

/// The names in a folder, in order. Throws UsageError if it is missing, no folder or may not be
/// read, EnvironmentError if reading fails.
std::vector<std::string> read_folder(const std::string& path);

/// A file that appears under its name complete or not at all: it is written under a temporary name
/// in the same directory, and `commit` flushes it to the disk and renames it, keeping the owner and
/// permissions of a file that stood there. Without a commit the temporary is removed, also by the
/// signals of `remove_temporaries_on_signals`, and whatever stood under the name stays.
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
  /// The file is on the disk under its name when this returns, as is its entry in the directory.
  void commit();

 private:
  void flush();
  void write_out(std::string_view rest);
  [[noreturn]] void fail(const std::string& action) const;

  std::string path_;
  std::string target_;  ///< the path, with links followed
  std::string pending_;
  std::unique_ptr<TemporaryName> temporary_;
  int descriptor_ = -1;
};

/// Writes a whole file atomically.
void write_file(const std::string& path, std::string_view bytes);

/// Throws the UsageError that writing to `path` would; leaves nothing behind.
void require_writable(const std::string& path);

}  // namespace meshparity
