#pragma once

#include "model/training.h"

namespace meshparity {

/// Trains on one rank: no communication and no special cases. Every other trainer is held to its
/// bits.
void train_single(const TrainingRun& run);

}  // namespace meshparity
