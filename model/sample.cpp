#include "model/sample.h"

#include <algorithm>

#include "model/loss.h"
#include "model/model.h"
#include "model/numerics/philox.h"

namespace meshparity {

Generator::Generator(const Recipe& recipe, const Corpus& corpus, const ParameterSource& parameters)
    : recipe_(recipe),
      corpus_(corpus),
      layers_(make_layers(model_layers(recipe, corpus.vocabulary()))),
      parameters_(layers_),
      activations_(layers_, recipe.batch),
      batch_(recipe, corpus, recipe.batch),
      loss_sum_(leaf_count(recipe.batch, recipe.batch_grain),
                Range{0, leaf_count(recipe.batch, recipe.batch_grain)}, 1),
      probabilities_(recipe.batch * corpus.vocabulary()) {
  parameters_.fill(parameters);
}

void Generator::forward(const MicroBatch& batch) {
  const std::size_t samples = batch.samples;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    layers_[l]->forward(batch, parameters_.layer(l), activations_.value(l, samples),
                        activations_.value(l + 1, samples));
  }
  loss_sum_.start({0, leaf_count(samples, recipe_.batch_grain)});
  softmax_cross_entropy_forward(batch, activations_.value(layers_.size(), samples),
                                recipe_.vocab_grain, probabilities_, loss_sum_);
}

std::string Generator::sample(std::uint64_t index, std::size_t max_bytes) {
  const std::vector<Token> target{0};  // nobody looks at the loss
  std::vector<Token> context(recipe_.context, 0);
  std::string document;
  while (document.size() < max_bytes) {
    forward({1, recipe_.batch_grain, context, target});
    const std::uint32_t bits = random_bits(recipe_.seed, Stream::sampling, index, document.size());
    const Token token =
        pick_token(std::span(probabilities_).first(corpus_.vocabulary()), unit_float(bits));
    if (token == 0) break;
    document.push_back(corpus_.byte_of(token));
    std::rotate(context.begin(), context.begin() + 1, context.end());
    context.back() = token;
  }
  return document;
}

double Generator::validate(std::size_t batches) {
  double sum = 0;
  for (std::size_t i = 0; i < batches; ++i) {
    forward(batch_.draw(Corpus::Split::validation, i, {0, recipe_.batch}));
    sum += static_cast<double>(loss_sum_.total()[0]) / static_cast<double>(recipe_.batch);
  }
  return sum / static_cast<double>(batches);
}

Token pick_token(std::span<const float> probabilities, float draw) {
  float sum = 0.0F;
  std::size_t possible = 0;
  for (std::size_t token = 0; token < probabilities.size(); ++token) {
    if (probabilities[token] > 0.0F) possible = token;
    sum = sum + probabilities[token];
    if (draw < sum) return static_cast<Token>(token);
  }
  return static_cast<Token>(possible);
}

}  // namespace meshparity
