#pragma once

#include <cstddef>

#include "model/model.h"
#include "model/recipe.h"

namespace meshparity {

/// GPT-2 (Radford et al., Language Models are Unsupervised Multitask Learners, 2019): a transformer
/// decoder with layer norm before each branch.
Model gpt2(const Recipe& recipe, std::size_t vocabulary);

/// What stands for a grain that a recipe leaves open: an eighth of the sum.
std::size_t grain_or_eighth(std::size_t grain, std::size_t terms);

}  // namespace meshparity
