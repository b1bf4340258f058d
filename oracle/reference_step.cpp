#include "oracle/reference_step.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "oracle/canonical_reference.h"

namespace meshparity {
namespace {

/// A row-major float32 matrix.
struct Floats {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<float> values;

  Floats(std::size_t row_total, std::size_t column_total)
      : rows(row_total), columns(column_total), values(row_total * column_total) {}
  Floats(std::size_t row_total, std::size_t column_total, std::vector<float> from)
      : rows(row_total), columns(column_total), values(std::move(from)) {
    if (values.size() != rows * columns) {
      throw std::invalid_argument("a parameter has the wrong size");
    }
  }
  float& at(std::size_t row, std::size_t column) { return values[row * columns + column]; }
  float at(std::size_t row, std::size_t column) const { return values[row * columns + column]; }
};

struct Linear {
  Floats weight;
  Floats bias;
};

Floats gathered(const Floats& embedding, const Batch& batch, std::size_t context) {
  Floats input(batch.targets.size(), context * embedding.columns);
  for (std::size_t place = 0; place < batch.tokens.size(); ++place) {
    for (std::size_t e = 0; e < embedding.columns; ++e) {
      input.values[place * embedding.columns + e] =
          embedding.at(static_cast<std::size_t>(batch.tokens[place]), e);
    }
  }
  return input;
}

Floats linear(const Floats& input, const Linear& layer, std::size_t grain) {
  Floats output(input.rows, layer.weight.columns);
  for (std::size_t b = 0; b < output.rows; ++b) {
    for (std::size_t j = 0; j < output.columns; ++j) {
      output.at(b, j) = reference::canonical_dot(
                            input.columns, grain, [&](std::size_t i) { return input.at(b, i); },
                            [&](std::size_t i) { return layer.weight.at(i, j); }) +
                        layer.bias.values[j];
    }
  }
  return output;
}

void relu(Floats& values) {
  for (float& value : values.values) value = value <= 0.0F ? 0.0F : value;
}

/// Turns logits into their gradient and returns the samples' losses.
std::vector<float> cross_entropy(Floats& logits, const Batch& batch, std::size_t grain,
                                 const ElementaryFunctions& functions) {
  const float scale = 1.0F / static_cast<float>(logits.rows);
  std::vector<float> losses(logits.rows);
  for (std::size_t b = 0; b < logits.rows; ++b) {
    const auto target = static_cast<std::size_t>(batch.targets[b]);
    float maximum = logits.at(b, 0);
    for (std::size_t j = 0; j < logits.columns; ++j) maximum = std::max(maximum, logits.at(b, j));
    const float target_shifted = logits.at(b, target) - maximum;
    for (std::size_t j = 0; j < logits.columns; ++j) {
      logits.at(b, j) = functions.exp(logits.at(b, j) - maximum);
    }
    const float total = reference::canonical_row_sum(
        logits.columns, grain, [&](std::size_t j) { return logits.at(b, j); });
    losses[b] = functions.log(total) - target_shifted;
    for (std::size_t j = 0; j < logits.columns; ++j) {
      const float probability = logits.at(b, j) / total;
      logits.at(b, j) = (probability - (j == target ? 1.0F : 0.0F)) * scale;
    }
  }
  return losses;
}

Floats weight_gradient(const Floats& input, const Floats& output_gradient, std::size_t grain) {
  Floats gradient(input.columns, output_gradient.columns);
  for (std::size_t i = 0; i < gradient.rows; ++i) {
    for (std::size_t j = 0; j < gradient.columns; ++j) {
      gradient.at(i, j) = reference::canonical_dot(
          input.rows, grain, [&](std::size_t b) { return input.at(b, i); },
          [&](std::size_t b) { return output_gradient.at(b, j); });
    }
  }
  return gradient;
}

std::vector<float> bias_gradient(const Floats& output_gradient, std::size_t grain) {
  std::vector<float> gradient(output_gradient.columns);
  for (std::size_t j = 0; j < gradient.size(); ++j) {
    gradient[j] = reference::canonical_sum(output_gradient.rows, grain,
                                           [&](std::size_t b) { return output_gradient.at(b, j); });
  }
  return gradient;
}

Floats input_gradient(const Floats& output_gradient, const Floats& weight, std::size_t grain) {
  Floats gradient(output_gradient.rows, weight.rows);
  for (std::size_t b = 0; b < gradient.rows; ++b) {
    for (std::size_t i = 0; i < gradient.columns; ++i) {
      gradient.at(b, i) = reference::canonical_dot(
          weight.columns, grain, [&](std::size_t j) { return output_gradient.at(b, j); },
          [&](std::size_t j) { return weight.at(i, j); });
    }
  }
  return gradient;
}

/// A leaf adds the pieces of its samples, and of a sample its places, in order; the leaves of a
/// token that does not occur in them are +0.
Floats embedding_gradient(const Floats& pieces, const Batch& batch, std::size_t vocabulary,
                          std::size_t width, std::size_t grain) {
  const std::size_t context = batch.tokens.size() / batch.targets.size();
  const std::size_t leaves = (batch.targets.size() + grain - 1) / grain;
  Floats gradient(vocabulary, width);
  for (std::size_t token = 0; token < vocabulary; ++token) {
    for (std::size_t e = 0; e < width; ++e) {
      std::vector<float> leaf(leaves, 0.0F);
      for (std::size_t place = 0; place < batch.tokens.size(); ++place) {
        if (static_cast<std::size_t>(batch.tokens[place]) == token) {
          leaf[place / context / grain] += pieces.values[place * width + e];
        }
      }
      gradient.at(token, e) = reference::canonical_tree(leaf);
    }
  }
  return gradient;
}

void check(const Recipe& recipe, const std::vector<std::vector<float>>& parameters,
           const Batch& batch, std::size_t vocabulary) {
  const auto unknown = [&](Token token) {
    return token < 0 || static_cast<std::size_t>(token) >= vocabulary;
  };
  if (parameters.size() != 2 * recipe.layers + 3 || recipe.layers == 0 || batch.targets.empty() ||
      batch.tokens.size() != batch.targets.size() * recipe.context || vocabulary == 0 ||
      std::ranges::any_of(batch.tokens, unknown) || std::ranges::any_of(batch.targets, unknown)) {
    throw std::invalid_argument("recipe, parameters and batch do not fit together");
  }
}

}  // namespace

ReferenceStep reference_step(const Recipe& recipe,
                             const std::vector<std::vector<float>>& parameters, const Batch& batch,
                             const ElementaryFunctions& functions) {
  const std::size_t vocabulary = parameters.empty() ? 0 : parameters.back().size();
  check(recipe, parameters, batch, vocabulary);
  const Floats embedding(vocabulary, recipe.embedding, parameters[0]);
  std::vector<Linear> layers;
  std::size_t width = recipe.context * recipe.embedding;
  for (std::size_t i = 0; i <= recipe.layers; ++i) {
    const std::size_t outputs = i == recipe.layers ? vocabulary : recipe.hidden;
    layers.push_back(
        {Floats(width, outputs, parameters[1 + 2 * i]), Floats(1, outputs, parameters[2 + 2 * i])});
    width = outputs;
  }

  std::vector<Floats> inputs{gathered(embedding, batch, recipe.context)};
  for (std::size_t i = 0; i < recipe.layers; ++i) {
    inputs.push_back(linear(inputs[i], layers[i], recipe.feature_grain));
    relu(inputs.back());
  }
  Floats gradient = linear(inputs.back(), layers.back(), recipe.feature_grain);
  const std::vector<float> losses = cross_entropy(gradient, batch, recipe.vocab_grain, functions);

  ReferenceStep step;
  step.loss = reference::canonical_sum(losses, recipe.batch_grain) *
              (1.0F / static_cast<float>(losses.size()));
  step.gradients.resize(parameters.size());
  for (std::size_t i = layers.size(); i-- > 0;) {
    step.gradients[1 + 2 * i] = weight_gradient(inputs[i], gradient, recipe.batch_grain).values;
    step.gradients[2 + 2 * i] = bias_gradient(gradient, recipe.batch_grain);
    gradient = input_gradient(gradient, layers[i].weight,
                              i == recipe.layers ? recipe.vocab_grain : recipe.feature_grain);
    if (i == 0) break;
    for (std::size_t k = 0; k < gradient.values.size(); ++k) {
      if (!(inputs[i].values[k] > 0.0F)) gradient.values[k] = 0.0F;
    }
  }
  step.gradients[0] =
      embedding_gradient(gradient, batch, vocabulary, recipe.embedding, recipe.batch_grain).values;

  step.updated = parameters;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    for (std::size_t i = 0; i < parameters[p].size(); ++i) {
      step.updated[p][i] = std::fma(-recipe.lr, step.gradients[p][i], parameters[p][i]);
    }
  }
  return step;
}

}  // namespace meshparity
