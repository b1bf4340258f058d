#include "golden/files/file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "golden/files/printable.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::size_t kFlushBytes = std::size_t{1} << 20;
constexpr std::size_t kMostShown = 1000;  // bytes of a path

std::string quoted(const std::string& path) {
  return fmt::format("'{}'", printable(path, kMostShown));
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

std::string unwritable(const std::string& path) { return "cannot write " + quoted(path); }

constexpr const char* kWriteHint =
    "name a file in a directory that exists and that you may write to";

/// The file that will really be written: a link is followed, so that renaming does not replace it.
std::string target_of(const std::string& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  if (!error) return target.string();
  if (error == std::errc::no_such_file_or_directory) return path;
  refuse_file(unwritable(path), error.value(), kWriteHint);
}

/// Gives a new file the owner and the permissions of the one that it will replace. Who had no
/// access does not get it: without the owning group, no group has any.
void take_access(int descriptor, const struct stat& replaced) {
  const bool owned = ::fchown(descriptor, replaced.st_uid, replaced.st_gid) == 0 ||
                     ::fchown(descriptor, static_cast<uid_t>(-1), replaced.st_gid) == 0;
  const mode_t kept = S_IRWXU | S_IRWXO | (owned ? S_IRWXG : 0);
  ::fchmod(descriptor, replaced.st_mode & kept);
}

/// Writes the directory to the disk, without which a rename may be lost. Returns an errno.
int flush_directory(const std::filesystem::path& file) {
  const std::filesystem::path directory = file.has_parent_path() ? file.parent_path() : ".";
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return 0;  // it may be written to, but not read
  const int reason = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  return reason == EINVAL || reason == ENOTSUP ? 0 : reason;  // some file systems cannot
}

}  // namespace

void refuse_file(const std::string& what, int reason, const std::string& hint) {
  const std::string text = fmt::format("{}: {}", what, std::strerror(reason));
  const std::array machine = {EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC};
  if (std::ranges::find(machine, reason) != machine.end()) throw EnvironmentError(text);
  throw UsageError(text, hint);
}

InputFile::InputFile(const std::string& path, std::string kind)
    : name_(fmt::format("{} {}", kind, quoted(path))),
      descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)) {
  const std::string hint = fmt::format("give a readable {} file", kind);
  if (descriptor_ < 0) refuse_file(name_ + " cannot be read", errno, hint);
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    throw UsageError(name_ + " is a directory", hint);
  }
  if (S_ISREG(status.st_mode)) size_ = static_cast<std::size_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

std::size_t InputFile::read(char* to, std::size_t bytes) {
  std::size_t filled = 0;
  while (filled < bytes) {
    const ssize_t count = ::read(descriptor_, to + filled, bytes - filled);
    if (count == 0) break;
    if (count > 0) {
      filled += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      throw EnvironmentError(
          fmt::format("{} cannot be read to its end: {}", name_, std::strerror(errno)));
    }
  }
  return filled;
}

std::string read_file(const std::string& path, const std::string& kind) {
  InputFile file(path, kind);
  std::string text;
  if (file.size()) text.reserve(*file.size() + 1);  // one more byte does not move a large text
  // Until nothing is left: a file may have grown, and the size of others is unknown.
  std::array<char, 65536> block{};
  std::size_t count = 0;
  do {
    count = file.read(block.data(), block.size());
    text.append(block.data(), count);
  } while (count == block.size());
  if (file.size() && text.size() < *file.size()) {
    throw EnvironmentError(
        fmt::format("{} {} became shorter while it was read", kind, quoted(path)));
  }
  return text;
}

std::vector<std::string> read_folder(const std::string& path) {
  const std::string what = fmt::format("folder {} cannot be read", quoted(path));
  const std::string hint = "name a folder that you may read";
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir(path.c_str()));
  if (!folder) refuse_file(what, errno, hint);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(folder.get());
    if (entry == nullptr && errno != 0) refuse_file(what, errno, hint);
    if (entry == nullptr) break;
    const std::string name = &entry->d_name[0];
    if (name != "." && name != "..") names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(target_of(path)) {
  const std::filesystem::path target = target_;
  const std::string what = unwritable(path);
  struct stat replaced {};
  const bool replaces = ::stat(target_.c_str(), &replaced) == 0;
  if ((replaces && S_ISDIR(replaced.st_mode)) || !target.has_filename()) {
    throw UsageError(what + ": it is a directory", kWriteHint);
  }
  if (replaces && !S_ISREG(replaced.st_mode)) {
    throw UsageError(what + ": it is not a regular file", kWriteHint);
  }
  if (replaces && ::access(target_.c_str(), W_OK) != 0) refuse_file(what, errno, kWriteHint);
  temporary_ = std::make_unique<TemporaryName>(target.parent_path().string());
  descriptor_ = ::open(temporary_->path(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                       replaces ? 0600 : 0666);
  if (descriptor_ < 0) refuse_file(what, errno, kWriteHint);
  if (replaces) take_access(descriptor_, replaced);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_->path());
}

void AtomicFile::fail(const std::string& action) const {
  throw EnvironmentError(
      fmt::format("{} {} failed: {}", action, quoted(path_), std::strerror(errno)));
}

void AtomicFile::write(std::string_view bytes) {
  if (bytes.size() >= kFlushBytes) {
    flush();
    write_out(bytes);
    return;
  }
  pending_ += bytes;
  if (pending_.size() >= kFlushBytes) flush();
}

void AtomicFile::write_out(std::string_view rest) {
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("writing");
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::flush() {
  write_out(pending_);
  pending_.clear();
}

void AtomicFile::commit() {
  flush();
  while (::fsync(descriptor_) != 0) {
    if (errno != EINTR) fail("flushing");
  }
  if (std::rename(temporary_->path(), target_.c_str()) != 0) fail("renaming to");
  ::close(descriptor_);
  descriptor_ = -1;
  errno = flush_directory(target_);
  if (errno != 0) fail("flushing the directory of");
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void require_writable(const std::string& path) { const AtomicFile probe(path); }

}  // namespace meshparity
