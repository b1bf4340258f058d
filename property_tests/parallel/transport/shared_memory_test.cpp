#include "parallel/transport/shared_memory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "parallel/transport/comm.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

/// Null, with the test marked as skipped, on systems without such memory.
#define MESHPARITY_ARENA_OR_SKIP(arena)         \
  const auto arena = SharedArena::create();     \
  if ((arena) == nullptr) {                     \
    GTEST_SKIP() << "no shared memory (memfd)"; \
  }

std::span<float> floats(void* memory, std::size_t count) {
  return {static_cast<float*>(memory), count};
}

/// Fills a block so that it is told from every other one.
void mark(std::span<float> block, std::size_t number) {
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<float>(number + i % 5);
}

bool is_marked(std::span<const float> block, std::size_t number) {
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (block[i] != static_cast<float>(number + i % 5)) return false;
  }
  return true;
}

RC_GTEST_PROP(SharedMemory, BlocksAreApartAndSeenByOthers, ()) {
  const auto arena = SharedArena::create();
  RC_PRE(arena != nullptr);
  const auto peer = PeerArena::open(arena->address());
  RC_ASSERT(peer != nullptr);
  struct Block {
    std::span<float> values;
    std::size_t number;
  };
  std::vector<Block> blocks;
  bool reused = false;
  std::uint64_t highest = 0;
  const std::size_t steps = *from_to(1, 40);
  for (std::size_t step = 1; step <= steps; ++step) {
    if (!blocks.empty() && *from_to(0, 2) == 0) {
      const auto gone =
          blocks.begin() + static_cast<std::ptrdiff_t>(*from_to(0, blocks.size() - 1));
      arena->give_back(gone->values.data(), gone->values.size_bytes());
      blocks.erase(gone);
    } else {
      const std::size_t size = *from_to(1, 5000) * (*from_to(0, 9) == 0 ? 200 : 1);
      const auto block = floats(arena->take(size * sizeof(float)), size);
      RC_ASSERT(block.data() != nullptr);
      RC_ASSERT(reinterpret_cast<std::uintptr_t>(block.data()) % kLargePage == 0U);
      RC_ASSERT(arena->owns(block.data()));
      const std::uint64_t place = arena->place_of(block).value();
      reused = reused || place < highest;
      highest = std::max(highest, place);
      mark(block, 10 * step);
      blocks.push_back({block, 10 * step});
    }
    for (const Block& block : blocks) {
      RC_ASSERT(is_marked(block.values, block.number));
      const auto seen = peer->values(arena->place_of(block.values).value(), block.values.size());
      RC_ASSERT(seen.data() != block.values.data());
      RC_ASSERT(is_marked(seen, block.number));
    }
  }
  RC_CLASSIFY(reused, "memory used again");
}

TEST(SharedMemory, WhatIsGivenBackBecomesOneBlockAgain) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  constexpr std::size_t kBytes = 3 * kLargePage;
  void* const first = arena->take(kBytes);
  void* const second = arena->take(kBytes);
  void* const third = arena->take(kBytes);
  void* const last = arena->take(kBytes);
  arena->give_back(first, kBytes);
  arena->give_back(third, kBytes);
  arena->give_back(second, kBytes);  // between two that are free
  EXPECT_EQ(arena->take(3 * kBytes), first);
  EXPECT_NE(arena->take(kBytes), last);
}

TEST(SharedMemory, WhatIsGivenBackTakesNoMemory) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  const auto taken = [&] {
    struct stat status {};
    EXPECT_EQ(fstat(static_cast<int>(arena->address().file), &status), 0);
    return static_cast<std::size_t>(status.st_blocks) * 512;
  };
  const std::size_t before = taken();
  constexpr std::size_t kBytes = 4 * kLargePage;
  for (int round = 0; round < 3; ++round) {
    void* const block = arena->take(kBytes);
    mark(floats(block, kBytes / sizeof(float)), 1);
    EXPECT_GE(taken(), before + kBytes);
    arena->give_back(block, kBytes);
    EXPECT_LE(taken(), before + kLargePage);
  }
}

