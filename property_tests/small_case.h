#pragma once

#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// A small case of the MLP, trained with AdamW, so that there is state of every kind.
inline ParityCase small_case() {
  ParityCase c;
  c.recipe.context = 2;
  c.recipe.embedding = 3;
  c.recipe.hidden = 6;
  c.recipe.batch = 5;
  c.recipe.batch_grain = 1;
  c.recipe.feature_grain = 2;
  c.recipe.vocab_grain = 2;
  c.recipe.steps = 4;
  c.recipe.optimizer = OptimizerKind::adamw;
  c.corpus = "anna\nbob\ncleo\n";
  return c;
}

}  // namespace meshparity
