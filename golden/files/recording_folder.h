#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "golden/files/gpt2_names.h"
#include "model/corpus.h"
#include "model/numerics/range.h"

/// A training step as any framework recorded it (golden/RECORDINGS.md): one file, or one for each
/// rank, put together.
namespace meshparity {

struct RecordedModel {
  enum class Kind { mlp, gpt2 };
  enum class Gelu { tanh, erf };
  Kind kind = Kind::gpt2;
  std::size_t layers = 0;
  std::size_t heads = 0;
  double epsilon = 1e-5;  ///< of layer norms
  Gelu gelu = Gelu::tanh;
  bool tied = true;
  bool biases = true;
  double dropout = 0;
  WeightLayout weights =
      WeightLayout::output_input;  ///< of blocks' linear layers; never of lm_head

  bool operator==(const RecordedModel&) const = default;
};

struct RecordedOptimizer {
  enum class Kind { sgd, adamw };
  Kind kind = Kind::adamw;
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  std::size_t update = 1;                           ///< its number, from 1
  std::optional<std::vector<std::string>> decayed;  ///< parameters with decay; none: all of them
};

struct RecordedClip {
  enum class Formula {
    exact,  ///< max_norm / norm
    torch,  ///< max_norm / (norm + 1e-6), the norm being that of the tensors' norms
  };
  double max_norm = 0;
  Formula formula = Formula::exact;

  /// To the norm that divides.
  double added() const { return formula == Formula::torch ? 1e-6 : 0; }
};

enum class RecordedArithmetic { float32, tf32, bf16 };

/// A microbatch.
struct RecordedPart {
  Range samples;         ///< of the global batch
  double weight = 1;     ///< what the gradient of its own backward pass is multiplied with
  std::size_t rank = 0;  ///< the first rank that recorded it
  double loss = 0;       ///< whose backward pass was run
};

/// Row-major, float32 (BF16 widened), whole.
struct RecordedTensor {
  std::vector<std::size_t> shape;
  std::vector<float> values;

  std::size_t rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  std::size_t columns() const { return shape.empty() ? 1 : shape.back(); }
};

/// Two ranks hold different values of the same element.
struct ReplicaDifference {
  std::string tensor;
  std::size_t element = 0;  ///< of the whole tensor
  std::size_t rank = 0;     ///< whose value stands in the whole tensor
  std::size_t other_rank = 0;
  float value = 0;
  float other_value = 0;
};

struct RecordedStep {
  std::size_t number = 0;
  std::size_t ranks = 1;
  RecordedModel model;
  RecordedArithmetic arithmetic = RecordedArithmetic::float32;
  std::optional<std::size_t> longest_chain;
  std::optional<RecordedOptimizer> optimizer;
  std::optional<RecordedClip> clip;
  std::map<std::string, std::size_t> axes;  ///< sizes of the mesh; no premise, for hypotheses
  std::size_t microbatches = 0;             ///< likewise; 0: not said

  std::size_t samples = 0;
  std::size_t positions = 1;        ///< rows of a sample: targets
  std::vector<RecordedPart> parts;  ///< each once, in the order of their samples
  std::vector<Token> tokens;        ///< of the global batch: (samples, tokens of a sample)
  std::vector<Token> targets;       ///< (rows); negative: none
  bool has_losses = false;
  /// By name: `param/...`, `grad/...`, `output/h.0.ln_1`, ...; prefixes of wrappers are dropped.
  /// Rows of activations are those of the global batch, in its order.
  std::map<std::string, RecordedTensor> tensors;
  std::vector<ReplicaDifference> replicas;  ///< the first of each tensor

  std::size_t rows() const { return samples * positions; }
  /// True if any tensor's name begins like this: "state_after/".
  bool has_group(const std::string& group) const {
    const auto found = tensors.lower_bound(group);
    return found != tensors.end() && found->first.starts_with(group);
  }
  const RecordedTensor* find(const std::string& name) const {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : &found->second;
  }
};

/// The steps in a folder, in order. Throws UsageError if there are none, or a file of a rank is
/// missing.
std::vector<std::size_t> recorded_steps(const std::string& folder);

/// One step, put together from its ranks. Where what the step left behind is not recorded, the next
/// step's parameters and moments are that, if it was. Takes at most twice the recording's memory.
///
/// Throws UsageError, naming file and tensor, for what is no recording of this version: truncated
/// files, ranks that disagree about the run, values that are not finite, slices that leave gaps or
/// do not fit, parts that overlap or leave gaps, tensors of foreign names or other shapes.
RecordedStep read_recorded_step(const std::string& folder, std::size_t number);

}  // namespace meshparity
