// The safetensors format: exact bytes, round trips, and every way in which a file can be damaged.
#include "golden/files/safetensors.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <csignal>
#include <filesystem>

#include "golden/files/file_io.h"
#include "golden/files/model_file.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "model/model.h"
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
std::string refusal(const std::string& bytes) {
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
  RC_ASSERT(!refusal(bytes.substr(0, length)).empty());
}

RC_GTEST_PROP(Safetensors, TrailingBytesAreRefused, ()) {
  const std::string bytes = safetensors_bytes(random_file());
  RC_ASSERT(!refusal(bytes + std::string(*random::from_to(1, 9), '\0')).empty());
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

struct Damage {
  const char* what;
  std::string bytes;
  const char* complaint;
};

TEST(Safetensors, EveryDamageIsNamed) {
  const auto entry = [](const std::string& rest) { return "{\"w\":{" + rest + "}}"; };
  const std::string good = entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])");
  ASSERT_EQ(refusal(file_with(good, 8)), "");
  const auto shaped = [&](const std::string& shape, const std::string& offsets) {
    return entry(R"("dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]");
  };
  const auto pair = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[)" + first +
           R"(]},"b":{"dtype":"F32","shape":[1],"data_offsets":[)" + second + "]}}";
  };
  const std::vector<Damage> damages = {
      {"empty", "", "too few"},
      {"header longer than the file", file_with(good, 8).substr(0, 20), "only 12 follow"},
      {"a text", "emma\nolivia\nava\nisabella\n", "announces a header of"},
      {"oversized", std::string("\x01\xe1\xf5\x05\0\0\0\0", 8) + "{}", "100000001"},
      {"not an object", file_with("[1,2]   ", 0), "does not begin with '{'"},
      {"not JSON", file_with("{\"w\":}", 0), "not JSON"},
      {"repeated name", file_with(pair("0,4", "4,8").replace(2, 1, "b"), 8), "repeated"},
      {"unknown dtype", file_with(entry(R"("dtype":"F16","shape":[4],"data_offsets":[0,8])"), 8),
       "F16"},
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
      {"tensors out of order", file_with(pair("4,8", "0,4"), 8), "should begin at 0"},
      {"out of range", file_with(shaped("3", "0,12"), 8), "end at 12"},
      {"shape too small", file_with(shaped("1", "0,8"), 8), "(1)"},
      {"shape overflows", file_with(shaped("4294967296,4294967298", "0,8"), 8), "4294967298"},
      {"half a value", file_with(shaped("1", "0,6"), 6), "(1)"},
      {"unused bytes", file_with(good, 12), "4 bytes follow"},
      {"metadata is a list", file_with(R"({"__metadata__":[]})", 0), "__metadata__"},
      {"metadata is a number", file_with(R"({"__metadata__":{"a":1}})", 0), "'a'"},
  };
  for (const Damage& damage : damages) {
    EXPECT_NE(refusal(damage.bytes).find(damage.complaint), std::string::npos)
        << damage.what << ": " << refusal(damage.bytes);
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

/// A small model's parameters with values that are easy to tell apart.
struct SmallModel {
  SmallModel() : corpus("ab\nba\r\n\xff", 2) {
    recipe.context = 2;
    recipe.embedding = 3;
    recipe.hidden = 4;
    recipe.data = "some/where.txt";
    specs = model_of(recipe, corpus.vocabulary()).parameters;
    for (const ParameterSpec& spec : specs) {
      std::vector<float>& whole = values.emplace_back();
      for (std::size_t i = 0; i < spec.size(); ++i) whole.push_back(next += 1);
    }
  }

  TensorFile file() const { return model_file(recipe, corpus, "00ff", specs, values); }

  Recipe recipe;
  Corpus corpus;
  std::vector<ParameterSpec> specs;
  std::vector<std::vector<float>> values;
  float next = 0;
};

TEST(Safetensors, AModelComesBackWithRecipeAndVocabulary) {
  const TemporaryFolder folder;
  const SmallModel small;
  save_safetensors(folder.file("m"), small.file());
  const LoadedModel model(folder.file("m"));
  ASSERT_TRUE(model.has_recipe());
  Recipe expected = small.recipe;
  expected.data.clear();
  EXPECT_EQ(model.recipe(), expected);
  EXPECT_EQ(model.corpus_sha256(), "00ff");
  const Corpus vocabulary = model.vocabulary_corpus(2);
  model.require_vocabulary(vocabulary);
  model.require_vocabulary(small.corpus);
  model.require_parameters(small.specs);
  EXPECT_THROW(model.require_vocabulary(Corpus("abc", 2)), UsageError);
  EXPECT_THROW(model.require_vocabulary(Corpus("ab", 2)), UsageError);

  for (std::size_t p = 0; p < small.specs.size(); ++p) {
    const Shard whole(small.specs[p]);
    std::vector<float> values(whole.size());
    model.fill(whole, values);
    EXPECT_EQ(values, small.values[p]);
  }
  // A shard gets its own elements: column 1 of the embedding.
  const Shard column(small.specs[0], {0, small.specs[0].rows}, {1, 2});
  std::vector<float> values(column.size());
  model.fill(column, values);
  EXPECT_EQ(values, (std::vector<float>{2, 5, 8, 11}));
}

TEST(Safetensors, AVocabularyOfACarriageReturnSurvives) {
  const TemporaryFolder folder;
  SmallModel small;
  small.corpus = Corpus("\r\r\n", 2);
  save_safetensors(folder.file("m"), small.file());
  EXPECT_EQ(LoadedModel(folder.file("m")).vocabulary_corpus(2).byte_of(1), '\r');
}

TEST(Safetensors, AModelOfAnotherShapeIsRefused) {
  const TemporaryFolder folder;
  const SmallModel small;
  const auto complaint = [&](const TensorFile& file) -> std::string {
    save_safetensors(folder.file("m"), file);
    try {
      LoadedModel(folder.file("m")).require_parameters(small.specs);
    } catch (const UsageError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(complaint(small.file()), "");
  TensorFile file = small.file();
  file.tensors[1].shape = {4, 6};
  EXPECT_NE(complaint(file).find("'hidden.0.weight' is (4, 6), the recipe needs (6, 4)"),
            std::string::npos);
  file = small.file();
  file.tensors[1].values = std::vector<std::int32_t>(24);
  EXPECT_NE(complaint(file).find("'hidden.0.weight' is not F32"), std::string::npos);
  file = small.file();
  file.tensors.pop_back();
  EXPECT_NE(complaint(file).find("no tensor 'output.bias' (4)"), std::string::npos);
  file = small.file();
  file.tensors.push_back({"extra", {}, std::vector<float>{1}});
  EXPECT_NE(complaint(file).find("'extra' ()"), std::string::npos);
  for (const char* vocabulary : {"", "6", "6g", "6261", "6161", "0a61"}) {
    file = small.file();
    file.metadata["vocabulary"] = vocabulary;
    EXPECT_NE(complaint(file).find("vocabulary"), std::string::npos) << vocabulary;
  }
}

}  // namespace
}  // namespace meshparity
