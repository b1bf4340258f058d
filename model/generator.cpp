#include "model/generator.h"

#include <algorithm>

#include "model/numerics/philox.h"

namespace meshparity {

Generator::Generator(const Recipe& recipe, const Model& model, const Corpus& corpus,
                     const ParameterSource& parameters)
    : recipe_(recipe),
      corpus_(corpus),
      batches_(recipe, corpus),
      blocks_(model, {0, model.blocks.size()}, recipe.batch * batches_.positions(), alone_),
      head_(model.head, recipe.batch * batches_.positions(), alone_),
      parameters_(blocks_, parameters),
      no_gradients_(blocks_, 0),
      pass_(blocks_, batches_, recipe.batch, no_gradients_, nullptr),
      losses_(batches_.all_leaves().end, batches_.all_leaves(), 1),
      probabilities_(recipe.batch * batches_.positions() * corpus.vocabulary()) {}

void Generator::evaluate() {
  forward(blocks_, parameters_, pass_);
  losses_.start({0, pass_.batch().leaf_total()});
  head_.evaluate(pass_.batch(), pass_.output(), probabilities_, losses_);
}

std::string Generator::sample(std::uint64_t index, std::size_t max_bytes) {
  std::vector<Token> context(recipe_.context, 0);
  std::string document;
  while (document.size() < max_bytes) {
    pass_.load(context);
    evaluate();
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
    pass_.load(Corpus::Split::validation, i, {0, recipe_.batch});
    evaluate();
    sum += static_cast<double>(losses_.total()[0]) / static_cast<double>(recipe_.batch);
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
