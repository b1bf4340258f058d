#pragma once

#include <cstddef>
#include <vector>

#include "model/blocks.h"
#include "model/parameters.h"
#include "model/pass.h"
#include "parallel/schedule.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// One stage of a pipeline: the microbatches in flight and what passes between neighbours. Sends do
/// not block: a buffer travels while the stage goes on, and is waited for before it is used again.
class PipelineStage {
 public:
  /// `blocks` are this stage's.
  PipelineStage(const Blocks& blocks, const BatchSource& batches, std::size_t most_samples,
                BoundaryObserver* boundaries, ScheduleKind schedule, std::size_t microbatches,
                Comm& pp);

  /// What it does in a step, in order.
  const std::vector<PipelineAction>& schedule() const { return schedule_; }

  bool is_first() const { return pp_.rank() == 0; }
  bool is_last() const { return pp_.rank() + 1 == pp_.size(); }

  /// Draws the samples and, behind the first stage, receives their input.
  Pass& start_forward(std::size_t microbatch, std::size_t step, Range samples);
  void send_output(std::size_t microbatch);

  /// Before the last stage, receives the gradient of the output.
  Pass& start_backward(std::size_t microbatch);
  void send_input_gradient(std::size_t microbatch);

  /// Waits for every message on its way.
  void finish_step();

 private:
  struct Slot {
    Pass pass;
    Request output_sent;
  };
  Slot& slot(std::size_t microbatch) { return slots_[microbatch % slots_.size()]; }

  Comm& pp_;
  std::vector<PipelineAction> schedule_;
  BoundaryGradients gradients_;
  std::vector<Slot> slots_;
  Request input_gradient_sent_;
};

/// Parameters that blocks of several stages use: each of these stages holds a copy. The gradient is
/// the sum over all uses, first block first, on every stage that holds one.
class TiedParameters {
 public:
  /// `parts[p]` are the elements of parameter p (of its shard) whose gradient this rank needs: the
  /// same on all ranks of `pp`.
  TiedParameters(const Model& model, const Blocks& blocks, std::vector<Range> parts, Comm& pp);

  /// True if an earlier stage holds the parameter too.
  bool is_copy(std::size_t parameter) const;

  /// Collective. The gradient of every parameter, from the finished sums of all its uses.
  void add_uses(GradientSums& gradients, std::span<ShardView> shards);

 private:
  /// A use of a parameter, by a block of this stage or of another one.
  struct StageUse {
    std::size_t stage = 0;
    Use use;
    AlignedFloats received;  // its finished sum, if it is another stage's
  };
  struct Tied {
    std::size_t parameter = 0;
    std::vector<StageUse> uses;       // in the order of blocks
    std::vector<std::size_t> stages;  // that hold a copy, ascending
    AlignedFloats gradient;
  };

  void exchange(Tied& tied, GradientSums& gradients);
  void add_up(Tied& tied, GradientSums& gradients);
  std::span<const float> sum_of(const StageUse& use, Range part, GradientSums& gradients) const;

  Comm& pp_;
  std::vector<Range> parts_;
  std::vector<Tied> tied_;
  std::vector<Request> sent_;
};

}  // namespace meshparity
