#include "golden/jobs/on_all_ranks.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace meshparity {
namespace {

constexpr std::size_t kTextWords = 128;  // 1 KiB of a message

/// The message of rank `from`, on all ranks.
std::string shared_text(Comm& world, std::size_t from, const std::string& text) {
  std::array<std::uint64_t, kTextWords> words{};
  if (world.rank() == from) {
    std::memcpy(words.data(), text.data(), std::min(text.size(), sizeof(words) - 1));
  }
  world.all_reduce_integers(words);
  return reinterpret_cast<const char*>(words.data());
}

}  // namespace

void on_all_ranks(Comm* world, const std::function<void()>& work) {
  std::string failure;
  try {
    work();
  } catch (const std::exception& error) {
    failure = error.what();
    if (failure.empty()) failure = "unknown failure";
  }
  if (world != nullptr) {
    std::vector<std::uint64_t> failed(world->size(), 0);
    failed[world->rank()] = failure.empty() ? 0 : 1;
    world->all_reduce_integers(failed);
    const auto first = std::ranges::find(failed, std::uint64_t{1});
    if (first == failed.end()) return;
    failure = shared_text(*world, static_cast<std::size_t>(first - failed.begin()), failure);
  }
  if (!failure.empty()) throw SharedFailure(failure);
}

}  // namespace meshparity
