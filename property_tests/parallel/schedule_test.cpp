#include "parallel/schedule.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "model/error.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;
using Kind = PipelineAction::Kind;
using Actions = std::vector<PipelineAction>;

struct Pipeline {
  ScheduleKind kind = ScheduleKind::gpipe;
  std::size_t stages = 1;
  std::size_t microbatches = 1;

  Actions stage(std::size_t s) const { return schedule_of(kind, s, stages, microbatches); }
};

Pipeline random_pipeline() {
  Pipeline pipeline;
  pipeline.kind = *rc::gen::element(ScheduleKind::gpipe, ScheduleKind::one_f_one_b);
  pipeline.stages = *from_to(1, 14);
  pipeline.microbatches = *from_to(1, 18);
  RC_CLASSIFY(pipeline.stages == 1, "one stage");
  RC_CLASSIFY(pipeline.microbatches == 1, "one microbatch");
  RC_CLASSIFY(pipeline.microbatches < pipeline.stages, "fewer microbatches than stages");
  return pipeline;
}

RC_GTEST_PROP(Schedule, EachMicrobatchOnceForwardThenOnceBackwardInOrder, ()) {
  const Pipeline pipeline = random_pipeline();
  for (std::size_t s = 0; s < pipeline.stages; ++s) {
    std::size_t forwards = 0;
    std::size_t backwards = 0;
    for (const PipelineAction action : pipeline.stage(s)) {
      if (action.kind == Kind::forward) {
        RC_ASSERT(action.microbatch == forwards++);
      } else {
        RC_ASSERT(action.microbatch == backwards++);
        RC_ASSERT(action.microbatch < forwards);
      }
    }
    RC_ASSERT(forwards == pipeline.microbatches);
    RC_ASSERT(backwards == pipeline.microbatches);
  }
}

RC_GTEST_PROP(Schedule, AsManyInFlightAsPromised, ()) {
  const Pipeline pipeline = random_pipeline();
  for (std::size_t s = 0; s < pipeline.stages; ++s) {
    std::size_t now = 0;
    std::size_t most = 0;
    for (const PipelineAction action : pipeline.stage(s)) {
      if (action.kind == Kind::forward) {
        most = std::max(most, ++now);
      } else {
        --now;
      }
    }
    RC_ASSERT(most == in_flight(pipeline.kind, s, pipeline.stages, pipeline.microbatches));
    RC_ASSERT(most == (pipeline.kind == ScheduleKind::gpipe
                           ? pipeline.microbatches
                           : std::min(pipeline.microbatches, pipeline.stages - s)));
  }
}

/// Lets every stage go on as long as its next input is there; returns the number of actions done.
std::size_t actions_done(const Pipeline& pipeline) {
  struct Stage {
    Actions actions;
    std::size_t done = 0;
    std::vector<bool> forward;
    std::vector<bool> backward;
  };
  std::vector<Stage> stages(pipeline.stages);
  for (std::size_t s = 0; s < pipeline.stages; ++s) {
    stages[s] = {pipeline.stage(s), 0, std::vector<bool>(pipeline.microbatches),
                 std::vector<bool>(pipeline.microbatches)};
  }
  const auto has_input = [&](std::size_t s, const PipelineAction& action) {
    const std::size_t m = action.microbatch;
    if (action.kind == Kind::forward) return s == 0 || stages[s - 1].forward[m];
    return stages[s].forward[m] && (s + 1 == pipeline.stages || stages[s + 1].backward[m]);
  };
  std::size_t total = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t s = 0; s < pipeline.stages; ++s) {
      Stage& stage = stages[s];
      if (stage.done == stage.actions.size() || !has_input(s, stage.actions[stage.done])) continue;
      const PipelineAction action = stage.actions[stage.done++];
      (action.kind == Kind::forward ? stage.forward : stage.backward)[action.microbatch] = true;
      ++total;
      moved = true;
    }
  }
  return total;
}

RC_GTEST_PROP(Schedule, NoStageWaitsForEver, ()) {
  const Pipeline pipeline = random_pipeline();
  RC_ASSERT(actions_done(pipeline) == 2 * pipeline.stages * pipeline.microbatches);
}

TEST(Schedule, EverySmallPipelineTerminates) {
  for (const ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b}) {
    for (std::size_t stages = 1; stages <= 8; ++stages) {
      for (std::size_t microbatches = 1; microbatches <= 8; ++microbatches) {
        ASSERT_EQ(actions_done({kind, stages, microbatches}), 2 * stages * microbatches)
            << to_string(kind) << ", " << stages << " stages, " << microbatches << " microbatches";
      }
    }
  }
}

RC_GTEST_PROP(Schedule, GpipeGoesForwardBeforeAnythingGoesBackward, ()) {
  Pipeline pipeline = random_pipeline();
  pipeline.kind = ScheduleKind::gpipe;
  for (std::size_t s = 0; s < pipeline.stages; ++s) {
    const Actions actions = pipeline.stage(s);
    RC_ASSERT(std::is_partitioned(actions.begin(), actions.end(), [](const PipelineAction& action) {
      return action.kind == Kind::forward;
    }));
  }
}

/// "f0 b0 ...".
std::string text_of(const Actions& actions) {
  std::string text;
  for (const PipelineAction action : actions) {
    if (!text.empty()) text += ' ';
    text += (action.kind == Kind::forward ? 'f' : 'b') + std::to_string(action.microbatch);
  }
  return text;
}

TEST(Schedule, ThreeStagesByHand) {
  const Pipeline pipeline{ScheduleKind::one_f_one_b, 3, 4};
  EXPECT_EQ(text_of(pipeline.stage(0)), "f0 f1 f2 b0 f3 b1 b2 b3");
  EXPECT_EQ(text_of(pipeline.stage(1)), "f0 f1 b0 f2 b1 f3 b2 b3");
  EXPECT_EQ(text_of(pipeline.stage(2)), "f0 b0 f1 b1 f2 b2 f3 b3");
  const Pipeline few{ScheduleKind::one_f_one_b, 3, 1};
  EXPECT_EQ(text_of(few.stage(0)), "f0 b0");
  const Pipeline gpipe{ScheduleKind::gpipe, 3, 2};
  EXPECT_EQ(text_of(gpipe.stage(2)), "f0 f1 b0 b1");
}

TEST(Schedule, NamesRoundTripAndOthersAreRefused) {
  for (const ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b}) {
    EXPECT_EQ(parse_schedule(to_string(kind)), kind);
  }
  for (const std::string text : {"", "1F1B", "gpipe ", "interleaved"}) {
    try {
      parse_schedule(text);
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("'" + text + "'"), std::string::npos);
      EXPECT_NE(error.hint().find("1f1b"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace meshparity
