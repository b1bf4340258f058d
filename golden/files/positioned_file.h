#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

/// Files that are read and written at any place: by several processes at once, each its own part.
namespace meshparity {

/// Throws UsageError if the file is missing, unreadable or none, EnvironmentError if reading fails.
class ReadableFile {
 public:
  /// `kind` ("checkpoint", ...) names it in errors.
  ReadableFile(const std::string& path, const std::string& kind);
  ~ReadableFile();
  ReadableFile(ReadableFile&& other) noexcept;
  ReadableFile& operator=(ReadableFile&&) = delete;

  const std::string& path() const { return path_; }
  std::size_t size() const { return size_; }  ///< bytes
  /// Throws UsageError if the file ends before.
  std::string read(std::size_t begin, std::size_t bytes) const;
  /// F32 values, little-endian in the file.
  void read(std::size_t begin, std::span<float> values) const;

 private:
  void read_bytes(std::size_t begin, char* to, std::size_t bytes) const;

  std::string path_;
  std::string kind_;
  std::size_t size_ = 0;
  int descriptor_ = -1;
};

/// Throws EnvironmentError if anything fails: a full disk, a folder that this rank does not see.
class WritableFile {
 public:
  /// A new file of this many bytes, for which the disk has room; one of that name is replaced.
  static WritableFile create(const std::string& path, std::size_t bytes);
  /// One that exists already, to write more into it.
  static WritableFile open(const std::string& path);
  ~WritableFile();
  WritableFile(WritableFile&& other) noexcept;
  WritableFile& operator=(WritableFile&&) = delete;

  void write(std::size_t begin, std::string_view bytes);
  void write(std::size_t begin, std::span<const float> values);
  /// The disk begins with what was written, while the caller goes on.
  void start_flush() const;
  /// What was written is on the disk.
  void flush();

 private:
  WritableFile(std::string path, int flags);

  std::string path_;
  int descriptor_ = -1;
};

/// Writes a folder's list of names to the disk, without which a new or removed name may be lost.
/// Throws EnvironmentError.
void flush_folder(const std::string& path);

}  // namespace meshparity
