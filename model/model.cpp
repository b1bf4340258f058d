#include "model/model.h"

#include "model/gpt2.h"
#include "model/mlp.h"

namespace meshparity {

Model model_of(const Recipe& recipe, std::size_t vocabulary) {
  return recipe.model == ModelKind::mlp ? mlp(recipe, vocabulary) : gpt2(recipe, vocabulary);
}

}  // namespace meshparity
