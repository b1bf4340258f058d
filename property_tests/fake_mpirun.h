#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "golden/files/file_io.h"
#include "golden/jobs/temporary_folder.h"

namespace meshparity {

/// While it lives, `mpirun` is a shell script of these lines, so that a test decides how jobs end.
/// Its arguments are those of mpirun.
class FakeMpirun {
 public:
  explicit FakeMpirun(const std::string& lines) : path_(std::getenv("PATH")) {
    namespace fs = std::filesystem;
    write_file(folder_.file("mpirun"), "#!/usr/bin/env bash\n" + lines + "\n");
    fs::permissions(folder_.file("mpirun"), fs::perms::owner_all);
    ::setenv("PATH", (folder_.path().string() + ":" + path_).c_str(), 1);
  }
  ~FakeMpirun() { ::setenv("PATH", path_.c_str(), 1); }
  FakeMpirun(const FakeMpirun&) = delete;
  FakeMpirun& operator=(const FakeMpirun&) = delete;

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace meshparity
