// GPT-2's flags and data, and how every model is validated and sampled.
#include <tuple>

#include "golden/files/little_endian.h"
#include "golden/files/safetensors.h"
#include "golden/files/trace_file.h"
#include "golden/programs/tensor_comparison.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class CommandLineGpt2 : public CommandLineFixture {
 protected:
  void SetUp() override {
    CommandLineFixture::SetUp();
    write_file(file("gpt2.recipe"), "model = gpt2\ndata = names.txt\npositions = 8\nlayers = 1\n");
  }

  void bad(const Words& more, const Words& complaints) {
    Words words = {"--recipe", file("gpt2.recipe"), "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    expect_bad(words, complaints);
  }
};

TEST_F(CommandLineGpt2, SizesThatDoNotFitAreRefused) {
  bad({"--heads", "3"}, {"heads is 3", "128 channels"});
  bad({"--sequence", "9"}, {"sequence is 9", "positions of the model is 8"});
  bad({"--size", "124m"}, {"'124m'", "124M", "1558M"});
  bad({"--size", "1558M", "--layers", "30000", "--sequence", "4"}, {"GB", "this machine"});
  bad({"--channels", "9223372036854775807"}, {"9223372036854775807"});
  bad({"--dropout", "1"}, {"dropout is 1"});
  bad({"--warmup", "3000"}, {"warmup is 3000", "2000"});
  bad({"--hidden", "3"}, {"--hidden", "'3' is for mlp", "the model is gpt2"});
  bad({"--model", "mlp"}, {"--model", "mlp", "gpt2"});
  bad({"--tied", "no"}, {"--tied: 'no'"});
  expect_bad(with_recipe({"--heads", "2"}), {"--heads", "for gpt2"});
  expect_bad(with_recipe({"--lr", "0,2"}), {"'0,2' is not a decimal number", "point"});
}

TEST_F(CommandLineGpt2, BadDataIsRefused) {
  bad({"--data", file("x*.bin")}, {"x*.bin"});
  write_file(file("x.bin"), std::string(1030, '\0'));
  bad({"--data", file("x.bin")}, {file("x.bin"), "magic number is 0"});
  write_file(file("mark.txt"), std::string("\xff\xfe"
                                           "a\0",
                                           4));
  bad({"--data", file("mark.txt")}, {"UTF-16", "UTF-8"});
  write_file(file("short.txt"), "abcd\n");
  bad({"--data", file("short.txt")}, {"9 tokens"});
}

TEST_F(CommandLineGpt2, BadSamplingIsRefused) {
  bad({"--sample", "3", "--prompt", "an~"}, {"--prompt", "0x7e ('~')", "byte 2"});
  bad({"--sample", "3", "--temperature", "0"}, {"--temperature is 0"});
  bad({"--sample", "3", "--temperature", "-1"}, {"--temperature", "'-1'"});
  bad({"--sample", "3", "--top-k", "0"}, {"--top-k", "'0'"});
  bad({"--prompt", "a"}, {"--prompt", "--sample"});
  bad({"--validate", "some"}, {"--validate", "'some'"});
  bad({"--stop-after", "0"}, {"--stop-after", "'0'"});
}

TEST_F(CommandLineGpt2, AWholePartIsValidated) {
  // 24 names of 4 to 12 letters: the last tenth of the rows.
  const ChildResult result =
      train({"--load", file("model"), "--data", file("names.txt"), "--validate", "all", "--sample",
             "2", "--prompt", "em", "--top-k", "1"});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_TRUE(result.output.starts_with("validation loss ")) << result.output;
  EXPECT_TRUE(says(result.output, " targets)\nem")) << result.output;
  EXPECT_EQ(count(result.output, "\nem"), 2U) << result.output;
}

