#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/batch.h"
#include "model/model.h"
#include "model/parameter.h"
#include "model/recipe.h"
#include "oracle/optimizer_numbers.h"

/// The independent answer: a model in float64, from its equations, with a bound on how far a
/// float32 run of the same step may be from it. Shares names and shapes with model/, no arithmetic.
namespace meshparity {

/// A tensor in float64, row-major.
struct Tensor {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> values;
};

/// Parameters by name.
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
  /// Relative error of exp, log, GELU and its derivative, likewise.
  double function_error;
};

/// The largest error in ULP that float32's functions may have; model/numerics/functions.h promises
/// less.
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

/// One parameter's update, as the judged computation holds it: exactly.
struct UpdateUnderTest {
  OptimizerKind optimizer = OptimizerKind::sgd;
  OptimizerNumbers numbers;
  bool decays = false;
  std::span<const float> values;  ///< before it
  std::span<const float> gradient;
  // Of adamw.
  std::span<const float> first_moment;  ///< before it
  std::span<const float> second_moment;
  std::span<const float> new_first_moment;  ///< what it made of them
  std::span<const float> new_second_moment;
};

/// What that may make of the parameter, each from what the computation itself had before.
struct BoundedUpdate {
  Bounded values;
  Bounded first_moment;  ///< empty without moments
  Bounded second_moment;
};
/// Throws std::invalid_argument if the tensors differ in size.
BoundedUpdate bounded_update(const UpdateUnderTest& update,
                             const Arithmetic& arithmetic = binary32());

/// One training step up to the gradients.
struct OracleStep {
  Bounded loss;                    ///< one element: the mean over the rows that have a target
  std::vector<Bounded> gradients;  ///< in the order of the model's parameters
};

/// One step from `parameters` (which the judged computation holds exactly) on a whole global
/// batch. Throws std::invalid_argument if names, shapes, tokens or targets do not fit together,
/// and std::overflow_error if a sum is so long that no bound holds (half of
/// 2^24 terms in a chain).
OracleStep oracle_step(const Model& model, const Tensors& parameters, const MicroBatch& batch,
                       SumOrder order = SumOrder::canonical,
                       const Arithmetic& arithmetic = binary32());

/// A block judged alone: what it may make of what it was given.
struct OracleBlock {
  Bounded output;
  Bounded input_gradient;  ///< empty if the block reads tokens
};

/// The same step, each block alone, from what the judged computation itself had at the block's
/// boundaries: a bound then holds no roundings but the block's own, at any depth. For the
/// gradient of a parameter, these are the roundings of the blocks that use it.
struct OracleLocal {
  std::vector<OracleBlock> blocks;
  Bounded loss;  ///< and what follows, from the logits that the computation had
  Bounded logit_gradient;
  std::vector<Bounded> gradients;  ///< in the order of the model's parameters
};

/// `values[b]` and `gradients[b]` are those of boundary b (what block b takes), (rows, width);
/// nothing stands at boundary 0. Throws as `oracle_step` does.
OracleLocal oracle_local(const Model& model, const Tensors& parameters, const MicroBatch& batch,
                         const std::vector<std::vector<float>>& values,
                         const std::vector<std::vector<float>>& gradients,
                         SumOrder order = SumOrder::canonical);

/// The forward pass alone.
struct OracleForward {
  double loss = 0;
  std::vector<double> logits;  ///< (rows, vocabulary)
  std::vector<bool> active;    ///< of every ReLU: where equal, no kink was crossed
};
OracleForward oracle_forward(const Model& model, const Tensors& parameters,
                             const MicroBatch& batch);

}  // namespace meshparity
