// What libFuzzer calls. The environment says which reader is under attack (MESHPARITY_READER); or
// where the seeds of all are written to, a folder each (MESHPARITY_SEEDS), and nothing else is
// done.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "property_tests/fuzz/readers.h"

namespace meshparity {
namespace {

void write_seeds(const std::filesystem::path& folder) {
  for (const Reader& reader : readers()) {
    std::filesystem::create_directories(folder / reader.name);
    std::size_t number = 0;
    for (const std::string& seed : reader.seeds()) {
      const std::string name = "seed" + std::to_string(number++);
      std::ofstream(folder / reader.name / name, std::ios::binary) << seed;
    }
  }
}

const Reader* chosen_reader() {
  const char* const name = std::getenv("MESHPARITY_READER");
  const auto found = std::ranges::find(readers(), name == nullptr ? "" : name, &Reader::name);
  return found == readers().end() ? nullptr : &*found;
}

}  // namespace
}  // namespace meshparity

// libFuzzer's names. NOLINTBEGIN(readability-identifier-naming)

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  if (const char* const folder = std::getenv("MESHPARITY_SEEDS")) {
    meshparity::write_seeds(folder);
    std::exit(0);
  }
  if (meshparity::chosen_reader() == nullptr) {
    std::fputs("error: MESHPARITY_READER names no reader\ntry: ci/fuzz\n", stderr);
    std::exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const meshparity::Reader* const reader = meshparity::chosen_reader();
  (void)meshparity::accepts(*reader, {reinterpret_cast<const char*>(data), size});
  return 0;
}

// NOLINTEND(readability-identifier-naming)
