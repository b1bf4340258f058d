// GPT-2's flags and data, and how every model is validated and sampled.
#include "golden/files/safetensors.h"
#include "golden/files/trace_file.h"
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

TEST_F(CommandLineGpt2, MomentsAreRecordedBeforeTheUpdate) {
  const Words recipe = {"--recipe",   file("gpt2.recipe"),
                        "--form",     "lines",
                        "--channels", "8",
                        "--heads",    "2",
                        "--batch",    "4",
                        "--steps",    "2",
                        "--quiet",    "--record-tensors"};
  for (const std::string& mesh : {std::string("dp=1"), std::string("fsdp=2,tp=2,pp=2")}) {
    Words words = recipe;
    words.insert(words.end(), {file(mesh), "--mesh", mesh});
    const ChildResult result = train(words);
    ASSERT_EQ(result.status, 0) << result.errors;
  }
  std::vector<std::map<std::string, std::vector<float>>> steps;
  for (const char* name : {"/step-000000.safetensors", "/step-000001.safetensors"}) {
    EXPECT_EQ(read_file(file("dp=1") + name, "f"), read_file(file("fsdp=2,tp=2,pp=2") + name, "f"));
    const TensorFile recorded = load_safetensors(file("dp=1") + name);
    EXPECT_TRUE(says(recorded.metadata.at("recipe"), "channels = 8\n"));
    EXPECT_FALSE(says(recorded.metadata.at("recipe"), "names.txt"));
    auto& floats = steps.emplace_back();
    for (const StoredTensor& tensor : recorded.tensors) {
      if (const auto* const values = std::get_if<std::vector<float>>(&tensor.values)) {
        floats[tensor.name] = *values;
      }
    }
  }
  EXPECT_TRUE(steps[0].contains("grad/h.0.attn.c_attn.weight"));
  const std::string name = "h.0.mlp.c_fc.weight";
  const std::vector<float>& gradient = steps[0].at("grad/" + name);
  ASSERT_EQ(gradient.size(), 8U * 32U);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const float part = static_cast<float>(1 - 0.9) * gradient[i];
    EXPECT_EQ(steps[0].at("exp_avg/" + name)[i], 0);
    EXPECT_EQ(steps[0].at("exp_avg_sq/" + name)[i], 0);
    EXPECT_EQ(steps[1].at("exp_avg/" + name)[i], part);
    EXPECT_EQ(steps[1].at("exp_avg_sq/" + name)[i],
              static_cast<float>(1 - 0.999) * gradient[i] * gradient[i]);
  }
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
