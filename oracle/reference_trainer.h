#pragma once

#include "model/batch.h"
#include "model/model.h"
#include "model/observer.h"
#include "oracle/literal.h"
#include "oracle/recording.h"

/// What any trainer must compute, bit for bit: the numerics contract, executed literally.
namespace meshparity {

/// One step up to the gradients, from `values`, on a whole global batch: all of a recorded step
/// but the statistics. Throws std::invalid_argument if model, values and batch do not fit
/// together.
Recording::Step reference_step(const Model& model, const FloatTensors& values,
                               const MicroBatch& batch, const ElementaryFunctions& functions);

/// The values after that step.
FloatTensors reference_update(const Recording::Step& step, float lr);

/// A trainer like the others: one rank, slow and plain. Norm and digest are always 0. Throws
/// TrainingDiverged at the first loss that is not finite.
void train_reference(const TrainingRun& run, const ElementaryFunctions& functions);

}  // namespace meshparity
