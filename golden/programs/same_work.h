#pragma once

#include <string>
#include <vector>

#include "golden/programs/train_inputs.h"
#include "golden/programs/train_options.h"
#include "parallel/transport/comm.h"

/// Ranks train together only if they do the same work: one that has another text, model, flag or
/// program (an old copy on one machine, a pipe that only one can read) would spoil the result of
/// all and leave no trace of it.
namespace meshparity {

/// Something that all ranks of a job must have in common.
struct WorkItem {
  std::string name;
  std::string text;
};

/// What this rank is about to do and with what: program, instruction set, every field of the
/// recipe, the bytes of corpus and model, how it is shared out, and what is gathered for results.
/// (Paths may differ.)
std::vector<WorkItem> work_of(const TrainOptions& options, const TrainInputs& inputs);

/// Collective. Throws, on every rank, the same UsageError that names what differs and on which
/// ranks, unless all have the same items.
void require_same_work(const std::vector<WorkItem>& items, Comm& world);

}  // namespace meshparity
