// Recordings are put together from ranks' files.

#include "golden/files/recording_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "golden/files/recording_header.h"
#include "property_tests/golden/files/recording_fixture.h"

namespace meshparity {
namespace {

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
