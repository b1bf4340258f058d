#pragma once

#include <Eigen/Core>
#include <vector>

#include "model/corpus.h"
#include "oracle/oracle.h"

/// The model's equations in float64. Inside oracle/ only: the one place that knows Eigen.
namespace meshparity::equations {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Linear layer i is `weights[i]` (inputs, outputs) and `biases[i]` (1, outputs); the last one
/// makes the logits, each one before it is followed by a ReLU.
struct Network {
  Matrix embedding;  // (V, E)
  std::vector<Matrix> weights;
  std::vector<Matrix> biases;
};

/// Throws std::invalid_argument unless names, shapes, tokens and targets fit together.
Network network_of(const Tensors& parameters, const Batch& batch);

struct Forward {
  std::vector<Matrix> inputs;  // X_i, (B, inputs of layer i)
  std::vector<Matrix> sums;    // Z_i = X_i W_i + b_i; the last are the logits
  Matrix probabilities;        // (B, V)
  Matrix losses;               // (B, 1)
  double loss = 0;
};

struct Backward {
  std::vector<Matrix> sum_gradients;    // dZ_i
  std::vector<Matrix> input_gradients;  // dX_i
  Network gradients;
};

/// (B * context, V): row r has a 1 at the token of place r.
Matrix one_hot_tokens(const Network& network, const Batch& batch);

Forward forward(const Network& network, const Batch& batch);
Backward backward(const Network& network, const Batch& batch, const Forward& values);

}  // namespace meshparity::equations
