#pragma once

#include <cstddef>

#include "model/batch.h"
#include "model/model.h"
#include "model/observer.h"
#include "model/recipe.h"
#include "oracle/literal.h"
#include "oracle/recording.h"

/// What any trainer must compute, bit for bit: the numerics contract, executed literally.
namespace meshparity {

/// One step up to the gradients, from `values`, on a whole global batch: all of a recorded step
/// but the statistics. Throws std::invalid_argument if model, values and batch do not fit
/// together.
Recording::Step reference_step(const Model& model, const FloatTensors& values,
                               const MicroBatch& batch, const ElementaryFunctions& functions);

/// What the optimizer makes of step number `number`, whose moments may be missing: they are then
/// zeros.
TrainedState reference_update(const Model& model, const Recording::Step& step, const Recipe& recipe,
                              std::size_t number);

/// A trainer like the others: one rank, slow and plain. Norm and digest are always 0. Throws
/// TrainingDiverged at the first loss, or (if gradients are clipped) norm that is not finite.
void train_reference(const TrainingRun& run, const ElementaryFunctions& functions);

}  // namespace meshparity
