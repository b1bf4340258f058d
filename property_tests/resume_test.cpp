// A run that stops and goes on gives the bits of one that did not (see resume_properties.h). How
// many recipes are tried, and from which seed, is RapidCheck's RC_PARAMS.

#include <gtest/gtest.h>

#include <iostream>

#include "golden/files/file_io.h"
#include "golden/jobs/convert_checkpoint.h"
#include "golden/jobs/temporary_folder.h"
#include "golden/jobs/training_job.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/proof/parity_generator.h"
#include "property_tests/proof/resume_check.h"
#include "property_tests/proof/resume_properties.h"

namespace meshparity {
namespace {

TEST(Resume, OnAnyMeshFromAnyStep) {
  ResumeTally tally;
  EXPECT_TRUE(holds_resumed(rapidcheck_sample(), tally));
  std::cout << tally.text();
}

TEST(Resume, ACaseReadsBackFromItsLine) {
  const bool holds = rc::check("a run's line reads back", [] {
    for (const ResumeCase& c : *resume_cases(kSimulatedRanks, 2)) {
      RC_ASSERT(to_line(parse_resume_case(to_line(c))) == to_line(c));
    }
  });
  EXPECT_TRUE(holds);
  EXPECT_THROW(parse_resume_case("[]"), UsageError);
  EXPECT_THROW(parse_resume_case("{"), UsageError);
}

/// Trains a case for two steps and leaves a gathered checkpoint in `folder`.
void save_after_two_steps(const ParityCase& c, const Question& question,
                          const std::string& folder) {
  const InitialParameters initial(question.recipe.seed);
  const CheckpointSaver saver({.folder = folder},
                              checkpoint_header(question.recipe, question.corpus, ""));
  TrainingSinks sinks;
  sinks.saver = &saver;
  const TrainingJob job{.recipe = question.recipe,
                        .corpus = question.corpus,
                        .initial = initial,
                        .how = c.how,
                        .strategy = c.strategy,
                        .stop_after = 2};
  SimOptions world = c.world;
  world.ranks = c.how.mesh.size();
  run_simulated(world, [&](Comm& comm) { train_on(job, sinks, comm); });
}

TEST(Resume, AnyMeshWritesTheSameBytes) {
  const bool holds = rc::check("a gathered checkpoint does not depend on the mesh", [] {
    std::vector<ParityCase> cases = *parity_cases(Reduction::canonical, kSimulatedRanks);
    for (ParityCase& c : cases) c.recipe.clip = 0.05;  // which keeps it finite
    const Question question(cases.front());
    if (!question.expected.divergence.empty()) return;
    std::string expected;
    for (const ParityCase& c : cases) {
      const TemporaryFolder folder(folder_in_memory());
      save_after_two_steps(c, question, folder.path().string());
      const std::string path = checkpoints_in(folder.path().string()).at(0).path;
      const std::string bytes = read_file(path, "checkpoint");
      if (expected.empty()) expected = bytes;
      RC_ASSERT(bytes == expected);

      // There and back again: as pieces, and as one file.
      const std::string pieces = folder.file("pieces");
      convert_checkpoint(Checkpoint(path), pieces, CheckpointLayout::sharded, 11);
      const Checkpoint sharded(checkpoints_in(pieces).at(0).path);
      RC_ASSERT(sharded.pieces() == std::size_t{11});
      const std::string merged = folder.file("merged");
      convert_checkpoint(sharded, merged, CheckpointLayout::gathered, 1);
      RC_ASSERT(read_file(checkpoints_in(merged).at(0).path, "checkpoint") == expected);
    }
  });
  EXPECT_TRUE(holds);
}

}  // namespace
}  // namespace meshparity
