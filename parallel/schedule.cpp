#include "parallel/schedule.h"

#include <algorithm>

#include "model/error.h"

namespace meshparity {

ScheduleKind parse_schedule(std::string_view text) {
  if (text == "gpipe") return ScheduleKind::gpipe;
  if (text == "1f1b") return ScheduleKind::one_f_one_b;
  throw UsageError("unknown schedule '" + std::string(text) + "'", "use gpipe or 1f1b");
}

std::string to_string(ScheduleKind kind) { return kind == ScheduleKind::gpipe ? "gpipe" : "1f1b"; }

std::size_t in_flight(ScheduleKind kind, std::size_t stage, std::size_t stages,
                      std::size_t microbatches) {
  return kind == ScheduleKind::gpipe ? microbatches : std::min(microbatches, stages - stage);
}

std::vector<PipelineAction> schedule_of(ScheduleKind kind, std::size_t stage, std::size_t stages,
                                        std::size_t microbatches) {
  // Stage 0 of 3 with 4 microbatches (digits: forward, letters: backward of 0 = a, 1 = b, ...):
  //     gpipe  0 1 2 3 a b c d
  //     1f1b   0 1 2 a 3 b c d
  // Both run ahead by as many forwards as may be in flight, then alternate, then drain.
  const std::size_t ahead = in_flight(kind, stage, stages, microbatches);
  std::vector<PipelineAction> actions;
  for (std::size_t m = 0; m < microbatches + ahead; ++m) {
    if (m >= ahead) actions.push_back({PipelineAction::Kind::backward, m - ahead});
    if (m < microbatches) actions.push_back({PipelineAction::Kind::forward, m});
  }
  return actions;
}

}  // namespace meshparity
