#pragma once

#include <cstddef>
#include <vector>

namespace meshparity {

/// Memory aligned to cache lines, so that a vector loaded from it does not touch two of them. Large
/// blocks lie in large pages, where the system has any. Throws std::bad_alloc.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* memory, std::size_t bytes) noexcept;

constexpr std::size_t kLargePage = std::size_t{1} << 21;
constexpr std::size_t kLargeBlock = kLargePage / 2;  // from here on blocks become whole large pages

/// Another place for large blocks than the heap: a transport may have memory that all ranks of a
/// machine can read.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  /// Memory that begins with a large page; null if there is none left.
  virtual void* take(std::size_t bytes) noexcept = 0;
  virtual bool owns(const void* memory) const noexcept = 0;
  virtual void give_back(void* memory, std::size_t bytes) noexcept = 0;
};

/// From now on large blocks come from this source, which must stay for as long as they do.
void take_blocks_from(BlockSource* source);

constexpr std::size_t kCacheLine = 64;  // bytes; also the widest vector

template <typename T>
struct AlignedAllocator {
  using value_type = T;  // NOLINT(readability-identifier-naming): what the standard calls it

  T* allocate(std::size_t count) { return static_cast<T*>(allocate_aligned(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t count) noexcept {
    free_aligned(memory, count * sizeof(T));
  }
  bool operator==(const AlignedAllocator&) const = default;
};

/// The program's own vectors for the kernels to work on.
using AlignedFloats = std::vector<float, AlignedAllocator<float>>;

/// A number of floats, rounded up to whole cache lines.
constexpr std::size_t whole_cache_lines(std::size_t floats) {
  constexpr std::size_t kLine = kCacheLine / sizeof(float);
  return (floats + kLine - 1) / kLine * kLine;
}

}  // namespace meshparity
