#include "golden/jobs/temporary_folder.h"

#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): POSIX declares mkdtemp there
#include <unistd.h>

#include "model/error.h"

namespace meshparity {

std::filesystem::path folder_in_memory() {
  const std::filesystem::path shared = "/dev/shm";
  return ::access(shared.c_str(), W_OK | X_OK) == 0 ? shared
                                                    : std::filesystem::temp_directory_path();
}

TemporaryFolder::TemporaryFolder(const std::filesystem::path& parent) {
  std::string pattern = (parent / "meshparity-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw EnvironmentError("a temporary folder '" + pattern + "' cannot be made");
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

}  // namespace meshparity
