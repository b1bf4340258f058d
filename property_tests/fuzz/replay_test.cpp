// Every reader against its seeds, what a fuzzer once found, and seeds with random damage. The same
// functions are under libFuzzer in ci/fuzz; here they need no more than the suite.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "golden/files/safetensors.h"
#include "model/error.h"
#include "property_tests/fuzz/readers.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

TEST(Fuzz, SeedsAreAccepted) {
  for (const Reader& reader : readers()) {
    const std::vector<std::string> seeds = reader.seeds();
    EXPECT_FALSE(seeds.empty()) << reader.name;
    for (const std::string& seed : seeds) {
      EXPECT_TRUE(accepts(reader, seed)) << reader.name << ": " << seed.substr(0, 200);
    }
  }
}

TEST(Fuzz, KnownInputsAreReadOrRefused) {
  std::size_t known = 0;
  for (const Reader& reader : readers()) {
    const std::filesystem::path folder =
        std::filesystem::path(MESHPARITY_FUZZ_INPUTS) / reader.name;
    if (!std::filesystem::exists(folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      EXPECT_NO_THROW((void)accepts(reader, bytes)) << entry.path();
      ++known;
    }
  }
  EXPECT_GE(known, 10U);
}

/// Changed, inserted, repeated or removed bytes; numbers at the edges of their types.
void damage(std::string& bytes) {
  const std::size_t at = *from_to(0, bytes.size());
  const std::size_t length = *from_to(0, std::min<std::size_t>(16, bytes.size() - at));
  switch (*from_to(0, 4)) {
    case 0:
      if (at < bytes.size()) bytes[at] = static_cast<char>(*from_to(0, 255));
      break;
    case 1:
      bytes.erase(at, length);
      break;
    case 2:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 3:
      bytes.replace(at, length,
                    *rc::gen::element<std::string>("0", "-1", "18446744073709551616", "1e400",
                                                   "1099511627776", "\"", "[[[[", "{}", "\xff",
                                                   "\xed\xa0\x80", "\x1b[2J", "=", "\n", "#",
                                                   std::string(8, '\0'), std::string(8, '\xff')));
      break;
    default:
      bytes.resize(at);
  }
}

RC_GTEST_PROP(Fuzz, DamagedSeedsAreReadOrRefused, ()) {
  for (const Reader& reader : readers()) {
    const std::vector<std::string> seeds = reader.seeds();
    std::string bytes = seeds[*from_to(0, seeds.size() - 1)];
    for (std::size_t i = *from_to(1, 4); i > 0; --i) damage(bytes);
    try {
      (void)accepts(reader, bytes);
    } catch (const std::exception& e) {
      RC_FAIL(std::string(reader.name) + ": " + e.what() + "\n" + bytes);
    }
  }
}

TEST(Fuzz, WhatNobodyForesawIsAFinding) {
  const Reader fails{"", [](std::string_view) { throw std::out_of_range("at"); }, nullptr};
  EXPECT_THROW((void)accepts(fails, ""), std::out_of_range);
  const Reader refuses{"", [](std::string_view) { throw UsageError("no\x1b[2J"); }, nullptr};
  EXPECT_FALSE(accepts(refuses, ""));
}

/// Seconds of this process's own work.
template <typename Work>
double processor_seconds(Work work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

std::string with_header(const std::string& header, std::size_t data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i) & 0xff));
  return bytes + header + std::string(data, '\0');
}

TEST(Fuzz, ManyTensorsAreReadInATime) {
  constexpr std::size_t kTensors = 20'000;
  TensorFile file;
  for (std::size_t i = 0; i < kTensors; ++i) {
    file.tensors.push_back({"h." + std::to_string(i) + ".weight", {1}, std::vector<float>{1}});
  }
  const std::string bytes = safetensors_bytes(file);
  const double seconds = processor_seconds(
      [&] { EXPECT_EQ(index_safetensors(bytes, "file").tensors.size(), kTensors); });
  RecordProperty("milliseconds", static_cast<int>(seconds * 1000));
  EXPECT_LT(seconds, 0.3 * MESHPARITY_TIMEOUT_FACTOR);
}

TEST(Fuzz, HostileHeadersAreRefusedInATime) {
  constexpr std::size_t kSize = 1'000'000;
  const auto repeated = [](const std::string& head, const std::string& text) {
    std::string header = head;
    while (header.size() < kSize) header += text;
    return header;
  };
  std::string keys = "{";
  for (std::size_t i = 0; keys.size() < kSize; ++i) keys += '"' + std::to_string(i) + "\":0,";
  std::string metadata = R"({"__metadata__":{)";
  for (std::size_t i = 0; metadata.size() < kSize; ++i) {
    metadata += '"' + std::to_string(i) + R"(":"",)";
  }
  std::string tensors = "{";  // all of them claim the same bytes
  for (std::size_t i = 0; tensors.size() < kSize; ++i) {
    tensors += '"' + std::to_string(i) + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  }
  for (const std::string& header :
       {repeated("", "["), repeated("", R"({"a":)"), repeated(R"({"a":[)", "1,"),
        repeated(R"({"a":")", "\\u0000"), repeated("{", R"("a":1,)"), keys + R"("x":0})",
        metadata + R"("x":""}})",
        tensors + R"("x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        repeated(R"({"w":{"dtype":"F32","data_offsets":[0,4],"shape":[1)", ",1") + "]}}"}) {
    const std::string bytes = with_header(header, 4);
    const double seconds = processor_seconds([&] {
      try {
        (void)index_safetensors(bytes, "file");
      } catch (const UsageError&) {
      }
    });
    EXPECT_LT(seconds, 1.0 * MESHPARITY_TIMEOUT_FACTOR) << header.substr(0, 40);
  }
}

}  // namespace
}  // namespace meshparity
