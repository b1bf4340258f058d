#pragma once

#include <span>

#include "model/blocks.h"
#include "model/observer.h"
#include "parallel/mesh.h"
#include "parallel/pipeline_stage.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// Collective over the world. What every trainer does once a step's gradients are complete: checks
/// the loss, adds up norm and digest if the observer wants them (exact integers, so the order is
/// free) and calls it. Returns the norm, which is 0 if nobody wants it. Throws TrainingDiverged on
/// every rank if loss or norm are not finite.
double observe_step(StepObserver& observer, StepView view, Comm& world, bool needs_norm = false);

/// Of parts that several ranks hold alike, one counts: along tp what no block cuts, along pp what
/// blocks of several stages use.
void count_copies_once(std::span<ShardView> shards, const Blocks& blocks, const MeshCoordinates& at,
                       const TiedParameters* tied = nullptr);

}  // namespace meshparity
