// Models of our own, saved and loaded: the MLP's file, and what GPT-2's looks like to others.
#include "golden/files/model_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "golden/files/file_io.h"
#include "golden/files/gpt2_config.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/loaded_model.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/golden/files/small_model.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

TEST(ModelFile, AModelComesBackWithRecipeAndVocabulary) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::mlp();
  save_safetensors(folder.file("m"), small.file());
  const LoadedModel model(folder.file("m"));
  ASSERT_TRUE(model.has_recipe());
  Recipe expected = small.recipe;
  expected.data.clear();
  EXPECT_EQ(model.recipe(), expected);
  EXPECT_EQ(model.corpus_sha256(), "00ff");
  const Corpus vocabulary = model.vocabulary_corpus(model.recipe());
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

TEST(ModelFile, AVocabularyOfACarriageReturnSurvives) {
  const TemporaryFolder folder;
  SmallModel small = SmallModel::mlp();
  small.corpus = Corpus("\r\r\n", 2);
  save_safetensors(folder.file("m"), small.file());
  EXPECT_EQ(LoadedModel(folder.file("m")).vocabulary_corpus(Recipe()).byte_of(1), '\r');
}

TEST(ModelFile, AModelOfAnotherShapeIsRefused) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::mlp();
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
  EXPECT_NE(complaint(file).find("'hidden.0.weight' is I32, but parameters are F32"),
            std::string::npos);
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

TEST(ModelFile, TheRecipeInsideNamesNoFileToBeRead) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::mlp();
  TensorFile file = small.file();
  file.metadata["recipe"] += "data = /etc/passwd\n";
  save_safetensors(folder.file("m"), file);
  try {
    const LoadedModel model(folder.file("m"));
    ADD_FAILURE() << "read with data " << model.recipe().data;
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("'/etc/passwd'"), std::string::npos) << e.what();
  }
}

TEST(ModelFile, MoreLayersThanTensorsAreRefusedBeforeAnyIsMade) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::mlp();
  save_safetensors(folder.file("m"), small.file());
  LoadedModel model(folder.file("m"));
  Recipe recipe = small.recipe;
  model.fit(recipe);
  recipe.layers = std::size_t{1} << 40;
  EXPECT_THROW(model.fit(recipe), UsageError);
}

TEST(ModelFile, AValueThatIsNotFiniteIsNamed) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::mlp();
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    TensorFile file = small.file();
    std::get<std::vector<float>>(file.tensors[1].values)[7] = bad;
    save_safetensors(folder.file("m"), file);
    try {
      LoadedModel(folder.file("m")).require_parameters(small.specs);
      ADD_FAILURE() << bad << " was loaded";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find("'hidden.0.weight' [1, 3] is"), std::string::npos)
          << e.what();
    }
  }
}

// -------- GPT-2, as transformers keep it

TEST(ModelFile, Gpt2HasTransformersNamesAndShapes) {
  const TensorFile file = SmallModel::gpt2(true).file();
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> expected = {
      {"wte.weight", {5, 4}},
      {"wpe.weight", {3, 4}},
      {"h.0.ln_1.weight", {4}},
      {"h.0.ln_1.bias", {4}},
      {"h.0.attn.c_attn.weight", {4, 12}},
      {"h.0.attn.c_attn.bias", {12}},
      {"h.0.attn.c_proj.weight", {4, 4}},
      {"h.0.attn.c_proj.bias", {4}},
      {"h.0.ln_2.weight", {4}},
      {"h.0.ln_2.bias", {4}},
      {"h.0.mlp.c_fc.weight", {4, 16}},
      {"h.0.mlp.c_fc.bias", {16}},
      {"h.0.mlp.c_proj.weight", {16, 4}},
      {"h.0.mlp.c_proj.bias", {4}},
      {"h.1.ln_1.weight", {4}}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(file.tensors[i].name, expected[i].first);
    EXPECT_EQ(file.tensors[i].shape, expected[i].second) << expected[i].first;
  }
  EXPECT_EQ(file.tensors.back().name, "ln_f.bias");
  EXPECT_EQ(file.tensors.size(), 2U + 2 * 12 + 2);
  EXPECT_EQ(file.metadata.size(), 2U);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  const auto ours = nlohmann::json::parse(file.metadata.at("meshparity"));
  EXPECT_EQ(ours.at("contract"), 2);
  EXPECT_EQ(ours.at("corpus_sha256"), "00ff");
  EXPECT_EQ(ours.at("vocabulary"), "616263ff");
  EXPECT_EQ(ours.at("recipe").at("model"), "gpt2");
  EXPECT_EQ(ours.at("recipe").at("data"), "");

  const TensorFile untied = SmallModel::gpt2(false).file();
  EXPECT_EQ(untied.tensors.front().name, "transformer.wte.weight");
  EXPECT_EQ(untied.tensors[4].name, "transformer.h.0.attn.c_attn.weight");
  EXPECT_EQ(untied.tensors.back().name, "lm_head.weight");
  EXPECT_EQ(untied.tensors.back().shape, (std::vector<std::size_t>{5, 4}));
}

