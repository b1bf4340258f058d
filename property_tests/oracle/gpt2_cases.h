#pragma once

#include <cstddef>

#include "property_tests/oracle/oracle_cases.h"

/// Training steps of small transformers.
namespace meshparity {

/// GPT-2 of 2 layers, 2 heads of 3 channels, sequences of 5 of 7 positions, with dropout.
Recipe small_gpt2_recipe();

/// Inside a RapidCheck property: any of the kinds of recipe that there are, with at most
/// `most_layers` layers.
Recipe random_gpt2_recipe(std::size_t most_layers);

/// Gains are around 1, other parameters uniform in [-scale, scale]; moments (of adamw) are those of
/// some steps before. Every `absent`-th target is missing, if that is not 0.
StepCase drawn_gpt2_case(const Recipe& recipe, std::size_t vocabulary, double scale,
                         std::size_t absent = 0);
StepCase random_gpt2_case(std::size_t most_layers);

}  // namespace meshparity
