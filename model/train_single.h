#pragma once

#include "model/observer.h"

namespace meshparity {

/// Trains on one rank, without any communication: what every strategy is held to.
void train_single(const TrainingRun& run);

}  // namespace meshparity
