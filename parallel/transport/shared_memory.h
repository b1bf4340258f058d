#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "model/numerics/aligned_floats.h"

/// Memory that processes of one machine show each other: a message need not be copied to be read.
namespace meshparity {

/// How another process finds an arena.
struct ArenaAddress {
  std::uint64_t numbering = 0;  ///< as `process_numbering` says it
  std::uint64_t process = 0;    ///< its number in /proc; 0: nobody can
  std::uint64_t file = 0;
  std::uint64_t token = 0;  ///< random, at the beginning of the arena: tells it from others
};

/// What stands at the beginning of an arena.
struct ArenaHead {
  std::uint64_t token = 0;
  std::atomic<std::int64_t> waited{0};  ///< of the owner's watchdog
};

/// Tells what the numbers in /proc mean here: the same value only for processes that run on one
/// kernel, since one boot, in one namespace of processes. 0 where /proc does not say, or numbers
/// this process otherwise than it does itself.
std::uint64_t process_numbering();

/// The large blocks of this process, in a file without a name (memfd_create) that others can map.
/// It reserves addresses; memory is taken page by page, and given back with the blocks.
class SharedArena final : public BlockSource {
 public:
  /// Null where there is no such file, or too little room for it.
  static std::unique_ptr<SharedArena> create();
  ~SharedArena() override;
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;

  void* take(std::size_t bytes) noexcept override;
  bool owns(const void* memory) const noexcept override;
  void give_back(void* memory, std::size_t bytes) noexcept override;

  const ArenaAddress& address() const { return address_; }
  ArenaHead& head() { return *reinterpret_cast<ArenaHead*>(begin_); }
  /// The offset of values in the arena; nothing if they are not in it.
  std::optional<std::uint64_t> place_of(std::span<const float> values) const;

 private:
  SharedArena(int file, std::byte* begin);

  int file_;
  std::byte* begin_;
  ArenaAddress address_;
  std::mutex mutex_;
  std::map<std::size_t, std::size_t> free_;  // offset -> bytes, whole pages, no two side by side
};

/// The arena of another process, to be read.
class PeerArena {
 public:
  /// Null if this process may not see it, or if the address was made where numbers of processes
  /// mean others (another machine, another container): then nothing is opened.
  static std::unique_ptr<PeerArena> open(const ArenaAddress& address);
  ~PeerArena();
  PeerArena(const PeerArena&) = delete;
  PeerArena& operator=(const PeerArena&) = delete;

  const ArenaHead& head() const { return *reinterpret_cast<const ArenaHead*>(begin_); }
  /// Throws CommError if `size` values at `place` are not all in the arena.
  std::span<const float> values(std::uint64_t place, std::uint64_t size) const;

 private:
  explicit PeerArena(const std::byte* begin) : begin_(begin) {}
  const std::byte* begin_;
};

}  // namespace meshparity
