// Golden recipes that stop twice and go on under other meshes and the other transport.

#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

/// dp=2,tp=2 to step 50, fsdp=3 to step 80, pp=2,tp=2 on the other transport to step 100.
void expect_golden_chain(const std::string& recipe, [[maybe_unused]] bool mpi_first) {
  const TemporaryFolder folder;
  const std::string recipe_path =
      (fs::path(MESHPARITY_GOLDEN_DIR) / "recipes" / (recipe + ".recipe")).string();
  const auto words = [&](const Words& more) {
    Words all = {"--recipe", recipe_path, "--quiet"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto leg = [&](std::size_t ranks, const std::string& mesh, bool mpi,
                       const std::string& stop, const Words& more) {
    Words all = words({"--mesh", mesh, "--checkpoints", folder.file("run"), "--stop-after", stop,
                       "--trace", folder.file(stop)});
    all.insert(all.end(), more.begin(), more.end());
#ifdef MESHPARITY_WITH_MPI
    const ChildResult result = mpi ? mpirun(ranks, all) : train(all);
#else
    const ChildResult result = train(all);
#endif
    ASSERT_EQ(result.status, 0) << result.errors << ranks << mpi;
  };
  leg(4, "dp=2,tp=2", mpi_first, "50", {});
  leg(3, "fsdp=3", mpi_first, "80", {"--resume", "--checkpoint-layout", "sharded"});
  leg(4, "pp=2,tp=2", !mpi_first, "100",
      {"--resume", "--microbatches", "2", "--save", folder.file("chain.safetensors")});
  const ChildResult alone = train(words({"--stop-after", "100", "--trace", folder.file("alone"),
                                         "--save", folder.file("alone.safetensors")}));
  ASSERT_EQ(alone.status, 0) << alone.errors;

  const ChildResult traces = run(MESHPARITY_DIFF_PROGRAM, {folder.file("alone"), folder.file("50"),
                                                           folder.file("80"), folder.file("100")});
  EXPECT_EQ(traces.status, 0) << traces.output << traces.errors;
  EXPECT_EQ(read_file(folder.file("alone.safetensors"), "model"),
            read_file(folder.file("chain.safetensors"), "model"));
}

TEST(GoldenResume, Gpt2StopsAndGoesOn) { expect_golden_chain("gpt2", true); }
TEST(GoldenResume, Gpt2WithDropoutStopsAndGoesOn) { expect_golden_chain("gpt2_dropout", false); }
TEST(GoldenResume, TheMlpStopsAndGoesOn) { expect_golden_chain("mlc", true); }

}  // namespace
}  // namespace meshparity::command_line
