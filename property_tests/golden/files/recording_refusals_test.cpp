// Whatever is no recording is refused, by name.

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "golden/files/file_io.h"
#include "property_tests/golden/files/recording_fixture.h"

namespace meshparity {
namespace {

using RecordingRefusals = RecordingFolder;

TEST_F(RecordingRefusals, OfFoldersWithoutSteps) {
  EXPECT_THROW(recorded_steps(folder()), UsageError);
  std::filesystem::create_directories(folder());
  expect_said(refusal_of_folder(), "holds no recorded step");
  write_file(folder() + "/step-x.safetensors", "");
  expect_said(refusal_of_folder(), "is no step's file");
}

TEST_F(RecordingRefusals, OfTruncatedFiles) {
  write_recording(folder(), small_step());
  const std::string bytes = read_file(step_file(), "recording");
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{5}, std::size_t{300}, bytes.size() - 1}) {
    write_file(step_file(), bytes.substr(0, length));
    const std::string said = refusal_of_folder();
    expect_said(said, "step-000000.rank-0000.safetensors");
  }
}

TEST_F(RecordingRefusals, OfMetadataThatIsNoRecording) {
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
  expect_said(with("/axes/dp", -2), "'axes' of the recording has a size that is no whole number");
  expect_said(with("/slices/param~1wte.weight", {{"shape", {11, 8}}, {"ranges", {{{0, 11}}}}}),
              "'ranges' of slice 'param/wte.weight' has not one list for each dimension");
  write_recording(folder(), small_step());
  std::filesystem::rename(step_file(), folder() + "/step-000007.safetensors");
  expect_said(refusal_of_folder(), "it says step 0, its name step 7");
  expect_said(refusal([](RankRecording& r) { r.header.erase("model"); }),
              "'model' of the recording");
}

TEST_F(RecordingRefusals, OfTensorsThatDoNotFit) {
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

TEST_F(RecordingRefusals, OfSlicesThatDoNotCoverTheWhole) {
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

TEST_F(RecordingRefusals, OfRanksThatDoNotFitTogether) {
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

TEST_F(RecordingRefusals, OfSingleTensors) {
  const auto weights = [](const std::string& name, const std::vector<std::size_t>& shape,
                          std::size_t count) {
    return StoredTensor{name, shape, std::vector<float>(count, 1)};
  };
  expect_said(refusal([&](RankRecording& r) {
                r.tensor("param/wte.weight").name = "param/module.wte.weight";
                r.file.tensors.push_back(weights("param/wte.weight", {11, 8}, 88));
              }),
              "tensor 'param/wte.weight' is there twice");
  expect_said(refusal([](RankRecording& r) {
                r.tensor("param/wte.weight").shape = {11, 4, 2};
              }),
              "tensor 'param/wte.weight' is (11, 4, 2), no matrix");
  expect_said(refusal([](RankRecording& r) {
                r.tensor("batch.targets").shape = {4, 1, 5, 1};
                r.header["slices"]["batch.targets"] = {{"shape", {4}}, {"ranges", {{{0, 4}}}}};
              }),
              "slice 'batch.targets' has 1 dimensions, its tensor 2");
  expect_said(refusal([&](RankRecording& r) {
                r.tensor("batch.targets").values = std::vector<std::int32_t>{};
                r.tensor("batch.targets").shape = {4, 0};
              }),
              "tensor 'batch.targets' is (4, 0)");
}

TEST_F(RecordingRefusals, OfBatchesThatTheModelCannotHave) {
  const auto numbers = [](RankRecording & r, const std::string& name) -> auto& {
    return std::get<std::vector<std::int32_t>>(r.tensor(name).values);
  };
  expect_said(refusal([&](RankRecording& r) { numbers(r, "batch.targets")[0] = 11; }),
              "tensor 'batch.targets' holds 11; the vocabulary has 11");
  EXPECT_EQ(refusal([&](RankRecording& r) { numbers(r, "batch.targets")[0] = -100; }), "");
  expect_said(refusal([&](RankRecording& r) {
                numbers(r, "batch.tokens").resize(16);
                r.tensor("batch.tokens").shape = {4, 4};
              }),
              "tensor 'batch.tokens' has 16 elements, batch.targets 20");
  expect_said(refusal([&](RankRecording& r) {
                for (const char* const group :
                     {"param/", "grad/", "param_after/", "state/exp_avg/", "state/exp_avg_sq/",
                      "state_after/exp_avg/", "state_after/exp_avg_sq/"}) {
                  StoredTensor& positions = r.tensor(std::string(group) + "wpe.weight");
                  positions.shape = {4, 8};
                  std::get<std::vector<float>>(positions.values).resize(32);
                }
              }),
              "tensor 'batch.tokens' has 5 positions, param/wpe.weight 4");
}

TEST_F(RecordingRefusals, OfPartsThatNobodySays) {
  EXPECT_EQ(refusal([](RankRecording& r) { r.header.erase("parts"); }), "")
      << "one rank has all that its tokens are";
  expect_said(refusal([](RankRecording& r) {
                r.header.erase("parts");
                r.remove("batch.tokens");
              }),
              "it does not say which 'parts' of the batch it holds");
  expect_said(refusal_of_two([](RankRecording&, RankRecording& b) { b.header.erase("parts"); }),
              "rank-0001.safetensors': it does not say which 'parts' of the batch it holds");
}

TEST_F(RecordingRefusals, OfStepsThatAreNotThere) {
  write_recording(folder(), small_step());
  try {
    read_recorded_step(folder(), 7);
    FAIL() << "read";
  } catch (const UsageError& e) {
    EXPECT_EQ(e.what(), "'" + folder() + "' holds no step 7");
    EXPECT_EQ(e.hint(), "choose one of the steps that were recorded");
  }
  TensorFile file = load_safetensors(step_file());
  file.metadata.clear();
  save_safetensors(step_file(), file);
  expect_said(refusal_of_folder(), "its metadata has no 'meshparity', so it is no recording");
}

}  // namespace
}  // namespace meshparity
