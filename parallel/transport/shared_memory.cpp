#include "parallel/transport/shared_memory.h"

#ifdef __linux__
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

#include <array>
#include <fstream>
#include <functional>
#include <new>
#include <random>
#include <string>

#include "parallel/transport/comm.h"

namespace meshparity {
namespace {

// Addresses cost nothing, so the arena reserves more than a machine has memory.
constexpr std::size_t kArena = std::size_t{1} << 38;

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + kLargePage - 1) / kLargePage * kLargePage;
}

#ifdef __linux__

/// Maps all of the file, aligned to large pages.
std::byte* map(int file, int protection) {
  void* const room = mmap(nullptr, kArena + kLargePage, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  const std::size_t skipped = -reinterpret_cast<std::uintptr_t>(room) % kLargePage;
  auto* const begin = static_cast<std::byte*>(room) + skipped;
  if (skipped > 0) munmap(room, skipped);
  munmap(begin + kArena, kLargePage - skipped);
  if (mmap(begin, kArena, protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file, 0) ==
      MAP_FAILED) {
    munmap(begin, kArena);
    return nullptr;
  }
  (void)madvise(begin, kArena, MADV_HUGEPAGE);  // few systems have any for shared memory
  (void)madvise(begin, kArena, MADV_DONTDUMP);  // most of it has never been touched
  return begin;
}

/// Makes the file as long as the arena. Checks the limit on file sizes first: the system would end
/// the process.
bool stretch(int file) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur < kArena) return false;
  return ftruncate(file, static_cast<off_t>(kArena)) == 0;
}

/// What a symbolic link says; empty if there is none.
std::string link_text(const char* path) {
  std::array<char, 64> text{};
  const ssize_t size = readlink(path, text.data(), text.size());
  return size < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(size));
}

#endif

}  // namespace

#ifdef __linux__

std::unique_ptr<SharedArena> SharedArena::create() {
  const int file = memfd_create("meshparity", MFD_CLOEXEC);
  if (file < 0) return nullptr;
  std::byte* const begin = stretch(file) ? map(file, PROT_READ | PROT_WRITE) : nullptr;
  if (begin == nullptr) {
    close(file);
    return nullptr;
  }
  return std::unique_ptr<SharedArena>(new SharedArena(file, begin));
}

SharedArena::SharedArena(int file, std::byte* begin) : file_(file), begin_(begin) {
  std::random_device random;
  const std::uint64_t numbering = process_numbering();
  address_ = {numbering, numbering == 0 ? 0 : static_cast<std::uint64_t>(getpid()),
              static_cast<std::uint64_t>(file), (std::uint64_t{random()} << 32) + random()};
  new (begin_) ArenaHead{.token = address_.token};
  free_[kLargePage] = kArena - kLargePage;
}

SharedArena::~SharedArena() {
  munmap(begin_, kArena);
  close(file_);
}

void SharedArena::give_back(void* memory, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  auto offset = static_cast<std::size_t>(static_cast<std::byte*>(memory) - begin_);
  std::size_t size = whole_pages(bytes);
  (void)madvise(memory, size, MADV_REMOVE);  // if not, the pages stay until they are used again
  const auto next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + size) size += next->second;
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      offset = previous->first;
      size += previous->second;
    }
  }
  if (next != free_.end() && next->first < offset + size) free_.erase(next);
  try {
    free_[offset] = size;
  } catch (const std::bad_alloc&) {  // the addresses are lost, but their memory was given back
  }
}

std::uint64_t process_numbering() {
  if (link_text("/proc/self") != std::to_string(getpid())) return 0;
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  const std::string names = link_text("/proc/self/ns/pid");
  if (boot.empty() || names.empty()) return 0;
  std::uint64_t digest = 14695981039346656037U;  // FNV-1a
  for (const char byte : boot + names) {
    digest = (digest ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  }
  return digest;
}

std::unique_ptr<PeerArena> PeerArena::open(const ArenaAddress& address) {
  if (address.process == 0 || address.numbering != process_numbering()) return nullptr;
  const std::string path =
      "/proc/" + std::to_string(address.process) + "/fd/" + std::to_string(address.file);
  // The process may have ended, and its number be another's: opening any file must not block.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return nullptr;
  const bool long_enough = lseek(file, 0, SEEK_END) == static_cast<off_t>(kArena);
  const std::byte* const begin = long_enough ? map(file, PROT_READ) : nullptr;
  close(file);
  if (begin == nullptr) return nullptr;
  auto arena = std::unique_ptr<PeerArena>(new PeerArena(begin));
  return arena->head().token == address.token ? std::move(arena) : nullptr;
}

PeerArena::~PeerArena() { munmap(const_cast<std::byte*>(begin_), kArena); }

#else

std::uint64_t process_numbering() { return 0; }
std::unique_ptr<SharedArena> SharedArena::create() { return nullptr; }
SharedArena::SharedArena(int file, std::byte* begin) : file_(file), begin_(begin) {}
SharedArena::~SharedArena() = default;
void SharedArena::give_back(void* /*memory*/, std::size_t /*bytes*/) noexcept {}
std::unique_ptr<PeerArena> PeerArena::open(const ArenaAddress& /*address*/) { return nullptr; }
PeerArena::~PeerArena() = default;

#endif

void* SharedArena::take(std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  const std::size_t size = whole_pages(bytes);
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    const auto [offset, room] = *block;
    if (room < size) continue;
    // The entry itself is used again for what is left of it, so nothing has to be allocated.
    auto node = free_.extract(block);
    if (room > size) {
      node.key() = offset + size;
      node.mapped() = room - size;
      free_.insert(std::move(node));
    }
    return begin_ + offset;
  }
  return nullptr;
}

bool SharedArena::owns(const void* memory) const noexcept {
  const auto* const byte = static_cast<const std::byte*>(memory);
  return std::greater_equal<>()(byte, begin_) && std::less<>()(byte, begin_ + kArena);
}

std::optional<std::uint64_t> SharedArena::place_of(std::span<const float> values) const {
  if (!owns(values.data())) return std::nullopt;
  return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(values.data()) - begin_);
}

std::span<const float> PeerArena::values(std::uint64_t place, std::uint64_t size) const {
  if (place > kArena || place % sizeof(float) != 0 || size > (kArena - place) / sizeof(float)) {
    throw CommError("a loan of " + std::to_string(size) + " values at " + std::to_string(place) +
                    " does not lie in its owner's memory");
  }
  return {reinterpret_cast<const float*>(begin_ + place), size};
}

}  // namespace meshparity