TEST_F(CommandLineGpt2, WithoutAPartToValidateOnNothingIsTrained) {
  write_file(file("short.txt"), std::string(40, 'a') + "b");
  bad({"--data", file("short.txt"), "--validate", "1"},
      {"--validate: the validation part is too short for a batch", "--validate all"});
  write_file(file("long.txt"), std::string(200, 'a') + "b");
  bad({"--data", file("long.txt"), "--order", "sequential", "--validate", "1"},
      {"the validation part is too short for a batch"});
  write_file(file("shorter.txt"), "abcdefghi\n");
  bad({"--data", file("shorter.txt"), "--sequence", "4", "--validate", "all"},
      {"the validation part is too short for a target", "use a longer corpus"});
  std::string tokens;
  for (const std::uint32_t word : {20240520U, 1U, 30U}) append_little_endian(tokens, word);
  write_file(file("tokens.bin"), tokens + std::string(1024 - tokens.size() + 2 * 30, '\0'));
  bad({"--data", file("tokens.bin"), "--form", "tokens", "--channels", "8", "--heads", "2",
       "--batch", "2", "--validate", "1"},
      {"--validate: token files have no validation part", "--validation-data"});
}

TEST_F(CommandLineGpt2, ExportsWhatItSaves) {
  const Words small = {"--recipe", file("gpt2.recipe"), "--quiet", "--channels", "8", "--heads",
                       "2",        "--steps",           "2"};
  const auto run = [&](const Words& more) {
    Words words = small;
    words.insert(words.end(), more.begin(), more.end());
    const ChildResult result = train(words);
    ASSERT_EQ(result.status, 0) << result.errors;
  };
  run({"--save", file("saved"), "--export", file("x.bin"), "--mesh", "tp=2"});
  const ChildResult again = train({"--load", file("saved"), "--export", file("again")});
  ASSERT_EQ(again.status, 0) << again.errors;
  EXPECT_EQ(read_file(file("x.bin"), "f"), read_file(file("again"), "f"));
  // Going on from either is the same.
  run({"--load", file("saved"), "--trace", file("a")});
  run({"--load", file("x.bin"), "--trace", file("b")});
  const Trace a = load_trace(file("a"));
  const Trace b = load_trace(file("b"));
  EXPECT_EQ(a.steps.at(0).digest, b.steps.at(0).digest);
  EXPECT_EQ(a.end.digest, b.end.digest);
  EXPECT_NE(a.steps[0].digest, a.end.digest);
}

TEST_F(CommandLineGpt2, ResultsHaveFilesOfTheirOwn) {
  expect_bad(with_recipe({"--export", file("x.bin")}), {"--export writes GPT-2", "--save"});
  bad({"--tied", "false", "--export", file("x.bin")}, {"--export: llm.c has no head apart"});
  bad({"--export", file("no/x.bin")}, {file("no/x.bin")});
  bad({"--export", file("names.txt")}, {file("names.txt"), "it is an input"});
  for (const char* other : {"--trace", "--save"}) {
    bad({"--export", file("x.bin"), other, file("./x.bin")},
        {"'" + file("x.bin") + "' is both --export and " + other, "name two files"});
  }
  expect_bad(with_recipe({"--load", file("model"), "--steps", "4", "--trace", file("./model")}),
             {"'" + file("model") + "' is both --trace and --load", "name two files"});
}

