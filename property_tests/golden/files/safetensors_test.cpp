// The safetensors format: exact bytes, round trips, and every way in which a file can be damaged.
#include "golden/files/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>

#include "golden/files/file_io.h"
#include "golden/files/printable.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

/// A file with this header and so many bytes of data.
std::string file_with(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  return bytes + header + std::string(data_bytes, '\x7f');
}

std::size_t header_length(const std::string& bytes) {
  std::size_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  return length;
}

/// What parsing says is wrong; empty if nothing.
std::string safetensors_refusal(const std::string& bytes) {
  try {
    parse_safetensors(bytes, "some.safetensors");
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("'some.safetensors'"), std::string::npos) << e.what();
    EXPECT_FALSE(e.hint().empty());
    return e.what();
  }
  return "";
}

TensorFile random_file() {
  TensorFile file;
  const std::size_t tensors = *random::from_to(0, 4);
  for (std::size_t t = 0; t < tensors; ++t) {
    StoredTensor tensor;
    tensor.name = "t" + std::to_string(t) + *rc::gen::element<std::string>("", ".weight", "\"\\/é");
    tensor.shape = *rc::gen::container<std::vector<std::size_t>>(*random::from_to(0, 3),
                                                                 random::from_to(0, 4));
    std::size_t count = 1;
    for (const std::size_t extent : tensor.shape) count *= extent;
    if (*rc::gen::arbitrary<bool>()) {
      tensor.values = random::floats(count, random::any_float());
    } else {
      tensor.values =
          *rc::gen::container<std::vector<std::int32_t>>(count, rc::gen::arbitrary<std::int32_t>());
    }
    file.tensors.push_back(std::move(tensor));
  }
  if (*rc::gen::arbitrary<bool>()) file.metadata = {{"a", "1"}, {"b", "two\nlines"}};
  return file;
}

TEST(Safetensors, HasTheFormatsBytes) {
  TensorFile file;
  file.tensors.push_back({"w", {1, 2}, std::vector<float>{1.0F, -2.0F}});
  file.tensors.push_back({"i", {}, std::vector<std::int32_t>{258}});
  file.metadata["k"] = "v";
  const std::string header =
      R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("i":{"dtype":"I32","shape":[],"data_offsets":[8,12]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string expected = std::string{static_cast<char>(padded.size()), 0, 0, 0, 0, 0, 0, 0} +
                               padded + std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8) +
                               std::string("\x02\x01\x00\x00", 4);
  EXPECT_EQ(safetensors_bytes(file), expected);
}

RC_GTEST_PROP(Safetensors, SameBytesInSameBytesOut, ()) {
  const TensorFile file = random_file();
  const std::string bytes = safetensors_bytes(file);
  const TensorFile read = parse_safetensors(bytes, "file");
  RC_ASSERT(safetensors_bytes(read) == bytes);
  RC_ASSERT(read.metadata == file.metadata);
  RC_ASSERT(read.tensors.size() == file.tensors.size());
  for (std::size_t t = 0; t < file.tensors.size(); ++t) {
    RC_ASSERT(read.tensors[t].name == file.tensors[t].name);
    RC_ASSERT(read.tensors[t].shape == file.tensors[t].shape);
    RC_ASSERT(read.tensors[t].values.index() == file.tensors[t].values.index());
  }
  // The header ends where data is aligned.
  RC_ASSERT(header_length(bytes) % 8 == 0U);
}

RC_GTEST_PROP(Safetensors, EveryTruncationIsRefused, ()) {
  const std::string bytes = safetensors_bytes(random_file());
  const std::size_t length = *random::from_to(0, bytes.size() - 1);
  RC_ASSERT(!safetensors_refusal(bytes.substr(0, length)).empty());
}

RC_GTEST_PROP(Safetensors, TrailingBytesAreRefused, ()) {
  const std::string bytes = safetensors_bytes(random_file());
  RC_ASSERT(!safetensors_refusal(bytes + std::string(*random::from_to(1, 9), '\0')).empty());
}

RC_GTEST_PROP(Safetensors, AChangedByteIsRefusedOrReadAsWritten, ()) {
  const std::string original = safetensors_bytes(random_file());
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::string bytes = original;
    bytes[*random::from_to(0, bytes.size() - 1)] = static_cast<char>(*random::from_to(0, 255));
    try {
      const TensorFile read = parse_safetensors(bytes, "file");
      const std::string canonical = safetensors_bytes(read);
      RC_ASSERT(safetensors_bytes(parse_safetensors(canonical, "file")) == canonical);
      // What is read is all that is there: no value is lost and none made up.
      std::size_t values = 0;
      for (const StoredTensor& tensor : read.tensors) {
        values += std::visit([](const auto& v) { return v.size(); }, tensor.values);
      }
      RC_ASSERT(8 + header_length(bytes) + 4 * values == bytes.size());
    } catch (const UsageError&) {
    }
  }
}

