#include "golden/files/file_io.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "golden/jobs/temporary_folder.h"
#include "model/error.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

class FileIo : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_.file(name); }

  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      found.insert(entry.path().filename().string());
    }
    return found;
  }

  static mode_t mode_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(FileIo, AFileAppearsWholeOrNotAtAll) {
  write_file(file("a"), "old");
  {
    AtomicFile out(file("a"));
    out.write("new");
    out.write(std::string(3 << 20, 'x'));
    EXPECT_EQ(read_file(file("a"), "file"), "old");
    EXPECT_EQ(names().size(), 2U);
  }
  EXPECT_EQ(read_file(file("a"), "file"), "old");
  EXPECT_EQ(names(), (std::set<std::string>{"a"}));
  AtomicFile out(file("a"));
  out.write("new");
  out.commit();
  EXPECT_EQ(read_file(file("a"), "file"), "new");
  EXPECT_EQ(names(), (std::set<std::string>{"a"}));
}

TEST_F(FileIo, TemporaryNamesCannotBeGuessed) {
  const AtomicFile one(file("a"));
  const AtomicFile other(file("a"));
  EXPECT_EQ(names().size(), 2U);
  for (const std::string& name : names()) {
    EXPECT_EQ(name.size(), std::string(".meshparity-0123456789abcdef.partial").size());
    EXPECT_EQ(name.find("-" + std::to_string(::getpid())), std::string::npos) << name;
  }
}

TEST_F(FileIo, NamesAsLongAsTheSystemAllowsAreWritten) {
  for (const std::size_t bytes : {240U, 255U}) {
    const std::string name(bytes, 'n');
    write_file(file(name), "text");
    EXPECT_EQ(read_file(file(name), "file"), "text");
  }
  EXPECT_THROW(write_file(file(std::string(256, 'n')), "text"), UsageError);
  EXPECT_THROW(write_file("/" + std::string(5000, 'n') + "/a", "text"), UsageError);
}

TEST_F(FileIo, PathsOfTemporariesAreNoLongerThanTheSystemAllows) {
  const std::string folder = "/" + std::string(PATH_MAX, 'n');
  const std::string refusal = "path '" + folder + "' has 4134 bytes, the limit is 4095";
  try {
    const TemporaryName name(folder);
    FAIL() << "a name";
  } catch (const UsageError& e) {
    EXPECT_EQ(e.what(), refusal);
    EXPECT_EQ(e.hint(), "use a shorter one");
  }
}

TEST_F(FileIo, FilesBeingWrittenAreNoMoreThanCanBeRemembered) {
  std::vector<std::unique_ptr<AtomicFile>> files;
  for (int i = 0; i < 64; ++i) files.push_back(std::make_unique<AtomicFile>(file("a")));
  try {
    const AtomicFile one_more(file("a"));
    FAIL() << "it would outlive a signal";
  } catch (const EnvironmentError& e) {
    EXPECT_STREQ(e.what(), "more than 64 files are being written");
  }
  EXPECT_EQ(names().size(), 64U);
  files.pop_back();
  write_file(file("a"), "text");
  EXPECT_EQ(read_file(file("a"), "file"), "text");
}

TEST_F(FileIo, AReplacedFileKeepsItsPermissions) {
  for (const mode_t mode : {0600U, 0640U, 0664U, 0755U}) {
    write_file(file("a"), "old");
    ::chmod(file("a").c_str(), mode);
    write_file(file("a"), "new");
    EXPECT_EQ(mode_of(file("a")), mode);
  }
  const mode_t before = ::umask(027);
  write_file(file("b"), "new");
  ::umask(before);
  EXPECT_EQ(mode_of(file("b")), 0640U) << "a new file has what the mask leaves";
}

TEST_F(FileIo, ALinkStaysAndWhatItNamesIsReplaced) {
  write_file(file("a"), "old");
  fs::create_symlink("a", file("link"));
  write_file(file("link"), "new");
  EXPECT_TRUE(fs::is_symlink(file("link")));
  EXPECT_EQ(read_file(file("a"), "file"), "new");
}