TEST_F(CommandLineGpt2, MomentsAreRecordedBeforeTheUpdate) {
  const Words recipe = {"--recipe",        file("gpt2.recipe"),
                        "--form",          "lines",
                        "--channels",      "8",
                        "--heads",         "2",
                        "--batch",         "4",
                        "--steps",         "2",
                        "--quiet",         "--record-boundaries",
                        "--record-tensors"};
  for (const std::string& mesh : {std::string("dp=1"), std::string("fsdp=2,tp=2,pp=2")}) {
    Words words = recipe;
    words.insert(words.end(), {file(mesh), "--mesh", mesh});
    const ChildResult result = train(words);
    ASSERT_EQ(result.status, 0) << result.errors;
  }
  std::vector<std::map<std::string, std::vector<float>>> steps;
  for (const char* name : {"/step-000000.safetensors", "/step-000001.safetensors"}) {
    const TensorFile recorded = load_safetensors(file("dp=1") + name);
    EXPECT_TRUE(says(recorded.metadata.at("recipe"), "channels = 8\n"));
    EXPECT_FALSE(says(recorded.metadata.at("recipe"), "names.txt"));
    TensorFile of_mesh = load_safetensors(file("fsdp=2,tp=2,pp=2") + name);
    of_mesh.metadata = recorded.metadata;
    EXPECT_EQ(compare_tensor_files(recorded, of_mesh), std::nullopt);
    auto& floats = steps.emplace_back();
    for (const StoredTensor& tensor : recorded.tensors) {
      if (const auto* const values = std::get_if<std::vector<float>>(&tensor.values)) {
        floats[tensor.name] = *values;
      }
    }
  }
  EXPECT_TRUE(steps[1].contains("state_after/exp_avg_sq/wte.weight"));
  for (const char* boundary : {"embedding", "h.0.residual_1", "h.0.residual_2", "lm_head"}) {
    EXPECT_TRUE(steps[0].contains(std::string("output/") + boundary)) << boundary;
    EXPECT_TRUE(steps[0].contains(std::string("grad_output/") + boundary)) << boundary;
  }
  EXPECT_TRUE(steps[0].contains("grad/h.0.attn.c_attn.weight"));
  const std::string name = "h.0.mlp.c_fc.weight";
  const std::vector<float>& gradient = steps[0].at("grad/" + name);
  ASSERT_EQ(gradient.size(), 8U * 32U);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const float part = static_cast<float>(1 - 0.9) * gradient[i];
    EXPECT_EQ(steps[0].at("state/exp_avg/" + name)[i], 0);
    EXPECT_EQ(steps[0].at("state/exp_avg_sq/" + name)[i], 0);
    EXPECT_EQ(steps[1].at("state/exp_avg/" + name)[i], part);
    EXPECT_EQ(steps[1].at("state/exp_avg_sq/" + name)[i],
              static_cast<float>(1 - 0.999) * gradient[i] * gradient[i]);
  }
}

TEST_F(CommandLineGpt2, RecordingsAreComparedOnAPage) {
  for (const auto& [name, mesh, seed] :
       {std::tuple("one", "dp=1", "3"), std::tuple("two", "dp=2", "3"),
        std::tuple("other", "dp=1", "9")}) {
    const ChildResult result = train(with_recipe(
        {"--stop-after", "2", "--record-tensors", file(name), "--mesh", mesh, "--seed", seed}));
    ASSERT_EQ(result.status, 0) << result.errors;
  }
  const ChildResult same =
      run(MESHPARITY_DIFF_PROGRAM, {file("one"), file("two"), "--html", file("same.html")});
  EXPECT_EQ(same.status, 0) << same.output;
  EXPECT_TRUE(says(read_file(file("same.html"), "page"), "the same, bit for bit"));
  const ChildResult other =
      run(MESHPARITY_DIFF_PROGRAM, {file("one"), file("other"), "--html", file("other.html")});
  EXPECT_EQ(other.status, 1);
  EXPECT_TRUE(says(other.output, "first difference: step-000000.safetensors: tensor 'batch."))
      << other.output;
  const std::string page = read_file(file("other.html"), "page");
  EXPECT_TRUE(says(page, "not the same"));
  EXPECT_EQ(count(page, "class=\"field first\""), 1U);
  EXPECT_TRUE(says(page, "<th>hidden.0</th>"));
}

TEST_F(CommandLineGpt2, ARunMayStopEarlyAndIsTheBeginningOfTheWholeOne) {
  const Trace whole = load_trace(file("trace"));
  for (const std::string& mesh :
       {std::string("dp=1"), std::string("dp=2"), std::string("fsdp=2"), std::string("tp=2"),
        std::string("pp=2"), std::string("dp=2,tp=2")}) {
    const ChildResult result =
        train(with_recipe({"--stop-after", "2", "--trace", file("t"), "--mesh", mesh}));
    ASSERT_EQ(result.status, 0) << result.errors;
    const Trace part = load_trace(file("t"));
    EXPECT_EQ(part.header.recipe, whole.header.recipe);
    ASSERT_EQ(part.steps.size(), 2U) << mesh;
    EXPECT_EQ(part.steps[1].digest, whole.steps[1].digest);
    EXPECT_EQ(part.end.steps, 2U);
    EXPECT_EQ(part.end.digest, whole.steps[2].digest) << "parameters before step 2";
  }
  const ChildResult result = train(with_recipe({"--stop-after", "9", "--trace", file("t")}));
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(read_file(file("t"), "f"), read_file(file("trace"), "f"));
}

}  // namespace
}  // namespace meshparity::command_line