struct DamagedBytes {
  const char* what;
  std::string bytes;
  const char* complaint;
};

TEST(Safetensors, EveryDamageIsNamed) {
  const auto entry = [](const std::string& rest) { return "{\"w\":{" + rest + "}}"; };
  const std::string good = entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])");
  ASSERT_EQ(safetensors_refusal(file_with(good, 8)), "");
  const auto shaped = [&](const std::string& shape, const std::string& offsets) {
    return entry(R"("dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]");
  };
  const auto pair = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[)" + first +
           R"(]},"b":{"dtype":"F32","shape":[1],"data_offsets":[)" + second + "]}}";
  };
  const std::vector<DamagedBytes> damages = {
      {"empty", "", "too few"},
      {"header longer than the file", file_with(good, 8).substr(0, 20), "only 12 follow"},
      {"a text", "emma\nolivia\nava\nisabella\n", "announces a header of"},
      {"oversized", std::string("\x01\xe1\xf5\x05\0\0\0\0", 8) + "{}", "100000001"},
      {"not an object", file_with("[1,2]   ", 0), "does not begin with '{'"},
      {"not JSON", file_with("{\"w\":}", 0), "not JSON"},
      {"repeated name", file_with(pair("0,4", "4,8").replace(2, 1, "b"), 8), "repeated"},
      {"unknown dtype", file_with(entry(R"("dtype":"F17","shape":[4],"data_offsets":[0,8])"), 8),
       "F17"},
      {"no dtype", file_with(entry(R"("shape":[2],"data_offsets":[0,8])"), 8), "dtype"},
      {"no shape", file_with(entry(R"("dtype":"F32","data_offsets":[0,8])"), 8), "shape"},
      {"no offsets", file_with(entry(R"("dtype":"F32","shape":[2])"), 8), "data_offsets"},
      {"unknown member",
       file_with(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"), 8), "else"},
      {"negative extent", file_with(shaped("-2", "0,8"), 8), "-2"},
      {"fractional extent", file_with(shaped("2.5", "0,8"), 8), "2.5"},
      {"three offsets", file_with(shaped("2", "0,8,8"), 8), "two"},
      {"offsets out of order", file_with(shaped("2", "8,0"), 8), "8 to 0"},
      {"hole before the first", file_with(shaped("1", "4,8"), 8), "should begin at 0"},
      {"hole", file_with(pair("0,4", "8,12"), 12), "should begin at 4"},
      {"overlap", file_with(pair("0,4", "0,4"), 4), "should begin at 4"},
      {"out of range", file_with(shaped("3", "0,12"), 8), "end at 12"},
      {"shape too small", file_with(shaped("1", "0,8"), 8), "(1)"},
      {"shape overflows", file_with(shaped("4294967296,4294967298", "0,8"), 8), "4294967298"},
      {"half a value", file_with(shaped("1", "0,6"), 6), "(1)"},
      {"unused bytes", file_with(good, 12), "4 bytes follow"},
      {"metadata is a list", file_with(R"({"__metadata__":[]})", 0), "__metadata__"},
      {"metadata is a number", file_with(R"({"__metadata__":{"a":1}})", 0), "'a'"},
  };
  for (const DamagedBytes& damage : damages) {
    EXPECT_NE(safetensors_refusal(damage.bytes).find(damage.complaint), std::string::npos)
        << damage.what << ": " << safetensors_refusal(damage.bytes);
  }
}

TEST(Safetensors, WhatCannotBeStoredIsABug) {
  const std::vector<float> two = {1, 2};
  EXPECT_THROW(safetensors_bytes({{{"w", {3}, two}}, {}}), std::invalid_argument);
  EXPECT_THROW(safetensors_bytes({{{"w", {2}, two}, {"w", {2}, two}}, {}}), std::invalid_argument);
  EXPECT_THROW(safetensors_bytes({{{"__metadata__", {2}, two}}, {}}), std::invalid_argument);
  EXPECT_THROW(safetensors_bytes({{{"\xff", {2}, two}}, {}}), std::invalid_argument);
  const std::size_t huge = std::size_t{1} << 63;
  EXPECT_THROW(safetensors_bytes({{{"w", {huge, 2}, std::vector<float>()}}, {}}),
               std::invalid_argument);
}

TEST(Safetensors, AFileAppearsWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const std::string path = folder.file("model.safetensors");
  const TensorFile small{{{"w", {1}, std::vector<float>{1}}}, {}};
  save_safetensors(path, small);
  EXPECT_EQ(read_file(path, "file"), safetensors_bytes(small));

  // A full disk, as a limit on the size of files: writing fails part of the way.
  const TensorFile large{{{"w", {100000}, std::vector<float>(100000)}}, {}};
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit low{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  EXPECT_THROW(save_safetensors(path, large), EnvironmentError);
  EXPECT_THROW(save_safetensors(folder.file("new"), large), EnvironmentError);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);

  EXPECT_EQ(read_file(path, "file"), safetensors_bytes(small));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1)
      << "nothing is left behind";
}

