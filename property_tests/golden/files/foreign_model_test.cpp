// GPT-2 as others write it: every variation that is read, and every reason why one is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "golden/files/file_io.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/loaded_model.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/golden/files/small_model.h"

namespace meshparity {
namespace {

std::vector<float>& floats_of(StoredTensor& tensor) {
  return std::get<std::vector<float>>(tensor.values);
}

class ForeignModel : public testing::Test {
 protected:
  /// Loads it and compares every value with `small`'s.
  void expect_loads(const TensorFile& file, const Recipe& given, const std::string& what) {
    save_safetensors(path, file);
    LoadedModel model(path);
    EXPECT_FALSE(model.has_recipe());
    model.fit(given);
    const std::vector<ParameterSpec> specs = model_of(given, 5).parameters;
    model.require_parameters(specs);
    for (std::size_t p = 0; p < specs.size(); ++p) {
      std::vector<float> values(specs[p].size());
      model.fill(Shard(specs[p]), values);
      EXPECT_EQ(values, small.values[p]) << what << ": " << specs[p].name;
    }
  }

  /// The reason why it is refused; empty if it is not.
  std::string refusal(const TensorFile& file, const Recipe& given) {
    save_safetensors(path, file);
    try {
      LoadedModel model(path);
      model.fit(given);
      model.require_parameters(model_of(given, 5).parameters);
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find("'" + path + "'"), std::string::npos) << e.what();
      EXPECT_FALSE(e.hint().empty()) << e.what();
      return e.what();
    }
    return "";
  }

  void expect_refused(const TensorFile& file, const Recipe& given, const std::string& reason) {
    const std::string told = refusal(file, given);
    EXPECT_NE(told.find(reason), std::string::npos) << "expected: " << reason << "\ntold: " << told;
  }

