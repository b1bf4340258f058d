// Checkpoints of llm.c: exact bytes, round trips, every refusal, and headers of any words.
#include "golden/files/llmc_checkpoint.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <filesystem>

#include "golden/files/file_io.h"
#include "golden/files/little_endian.h"
#include "golden/files/loaded_model.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/golden/files/small_model.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

/// The parameters of a small model as a source.
class Values final : public ParameterSource {
 public:
  explicit Values(const SmallModel& model) : model_(model) {}
  void fill(const Shard& shard, std::span<float> values) const override {
    for (std::size_t p = 0; p < model_.specs.size(); ++p) {
      if (model_.specs[p].name != shard.spec.name) continue;
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = model_.values[p][shard.global_index(i)];
      }
    }
  }

 private:
  const SmallModel& model_;
};

std::string checkpoint_of(const SmallModel& model) {
  const TemporaryFolder folder;
  save_llmc_checkpoint(folder.file("x.bin"), model.recipe, model.specs, Values(model));
  return read_file(folder.file("x.bin"), "checkpoint");
}

/// With header word `word` replaced.
std::string with_word(std::string bytes, std::size_t word, std::int32_t value) {
  std::string text;
  append_little_endian(text, static_cast<std::uint32_t>(value));
  return bytes.replace(4 * word, 4, text);
}

std::string llmc_refusal(const std::string& bytes) {
  try {
    parse_llmc_checkpoint(bytes, "some.bin");
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("'some.bin'"), std::string::npos) << e.what();
    EXPECT_FALSE(e.hint().empty());
    return e.what();
  }
  return "";
}

const std::vector<float>& values_of(const SmallModel& model, const std::string& name) {
  for (std::size_t p = 0; p < model.specs.size(); ++p) {
    if (model.specs[p].name == name) return model.values[p];
  }
  throw std::out_of_range(name);
}

TEST(LlmcCheckpoint, HasLlmcsBytes) {
  const SmallModel model = SmallModel::gpt2(true);
  const std::string bytes = checkpoint_of(model);
  const std::vector<std::uint32_t> header = {20240326, 3, 3, 5, 2, 2, 4, 128, 0};
  for (std::size_t i = 0; i < header.size(); ++i) {
    EXPECT_EQ(little_endian_at<std::uint32_t>(bytes, 4 * i), header[i]) << i;
  }
  std::size_t at = 1024;
  const auto expect = [&](float value, const std::string& what) {
    ASSERT_LE(at + 4, bytes.size());
    EXPECT_EQ(std::bit_cast<std::uint32_t>(float_at(bytes, at)),
              std::bit_cast<std::uint32_t>(value))
        << what << " at byte " << at;
    at += 4;
  };
  const auto expect_plain = [&](const std::string& name) {
    for (const float value : values_of(model, name)) expect(value, name);
  };
  const auto expect_turned = [&](const std::string& name, std::size_t inputs, std::size_t outputs) {
    for (std::size_t o = 0; o < outputs; ++o) {
      for (std::size_t i = 0; i < inputs; ++i) {
        expect(values_of(model, name)[i * outputs + o], name);
      }
    }
  };
  const std::size_t columns[] = {0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11};  // query, key, value
  const auto each_layer = [&](auto check) {
    for (const char* h : {"h.0.", "h.1."}) check(std::string(h));
  };
  expect_plain("wte.weight");
  for (std::size_t i = 0; i < 123 * 4; ++i) expect(0.0F, "a padded row");
  expect_plain("wpe.weight");
  each_layer([&](const std::string& h) { expect_plain(h + "ln_1.weight"); });
  each_layer([&](const std::string& h) { expect_plain(h + "ln_1.bias"); });
  each_layer([&](const std::string& h) {
    for (const std::size_t column : columns) {
      for (std::size_t i = 0; i < 4; ++i) {
        expect(values_of(model, h + "attn.qkv.weight")[i * 12 + column], "qkvw");
      }
    }
  });
  each_layer([&](const std::string& h) {
    for (const std::size_t column : columns) {
      expect(values_of(model, h + "attn.qkv.bias")[column], "qkvb");
    }
  });
  each_layer([&](const std::string& h) { expect_turned(h + "attn.c_proj.weight", 4, 4); });
  each_layer([&](const std::string& h) { expect_plain(h + "attn.c_proj.bias"); });
  each_layer([&](const std::string& h) { expect_plain(h + "ln_2.weight"); });
  each_layer([&](const std::string& h) { expect_plain(h + "ln_2.bias"); });
  each_layer([&](const std::string& h) { expect_turned(h + "mlp.c_fc.weight", 4, 16); });
  each_layer([&](const std::string& h) { expect_plain(h + "mlp.c_fc.bias"); });
  each_layer([&](const std::string& h) { expect_turned(h + "mlp.c_proj.weight", 16, 4); });
  each_layer([&](const std::string& h) { expect_plain(h + "mlp.c_proj.bias"); });
  expect_plain("ln_f.weight");
  expect_plain("ln_f.bias");
  EXPECT_EQ(at, bytes.size());
}

