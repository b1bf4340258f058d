#pragma once

#include <cstddef>
#include <vector>

#include "model/working_memory.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// What a stage keeps of one microbatch between its forward and its backward.
struct PipelineSlot {
  PipelineSlot(const Recipe& recipe, const Corpus& corpus, const Layers& layers,
               std::size_t max_samples)
      : batch_buffer(recipe, corpus, max_samples), activations(layers, max_samples) {}

  BatchBuffer batch_buffer;
  MicroBatch batch;
  Activations activations;
  Request output_sent;
  Request input_gradient_sent;
};

/// One stage of a pipeline: its slots and what it exchanges with its neighbours. Sends do not
/// block: a buffer travels while the stage goes on, and is waited for before its slot is used
/// again.
class PipelineStage {
 public:
  /// `layers` are this stage's; `slots` microbatches may be in flight.
  PipelineStage(const Recipe& recipe, const Corpus& corpus, const Layers& layers, Comm& pp,
                std::size_t slots, std::size_t max_samples);

  bool is_first() const { return pp_.rank() == 0; }
  bool is_last() const { return pp_.rank() + 1 == pp_.size(); }

  /// Draws the samples and, behind the first stage, receives their input activations.
  PipelineSlot& start_forward(std::size_t microbatch, std::size_t step, Range samples);
  void send_output(std::size_t microbatch);

  /// Before the last stage, receives the output gradients.
  PipelineSlot& start_backward(std::size_t microbatch);
  void send_input_gradient(std::size_t microbatch);

  /// Waits for every message on its way.
  void finish_step();

 private:
  PipelineSlot& slot(std::size_t microbatch) { return slots_[microbatch % slots_.size()]; }

  Comm& pp_;
  std::size_t depth_;  // layers
  std::vector<PipelineSlot> slots_;
};

}  // namespace meshparity
