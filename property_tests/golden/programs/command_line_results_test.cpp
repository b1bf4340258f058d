// What meshparity-train writes and says when all is well, and what meshparity-diff makes of it.
#include <cmath>

#include "golden/files/safetensors.h"
#include "golden/files/trace_file.h"
#include "golden/programs/tensor_comparison.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class CommandLineResults : public CommandLineFixture {};

TEST_F(CommandLineResults, HelpAndVersionAreNoErrors) {
  for (const char* program : {MESHPARITY_TRAIN_PROGRAM, MESHPARITY_CHECKPOINT_PROGRAM,
                              MESHPARITY_DIFF_PROGRAM, MESHPARITY_GOLDEN_PROGRAM}) {
    const ChildResult help = run(program, {"--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_TRUE(says(help.output, "Exit status:"));
    EXPECT_EQ(help.errors, "");
    const ChildResult version = run(program, {"--version"});
    EXPECT_EQ(version.status, 0);
    EXPECT_TRUE(version.output.starts_with("meshparity-"));
  }
  const std::string help = train({"--help"}).output;
  for (const char* flag : {"--mesh", "--transport", "--trainer", "--recipe", "--data", "--lr",
                           "--vocab-grain", "--trace", "--record-tensors", "--save", "--load"}) {
    EXPECT_TRUE(says(help, flag)) << flag;
  }
}

TEST_F(CommandLineResults, EveryMeshWritesTheSameBytes) {
  for (const Words& way :
       std::vector<Words>{{"--trainer", "train_single"},
                          {"--microbatches", "3", "--reduction", "canonical"},
                          {"--mesh", "dp=2", "--transport", "sim", "--sim-seed", "5"},
                          {"--mesh", "fsdp=3,tp=2", "--microbatches", "2"},
                          {"--mesh", "pp=3", "--microbatches", "3", "--schedule", "gpipe"},
                          {"--mesh", "tp=2", "--trainer", "train_mesh"}}) {
    Words words = with_recipe({"--save", file("m"), "--trace", file("t")});
    words.insert(words.end(), way.begin(), way.end());
    const ChildResult result = train(words);
    ASSERT_EQ(result.status, 0) << result.errors;
    EXPECT_EQ(result.errors, "") << "--quiet";
    EXPECT_EQ(read_file(file("m"), "f"), read_file(file("model"), "f")) << way.back();
    EXPECT_EQ(read_file(file("t"), "f"), read_file(file("trace"), "f")) << way.back();
  }
}

TEST_F(CommandLineResults, TensorsOfEveryStepAreRecorded) {
  for (const std::string& mesh : {std::string("dp=1"), std::string("fsdp=2,tp=2")}) {
    const ChildResult result = train(with_recipe({"--mesh", mesh, "--record-tensors", file(mesh)}));
    ASSERT_EQ(result.status, 0) << result.errors;
  }
  const Trace trace = load_trace(file("trace"));
  for (std::size_t step = 0; step < 4; ++step) {
    const std::string name = "/step-00000" + std::to_string(step) + ".safetensors";
    TensorFile tensors = load_safetensors(file("dp=1") + name);
    TensorFile of_mesh = load_safetensors(file("fsdp=2,tp=2") + name);
    EXPECT_TRUE(
        says(of_mesh.metadata.at("meshparity"), R"("axes":{"dp":1,"fsdp":2,"tp":2,"pp":1})"));
    of_mesh.metadata = tensors.metadata;  // says how it was trained, too
    EXPECT_EQ(compare_tensor_files(tensors, of_mesh), std::nullopt);
    // The last one also holds what it made.
    ASSERT_EQ(tensors.tensors.size(), 3U + 2U * 5U + (step == 3 ? 5U : 0U));
    EXPECT_EQ(tensors.tensors[0].name, "batch.tokens");
    EXPECT_EQ(tensors.tensors[0].shape, (std::vector<std::size_t>{6, 3}));
    EXPECT_EQ(tensors.tensors[1].name, "batch.targets");
    EXPECT_EQ(tensors.tensors[2].name, "loss");
    EXPECT_EQ(std::get<std::vector<float>>(tensors.tensors[2].values).at(0),
              trace.steps[step].loss);
    EXPECT_EQ(tensors.tensors[3].name, "param/embedding.weight");
    EXPECT_EQ(tensors.tensors[12].name, "grad/output.bias");
  }
  EXPECT_FALSE(fs::exists(file("dp=1/step-000004.safetensors")));
  // The parameters of step 1 are those of step 0 after the update.
  const auto values = [&](const std::string& step, std::size_t tensor) {
    return std::get<std::vector<float>>(
        load_safetensors(file("dp=1/" + step + ".safetensors")).tensors[tensor].values);
  };
  const auto before = values("step-000000", 7);
  const auto gradient = values("step-000000", 12);
  const auto after = values("step-000001", 7);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(after[i], std::fma(-0.1F, gradient[i], before[i]));
  }
}

TEST_F(CommandLineResults, ASavedModelSamplesWithoutItsCorpus) {
  const ChildResult trained =
      train(with_recipe({"--sample", "5", "--validate", "2", "--mesh", "tp=2"}));
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_TRUE(trained.output.starts_with("validation loss ")) << trained.output;
  EXPECT_TRUE(says(trained.output, " (2 batches)\n"));
  EXPECT_EQ(count(trained.output, "\n"), 6U);
  fs::remove(file("names.txt"));
  const ChildResult sampled = train({"--load", file("model"), "--sample", "5"});
  ASSERT_EQ(sampled.status, 0) << sampled.errors;
  EXPECT_EQ(sampled.output, trained.output.substr(trained.output.find('\n') + 1));
}

TEST_F(CommandLineResults, TrainingGoesOnFromASavedModel) {
  const ChildResult result =
      train(with_recipe({"--load", file("model"), "--steps", "1", "--trace", file("t")}));
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(load_trace(file("t")).steps[0].digest, load_trace(file("trace")).end.digest);
}

TEST_F(CommandLineResults, ProgressIsTwentyPlainLinesWithoutATerminal) {
  const ChildResult result = train({"--recipe", file("ok.recipe"), "--steps", "200"});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(count(result.errors, "\n"), 20U) << result.errors;
  EXPECT_FALSE(says(result.errors, "\r"));
  EXPECT_TRUE(says(result.errors, "step  10/200  loss "));
  EXPECT_TRUE(says(result.errors, "step 200/200  loss "));
}

TEST_F(CommandLineResults, DiffNamesTheFirstDifference) {
  const auto diff = [&](const std::string& a, const std::string& b) {
    return run(MESHPARITY_DIFF_PROGRAM, {a, b});
  };
  EXPECT_EQ(diff(file("trace"), file("trace")).status, 0);
  EXPECT_EQ(diff(file("model"), file("model")).status, 0);

  Trace trace = load_trace(file("trace"));
  trace.steps[2].digest += 1;
  write_file(file("trace2"), text_of(trace));
  ChildResult result = diff(file("trace"), file("trace2"));
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(result.output.starts_with("first difference: step 2, digest: ")) << result.output;

  TensorFile model = load_safetensors(file("model"));
  float& value = std::get<std::vector<float>>(model.tensors[1].values)[7];
  value = std::nextafter(value, 1.0F);
  save_safetensors(file("model2"), model);
  result = diff(file("model"), file("model2"));
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(says(result.output, "tensor 'hidden.0.weight' [1, 2]: ")) << result.output;
  EXPECT_TRUE(says(result.output, "1 ulp apart")) << result.output;
  model = load_safetensors(file("model"));
  model.tensors[0].shape = {model.tensors[0].shape[0] * model.tensors[0].shape[1]};
  save_safetensors(file("model2"), model);
  EXPECT_TRUE(says(diff(file("model"), file("model2")).output, "'embedding.weight' is"));
  model.tensors.pop_back();
  model.tensors[0] = load_safetensors(file("model")).tensors[0];
  save_safetensors(file("model2"), model);
  EXPECT_TRUE(says(diff(file("model"), file("model2")).output, "only one file"));

  expect_refused(diff(file("trace"), file("model")), {file("trace")}, "diff of two kinds");
  expect_refused(diff(file("trace"), file("missing")), {file("missing")}, "diff of nothing");
  expect_refused(diff(file("names.txt"), file("names.txt")), {file("names.txt")}, "diff of text");
  write_file(file("cut"), read_file(file("trace"), "f").substr(0, 600));
  expect_refused(diff(file("trace"), file("cut")), {file("cut") + ":"}, "diff of half a trace");
  expect_refused(run(MESHPARITY_DIFF_PROGRAM, {file("trace")}), {"actual"}, "diff of one");
}

#ifdef MESHPARITY_WITH_MPI

/// A process that nobody started with mpirun is a world of one rank.
TEST_F(CommandLineResults, MpiAloneWritesTheSameBytes) {
  const ChildResult result =
      train(with_recipe({"--transport", "mpi", "--save", file("m"), "--trace", file("t")}));
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(read_file(file("m"), "f"), read_file(file("model"), "f"));
  EXPECT_EQ(read_file(file("t"), "f"), read_file(file("trace"), "f"));
  const ChildResult two = train(with_recipe({"--transport", "mpi", "--mesh", "dp=2"}));
  expect_refused(two, {"mesh dp=2 needs 2 ranks, but the world has 1", "mpirun -n 2"}, "dp=2");
}

TEST_F(CommandLineResults, MpirunWritesTheSameBytes) {
  const ChildResult result =
      mpirun(4, with_recipe({"--mesh", "fsdp=2,pp=2", "--microbatches", "3", "--save", file("m"),
                             "--trace", file("t"), "--sample", "2"}));
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(count(result.output, "\n"), 2U) << "rank 0 alone speaks: " << result.output;
  EXPECT_EQ(read_file(file("m"), "f"), read_file(file("model"), "f"));
  EXPECT_EQ(read_file(file("t"), "f"), read_file(file("trace"), "f"));
}

#endif

}  // namespace
}  // namespace meshparity::command_line