TEST(LlmcCheckpoint, SizesBeyondItsHeaderAreRefused) {
  SmallModel model = SmallModel::gpt2(true);
  model.recipe.heads = std::size_t{1} << 31;
  const TemporaryFolder folder;
  try {
    save_llmc_checkpoint(folder.file("x.bin"), model.recipe, model.specs, Values(model));
    FAIL() << "written";
  } catch (const UsageError& e) {
    EXPECT_STREQ(e.what(), "--export: num_heads 2147483648 does not fit llm.c's header");
    EXPECT_EQ(e.hint(), "use --save");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

RC_GTEST_PROP(LlmcCheckpoint, WhatIsWrittenIsReadBack, ()) {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.layers = *random::from_to(1, 3);
  recipe.heads = *random::from_to(1, 3);
  recipe.channels = recipe.heads * *random::from_to(1, 3);
  recipe.positions = *random::from_to(1, 4);
  const SmallModel small(recipe);
  const TemporaryFolder folder;
  // Known by its name, or by its first bytes.
  const std::string path = folder.file(*rc::gen::element<std::string>("x.bin", "x"));
  save_llmc_checkpoint(path, recipe, small.specs, Values(small));
  LoadedModel model(path);
  RC_ASSERT(!model.has_recipe());
  RC_ASSERT(model.tokens() == 5U);
  recipe.vocabulary = 5;
  RC_ASSERT(model.recipe() == recipe);
  model.fit(model.recipe());
  model.require_parameters(small.specs);
  for (std::size_t p = 0; p < small.specs.size(); ++p) {
    std::vector<float> values(small.specs[p].size());
    model.fill(Shard(small.specs[p]), values);
    RC_ASSERT(values == small.values[p]);
  }
}

TEST(LlmcCheckpoint, AnotherShapeIsRefusedWithBothValues) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::gpt2(true);
  write_file(folder.file("x.bin"), checkpoint_of(small));
  LoadedModel model(folder.file("x.bin"));
  Recipe recipe = small.recipe;
  recipe.heads = 4;
  try {
    model.fit(recipe);
    ADD_FAILURE() << "other heads were accepted";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("has heads 2, the flags or the recipe file say 4"),
              std::string::npos)
        << e.what();
  }
}

TEST(LlmcCheckpoint, EveryDamageIsNamed) {
  const std::string good = checkpoint_of(SmallModel::gpt2(true));
  ASSERT_EQ(llmc_refusal(good), "");
  const std::int32_t most = 2147483647;
  const std::vector<std::tuple<const char*, std::string, const char*>> damages = {
      {"empty", "", "it has 0 bytes, its header alone 1024"},
      {"half a header", good.substr(0, 1000), "it has 1000 bytes"},
      {"another magic", with_word(good, 0, 7), "its magic is 7, a checkpoint's is 20240326"},
      {"a token file", with_word(good, 0, 20240520), "token file"},
      {"the first version", with_word(good, 1, 1), "its version is 1, "},
      {"bfloat16", with_word(good, 1, 5), "its version is 5 (bfloat16), "},
      {"no positions", with_word(good, 2, 0), "max_seq_len is 0"},
      {"negative vocabulary", with_word(good, 3, -5), "vocab_size is -5"},
      {"no layers", with_word(good, 4, 0), "num_layers is 0"},
      {"no heads", with_word(good, 5, 0), "num_heads is 0"},
      {"heads", with_word(good, 5, 3), "channels 4 are no multiple of its num_heads 3"},
      {"no channels", with_word(good, 6, 0), "channels is 0"},
      {"padding", with_word(good, 7, 4), "padded_vocab_size 4 is below its vocab_size 5"},
      {"cut off", good.substr(0, good.size() - 1), "cut off"},
      {"a byte more", good + "x", "header announces"},
      {"more layers", with_word(good, 4, 3), "3 layers"},
      {"layers without end", with_word(good, 4, most), "2147483647 layers"},
      {"channels without end", with_word(with_word(good, 6, most - 1), 4, most), "2147483646"},
      {"positions without end", with_word(good, 2, most), "2147483647 positions"}};
  for (const auto& [what, bytes, complaint] : damages) {
    std::string told = llmc_refusal(bytes);
    try {
      parse_llmc_checkpoint(bytes, "some.bin");
    } catch (const UsageError& e) {
      told += e.hint();
    }
    EXPECT_NE(told.find(complaint), std::string::npos) << what << ": " << told;
  }
}

RC_GTEST_PROP(LlmcCheckpoint, HeadersOfAnyWordsAreReadOrRefused, ()) {
  static const std::string good = checkpoint_of(SmallModel::gpt2(true));
  std::string bytes = good;
  for (std::size_t i = *random::from_to(1, 3); i > 0; --i) {
    const std::int32_t value = *rc::gen::oneOf(rc::gen::arbitrary<std::int32_t>(),
                                               rc::gen::element(1, 2, 4, 8, 128, 1 << 30));
    bytes = with_word(bytes, *random::from_to(2, 8), value);
  }
  try {
    const LlmcCheckpoint read = parse_llmc_checkpoint(bytes, "some.bin");
    for (const TensorEntry& tensor : read.index.tensors) RC_ASSERT(tensor.end <= bytes.size());
  } catch (const UsageError&) {
  }
}

TEST(LlmcCheckpoint, WhatLlmcCannotHoldIsNotExported) {
  require_exportable(SmallModel::gpt2(true).recipe);
  EXPECT_THROW(require_exportable(SmallModel::gpt2(false).recipe), UsageError);
  EXPECT_THROW(require_exportable(SmallModel::mlp().recipe), UsageError);
}

}  // namespace
}  // namespace meshparity