TEST(Safetensors, PathsThatCannotBeWrittenAreTheUsersError) {
  const TemporaryFolder folder;
  fs::create_symlink("/dev/null", folder.path() / "device");
  for (const std::string& path : {folder.path().string(), folder.file("no/such/folder/file"),
                                  folder.file("device"), std::string("/dev/null"), std::string()}) {
    try {
      save_safetensors(path, {});
      ADD_FAILURE() << path << " was written";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find("'" + path + "'"), std::string::npos) << e.what();
      EXPECT_FALSE(e.hint().empty());
    }
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Safetensors, ALinkIsFollowed) {
  const TemporaryFolder folder;
  write_file(folder.file("real"), "before");
  fs::create_symlink("real", folder.path() / "link");
  write_file(folder.file("link"), "after");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_EQ(read_file(folder.file("real"), "file"), "after");
}

TEST(Safetensors, KeysMayStandInAnyOrder) {
  const TensorFile read = parse_safetensors(
      file_with(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                R"("__metadata__":{"k":"v"},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},)"
                R"("empty":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}})",
                8),
      "f");
  ASSERT_EQ(read.tensors.size(), 3U);
  EXPECT_EQ(read.tensors[0].name, "a");
  EXPECT_EQ(read.tensors[1].name, "empty");
  EXPECT_EQ(read.tensors[2].name, "b");
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(read.tensors[0].values)[0], 0x7f7f7f7f);
  EXPECT_EQ(read.metadata.at("k"), "v");
}

TEST(Safetensors, OtherTypesCanBeReadAndWrittenBack) {
  for (const auto& [dtype, width] :
       {std::pair("BF16", 2), std::pair("F16", 2), std::pair("I64", 8), std::pair("F64", 8),
        std::pair("BOOL", 1), std::pair("U8", 1), std::pair("F8_E4M3", 1)}) {
    const std::string bytes =
        file_with(fmt::format(R"({{"w":{{"dtype":"{}","shape":[3],"data_offsets":[0,{}]}}}})",
                              dtype, 3 * width),
                  3 * static_cast<std::size_t>(width));
    const TensorFile read = parse_safetensors(bytes, "f");
    const auto& values = std::get<OtherValues>(read.tensors[0].values);
    EXPECT_EQ(values.dtype, dtype);
    EXPECT_EQ(values.size(), 3U);
    const TensorFile again = parse_safetensors(safetensors_bytes(read), "f");
    EXPECT_EQ(std::get<OtherValues>(again.tensors[0].values).bytes, values.bytes);
  }
}

