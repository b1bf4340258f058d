#pragma once

#include <filesystem>
#include <string>

namespace meshparity {

/// Where files cost no disk, if the system has such a place; or else where temporary ones go.
std::filesystem::path folder_in_memory();

/// A new folder that goes away with everything in it. Throws EnvironmentError if there can be none.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(
      const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// The path of a file in it.
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace meshparity
