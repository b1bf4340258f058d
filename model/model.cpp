#include "model/model.h"

#include "model/mlp.h"

namespace meshparity {

Model model_of(const Recipe& recipe, std::size_t vocabulary) {
  return mlp(recipe, vocabulary);  // the one model so far
}

}  // namespace meshparity
