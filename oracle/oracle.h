#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

/// The independent answer: the character model in float64, from its equations, with a bound on how
/// far a float32 run of the same step may be from it. Shares names and shapes with model/, no
/// arithmetic.
namespace meshparity {

/// A tensor in float64, row-major.
struct Tensor {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> values;
};

/// Parameters by name: `embedding.weight`, `hidden.<i>.weight`, ... The number of hidden layers is
/// the number of those names.
using Tensors = std::map<std::string, Tensor>;

/// Float32 values as float64 (exact).
Tensor widened(const ParameterSpec& spec, std::span<const float> values);

/// Values, and for each how far a rounded computation of it may be away.
struct Bounded {
  std::vector<double> value;
  std::vector<double> bound;
};

/// How the judged computation adds.
enum class SumOrder {
  canonical,  ///< leaves and tree of the recipe's grains
  leaves,     ///< leaves as in the recipe, then their partial sums in any order: native reductions
  any,        ///< the terms in any order
};

/// How the judged computation rounds.
struct Arithmetic {
  /// |fl(x) - x| <= unit * |x| + underflow for one operation. `unit` includes this oracle's own
  /// rounding of the same operation.
  double unit;
  double underflow;
  /// Relative error of exp and log, likewise.
  double function_error;
};

/// The largest error in ULP that float32's exp and log may have; model/numerics/functions.h promises less.
inline constexpr double kFunctionUlp = 1.0;

/// Rounding of binary32: unit 2^-24, smallest subnormal 2^-149.
Arithmetic binary32();

/// Rounding of binary64. With it and `SumOrder::any`, the bound is on the oracle's own error.
Arithmetic binary64();

/// One sum of float32 terms, or of products by fma, and what roundings may do to it (one element).
/// Throws std::invalid_argument if the grain is 0 or the factors differ in number.
Bounded bounded_sum(std::span<const float> terms, std::size_t grain, SumOrder order);
Bounded bounded_dot(std::span<const float> a, std::span<const float> b, std::size_t grain,
                    SumOrder order);

struct ParameterStep {
  ParameterSpec spec;  ///< names and shape; `fan_in` is not set
  Bounded gradient;    ///< of the mean loss over the batch
  Bounded updated;     ///< after one step of SGD
};

/// One training step. Parameters are first layer first, as in the model.
struct OracleStep {
  Bounded loss;  ///< one element: the mean over the batch
  std::vector<ParameterStep> parameters;
};

/// One step of SGD from `parameters` (which the judged computation holds exactly) on a batch.
/// Of the recipe only the grains and the learning rate are read.
/// Throws std::invalid_argument if names, shapes, tokens or targets do not fit together, and
/// std::overflow_error if a sum is so long that no bound holds (half of 2^24 terms in a chain).
OracleStep oracle_step(const Recipe& recipe, const Tensors& parameters, const Batch& batch,
                       SumOrder order = SumOrder::canonical,
                       const Arithmetic& arithmetic = binary32());

/// The forward pass alone.
struct OracleForward {
  double loss = 0;
  std::vector<double> logits;  ///< (samples, vocabulary)
  std::vector<bool> active;    ///< the sign of every ReLU's input: where equal, no kink was crossed
};
OracleForward oracle_forward(const Tensors& parameters, const Batch& batch);

}  // namespace meshparity
