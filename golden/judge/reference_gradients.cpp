#include "golden/judge/judging.h"
#include "golden/judge/model_walk.h"
#include "golden/judge/verdict.h"

namespace meshparity {
namespace {

/// Takes what the walk itself has computed.
class ReferenceOperands final : public Operands {
 public:
  ReferenceOperands(const RecordedStep& step, ReferenceGradients& results)
      : step_(step), results_(results) {}

  void give(const std::string& tensor, const std::string& /*kind*/,
            BoundedMatrix computed) override {
    widths_[tensor] = computed.columns;
    results_.activations[tensor] = std::move(computed.value);
  }
  BoundedMatrix take(const std::string& tensor) override {
    return {step_.rows(), widths_.at(tensor), results_.activations.at(tensor), {}};
  }
  void give_losses(const BoundedMatrix& /*losses*/) override {}
  void give_gradient(const std::string& name, const std::string& /*kind*/,
                     BoundedMatrix computed) override {
    results_.gradients[name] = std::move(computed.value);
  }
  BoundedMatrix parameter(const std::string& name) override {
    return matrix_of(step_.tensors.at("param/" + name));
  }

 private:
  const RecordedStep& step_;
  ReferenceGradients& results_;
  std::map<std::string, std::size_t> widths_;
};

}  // namespace

ReferenceGradients reference_gradients(const RecordedStep& step,
                                       const std::vector<double>& weights) {
  ReferenceGradients results;
  ReferenceOperands operands(step, results);
  const std::vector<double> ones(step.rows(), 1.0);
  walk_model(step, Operations(FreeArithmetic::float32()), {weights, ones, 1}, operands);
  return results;
}

}  // namespace meshparity
