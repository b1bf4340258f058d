// Files that are read and written at any place: what fails is told with the file's name, as the
// user's error or the machine's.

#include "golden/files/positioned_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <functional>
#include <utility>

#include "golden/files/file_io.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"

namespace meshparity {
namespace {

class PositionedFile : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_.file(name); }

  template <typename Error>
  static std::string failure(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "it worked";
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(PositionedFile, PartsAreReadWhereTheyWereWritten) {
  {
    WritableFile whole = WritableFile::create(file("a"), 20);
    WritableFile part = WritableFile::open(file("a"));
    const std::array<float, 2> values{1.5F, -2};
    part.write(12, values);
    whole.write(2, "text");
    const WritableFile moved = std::move(part);
    whole.start_flush();
    whole.flush();
  }
  const ReadableFile whole(file("a"), "test");
  EXPECT_EQ(whole.size(), 20U);
  EXPECT_EQ(whole.read(0, 8), std::string("\0\0text\0\0", 8));
  std::array<float, 2> values{};
  whole.read(12, values);
  EXPECT_EQ(values, (std::array<float, 2>{1.5F, -2}));
}

TEST_F(PositionedFile, ANewOneReplacesTheOldBytes) {
  write_file(file("a"), "much longer than before");
  WritableFile::create(file("a"), 4).write(0, "new");
  EXPECT_EQ(read_file(file("a"), "file"), std::string("new\0", 4));
}

TEST_F(PositionedFile, WhatIsNoFileCannotBeRead) {
  const auto refusal = [&](const std::string& path) {
    return failure<UsageError>([&] { ReadableFile(path, "test"); });
  };
  EXPECT_EQ(refusal(file("a")),
            "test '" + file("a") + "' cannot be read: No such file or directory");
  EXPECT_EQ(refusal(file("")), "test '" + file("") + "' cannot be read: it is no regular file");
  // Nobody writes into this pipe, so nobody may wait for it.
  ASSERT_EQ(::mkfifo(file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal(file("pipe")),
            "test '" + file("pipe") + "' cannot be read: it is no regular file");
}

TEST_F(PositionedFile, NothingIsReadBeyondTheEnd) {
  write_file(file("a"), "four");
  const ReadableFile four(file("a"), "test");
  EXPECT_EQ(four.read(0, 4), "four");
  EXPECT_EQ(failure<UsageError>([&] { four.read(1, 4); }), "test '" + file("a") + "' is cut off");
  std::array<float, 2> values{};
  EXPECT_EQ(failure<UsageError>([&] { four.read(0, values); }),
            "test '" + file("a") + "' is cut off");
}

TEST_F(PositionedFile, WhatTheMachineRefusesIsItsError) {
  using E = EnvironmentError;
  // The first page of this process is not mapped: opening works, reading does not.
  const ReadableFile memory("/proc/self/mem", "test");
  EXPECT_EQ(failure<E>([&] { memory.read(0, 1); }),
            "reading '/proc/self/mem' failed: Input/output error");
  EXPECT_EQ(failure<E>([&] { WritableFile::open(file("a")); }),
            "opening '" + file("a") + "' failed: No such file or directory");
  EXPECT_EQ(failure<E>([&] { WritableFile::create(file("no/a"), 1); }),
            "opening '" + file("no/a") + "' failed: No such file or directory");
  EXPECT_EQ(failure<E>([&] { WritableFile::create(file("a"), std::size_t{1} << 62); }),
            "taking 4611686018427387904 bytes for '" + file("a") + "' failed: File too large");
  EXPECT_EQ(failure<E>([&] { WritableFile::open("/dev/full").write(0, "x"); }),
            "writing '/dev/full' failed: No space left on device");
  EXPECT_EQ(failure<E>([&] { flush_folder(file("no")); }),
            "opening '" + file("no") + "' failed: No such file or directory");
}

TEST_F(PositionedFile, NoLinkIsFollowedToAnotherFile) {
  write_file(file("a"), "stays");
  std::filesystem::create_symlink("a", file("link"));
  EXPECT_EQ(failure<EnvironmentError>([&] { WritableFile::create(file("link"), 3); }),
            "opening '" + file("link") + "' failed: Too many levels of symbolic links");
  EXPECT_EQ(read_file(file("a"), "file"), "stays");
}

/// Nothing else is known of these, and nothing is lost.
TEST_F(PositionedFile, WhatCannotBeFlushedIsNoFailure) {
  EXPECT_NO_THROW(WritableFile::open("/dev/null").flush());
  EXPECT_NO_THROW(flush_folder("/proc"));
}

}  // namespace
}  // namespace meshparity
