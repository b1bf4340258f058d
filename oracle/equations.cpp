#include "oracle/equations.h"

#include <stdexcept>
#include <string>

namespace meshparity::equations {
namespace {

using Index = Eigen::Index;

Matrix matrix_of(const Tensors& parameters, const std::string& name) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) throw std::invalid_argument("no parameter " + name);
  const Tensor& tensor = found->second;
  if (tensor.values.size() != tensor.rows * tensor.columns || tensor.values.empty()) {
    throw std::invalid_argument(name + " does not have rows x columns values");
  }
  return Eigen::Map<const Matrix>(tensor.values.data(), static_cast<Index>(tensor.rows),
                                  static_cast<Index>(tensor.columns));
}

void require(bool holds, const std::string& what) {
  if (!holds) throw std::invalid_argument(what);
}

Matrix relu(const Matrix& sums) { return sums.cwiseMax(0.0); }

}  // namespace

Network network_of(const Tensors& parameters, const Batch& batch) {
  Network network;
  network.embedding = matrix_of(parameters, "embedding.weight");
  std::vector<std::string> names;
  while (parameters.contains("hidden." + std::to_string(names.size()) + ".weight")) {
    names.emplace_back("hidden." + std::to_string(names.size()));
  }
  names.emplace_back("output");
  require(parameters.size() == 1 + 2 * names.size(), "there are parameters of unknown names");

  const std::size_t samples = batch.targets.size();
  require(samples > 0 && batch.tokens.size() % samples == 0 && !batch.tokens.empty(),
          "tokens are not (samples, context)");
  Index width = network.embedding.cols() * static_cast<Index>(batch.tokens.size() / samples);
  for (const std::string& name : names) {
    network.weights.push_back(matrix_of(parameters, name + ".weight"));
    network.biases.push_back(matrix_of(parameters, name + ".bias"));
    require(network.weights.back().rows() == width, name + ".weight has the wrong input width");
    width = network.weights.back().cols();
    require(network.biases.back().rows() == 1 && network.biases.back().cols() == width,
            name + ".bias does not fit its weight");
  }
  require(width == network.embedding.rows(), "the output is not as wide as the vocabulary");
  for (const auto* list : {&batch.tokens, &batch.targets}) {
    for (const Token token : *list) {
      require(token >= 0 && token < width, "token " + std::to_string(token) + " is unknown");
    }
  }
  return network;
}

Matrix one_hot_tokens(const Network& network, const Batch& batch) {
  Matrix hot = Matrix::Zero(static_cast<Index>(batch.tokens.size()), network.embedding.rows());
  for (std::size_t place = 0; place < batch.tokens.size(); ++place) {
    hot(static_cast<Index>(place), batch.tokens[place]) = 1;
  }
  return hot;
}

Forward forward(const Network& network, const Batch& batch) {
  const auto samples = static_cast<Index>(batch.targets.size());
  Forward result;

  // A token's vector is its row of the embedding; a sample's vectors are concatenated.
  Matrix vectors = one_hot_tokens(network, batch) * network.embedding;
  Matrix input = vectors.reshaped<Eigen::RowMajor>(samples, vectors.size() / samples);
  for (std::size_t i = 0; i < network.weights.size(); ++i) {
    result.inputs.push_back(input);
    result.sums.emplace_back((input * network.weights[i]).rowwise() + network.biases[i].row(0));
    input = relu(result.sums.back());
  }

  // Shifted by the row's maximum, which changes neither probabilities nor losses.
  const Matrix& logits = result.sums.back();
  const Eigen::VectorXd maxima = logits.rowwise().maxCoeff();
  const Matrix shifted = logits.colwise() - maxima;
  const Matrix powers = shifted.array().exp();
  const Eigen::VectorXd totals = powers.rowwise().sum();
  result.probabilities = powers.array().colwise() / totals.array();
  result.losses.resize(samples, 1);
  for (Index i = 0; i < samples; ++i) {
    result.losses(i, 0) =
        std::log(totals(i)) - shifted(i, batch.targets[static_cast<std::size_t>(i)]);
  }
  result.loss = result.losses.sum() / static_cast<double>(samples);
  return result;
}

Backward backward(const Network& network, const Batch& batch, const Forward& values) {
  const auto samples = static_cast<Index>(batch.targets.size());
  const std::size_t layers = network.weights.size();
  Backward result;
  result.sum_gradients.resize(layers);
  result.input_gradients.resize(layers);
  result.gradients.weights.resize(layers);
  result.gradients.biases.resize(layers);

  // d loss_i / d logit_ij = p_ij - [j is the target], and the loss is the mean over i.
  Matrix gradient = values.probabilities;
  for (Index i = 0; i < samples; ++i) {
    gradient(i, batch.targets[static_cast<std::size_t>(i)]) -= 1;
  }
  gradient /= static_cast<double>(samples);

  for (std::size_t i = layers; i-- > 0;) {
    result.sum_gradients[i] = gradient;
    result.gradients.weights[i] = values.inputs[i].transpose() * gradient;
    result.gradients.biases[i] = gradient.colwise().sum();
    result.input_gradients[i] = gradient * network.weights[i].transpose();
    if (i > 0) {
      const auto passes = (values.sums[i - 1].array() > 0).cast<double>();
      gradient = result.input_gradients[i].array() * passes;
    }
  }

  const Matrix per_place = result.input_gradients[0].reshaped<Eigen::RowMajor>(
      Eigen::AutoSize, network.embedding.cols());
  result.gradients.embedding = one_hot_tokens(network, batch).transpose() * per_place;
  return result;
}

}  // namespace meshparity::equations