TEST_F(FileIo, WhatCannotBeWrittenIsRefused) {
  const auto refusal = [&](const std::string& path) {
    try {
      require_writable(path);
    } catch (const UsageError& e) {
      EXPECT_FALSE(e.hint().empty()) << e.what();
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(refusal(file("none/a")).find("No such file"), std::string::npos);
  EXPECT_NE(refusal(file("")).find("is a directory"), std::string::npos);
  EXPECT_NE(refusal("/dev/null").find("not a regular file"), std::string::npos);
  EXPECT_NE(refusal(file("\x1b[1m/a")).find("\\x1b[1m/a"), std::string::npos);
  EXPECT_EQ(refusal(file("a")), "accepted");
  EXPECT_TRUE(names().empty());
}

TEST_F(FileIo, WhatCannotBeReadIsRefused) {
  EXPECT_THROW(read_file(file("a"), "file"), UsageError);
  EXPECT_THROW(read_file(file(""), "file"), UsageError);
  // The first page of this process is not mapped: opening works, reading does not.
  try {
    read_file("/proc/self/mem", "file");
    FAIL() << "read";
  } catch (const EnvironmentError& e) {
    EXPECT_EQ(std::string(e.what()),
              "file '/proc/self/mem' cannot be read to its end: Input/output error");
  }
}

/// The system shows its files as longer than they are.
TEST_F(FileIo, AFileThatBecameShorterIsNotReadAsAWholeOne) {
  const std::string path = "/sys/devices/system/cpu/online";
  std::error_code error;
  if (fs::file_size(path, error) != 4096 || error) GTEST_SKIP() << "there is no such file here";
  try {
    read_file(path, "file");
    FAIL() << "read";
  } catch (const EnvironmentError& e) {
    EXPECT_EQ(std::string(e.what()), "file '" + path + "' became shorter while it was read");
  }
}

TEST_F(FileIo, APipeIsReadToItsEnd) {
  ASSERT_EQ(::mkfifo(file("pipe").c_str(), 0600), 0);
  const std::string text(300000, 'p');
  std::thread writer([&] { std::ofstream(file("pipe")) << text; });
  EXPECT_EQ(read_file(file("pipe"), "file"), text);
  writer.join();
}

TEST_F(FileIo, TemporariesCanBeRemovedAtAnyTime) {
  write_file(file("a"), "old");
  {
    AtomicFile out(file("a"));
    out.write("new");
    remove_temporaries();
    EXPECT_EQ(names(), (std::set<std::string>{"a"}));
    EXPECT_THROW(out.commit(), EnvironmentError);
  }
  EXPECT_EQ(read_file(file("a"), "file"), "old");
  write_file(file("a"), "new");
  remove_temporaries();
  EXPECT_EQ(read_file(file("a"), "file"), "new") << "what is committed stays";
}

TEST_F(FileIo, SignalsRemoveTemporariesAndEndTheProcess) {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM, SIGXCPU}) {
    const TemporaryFolder other;
    EXPECT_EXIT(
        {
          remove_temporaries_on_signals();
          AtomicFile out(other.file("a"));
          ::raise(signal);
          std::_Exit(0);
        },
        testing::KilledBySignal(signal), "");
    EXPECT_TRUE(fs::is_empty(other.path())) << signal;
  }
}

TEST_F(FileIo, SignalsThatALibraryHasTakenEndTheProcessToo) {
  const TemporaryFolder other;
  EXPECT_EXIT(
      {
        ::signal(SIGHUP, [](int /*signal*/) {});
        remove_temporaries_on_signals();
        AtomicFile out(other.file("a"));
        ::raise(SIGHUP);
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGHUP), "");
  EXPECT_TRUE(fs::is_empty(other.path()));
}

TEST_F(FileIo, SignalsThatAreIgnoredStayIgnored) {
  EXPECT_EXIT(
      {
        ::signal(SIGHUP, SIG_IGN);
        remove_temporaries_on_signals();
        ::raise(SIGHUP);
        ::raise(SIGXFSZ);
        ::raise(SIGPIPE);
        std::_Exit(7);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace meshparity