TEST(Safetensors, DeepNestingIsRefused) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string nested = "{\"w\":";
    for (int i = 0; i < 200000; ++i) nested += open;
    EXPECT_NE(safetensors_refusal(file_with(nested, 0)).find("nested"), std::string::npos);
  }
  const std::string shape = std::string(10, '[') + std::string(10, ']');
  const std::string entry = R"({"w":{"dtype":"F32","data_offsets":[0,4],"shape":)" + shape + "}}";
  EXPECT_NE(safetensors_refusal(file_with(entry, 4)).find("is not a whole number"),
            std::string::npos);
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(Safetensors, ReadingTakesTimeInProportionToTheHeader) {
  // Four times the tensors, metadata and members of an entry: about four times the work, where
  // reading that is quadratic needs sixteen times.
  const auto header = [](std::size_t count) {
    std::string text = "{\"__metadata__\":{";
    for (std::size_t i = 0; i < count; ++i) text += fmt::format("{}\"k{}\":\"\"", i ? "," : "", i);
    text += "}";
    for (std::size_t i = 0; i < count; ++i) {
      text += fmt::format(R"(,"t{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", i);
    }
    return file_with(text + "}", 0);
  };
  const std::string small = header(5000);
  const std::string large = header(20000);
  double ratio = 100;
  for (int attempt = 0; attempt < 5 && ratio > 9; ++attempt) {
    const double once = seconds_of([&] { parse_safetensors(small, "small"); });
    ratio = seconds_of([&] { parse_safetensors(large, "large"); }) / once;
  }
  EXPECT_LT(ratio, 9);
  const std::string members = [] {
    std::string text = "{\"w\":{\"m\":0";
    for (int i = 0; i < 60000; ++i) text += fmt::format(",\"{}\":0", i);
    return file_with(text + "}}", 0);
  }();
  EXPECT_LT(seconds_of([&] { EXPECT_NE(safetensors_refusal(members), ""); }), 5);
}

TEST(Safetensors, ErrorsShowNamesInPrintableTextAndCut) {
  const std::string evil = safetensors_refusal(
      file_with(R"({"\u001b]0;x\u0007\u009b":{"dtype":"F32","shape":[1]}})", 0));
  EXPECT_NE(evil.find("\\x1b]0;x\\x07\\xc2\\x9b"), std::string::npos) << evil;
  EXPECT_EQ(evil.find('\x1b'), std::string::npos);
  const std::string name(900000, 'n');
  const std::string number(900000, '1');
  for (const std::string& header :
       {R"({")" + name + R"(":1})", R"({"w":)" + number + "x}", "{\"" + name,
        R"({"w":{"dtype":")" + name + R"("}})", R"({"__metadata__":{")" + name + R"(":1}})",
        R"({"w":{"dtype":"F32","data_offsets":[0,0],"shape":[")" + name + R"("]}})",
        R"({"w":1,"w":1,")" + name + R"(":1,")" + name + R"(":1})"}) {
    EXPECT_LT(safetensors_refusal(file_with(header, 0)).size(), 1000U) << header.substr(0, 20);
    EXPECT_NE(safetensors_refusal(file_with(header, 0)), "") << header.substr(0, 20);
  }
}

RC_GTEST_PROP(Safetensors, HeadersOfAnyPiecesAreReadOrRefused, ()) {
  std::string header = "{";
  const std::size_t pieces = *random::from_to(0, 30);
  for (std::size_t i = 0; i < pieces; ++i) {
    header += *rc::gen::element<std::string>(
        "{", "}", "[", "]", ",", ":", "\"w\"", "\"dtype\":\"F32\"", "\"shape\":[1]",
        "\"data_offsets\":[0,4]", "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}",
        "18446744073709551615", "-1", "1e400", "null", "\"__metadata__\":{}", "\xff", "\\u0000");
  }
  const std::string bytes = file_with(header, 4);
  try {
    RC_ASSERT(!safetensors_bytes(parse_safetensors(bytes, "file")).empty());
  } catch (const UsageError&) {
  }
}

TEST(Printable, ShowsTextAndNothingElse) {
  EXPECT_EQ(printable("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
            "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(printable(std::string("a\0\n\x7f", 4)), "a\\x00\\x0a\\x7f");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "half a surrogate pair";
  EXPECT_EQ(printable(std::string(500, 'a'), 10), "aaaaaaaaaa... (490 bytes more)");
  EXPECT_EQ(printable_lines("a\x1b\nb\n"), "a\\x1b\nb\n");
  EXPECT_EQ(printable_lines("aaaa\nb", 2), "aa... (2 bytes more)\nb");
}

}  // namespace
}  // namespace meshparity
