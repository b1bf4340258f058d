#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "golden/files/recording_folder.h"
#include "oracle/operations.h"

/// What a recorded step should hold, or would hold if something were computed otherwise.
namespace meshparity {

/// One of several equal parts of something: of a layer's features on the ranks of a group.
struct OnePart {
  std::size_t index = 0;
  std::size_t count = 1;
};

/// How a model may be computed otherwise than its recording says. Tensor parallelism cuts two
/// layers of a branch: `c_attn` and `c_fc` (and the head) by columns, whose input gradients are
/// then sums over ranks; `c_proj` by rows, whose outputs are.
struct Deviation {
  std::optional<double> epsilon{};  ///< of layer norms
  bool other_gelu = false;
  std::size_t future = 0;          ///< positions that each one sees after itself
  double score_factor = 1;         ///< of attention's scores
  std::size_t head_groups = 1;     ///< query | key | value columns of this many groups of heads
  std::ptrdiff_t position = 0;     ///< added to each row's position
  bool position_swapped = false;   ///< rows are taken for (positions, samples)
  std::ptrdiff_t target = 0;       ///< targets are taken from this many places later
  bool absent_targets = false;     ///< rows without a target count in the mean
  double softmax_counted = 1;      ///< the denominators of the loss's softmax are this many times
  double output_bias = 1;          ///< multiples of the row-cut layers' biases
  double output_product = 1;       ///< and of their products
  OnePart output_part{};           ///< of their products alone
  std::size_t output_rounded = 0;  ///< this many parts of it, each rounded to bfloat16
  bool rounded_down = false;       ///< or cut off
  double input_product = 1;        ///< multiple of the column-cut layers' input gradients
  OnePart input_part{};            ///< of those alone
};

/// Tensors of a step in float64, by the names of a recording: the recorded ones as they are, the
/// others computed from those before them.
class StepValues {
 public:
  /// `step` must outlive it.
  explicit StepValues(const RecordedStep& step, const Deviation& deviation = {});
  StepValues(const StepValues&) = delete;
  StepValues& operator=(const StepValues&) = delete;

  /// False of names that no operation has; also of `param/...`, `grad/...` and the like.
  bool knows(const std::string& name) const;
  /// What `name` should be, from what stands before it: not what was recorded.
  BoundedMatrix computed(const std::string& name);
  /// What was recorded as `name`; what was not, as it would follow from what was.
  const BoundedMatrix& at(const std::string& name);

  /// The gradient of a parameter, rows of the batch weighted. Of a tied `wte.weight` one use alone
  /// may be asked for.
  enum class Use { all, embedding, head };
  std::vector<double> gradient(const std::string& parameter, std::span<const double> weights,
                               Use use = Use::all);
  /// The weights of the whole gradient: those of the rows' parts.
  std::vector<double> row_weights() const;

  BoundedMatrix parameter(const std::string& name) const;
  /// Null if the recording has no such parameter.
  std::optional<BoundedMatrix> bias_of(const std::string& operation) const;
  const Operations& operations() const { return operations_; }
  const RecordedStep& step() const { return step_; }
  /// (outputs, inputs) rather than (inputs, outputs).
  bool output_input(const std::string& operation) const;

 private:
  using Rule = std::function<BoundedMatrix()>;

  void add_gpt2();
  void add_layer(const std::string& h, const std::string& in, const std::string& out);
  void add_mlp();
  void add_head(const std::string& logits);
  void add_norm(const std::string& operation, const std::string& in);
  void add_linear(const std::string& operation, bool columns_cut);
  void rule(const std::string& name, Rule compute) { rules_[name] = std::move(compute); }
  /// Two names of one tensor: the first one has the rule.
  void same(const std::string& name, const std::string& other) { names_[other] = name; }
  std::string first_name(const std::string& name) const;

  BoundedMatrix embedded() const;
  BoundedMatrix projected(const std::string& operation);
  BoundedMatrix cut_input_gradient(const std::string& operation);
  BoundedMatrix loss(const std::string& logits);
  std::vector<double> losses(const std::string& logits);
  BoundedMatrix loss_gradient(const std::string& logits);
  std::vector<int> targets() const;
  /// Of each row's loss in its part's own loss.
  std::vector<double> loss_scales() const;
  std::vector<std::size_t> positions() const;
  GeluForm gelu() const;

  const RecordedStep& step_;
  Deviation deviation_;
  Operations operations_;
  std::map<std::string, Rule> rules_;
  std::map<std::string, std::string> names_;
  std::map<std::string, BoundedMatrix> values_;
};

}  // namespace meshparity
