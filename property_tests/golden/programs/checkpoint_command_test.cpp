// meshparity-checkpoint as a user runs it, and what meshparity-diff says of checkpoints.

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "golden/files/checkpoint.h"
#include "golden/files/safetensors.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

ChildResult checkpoint(const Words& arguments) {
  return run(MESHPARITY_CHECKPOINT_PROGRAM, arguments);
}
ChildResult diff(const Words& arguments) { return run(MESHPARITY_DIFF_PROGRAM, arguments); }

/// Two checkpoints of one state: the file `one_`, of one rank, and the folder `many_`, of three.
class CheckpointCommand : public CommandLineFixture {
 protected:
  void SetUp() override {
    CommandLineFixture::SetUp();
    write_file(
        file("gpt2.recipe"),
        "model = gpt2\ndata = names.txt\npositions = 8\nlayers = 1\nheads = 2\nchannels = 4\n"
        "batch = 2\nsteps = 4\noptimizer = adamw\n");
  }

  Words gpt2(const Words& more) const {
    Words words = {"--recipe", file("gpt2.recipe"), "--quiet", "--stop-after", "2"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  void train_both(const Words& arguments) const {
    Words whole = arguments;
    whole.insert(whole.end(), {"--checkpoints", file("one")});
    Words shared = arguments;
    shared.insert(shared.end(), {"--checkpoints", file("many"), "--checkpoint-layout", "sharded",
                                 "--mesh", "fsdp=3", "--transport", "sim"});
    for (const Words& words : {whole, shared}) {
      const ChildResult result = train(words);
      ASSERT_EQ(result.status, 0) << result.errors;
    }
  }

  static void expect_silent(const ChildResult& result) {
    EXPECT_EQ(result.status, 0) << result.errors;
    EXPECT_EQ(result.output, "");
    EXPECT_EQ(result.errors, "");
  }

  /// Status 2, and no file touched.
  void bad(const Words& arguments, const Words& complaints) {
    const auto before = contents();
    std::string what;
    for (const std::string& word : arguments) what += " " + word;
    expect_refused(checkpoint(arguments), complaints, what);
    EXPECT_TRUE(contents() == before) << what << ": a file was touched";
  }

  const std::string one_ = file("one/step-00000002.safetensors");
  const std::string many_ = file("many/step-00000002");
};

TEST_F(CheckpointCommand, MergesAndSplitsWithoutChangingABit) {
  for (const Words& run : {gpt2({}), with_recipe({"--stop-after", "2"})}) {
    train_both(run);
    expect_silent(checkpoint({"merge", many_, file("merged")}));
    const std::string merged = file("merged/step-00000002.safetensors");
    EXPECT_EQ(read_file(merged, "f"), read_file(one_, "f"));

    expect_silent(checkpoint({"split", one_, file("split"), "--ranks", "3"}));
    EXPECT_EQ(read_folder(file("split/step-00000002")), read_folder(many_));
    for (const std::string& name : read_folder(many_)) {
      EXPECT_EQ(read_file(file("split/step-00000002/" + name), "f"),
                read_file(many_ + "/" + name, "f"))
          << name;
    }
    for (const char* folder : {"one", "many", "merged", "split"}) fs::remove_all(file(folder));
  }
}

TEST_F(CheckpointCommand, AsManyRanksAsAreAskedForHaveAShare) {
  train_both(gpt2({}));
  for (const std::size_t ranks : {1U, 2U, 5U}) {
    const std::string folder = file("of " + std::to_string(ranks));
    expect_silent(checkpoint({"split", many_, folder, "--ranks", std::to_string(ranks)}));
    const std::string split = folder + "/step-00000002";
    EXPECT_EQ(Checkpoint(split).pieces(), ranks);
    expect_silent(diff({one_, split}));
    const ChildResult explained = diff({"--explain", split});
    EXPECT_EQ(explained.status, 0);
    const std::string files = std::to_string(ranks) + (ranks == 1 ? " file, " : " files, ");
    EXPECT_TRUE(says(explained.output, "layout sharded, " + files)) << explained.output;
    EXPECT_TRUE(says(explained.output, ": the state has it\n")) << explained.output;
  }
}

TEST_F(CheckpointCommand, TrainingGoesOnFromWhatItWrites) {
  train_both(gpt2({}));
  const ChildResult whole =
      train({"--recipe", file("gpt2.recipe"), "--quiet", "--save", file("whole")});
  ASSERT_EQ(whole.status, 0) << whole.errors;
  expect_silent(checkpoint({"merge", many_, file("merged")}));
  expect_silent(checkpoint({"split", one_, file("split"), "--ranks", "4"}));
  for (const char* folder : {"merged", "split"}) {
    const ChildResult result =
        train({"--recipe", file("gpt2.recipe"), "--quiet", "--resume", "--mesh", "tp=2",
               "--transport", "sim", "--checkpoints", file(folder), "--save", file("end")});
    ASSERT_EQ(result.status, 0) << result.errors;
    EXPECT_EQ(read_file(file("end"), "f"), read_file(file("whole"), "f")) << folder;
  }
}

TEST_F(CheckpointCommand, BadUsageIsRefused) {
  train_both(with_recipe({"--stop-after", "2"}));
  const std::string to = file("to");
  bad({}, {"subcommand"});
  bad({"join", one_, to}, {"subcommand"});
  bad({"merge", one_}, {"folder"});
  bad({"split", one_, to}, {"--ranks"});
  bad({"merge", one_, to, "--ranks", "2"}, {"--ranks"});
  bad({"split", one_, to, "--ranks", "0"}, {"--ranks: '0' is out of range", "--ranks 1 to 1024"});
  bad({"split", one_, to, "--ranks", "1025"}, {"--ranks: '1025' is out of range"});
  for (const char* number : {"x", "-1", "1.5", "99999999999999999999"}) {
    bad({"split", one_, to, "--ranks", number}, {std::string("'") + number + "'"});
  }
}

TEST_F(CheckpointCommand, BadCheckpointsAreRefused) {
  train_both(with_recipe({"--stop-after", "2"}));
  const std::string to = file("to");
  bad({"merge", file("none"), to}, {file("none"), "cannot be read: No such file"});
  bad({"merge", file("model"), to}, {file("model") + "' cannot be used: "});
  bad({"merge", file("names.txt"), to}, {file("names.txt") + "' cannot be used: "});
  bad({"merge", file("many"), to}, {file("many") + "' cannot be used: ", "index.json"});
  for (const std::string& path : {one_, many_ + "/rank-1.safetensors"}) {
    std::string bytes = read_file(path, "f");
    bytes[bytes.size() - 2] ^= 1;
    write_file(path, bytes);
  }
  bad({"split", one_, to, "--ranks", "2"}, {one_ + "' is damaged: its state has digest "});
  bad({"merge", many_, to}, {many_ + "' is damaged: piece 'rank-1.safetensors' has digest "});
}

TEST_F(CheckpointCommand, PlacesThatCannotBeWrittenAreRefused) {
  train_both(with_recipe({"--stop-after", "2"}));
  bad({"merge", many_, file("names.txt")}, {"'" + file("names.txt") + "' is not a folder"});
  bad({"merge", many_, file("no/such")},
      {"'" + file("no/such") + "' cannot be used: No such file"});
  EXPECT_FALSE(says(checkpoint({"merge", many_, file("names.txt")}).errors, "--checkpoints"))
      << "a flag of another program";
}

TEST_F(CheckpointCommand, AFolderMayHoldOthersAndAFileIsReplaced) {
  train_both(with_recipe({"--stop-after", "2"}));
  const std::string whole = read_file(one_, "f");
  expect_silent(checkpoint({"merge", many_, file("many")}));
  EXPECT_EQ(read_file(many_ + ".safetensors", "f"), whole);
  expect_silent(checkpoint({"merge", one_, file("one")}));  // itself
  EXPECT_EQ(read_file(one_, "f"), whole);
  // Files of several ranks cannot be replaced at one blow, so they are not.
  const auto before = contents();
  const ChildResult again = checkpoint({"split", one_, file("many"), "--ranks", "2"});
  EXPECT_EQ(again.status, 3);
  EXPECT_TRUE(says(again.errors, "renaming to '" + many_ + "' failed: Directory not empty"))
      << again.errors;
  EXPECT_TRUE(contents() == before);
}

/// A folder in which one file was written anew.
class ChangedCheckpoint : public CheckpointCommand {
 protected:
  using Json = nlohmann::ordered_json;

  void SetUp() override {
    CheckpointCommand::SetUp();
    train_both(with_recipe({"--stop-after", "2"}));
  }

  std::string index() const { return many_ + "/index.json"; }
  Json read_index() const { return Json::parse(read_file(index(), "f")); }

  void expect_unusable(const std::string& path, const std::string& complaint) {
    bad({"merge", path, file("to")}, {path + "' cannot be used: ", complaint});
  }

  /// The first rank's piece, written anew with its right size in the index.
  void write_piece(const std::function<void(TensorFile& file, Json& piece)>& change) const {
    const std::string path = many_ + "/rank-0.safetensors";
    TensorFile tensors = load_safetensors(path);
    Json piece = Json::parse(tensors.metadata.at("meshparity"));
    tensors.metadata.clear();
    change(tensors, piece);
    if (!piece.is_null()) tensors.metadata["meshparity"] = piece.dump();
    save_safetensors(path, tensors);
    Json json = read_index();
    json["pieces"][0]["bytes"] = fs::file_size(path);
    write_file(index(), json.dump());
  }
  void changed_piece(const std::function<void(TensorFile& file, Json& piece)>& change,
                     const std::string& complaint) {
    const std::string path = many_ + "/rank-0.safetensors";
    const std::string before = read_file(path, "f");
    write_piece(change);
    expect_unusable(many_, complaint);
    write_file(path, before);
  }
  void changed_index(const std::function<void(Json& json)>& change, const std::string& complaint) {
    const std::string before = read_file(index(), "f");
    Json json = read_index();
    change(json);
    write_file(index(), json.dump());
    expect_unusable(many_, complaint);
    write_file(index(), before);
  }
};

TEST_F(ChangedCheckpoint, PiecesMustSayWhereTheirTensorsBelong) {
  const std::string piece = "piece 'rank-0.safetensors' ";
  changed_piece([](TensorFile&, Json& json) { json = nullptr; },
                piece + "has no metadata 'meshparity'");
  changed_piece([](TensorFile&, Json& json) { json["rank"] = 2; }, piece + "is that of rank 2");
  changed_piece([](TensorFile&, Json& json) { json["shards"].erase(0); },
                piece + "does not say where its tensors belong");
  changed_piece([](TensorFile&, Json& json) { json["shards"] = 7; },
                piece + "does not say where its tensors belong");
  changed_piece([](TensorFile&, Json& json) { json["shards"][0][0] = "none"; },
                "its recipe has no parameter 'none'");
  changed_piece([](TensorFile&, Json& json) { json["shards"][0][2] = 1000; },
                "a shard of 'embedding.weight' lies beyond it");
  changed_piece([](TensorFile&, Json& json) { json["shards"][0][1] = -1; },
                "the place of a shard is damaged");
  changed_piece([](TensorFile& tensors, Json&) { tensors.tensors[0].name = "embeding.weight"; },
                piece + "has no tensor 'embedding.weight'");
}

TEST_F(ChangedCheckpoint, ThePiecesTensorsMayStandInAnyOrder) {
  write_piece([](TensorFile& tensors, Json&) { std::ranges::reverse(tensors.tensors); });
  expect_silent(checkpoint({"merge", many_, file("merged")}));
  EXPECT_EQ(read_file(file("merged/step-00000002.safetensors"), "f"), read_file(one_, "f"));
}

TEST_F(ChangedCheckpoint, EveryElementMustBeThere) {
  changed_piece(
      [](TensorFile& tensors, Json& json) {
        auto& values = std::get<std::vector<float>>(tensors.tensors[0].values);
        values.pop_back();
        tensors.tensors[0].shape = {values.size()};
        auto& end = json["shards"][0][6];
        end = end.get<std::size_t>() - 1;
      },
      "it holds 51 of the 52 elements of 'embedding.weight'");
}

TEST_F(ChangedCheckpoint, TheIndexMustFitItsPieces) {
  changed_index([](Json& json) { json["pieces"] = 3; }, "'pieces' is no list");
  changed_index([](Json& json) { json.erase("pieces"); }, "'pieces' not found");
  changed_index([](Json& json) { json["pieces"][1]["digest"] = "0000000000000007"; },
                "the digests of its pieces are not those of its state");
  changed_index([](Json& json) { json["pieces"][1]["digest"] = 7; }, "'digest' is not a string");
  changed_index([](Json& json) { json["checkpoint"] = 2; },
                "checkpoint version 2 is not the known 1");
  changed_index([](Json& json) { json["contract"] = 99; },
                "it was made by version 99 of the contract");
  changed_index([](Json& json) { json.erase("recipe"); }, "'recipe' is missing");
  changed_index([](Json& json) { json["recipe"]["seed"] = 5; },
                "its header is damaged: 'check' does not fit the rest");
  changed_index(
      [](Json& json) {
        for (int i = 0; i < 1000; ++i) json["more " + std::to_string(i)] = i;
      },
      "an object has more than 1000 members");
  write_file(index(), "{\"checkpoint\":");
  expect_unusable(many_, "it is not JSON");
}

TEST_F(ChangedCheckpoint, AFileOfAllTensorsHasThoseOfItsRecipe) {
  TensorFile tensors = load_safetensors(one_);
  tensors.tensors.pop_back();
  save_safetensors(one_, tensors);
  expect_unusable(one_, "it has 4 tensors, its recipe makes 5");
  tensors.metadata.clear();
  save_safetensors(one_, tensors);
  expect_unusable(one_, "it has no metadata 'meshparity'");
}

using DiffOfCheckpoints = CheckpointCommand;

TEST_F(DiffOfCheckpoints, LayoutsDoNotMatterAndBitsDo) {
  train_both(gpt2({}));
  expect_silent(diff({one_, many_}));
  expect_silent(diff({many_, one_}));
  TensorFile tensors = load_safetensors(one_);
  // Columns of queries, keys and values stand in another order in the files of ranks.
  const std::string name = "exp_avg/h.0.attn.c_attn.weight";
  StoredTensor& moments = *std::ranges::find(tensors.tensors, name, &StoredTensor::name);
  ASSERT_EQ(moments.shape, (std::vector<std::size_t>{4, 12}));
  float& value = std::get<std::vector<float>>(moments.values).at(12 + 5);
  value = std::nextafter(value, 1.0F);
  save_safetensors(one_, tensors);
  const ChildResult result = diff({many_, one_, "--html", file("page.html")});
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(says(result.output, "first difference: tensor '" + name + "' [1, 5]: "))
      << result.output;
  EXPECT_TRUE(says(result.output, "1 ulp apart")) << result.output;
  EXPECT_TRUE(says(read_file(file("page.html"), "f"), name));
}

TEST_F(DiffOfCheckpoints, OtherRunsDifferThoughTheirTensorsDoNot) {
  train_both(with_recipe({"--stop-after", "2"}));
  const ChildResult longer =
      train(with_recipe({"--stop-after", "2", "--steps", "5", "--checkpoints", file("longer")}));
  ASSERT_EQ(longer.status, 0) << longer.errors;
  const ChildResult result = diff({many_, file("longer/step-00000002.safetensors")});
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(says(result.output, "first difference: metadata 'meshparity': expected '{"))
      << result.output;
}

TEST_F(DiffOfCheckpoints, WhatIsNoneIsRefused) {
  train_both(with_recipe({"--stop-after", "2"}));
  expect_refused(diff({many_, file("trace")}), {file("trace") + "' cannot be used: "}, "trace");
  expect_refused(diff({folder().string(), one_}), {folder().string(), "index.json"}, "folder");
}

}  // namespace
}  // namespace meshparity::command_line
