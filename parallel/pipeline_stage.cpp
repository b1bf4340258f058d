#include "parallel/pipeline_stage.h"

#include <algorithm>
#include <utility>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

int forward_tag(std::size_t microbatch) { return static_cast<int>(2 * microbatch); }
int backward_tag(std::size_t microbatch) { return static_cast<int>(2 * microbatch + 1); }

}  // namespace

PipelineStage::PipelineStage(const Blocks& blocks, const BatchSource& batches,
                             std::size_t most_samples, BoundaryObserver* boundaries,
                             ScheduleKind schedule, std::size_t microbatches, Comm& pp)
    : pp_(pp),
      schedule_(schedule_of(schedule, pp.rank(), pp.size(), microbatches)),
      gradients_(blocks, most_samples * batches.positions()) {
  const std::size_t slots = in_flight(schedule, pp.rank(), pp.size(), microbatches);
  slots_.reserve(slots);
  for (std::size_t i = 0; i < slots; ++i) {
    slots_.push_back({Pass(blocks, batches, most_samples, gradients_, boundaries), {}});
  }
}

Pass& PipelineStage::start_forward(std::size_t microbatch, std::size_t step, Range samples) {
  Slot& s = slot(microbatch);
  pp_.wait(s.output_sent);  // of the slot's last microbatch
  s.pass.load(Corpus::Split::training, step, samples);
  if (!is_first()) pp_.recv(s.pass.input(), pp_.rank() - 1, forward_tag(microbatch));
  return s.pass;
}

void PipelineStage::send_output(std::size_t microbatch) {
  if (is_last()) return;
  Slot& s = slot(microbatch);
  s.output_sent = pp_.isend(s.pass.output(), pp_.rank() + 1, forward_tag(microbatch));
}

Pass& PipelineStage::start_backward(std::size_t microbatch) {
  pp_.wait(input_gradient_sent_);  // the buffers for gradients are used again
  Pass& pass = slot(microbatch).pass;
  if (!is_last()) pp_.recv(pass.output_gradient(), pp_.rank() + 1, backward_tag(microbatch));
  return pass;
}

void PipelineStage::send_input_gradient(std::size_t microbatch) {
  if (is_first()) return;
  input_gradient_sent_ =
      pp_.isend(slot(microbatch).pass.input_gradient(), pp_.rank() - 1, backward_tag(microbatch));
}

void PipelineStage::finish_step() {
  for (Slot& s : slots_) pp_.wait(s.output_sent);
  pp_.wait(input_gradient_sent_);
}

TiedParameters::TiedParameters(const Model& model, const Blocks& blocks, std::vector<Range> parts,
                               Comm& pp)
    : pp_(pp), parts_(std::move(parts)) {
  const std::vector<Range> stages = shares_of({0, model.blocks.size()}, pp.size());
  std::size_t messages = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    Tied tied;
    tied.parameter = p;
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      for (std::size_t b = stages[stage].begin; b < stages[stage].end; ++b) {
        const std::vector<std::size_t>& used = model.blocks[b].uses;
        for (std::size_t place = 0; place < used.size(); ++place) {
          if (used[place] != blocks.parameter_numbers()[p]) continue;
          const bool mine = stage == pp.rank();
          tied.uses.push_back({stage,
                               {b - stages[stage].begin, place},
                               AlignedFloats(mine ? 0 : parts_[p].size())});
          if (tied.stages.empty() || tied.stages.back() != stage) tied.stages.push_back(stage);
        }
      }
    }
    if (tied.stages.size() == 1) continue;
    tied.gradient.resize(parts_[p].size());
    messages += tied.uses.size() * (tied.stages.size() - 1);
    tied_.push_back(std::move(tied));
  }
  sent_.reserve(messages);
}

bool TiedParameters::is_copy(std::size_t parameter) const {
  return std::ranges::any_of(tied_, [&](const Tied& tied) {
    return tied.parameter == parameter && tied.stages.front() != pp_.rank();
  });
}

void TiedParameters::add_uses(GradientSums& gradients, std::span<ShardView> shards) {
  for (Tied& tied : tied_) exchange(tied, gradients);
  for (Request& request : sent_) pp_.wait(request);
  sent_.clear();
  for (std::size_t p = 0; p < shards.size(); ++p) {
    const auto tied = std::ranges::find(tied_, p, &Tied::parameter);
    if (tied == tied_.end()) {
      shards[p].gradient = gradients.add_uses(p, parts_[p]);
    } else {
      add_up(*tied, gradients);
      shards[p].gradient = tied->gradient;
    }
  }
}

/// Every stage sends the sums of its own uses to the others, which cannot be added up before: the
/// uses of a stage may have others before them.
void TiedParameters::exchange(Tied& tied, GradientSums& gradients) {
  const Range part = parts_[tied.parameter];
  for (std::size_t i = 0; i < tied.uses.size(); ++i) {
    if (tied.uses[i].stage != pp_.rank()) continue;
    for (const std::size_t stage : tied.stages) {
      if (stage == pp_.rank()) continue;
      sent_.push_back(pp_.isend(sum_of(tied.uses[i], part, gradients), stage, static_cast<int>(i)));
    }
  }
  for (std::size_t i = 0; i < tied.uses.size(); ++i) {
    StageUse& use = tied.uses[i];
    if (use.stage != pp_.rank()) pp_.recv(use.received, use.stage, static_cast<int>(i));
  }
}

void TiedParameters::add_up(Tied& tied, GradientSums& gradients) {
  const Range part = parts_[tied.parameter];
  std::ranges::copy(sum_of(tied.uses.front(), part, gradients), tied.gradient.begin());
  for (const StageUse& use : std::span(tied.uses).subspan(1)) {
    add(tied.gradient, sum_of(use, part, gradients), tied.gradient);
  }
}

std::span<const float> TiedParameters::sum_of(const StageUse& use, Range part,
                                              GradientSums& gradients) const {
  if (use.stage != pp_.rank()) return use.received;
  return gradients.of(use.use).total().subspan(part.begin, part.size());
}

}  // namespace meshparity