TEST(ModelFile, QueryKeyAndValueAreThirdsOfTheColumns) {
  // Two heads of two features, head by head: q q k k v v | q q k k v v, as 10 times the head, plus
  // 100, 200, 300 for query, key, value.
  const ParameterSpec bias{.name = "h.7.attn.qkv.bias", .columns = 12, .is_vector = true};
  const std::vector<float> joined = {100, 101, 200, 201, 300, 301, 110, 111, 210, 211, 310, 311};
  const std::vector<float> thirds = {100, 101, 110, 111, 200, 201, 210, 211, 300, 301, 310, 311};
  EXPECT_EQ(in_file_order(bias, WeightLayout::input_output, 2, joined), thirds);
  EXPECT_EQ(in_file_order(bias, WeightLayout::output_input, 2, joined), thirds);
  // A weight of two rows, the second 1000 larger; as (outputs, inputs) the rows stand side by side.
  const ParameterSpec weight{.name = "h.7.attn.qkv.weight", .rows = 2, .columns = 12};
  std::vector<float> rows = joined;
  std::vector<float> file = thirds;
  std::vector<float> transposed;
  for (const float value : joined) rows.push_back(1000 + value);
  for (const float value : thirds) file.push_back(1000 + value);
  for (const float value : thirds) {
    transposed.push_back(value);
    transposed.push_back(1000 + value);
  }
  EXPECT_EQ(in_file_order(weight, WeightLayout::input_output, 2, rows), file);
  EXPECT_EQ(in_file_order(weight, WeightLayout::output_input, 2, rows), transposed);
}

RC_GTEST_PROP(ModelFile, AnyShardOfAnySavedGpt2ComesBack, ()) {
  const TemporaryFolder folder;
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.layers = *random::from_to(1, 2);
  recipe.heads = *random::from_to(1, 3);
  recipe.channels = recipe.heads * *random::from_to(1, 3);
  recipe.positions = *random::from_to(1, 3);
  recipe.tied = *rc::gen::arbitrary<bool>();
  const SmallModel small(recipe);
  save_safetensors(folder.file("m"), small.foreign_file());
  LoadedModel model(folder.file("m"));
  model.fit(recipe);
  model.require_parameters(small.specs);
  RC_ASSERT(model.tokens() == 5U);
  for (std::size_t p = 0; p < small.specs.size(); ++p) {
    const ParameterSpec& spec = small.specs[p];
    const auto range = [&](std::size_t size) {
      const std::size_t begin = *random::from_to(0, size);
      return Range{begin, *random::from_to(begin, size)};
    };
    Shard shard(spec, range(spec.rows), range(spec.columns));
    shard = share_of(shard, 2, *random::from_to(0, 1));
    std::vector<float> values(shard.size());
    model.fill(shard, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      RC_ASSERT(values[i] == small.values[p][shard.global_index(i)]);
    }
  }
}

TEST(ModelFile, ASavedGpt2HasItsConfigBesideIt) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::gpt2(true);
  const std::string path = folder.file("model.safetensors");
  require_saveable(path, small.recipe);
  save_model(path, small.recipe, small.corpus, "00ff", small.specs, small.values);
  EXPECT_EQ(read_file(path, "f"), safetensors_bytes(small.file()));
  const auto config = nlohmann::json::parse(read_file(folder.file("config.json"), "f"));
  const nlohmann::json expected = {{"model_type", "gpt2"},
                                   {"n_layer", 2},
                                   {"n_head", 2},
                                   {"n_embd", 4},
                                   {"n_positions", 3},
                                   {"vocab_size", 5},
                                   {"activation_function", "gelu_new"},
                                   {"layer_norm_epsilon", 1e-5},
                                   {"tie_word_embeddings", true},
                                   {"attn_pdrop", 0.0},
                                   {"architectures", {"GPT2LMHeadModel"}}};
  for (const auto& [key, value] : expected.items()) EXPECT_EQ(config.at(key), value) << key;
  require_saveable(path, small.recipe);  // our own may be replaced
  for (const char* other : {"{}", "[1]", R"({"model_type":"llama"})", "no JSON"}) {
    write_file(folder.file("config.json"), other);
    EXPECT_THROW(require_saveable(path, small.recipe), UsageError) << other;
    require_saveable(path, SmallModel::mlp().recipe);
  }
}

TEST(ModelFile, AnMlpHasNoConfig) {
  const TemporaryFolder folder;
  const SmallModel small = SmallModel::mlp();
  save_model(folder.file("m"), small.recipe, small.corpus, "00ff", small.specs, small.values);
  EXPECT_EQ(read_file(folder.file("m"), "f"), safetensors_bytes(small.file()));
  EXPECT_FALSE(std::filesystem::exists(folder.file("config.json")));
}

}  // namespace
}  // namespace meshparity
