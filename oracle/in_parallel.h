#pragma once

#include <algorithm>
#include <cstddef>
#include <future>
#include <thread>
#include <vector>

namespace meshparity {

/// Calls work(begin, end) on contiguous parts of [0, count), at once on as many processors as there
/// is work for, `cost` being about the operations of one of them. Rethrows what one of them throws.
template <typename Work>
void in_parallel(std::size_t count, std::size_t cost, const Work& work) {
  constexpr std::size_t kWorthAThread = 1'000'000;  // operations; a thread takes some 10 us
  const std::size_t most = std::max<unsigned>(std::thread::hardware_concurrency(), 1);
  const std::size_t parts = std::min(most, 1 + count * cost / kWorthAThread);
  std::vector<std::future<void>> others;
  for (std::size_t i = 1; i < parts; ++i) {
    others.push_back(std::async(std::launch::async, [&work, i, parts, count] {
      work(count * i / parts, count * (i + 1) / parts);
    }));
  }
  work(std::size_t{0}, count / parts);
  for (std::future<void>& other : others) other.get();
}

}  // namespace meshparity
