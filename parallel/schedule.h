#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace meshparity {

/// gpipe: all forwards, then all backwards (arXiv:1811.06965). one_f_one_b: after a short warm-up
/// each forward is followed by a backward, so fewer microbatches are in flight (PipeDream-flush,
/// arXiv:2006.09503; Megatron-LM, arXiv:2104.04473).
enum class ScheduleKind { gpipe, one_f_one_b };

/// Reads "gpipe" or "1f1b". Throws UsageError.
ScheduleKind parse_schedule(std::string_view text);
std::string to_string(ScheduleKind kind);

/// One thing a stage does.
struct PipelineAction {
  enum class Kind { forward, backward };
  Kind kind = Kind::forward;
  std::size_t microbatch = 0;

  bool operator==(const PipelineAction&) const = default;
};

/// Everything stage `stage` of `stages` does in one training step, in order: each microbatch once
/// forward and once backward, backwards in the order of microbatches.
std::vector<PipelineAction> schedule_of(ScheduleKind kind, std::size_t stage, std::size_t stages,
                                        std::size_t microbatches);

/// The most microbatches between their forward and their backward at any time: gpipe
/// `microbatches`, 1f1b min(microbatches, stages - stage).
std::size_t in_flight(ScheduleKind kind, std::size_t stage, std::size_t stages,
                      std::size_t microbatches);

}  // namespace meshparity