TEST(SharedMemory, MoreThanThereIsIsRefused) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  EXPECT_EQ(arena->take(std::size_t{1} << 60), nullptr);
  EXPECT_NE(arena->take(1), nullptr);
}

TEST(SharedMemory, OtherMemoryHasNoPlace) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  const std::vector<float> elsewhere(3);
  EXPECT_FALSE(arena->owns(elsewhere.data()));
  EXPECT_FALSE(arena->place_of(elsewhere));
}

TEST(SharedMemory, AnotherArenaIsNotOpened) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  ArenaAddress address = arena->address();
  address.token += 1;  // another process of that number
  EXPECT_EQ(PeerArena::open(address), nullptr);
  address = arena->address();
  address.file = 1'000'000;
  EXPECT_EQ(PeerArena::open(address), nullptr);
}

TEST(SharedMemory, NumbersOfProcessesElsewhereAreNotOpened) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  EXPECT_NE(process_numbering(), 0U);
  EXPECT_EQ(process_numbering(), process_numbering());
  // Number, file and token fit: only where they were given, the number means another process.
  ArenaAddress address = arena->address();
  EXPECT_EQ(address.numbering, process_numbering());
  address.numbering += 1;
  EXPECT_EQ(PeerArena::open(address), nullptr);
  address.numbering = 0;
  EXPECT_EQ(PeerArena::open(address), nullptr);
  EXPECT_NE(PeerArena::open(arena->address()), nullptr);
}

/// What `process_numbering` is for a child in a new namespace of processes, whose /proc is left as
/// it was; nothing where the system allows none.
std::optional<std::uint64_t> numbering_in_new_namespace() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return std::nullopt;
  const pid_t outer = ::fork();
  if (outer == 0) {
    const bool allowed =
        ::unshare(CLONE_NEWPID) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0;
    const pid_t inner = allowed ? ::fork() : -1;
    if (inner == 0) {
      const std::uint64_t numbering = process_numbering();
      ::_exit(::write(ends[1], &numbering, sizeof(numbering)) == sizeof(numbering) ? 0 : 1);
    }
    if (inner > 0) ::waitpid(inner, nullptr, 0);
    ::_exit(0);
  }
  ::close(ends[1]);
  ::waitpid(outer, nullptr, 0);
  std::uint64_t numbering = 0;
  const bool told = ::read(ends[0], &numbering, sizeof(numbering)) == sizeof(numbering);
  ::close(ends[0]);
  return told ? std::optional(numbering) : std::nullopt;
}

TEST(SharedMemory, AContainerThatSeesOtherNumbersKnowsIt) {
  const auto numbering = numbering_in_new_namespace();
  if (!numbering) GTEST_SKIP() << "no namespaces of processes here";
  EXPECT_EQ(*numbering, 0U);
}

TEST(SharedMemory, LoansOutsideAreRefused) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  const auto peer = PeerArena::open(arena->address());
  ASSERT_NE(peer, nullptr);
  EXPECT_THROW((void)peer->values(2, 1), CommError);  // in the middle of a value
  EXPECT_THROW((void)peer->values(std::uint64_t{1} << 38, 1), CommError);
  EXPECT_THROW((void)peer->values(kLargePage, std::uint64_t{1} << 62), CommError);
}

TEST(SharedMemory, LargeBlocksComeFromTheSourceAndGoBackToIt) {
  MESHPARITY_ARENA_OR_SKIP(arena);
  constexpr std::size_t kLarge = kLargeBlock / sizeof(float);
  auto before = std::make_unique<AlignedFloats>(kLarge);
  take_blocks_from(arena.get());
  {
    const AlignedFloats large(kLarge);
    const AlignedFloats small(kLarge - 1);
    EXPECT_TRUE(arena->place_of(large));
    EXPECT_FALSE(arena->place_of(small));
    EXPECT_FALSE(arena->place_of(*before));
    const std::uint64_t place = arena->place_of(large).value();
    AlignedFloats(kLarge).clear();  // taken, and given back at once
    const AlignedFloats next(kLarge);
    EXPECT_EQ(arena->place_of(next).value(), place + kLargePage);
    before.reset();
  }
  take_blocks_from(nullptr);
}

}  // namespace
}  // namespace meshparity