  TemporaryFolder folder;
  std::string path = folder.file("model.safetensors");
  SmallModel small = SmallModel::gpt2(true);
  Recipe recipe = small.recipe;
};

/// Every weight of a linear layer as (outputs, inputs).
TensorFile transposed(TensorFile file) {
  for (StoredTensor& tensor : file.tensors) {
    if (tensor.shape.size() != 2 || tensor.name.find("h.") == std::string::npos) continue;
    const std::size_t rows = tensor.shape[0];
    const std::size_t columns = tensor.shape[1];
    std::vector<float> turned;
    for (std::size_t c = 0; c < columns; ++c) {
      for (std::size_t r = 0; r < rows; ++r) turned.push_back(floats_of(tensor)[r * columns + c]);
    }
    tensor.shape = {columns, rows};
    tensor.values = turned;
  }
  return file;
}

TensorFile prefixed(TensorFile file) {
  for (StoredTensor& tensor : file.tensors) tensor.name = "transformer." + tensor.name;
  return file;
}

TEST_F(ForeignModel, EveryWayOfWritingItGivesTheSameValues) {
  const TensorFile plain = small.foreign_file();
  expect_loads(plain, recipe, "plain");
  expect_loads(prefixed(plain), recipe, "with prefix");
  expect_loads(transposed(plain), recipe, "(outputs, inputs)");
  TensorFile reversed = transposed(prefixed(plain));
  std::reverse(reversed.tensors.begin(), reversed.tensors.end());
  expect_loads(reversed, recipe, "reversed");
  TensorFile masks = plain;
  masks.tensors.push_back({"h.0.attn.bias", {1, 1, 3, 3}, std::vector<float>(9)});
  masks.tensors.push_back({"h.1.attn.masked_bias", {}, std::vector<float>{-1e4F}});
  masks.tensors.push_back({"h.1.attn.bias", {9}, OtherValues{"BOOL", 1, std::string(9, '\1')}});
  expect_loads(masks, recipe, "with masks");
  TensorFile copy = plain;
  copy.tensors.push_back({"lm_head.weight", {5, 4}, small.values[0]});
  expect_loads(copy, recipe, "with a copy of the head");
}

TEST_F(ForeignModel, TheFileSaysItsShape) {
  save_safetensors(path, transposed(small.foreign_file()));
  const Recipe read = LoadedModel(path).recipe();
  EXPECT_EQ(read.model, ModelKind::gpt2);
  EXPECT_EQ(read.layers, 2U);
  EXPECT_EQ(read.channels, 4U);
  EXPECT_EQ(read.positions, 3U);
  EXPECT_EQ(read.heads, 0U) << "nobody says it";
  EXPECT_TRUE(read.tied);
  const SmallModel untied = SmallModel::gpt2(false);
  save_safetensors(path, untied.foreign_file());
  EXPECT_FALSE(LoadedModel(path).recipe().tied);
}

TEST_F(ForeignModel, AConfigBesideItSaysTheHeads) {
  save_safetensors(path, small.foreign_file());
  const std::string config =
      R"({"model_type":"gpt2","n_layer":2,"n_head":2,"n_embd":4,"n_positions":3,"n_ctx":3})";
  write_file(folder.file("config.json"), config);
  LoadedModel model(path);
  EXPECT_EQ(model.recipe().heads, 2U);
  model.fit(recipe);
  recipe.heads = 4;
  EXPECT_THROW(model.fit(recipe), UsageError);
  const std::pair<const char*, const char*> changes[] = {
      {"gpt2", "llama"},
      {"\"n_layer\":2", "\"n_layer\":3"},
      {"\"n_embd\":4", "\"n_embd\":8"},
      {"\"n_positions\":3", "\"n_positions\":4"},
      {"\"n_ctx\":3", "\"activation_function\":\"gelu\""},
      {"\"n_ctx\":3", "\"layer_norm_epsilon\":1e-6"},
      {"\"n_ctx\":3", "\"n_inner\":17"},
      {"\"n_ctx\":3", "\"vocab_size\":6"},
      {"\"n_ctx\":3", "\"n_head\":2"},
      {"\"n_head\":2", "\"n_head\":-2"},
      {"\"n_ctx\":3", "\"scale_attn_weights\":false"}};
  for (const auto& [from, to] : changes) {
    std::string changed = config;
    changed.replace(changed.find(from), std::string(from).size(), to);
    write_file(folder.file("config.json"), changed);
    EXPECT_THROW(LoadedModel{path}, UsageError) << changed;
  }
}

TEST_F(ForeignModel, AnotherShapeIsRefusedWithBothValues) {
  const TensorFile file = small.foreign_file();
  const auto with = [&](std::size_t Recipe::*member, std::size_t value) {
    Recipe changed = recipe;
    changed.*member = value;
    return changed;
  };
  expect_refused(file, with(&Recipe::layers, 3),
                 "has layers 2, the flags or the recipe file say 3");
  expect_refused(file, with(&Recipe::channels, 8), "has channels 4, ");
  expect_refused(file, with(&Recipe::positions, 2), "has positions 3, ");
  expect_refused(file, with(&Recipe::heads, 0), "number of heads");
  expect_refused(file, with(&Recipe::heads, 3), "heads 3 do not divide the 4 channels");
  expect_refused(file, with(&Recipe::layers, std::size_t{1} << 40), "1099511627776 layers");
  expect_refused(file, SmallModel::mlp().recipe, "is gpt2, the flags or the recipe file say mlp");
  expect_refused(SmallModel::mlp().file(), recipe, "no GPT-2");
  Recipe untied = recipe;
  untied.tied = false;
  expect_refused(file, untied, "no tensor 'lm_head.weight' (5, 4)");
}

TEST_F(ForeignModel, AHeadThatIsNotTheEmbeddingIsNoTiedHead) {
  TensorFile file = small.foreign_file();
  file.tensors.push_back({"lm_head.weight", {5, 4}, small.values[0]});
  // One bit: the sign of a zero.
  floats_of(file.tensors.front())[3] = 0.0F;
  floats_of(file.tensors.back())[3] = -0.0F;
  expect_refused(file, recipe, "'lm_head.weight' is not the same as 'wte.weight'");
  recipe.tied = false;
  EXPECT_EQ(refusal(file, recipe), "");
}

TEST_F(ForeignModel, TensorsThatDoNotFitAreNamed) {
  const auto changed = [&](const std::string& name, auto change) {
    TensorFile file = prefixed(small.foreign_file());
    for (StoredTensor& tensor : file.tensors) {
      if (tensor.name == "transformer." + name) change(tensor);
    }
    return file;
  };
  expect_refused(changed("h.1.ln_2.bias", [](auto& t) { t.name = "transformer.h.1.ln_3.bias"; }),
                 recipe, "no tensor 'h.1.ln_2.bias' (4)");
  expect_refused(changed("h.1.mlp.c_fc.weight",
                         [](auto& t) {
                           t.shape = {16, 4};
                         }),
                 recipe, "'transformer.h.1.mlp.c_fc.weight' is (16, 4), the recipe needs (4, 16)");
  expect_refused(changed("wte.weight", [](auto& t) { t.shape = {20}; }), recipe,
                 "'wte.weight' is (20), which is no matrix");
  for (const auto& [dtype, width] : {std::pair("F16", 2), {"BF16", 2}, {"F64", 8}}) {
    const OtherValues other{dtype, static_cast<std::size_t>(width),
                            std::string(4 * static_cast<std::size_t>(width), '\0')};
    expect_refused(changed("ln_f.bias", [&](auto& t) { t.values = other; }), recipe,
                   "'transformer.ln_f.bias' is " + std::string(dtype));
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect_refused(changed("h.0.attn.c_attn.weight", [&](auto& t) { floats_of(t)[30] = nan; }),
                 recipe, "'transformer.h.0.attn.c_attn.weight' [2, 6] is nan");
  TensorFile surplus = small.foreign_file();
  surplus.tensors.push_back({"h.0.attn.rotary", {2}, std::vector<float>(2)});
  expect_refused(surplus, recipe, "a tensor 'h.0.attn.rotary' (2), the recipe has none");
  TensorFile twice = small.foreign_file();
  twice.tensors.push_back({"transformer.wpe.weight", {3, 4}, std::vector<float>(12)});
  expect_refused(twice, recipe, "with and without 'transformer.'");
  TensorFile mixed = small.foreign_file();
  mixed.tensors[4].shape = {12, 4};  // one layer alone as (outputs, inputs)
  expect_refused(mixed, recipe, ", the recipe needs (");
}

}  // namespace
}  // namespace meshparity
