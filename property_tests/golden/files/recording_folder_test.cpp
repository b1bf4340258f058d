// Recordings are put together from ranks' files; whatever is no recording is refused, by name.

#include "golden/files/recording_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "golden/files/file_io.h"
#include "golden/files/recording_header.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/golden/judge/small_recording.h"

namespace meshparity {
namespace {

class RecordingFolder : public testing::Test {
 protected:
  std::string folder() const { return temporary_.file("recording"); }
  std::string step_file(const std::string& rank = "0000") const {
    return folder() + "/step-000000.rank-" + rank + ".safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder()); }

  /// What is said about a recording of one rank that was spoiled.
  std::string refusal(const std::function<void(RankRecording&)>& spoil,
                      const SmallOptions& options = {}) {
    std::filesystem::remove_all(folder());
    RankRecording recording = rank_recording(small_step(options), 0, 1);
    spoil(recording);
    write_recording(folder(), recording);
    return refusal_of_folder();
  }
  /// The same of two ranks.
  std::string refusal_of_two(const std::function<void(RankRecording&, RankRecording&)>& spoil) {
    std::filesystem::remove_all(folder());
    RankRecording a = rank_recording(two_parts_, 0, 2);
    RankRecording b = rank_recording(two_parts_, 1, 2);
    spoil(a, b);
    write_recording(folder(), a);
    write_recording(folder(), b);
    return refusal_of_folder();
  }
  std::string refusal_of_folder() const {
    try {
      read_recorded_step(folder(), recorded_steps(folder()).front());
    } catch (const UsageError& e) {
      EXPECT_NE(e.hint(), "") << e.what();
      return e.what();
    }
    return "";
  }
  static void expect_said(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "'" << text << "' lacks '" << part << "'";
  }

  const RecordedStep two_parts_ = small_step({.parts = 2});

 private:
  TemporaryFolder temporary_;
};

void expect_same(const RecordedStep& found, const RecordedStep& step) {
  EXPECT_EQ(found.model, step.model);
  EXPECT_EQ(found.tokens, step.tokens);
  EXPECT_EQ(found.targets, step.targets);
  EXPECT_EQ(found.samples, step.samples);
  EXPECT_EQ(found.positions, step.positions);
  EXPECT_TRUE(found.has_losses);
  ASSERT_EQ(found.parts.size(), step.parts.size());
  for (std::size_t i = 0; i < step.parts.size(); ++i) {
    EXPECT_EQ(found.parts[i].samples, step.parts[i].samples);
    EXPECT_EQ(found.parts[i].weight, step.parts[i].weight);
    EXPECT_EQ(found.parts[i].loss, step.parts[i].loss);
  }
  ASSERT_EQ(found.tensors.size(), step.tensors.size());
  for (const auto& [name, tensor] : step.tensors) {
    ASSERT_NE(found.find(name), nullptr) << name;
    EXPECT_EQ(found.find(name)->shape, tensor.shape) << name;
    EXPECT_EQ(found.find(name)->values, tensor.values) << name;
  }
}

TEST_F(RecordingFolder, IsReadAsItWasWritten) {
  for (const auto kind : {RecordedModel::Kind::gpt2, RecordedModel::Kind::mlp}) {
    for (const std::size_t ranks : {1U, 2U, 4U}) {
      for (const std::size_t parts : {ranks, std::size_t{4}}) {
        std::filesystem::remove_all(folder());
        const RecordedStep step = small_step({.kind = kind, .parts = parts, .max_norm = 1});
        write_recording(folder(), step, ranks);
        const RecordedStep found = read_recorded_step(folder(), 0);
        expect_same(found, step);
        EXPECT_EQ(found.ranks, ranks);
        EXPECT_TRUE(found.replicas.empty());
        EXPECT_EQ(found.optimizer->decayed, step.optimizer->decayed);
        EXPECT_EQ(found.clip->formula, RecordedClip::Formula::torch);
      }
    }
  }
}

TEST_F(RecordingFolder, PutsSlicesTogether) {
  RankRecording a = rank_recording(two_parts_, 0, 2);
  RankRecording b = rank_recording(two_parts_, 1, 2);
  for (const char* const name : {"param/h.0.mlp.c_fc.weight", "param/h.0.mlp.c_fc.bias",
                                 "grad/h.1.mlp.c_fc.weight", "state/exp_avg/h.0.ln_1.weight"}) {
    halve(a, name, 0);
    halve(b, name, 1);
  }
  write_recording(folder(), a);
  write_recording(folder(), b);
  expect_same(read_recorded_step(folder(), 0), two_parts_);
}

TEST_F(RecordingFolder, SlicesMayInterleaveAndOverlap) {
  // Queries, keys and values of the first head of two, then of both.
  RankRecording a = rank_recording(two_parts_, 0, 2);
  const RankRecording b = rank_recording(two_parts_, 1, 2);
  const std::string name = "param/h.0.attn.c_attn.weight";
  const std::vector<float> whole = two_parts_.tensors.at(name).values;  // (24, 8)
  StoredTensor& tensor = a.tensor(name);
  std::vector<float> own;
  for (const std::size_t first : {0U, 8U, 16U}) {
    own.insert(own.end(), whole.begin() + static_cast<std::ptrdiff_t>(first * 8),
               whole.begin() + static_cast<std::ptrdiff_t>((first + 4) * 8));
  }
  tensor.shape = {12, 8};
  tensor.values = own;
  a.header["slices"][name] = nlohmann::ordered_json::parse(
      R"({"shape": [24, 8], "ranges": [[[0, 4], [8, 12], [16, 20]], [[0, 8]]]})");
  write_recording(folder(), a);
  write_recording(folder(), b);
  const RecordedStep found = read_recorded_step(folder(), 0);
  EXPECT_EQ(found.find(name)->values, whole);
  EXPECT_TRUE(found.replicas.empty());
}

TEST_F(RecordingFolder, NamesReplicasThatDiffer) {
  RankRecording a = rank_recording(two_parts_, 0, 2);
  RankRecording b = rank_recording(two_parts_, 1, 2);
  std::get<std::vector<float>>(b.tensor("grad/ln_f.bias").values)[5] += 1;
  write_recording(folder(), a);
  write_recording(folder(), b);
  const RecordedStep found = read_recorded_step(folder(), 0);
  ASSERT_EQ(found.replicas.size(), 1U);
  EXPECT_EQ(found.replicas[0].tensor, "grad/ln_f.bias");
  EXPECT_EQ(found.replicas[0].element, 5U);
  EXPECT_EQ(found.replicas[0].rank, 0U);
  EXPECT_EQ(found.replicas[0].other_rank, 1U);
  EXPECT_EQ(found.find("grad/ln_f.bias")->values, two_parts_.tensors.at("grad/ln_f.bias").values);
}

TEST_F(RecordingFolder, TakesTheNextStepForWhatASteLeft) {
  RecordedStep first = small_step();
  RecordedStep second = first;
  second.number = 1;
  std::map<std::string, RecordedTensor> expected;
  for (const auto& [name, tensor] : first.tensors) {
    const bool after = name.starts_with("param_after/") || name.starts_with("state_after/");
    if (!after) continue;
    std::string before = name;
    before.erase(before.find("_after"), 6);
    second.tensors.at(before) = tensor;
    second.tensors.erase(name);
    expected[name] = tensor;
  }
  std::erase_if(first.tensors, [&](const auto& entry) { return expected.contains(entry.first); });
  write_recording(folder(), first);
  write_recording(folder(), second);
  EXPECT_EQ(recorded_steps(folder()), (std::vector<std::size_t>{0, 1}));
  const RecordedStep found = read_recorded_step(folder(), 0);
  for (const auto& [name, tensor] : expected) {
    ASSERT_NE(found.find(name), nullptr) << name;
    EXPECT_EQ(found.find(name)->values, tensor.values);
  }
  EXPECT_EQ(read_recorded_step(folder(), 1).find("param_after/wte.weight"), nullptr);
}

TEST_F(RecordingFolder, DropsPrefixesOfWrappersAndBuffers) {
  RankRecording recording = rank_recording(small_step(), 0, 1);
  for (StoredTensor& tensor : recording.file.tensors) {
    if (!tensor.name.starts_with("param/")) continue;
    tensor.name = "param/module._orig_mod.transformer." + tensor.name.substr(6);
  }
  recording.file.tensors.push_back(
      {"param/module.transformer.h.0.attn.bias", {2}, std::vector<float>{1, 1}});
  write_recording(folder(), recording);
  expect_same(read_recorded_step(folder(), 0), small_step());
  EXPECT_EQ(bare_tensor_name("grad/module.h.0._checkpoint_wrapped_module.ln_1.weight"),
            "grad/h.0.ln_1.weight");
  EXPECT_EQ(bare_tensor_name("grad/my_module.weight"), "grad/my_module.weight");
}

TEST_F(RecordingFolder, ReadsBfloat16AndLongTokens) {
  RankRecording recording = rank_recording(small_step(), 0, 1);
  recording.tensor("output/ln_f").values = OtherValues{"BF16", 2, std::string(20 * 8 * 2, '\x40')};
  std::string tokens;
  for (const Token token : small_step().tokens) {
    tokens += static_cast<char>(token) + std::string(7, '\0');
  }
  recording.tensor("batch.tokens").values = OtherValues{"I64", 8, tokens};
  write_recording(folder(), recording);
  const RecordedStep found = read_recorded_step(folder(), 0);
  EXPECT_EQ(found.find("output/ln_f")->values[3], 3.0F);  // 0x4040
  EXPECT_EQ(found.tokens, small_step().tokens);
}

TEST_F(RecordingFolder, RefusesFoldersWithoutSteps) {
  EXPECT_THROW(recorded_steps(folder()), UsageError);
  std::filesystem::create_directories(folder());
  expect_said(refusal_of_folder(), "holds no recorded step");
  write_file(folder() + "/step-x.safetensors", "");
  expect_said(refusal_of_folder(), "is no step's file");
}

TEST_F(RecordingFolder, RefusesTruncatedFiles) {
  write_recording(folder(), small_step());
  const std::string bytes = read_file(step_file(), "recording");
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{5}, std::size_t{300}, bytes.size() - 1}) {
    write_file(step_file(), bytes.substr(0, length));
    const std::string said = refusal_of_folder();
    expect_said(said, "step-000000.rank-0000.safetensors");
  }
}

TEST_F(RecordingFolder, RefusesMetadataThatIsNoRecording) {
  using Json = nlohmann::ordered_json;
  const auto with = [&](const std::string& path, const Json& value) {
    return refusal([&](RankRecording& r) { r.header[Json::json_pointer(path)] = value; });
  };
  expect_said(with("/recording", 2), "a recording of version 2; this program reads version 1");
  expect_said(with("/rank", 1), "'rank' of the recording is 1, of 1 ranks");
  expect_said(with("/ranks", 2), "recorded by 2 ranks, but there are 1 files");
  expect_said(with("/colour", 1), "'colour' of the recording is unknown");
  expect_said(with("/model/kind", "rnn"), "which is none of 'gpt2', 'mlp'");
  expect_said(with("/model/heads", 3), "8 channels are no whole 3 heads");
  expect_said(with("/model/heads", 0), "'heads' of model is 0");
  expect_said(with("/model/layers", -1), "'layers' of model is not a whole number");
  expect_said(with("/model/eps", "small"), "'eps' of model is not a finite number");
  expect_said(with("/arithmetic", "fp8"), "which is none of 'float32', 'tf32', 'bf16'");
  expect_said(with("/optimizer/kind", "lion"), "which is none of 'adamw', 'sgd'");
  expect_said(with("/optimizer/update", 0), "'update' of optimizer is 0");
  expect_said(with("/optimizer/beta1", 1), "'beta1' of optimizer is not below 1");
  expect_said(with("/parts", Json::array()), "'parts' is no list, or an empty one");
  expect_said(with("/parts/0/samples", Json{0, std::uint64_t{1} << 62}), "is too large");
  expect_said(with("/parts/1", {{"samples", {0, 4}}, {"weight", 1}}), "is that of another part");
  expect_said(with("/parts/0/weight", 0), "'weight' of a part is 0");
  expect_said(with("/parts/0/samples", Json{4, 0}), "is no range");
  expect_said(with("/longest_chain", 0), "'longest_chain' of the recording is 0");
  write_recording(folder(), small_step());
  std::filesystem::rename(step_file(), folder() + "/step-000007.safetensors");
  expect_said(refusal_of_folder(), "it says step 0, its name step 7");
  expect_said(refusal([](RankRecording& r) { r.header.erase("model"); }),
              "'model' of the recording");
}

TEST_F(RecordingFolder, RefusesTensorsThatDoNotFit) {
  const auto value = [](RankRecording& r, const std::string& name, float x) {
    std::get<std::vector<float>>(r.tensor(name).values)[2] = x;
  };
  expect_said(refusal([&](RankRecording& r) {
                value(r, "grad/wpe.weight", std::numeric_limits<float>::quiet_NaN());
              }),
              "tensor 'grad/wpe.weight' holds no number at [0, 2]");
  expect_said(refusal([&](RankRecording& r) {
                value(r, "output/ln_f", std::numeric_limits<float>::infinity());
              }),
              "tensor 'output/ln_f' holds no number at [0, 2]");
  expect_said(refusal([](RankRecording& r) {
                r.tensor("grad/wpe.weight").shape = {8, 6};
              }),
              "tensor 'grad/wpe.weight' is (8, 6), not (6, 8)");
  expect_said(refusal([](RankRecording& r) { r.tensor("grad/wpe.weight").name = "grad/wpe"; }), "");
  expect_said(
      refusal([](RankRecording& r) { r.tensor("grad/wpe.weight").name = "grad/wxe.weight"; }),
      "tensor 'grad/wxe.weight' is of no parameter that the model has");
  expect_said(refusal([](RankRecording& r) { r.tensor("input/ln_f").name = "input/ln_g"; }),
              "tensor 'input/ln_g' is of no operation that the model has");
  expect_said(refusal([](RankRecording& r) { r.tensor("input/ln_f").name = "inputs/ln_f"; }),
              "is of no operation");
  expect_said(refusal([](RankRecording& r) {
                r.tensor("output/ln_f").shape = {16, 10};
              }),
              "tensor 'output/ln_f' is (16, 10), but the file's parts have 20 rows");
  expect_said(refusal([](RankRecording& r) {
                r.tensor("output/ln_f").values = OtherValues{"F16", 2, std::string(320, 'x')};
              }),
              "tensor 'output/ln_f' is F16, not F32");
  expect_said(refusal([](RankRecording& r) {
                std::get<std::vector<std::int32_t>>(r.tensor("batch.tokens").values)[4] = 11;
              }),
              "tensor 'batch.tokens' holds 11; the vocabulary has 11");
  expect_said(refusal([](RankRecording& r) {
                std::get<std::vector<std::int32_t>>(r.tensor("batch.tokens").values)[4] = -1;
              }),
              "tensor 'batch.tokens' holds -1");
}

TEST_F(RecordingFolder, RefusesSlicesThatDoNotCoverTheWhole) {
  const std::string name = "grad/h.0.mlp.c_fc.weight";
  expect_said(
      refusal_of_two([&](RankRecording& a, RankRecording& b) {
        halve(a, name, 0);
        halve(b, name, 0);
      }),
      "no rank's slice of tensor 'grad/h.0.mlp.c_fc.weight' (16, 8) holds its element [8, 0]");
  expect_said(refusal_of_two([&](RankRecording& a, RankRecording& b) {
                halve(a, name, 0);
                halve(b, name, 1);
                b.header["slices"][name]["shape"] = {20, 8};
              }),
              "the whole is (20, 8) here, (16, 8) on rank 0");
  expect_said(refusal_of_two([&](RankRecording& a, RankRecording& b) {
                halve(a, name, 0);
                halve(b, name, 1);
                b.header["slices"][name]["ranges"][0][0] = {8, 15};
              }),
              "is (8, 8), but its slice has 7 along dimension 0");
  expect_said(refusal_of_two([&](RankRecording& a, RankRecording& b) {
                halve(a, name, 0);
                halve(b, name, 1);
                b.header["slices"][name]["ranges"][0][0] = {8, 17};
              }),
              "'ranges' of slice 'grad/h.0.mlp.c_fc.weight' goes beyond the shape");
  expect_said(refusal([&](RankRecording& r) {
                halve(r, name, 0);
                r.header["slices"][name]["shape"] = {std::uint64_t{1} << 40, 8};
              }),
              "no slices of files of this size make (1099511627776, 8)");
  expect_said(refusal([&](RankRecording& r) {
                halve(r, name, 0);
                r.remove(name);
              }),
              "it has a slice, but no tensor 'grad/h.0.mlp.c_fc.weight'");
}

TEST_F(RecordingFolder, RefusesRanksThatDoNotFitTogether) {
  expect_said(
      refusal_of_two([](RankRecording&, RankRecording& b) { b.header["model"]["eps"] = 1e-6; }),
      "it says of the run what rank 0 does not");
  expect_said(refusal_of_two([](RankRecording&, RankRecording& b) {
                b.header["parts"][0]["samples"] = {1, 3};
              }),
              "parts of step 0 overlap at sample 1 of the batch");
  expect_said(refusal_of_two([](RankRecording&, RankRecording& b) {
                b.header["parts"][0]["samples"] = {3, 5};
              }),
              "parts of step 0 leave a gap at sample 2 of the batch");
  expect_said(refusal_of_two([](RankRecording& a, RankRecording& b) {
                b.header["parts"] = a.header["parts"];
                b.header["parts"][0]["weight"] = 0.25;
              }),
              "samples 0 to 2 have weight 0.25, and on rank 0 weight 0.5");
  write_recording(folder(), two_parts_, 2);
  std::filesystem::remove(step_file("0001"));
  expect_said(refusal_of_folder(), "recorded by 2 ranks, but there are 1 files");
  write_recording(folder(), two_parts_, 2);
  std::filesystem::remove(step_file("0000"));
  expect_said(refusal_of_folder(), "rank 0 of 2 has no file");
}

TEST_F(RecordingFolder, TensorParallelRanksShareTheirParts) {
  const RecordedStep step = small_step();
  RankRecording a = rank_recording(step, 0, 1);
  RankRecording b = a;
  a.header["ranks"] = b.header["ranks"] = 2;
  b.header["rank"] = 1;
  // Columns of an activation.
  const std::string name = "output/h.0.mlp.c_fc";
  const std::vector<float> whole = step.tensors.at(name).values;  // (20, 16)
  for (RankRecording* const rank : {&a, &b}) {
    const std::size_t first = rank == &a ? 0 : 8;
    std::vector<float> own;
    for (std::size_t i = 0; i < 20; ++i) {
      for (std::size_t j = first; j < first + 8; ++j) own.push_back(whole[i * 16 + j]);
    }
    rank->tensor(name).shape = {20, 8};
    rank->tensor(name).values = own;
    auto& slice = rank->header["slices"][name];
    slice["shape"] = {20, 16};
    slice["ranges"] = {{{0, 20}}, {{first, first + 8}}};
  }
  write_recording(folder(), a);
  write_recording(folder(), b);
  expect_same(read_recorded_step(folder(), 0), step);
}

}  // namespace
}  // namespace meshparity
