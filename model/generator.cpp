#include "model/generator.h"

#include <algorithm>
#include <functional>
#include <limits>

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
      probabilities_(recipe.batch * batches_.positions() * corpus.vocabulary()),
      sorted_(corpus.vocabulary()) {}

void Generator::run() { forward(blocks_, parameters_, pass_); }

void Generator::evaluate() {
  losses_.start({0, pass_.batch().leaf_total()});
  head_.evaluate(pass_.batch(), pass_.output(), probabilities_, losses_);
}

void Generator::load_end(std::span<const Token> text) {
  pass_.load(text.last(std::min(text.size(), corpus_.context())));
}

Token Generator::next_token(const Sampling& how, float draw) {
  run();
  const std::size_t vocabulary = corpus_.vocabulary();
  const std::size_t last = (pass_.batch().rows() - 1) * vocabulary;
  if (how.temperature != 1.0F || how.top_k > 0) {
    shape_logits(pass_.output().subspan(last, vocabulary), how.temperature, how.top_k, sorted_);
  }
  evaluate();
  return pick_token(std::span(probabilities_).subspan(last, vocabulary), draw);
}

std::string Generator::sample(std::uint64_t index, const Sampling& how) {
  // A row's context is always full; other samples begin where the text does.
  const bool is_row = corpus_.positions() != corpus_.context();
  std::vector<Token> tokens(is_row ? corpus_.context() : 1, corpus_.first_token());
  std::string text;
  for (const Token token : how.prompt) {
    tokens.push_back(token);
    text += corpus_.text_of(token);
  }
  // Without documents, a text begins with its own first token.
  if (!corpus_.has_boundary() && !how.prompt.empty()) tokens.erase(tokens.begin());
  for (std::size_t i = 0; i < how.most; ++i) {
    load_end(tokens);
    const Token token =
        next_token(how, unit_float(random_bits(recipe_.seed, Stream::sampling, index, i)));
    if (corpus_.has_boundary() && token == 0) break;
    tokens.push_back(token);
    text += corpus_.text_of(token);
  }
  return text;
}

void Generator::add_losses(Validation& sum) {
  run();
  evaluate();
  for (std::size_t node = 0; node < losses_.nodes().size(); ++node) {
    sum.loss += static_cast<double>(losses_.values(node)[0]);
  }
  for (const Token target : pass_.batch().targets) sum.targets += target == kNoTarget ? 0 : 1;
}

double Generator::validate(std::size_t batches) {
  Validation sum;
  for (std::size_t i = 0; i < batches; ++i) {
    pass_.load(Corpus::Split::validation, i, {0, recipe_.batch});
    add_losses(sum);
  }
  return sum.loss / static_cast<double>(sum.targets);
}

Generator::Validation Generator::validate_all() {
  const auto split = Corpus::Split::validation;
  const std::size_t samples = corpus_.consecutive_samples(split);
  Validation sum;
  for (std::size_t begin = 0; begin < samples; begin += recipe_.batch) {
    pass_.load_consecutive(split, {begin, std::min(begin + recipe_.batch, samples)});
    add_losses(sum);
  }
  sum.loss /= static_cast<double>(sum.targets);
  return sum;
}

void shape_logits(std::span<float> logits, float temperature, std::size_t top_k,
                  std::span<float> sorted) {
  const float largest = *std::ranges::max_element(logits);
  if (top_k > 0 && top_k < logits.size()) {
    std::ranges::copy(logits, sorted.begin());
    const auto kth = sorted.begin() + static_cast<std::ptrdiff_t>(top_k - 1);
    std::nth_element(sorted.begin(), kth, sorted.begin() + std::ssize(logits), std::greater<>());
    const float least = *kth;
    const auto larger = std::ranges::count_if(logits, [&](float z) { return z > least; });
    std::size_t equals_left = top_k - static_cast<std::size_t>(larger);
    for (float& logit : logits) {
      const bool equals = logit == least && equals_left > 0;
      if (equals) --equals_left;
      if (!equals && !(logit > least)) logit = -std::numeric_limits<float>::infinity();
    }
  }
  for (float& logit : logits) logit = (logit - largest) / temperature;
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
