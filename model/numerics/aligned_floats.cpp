#include "model/numerics/aligned_floats.h"

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

#include <new>

namespace meshparity {
namespace {

BlockSource* block_source = nullptr;  // of a whole process

bool is_large(std::size_t bytes) { return bytes >= kLargeBlock; }

std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t{is_large(bytes) ? kLargePage : kCacheLine};
}

}  // namespace

void take_blocks_from(BlockSource* source) { block_source = source; }

void* allocate_aligned(std::size_t bytes) {
  if (!is_large(bytes)) return ::operator new(bytes, alignment_of(bytes));
  if (block_source != nullptr) {
    if (void* const memory = block_source->take(bytes)) return memory;
  }
  const std::size_t whole_pages = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  void* const memory = ::operator new(whole_pages, alignment_of(bytes));
#ifdef MADV_HUGEPAGE
  // With small pages a matrix of a few MiB misses in the processor's address cache, and a transport
  // that maps another process's memory takes longer. A hint: without it everything works as well.
  // What would use less than three quarters of a last page lies in small ones instead, because a
  // large one takes all of its memory.
  const std::size_t large = (bytes + kLargePage / 4) / kLargePage * kLargePage;
  (void)madvise(memory, large > 0 ? large : whole_pages, MADV_HUGEPAGE);
#endif
  return memory;
}

void free_aligned(void* memory, std::size_t bytes) noexcept {
  if (block_source != nullptr && block_source->owns(memory)) {
    return block_source->give_back(memory, bytes);
  }
  ::operator delete(memory, alignment_of(bytes));
}

}  // namespace meshparity
