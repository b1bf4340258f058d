#include "golden/jobs/temporary_folder.h"

#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): POSIX declares mkdtemp there

#include "model/error.h"

namespace meshparity {

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "meshparity-XXXXXX").string();
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
