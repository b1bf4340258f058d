#include "golden/judge/step_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "golden/judge/attention_variant.h"
#include "golden/judge/bfloat16.h"

namespace meshparity {
namespace {

BoundedMatrix matrix_of(const RecordedTensor& tensor, std::size_t rows) {
  return exact_matrix(rows, tensor.values.size() / rows, tensor.values);
}

/// Values alone, without bounds.
BoundedMatrix scaled(BoundedMatrix x, double factor) {
  for (double& value : x.value) value *= factor;
  x.bound.clear();
  return x;
}

/// With zeros for the columns of other parts; columns are `runs` runs, each of which is cut.
BoundedMatrix of_part(BoundedMatrix x, OnePart part, std::size_t runs) {
  if (part.count == 1) return x;
  const std::size_t run = x.columns / runs;
  const std::size_t begin = part.index * run / part.count;
  const std::size_t end = (part.index + 1) * run / part.count;
  for (std::size_t i = 0; i < x.value.size(); ++i) {
    const std::size_t column = i % x.columns % run;
    if (column < begin || column >= end) x.value[i] = 0;
  }
  x.bound.clear();
  return x;
}

std::vector<std::size_t> places_of(const std::vector<Token>& tokens) {
  std::vector<std::size_t> places;
  places.reserve(tokens.size());
  for (const Token token : tokens) places.push_back(static_cast<std::size_t>(token));
  return places;
}

}  // namespace

StepValues::StepValues(const RecordedStep& step, const Deviation& deviation)
    : step_(step), deviation_(deviation), operations_(FreeArithmetic::float32()) {
  if (step.model.kind == RecordedModel::Kind::gpt2) {
    add_gpt2();
  } else {
    add_mlp();
  }
}

// -------- what follows from what

void StepValues::add_linear(const std::string& operation, bool columns_cut) {
  rule("output/" + operation, [=, this] { return projected(operation); });
  rule("grad_input/" + operation, [=, this] {
    if (columns_cut) return cut_input_gradient(operation);
    return operations_.linear_input_gradient(
        at("grad_output/" + operation), parameter(operation + ".weight"), output_input(operation));
  });
}

void StepValues::add_norm(const std::string& operation, const std::string& in) {
  const double epsilon = deviation_.epsilon.value_or(step_.model.epsilon);
  rule("output/" + operation, [=, this] {
    const auto bias = bias_of(operation);
    return operations_.layer_norm(at(in), parameter(operation + ".weight"), bias ? &*bias : nullptr,
                                  epsilon);
  });
  rule("grad_input/" + operation, [=, this] {
    return operations_.layer_norm_input_gradient(at(in), parameter(operation + ".weight"),
                                                 at("grad_output/" + operation), epsilon);
  });
}

void StepValues::add_layer(const std::string& h, const std::string& in, const std::string& out) {
  const std::string middle = "output/" + h + "residual_1";
  const std::string d_middle = "grad_" + middle;
  const std::string d_out = "grad_" + out;
  const std::string attn = h + "attn.";
  const std::string mlp = h + "mlp.";
  same(in, "input/" + h + "ln_1");
  same(middle, "input/" + h + "ln_2");
  for (const auto& [norm, next] :
       {std::pair(h + "ln_1", attn + "c_attn"), std::pair(h + "ln_2", mlp + "c_fc")}) {
    same("output/" + norm, "input/" + next);
    same("grad_input/" + next, "grad_output/" + norm);
    add_linear(next, true);
  }
  for (const std::string& branch : {attn, mlp}) add_linear(branch + "c_proj", false);
  add_norm(h + "ln_1", in);
  add_norm(h + "ln_2", middle);

  const AttentionVariant attention{{step_.positions, step_.model.heads},
                                   deviation_.future,
                                   deviation_.score_factor,
                                   deviation_.head_groups};
  rule("input/" + attn + "c_proj",
       [=, this] { return attention.forward(at("output/" + attn + "c_attn")); });
  rule(middle, [=, this] { return operations_.add(at(in), at("output/" + attn + "c_proj")); });
  rule("input/" + mlp + "c_proj",
       [=, this] { return operations_.gelu(at("output/" + mlp + "c_fc"), gelu()); });
  rule(out, [=, this] { return operations_.add(at(middle), at("output/" + mlp + "c_proj")); });

  same(d_out, "grad_output/" + mlp + "c_proj");
  same(d_middle, "grad_output/" + attn + "c_proj");
  rule("grad_output/" + mlp + "c_fc", [=, this] {
    return operations_.gelu_gradient(at("output/" + mlp + "c_fc"),
                                     at("grad_input/" + mlp + "c_proj"), gelu());
  });
  rule(d_middle, [=, this] { return operations_.add(at(d_out), at("grad_input/" + h + "ln_2")); });
  rule("grad_output/" + attn + "c_attn", [=, this] {
    return attention.backward(at("output/" + attn + "c_attn"), at("grad_input/" + attn + "c_proj"));
  });
  rule("grad_" + in,
       [=, this] { return operations_.add(at(d_middle), at("grad_input/" + h + "ln_1")); });
}

void StepValues::add_gpt2() {
  std::string in = "output/embedding";
  rule(in, [this] { return embedded(); });
  same("grad_output/embedding", "grad_output/wte");
  for (std::size_t layer = 0; layer < step_.model.layers; ++layer) {
    const std::string h = fmt::format("h.{}.", layer);
    const std::string out = "output/" + h + "residual_2";
    add_layer(h, in, out);
    in = out;
  }
  same(in, "input/ln_f");
  add_norm("ln_f", in);
  same("output/ln_f", "input/lm_head");
  same("grad_input/lm_head", "grad_output/ln_f");
  same("grad_input/ln_f", "grad_" + in);
  add_linear("lm_head", true);
  add_head("output/lm_head");
}

void StepValues::add_mlp() {
  rule("output/embedding", [this] {
    return operations_.gather(parameter("embedding.weight"), places_of(step_.tokens), step_.rows());
  });
  std::string in = "output/embedding";
  std::string before;
  for (std::size_t layer = 0;; ++layer) {
    const bool hidden = step_.find(fmt::format("param/hidden.{}.weight", layer)) != nullptr;
    const std::string operation = hidden ? fmt::format("hidden.{}", layer) : "output";
    add_linear(operation, false);
    if (before.empty()) {
      same(in, "input/" + operation);
      same("grad_input/" + operation, "grad_output/embedding");
    } else {
      rule("input/" + operation, [=, this] { return operations_.relu(at("output/" + before)); });
      rule("grad_output/" + before, [=, this] {
        return operations_.relu_gradient(at("output/" + before), at("grad_input/" + operation));
      });
    }
    before = operation;
    if (!hidden) break;
  }
  add_head("output/output");
}

void StepValues::add_head(const std::string& logits) {
  rule("loss", [=, this] { return loss(logits); });
  rule("grad_" + logits, [=, this] { return loss_gradient(logits); });
}

// -------- values

std::string StepValues::first_name(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? name : first_name(found->second);
}

bool StepValues::knows(const std::string& name) const { return rules_.contains(first_name(name)); }

BoundedMatrix StepValues::computed(const std::string& name) {
  const auto rule = rules_.find(first_name(name));
  if (rule == rules_.end()) throw std::invalid_argument("no operation makes " + name);
  BoundedMatrix result = rule->second();
  result.bound.clear();
  return result;
}

const BoundedMatrix& StepValues::at(const std::string& name) {
  const std::string first = first_name(name);
  const auto known = values_.find(first);
  if (known != values_.end()) return known->second;
  const RecordedTensor* recorded = step_.find(first);
  for (const auto& [other, its_first] : names_) {
    if (recorded == nullptr && first_name(its_first) == first) recorded = step_.find(other);
  }
  BoundedMatrix value = recorded != nullptr ? matrix_of(*recorded, step_.rows()) : computed(first);
  return values_.emplace(first, std::move(value)).first->second;
}

BoundedMatrix StepValues::parameter(const std::string& name) const {
  const bool tied_head = name == "lm_head.weight" && step_.model.tied;
  const RecordedTensor* const found = step_.find("param/" + (tied_head ? "wte.weight" : name));
  if (found == nullptr) throw std::invalid_argument(name + " was not recorded");
  return matrix_of(*found, found->rows());
}

std::optional<BoundedMatrix> StepValues::bias_of(const std::string& operation) const {
  if (step_.find("param/" + operation + ".bias") == nullptr) return std::nullopt;
  return parameter(operation + ".bias");
}

bool StepValues::output_input(const std::string& operation) const {
  return operation == "lm_head" || step_.model.weights == WeightLayout::output_input;
}

std::vector<std::size_t> StepValues::positions() const {
  const auto rows = static_cast<std::ptrdiff_t>(step_.find("param/wpe.weight")->rows());
  std::vector<std::size_t> places;
  for (std::size_t row = 0; row < step_.rows(); ++row) {
    const std::size_t of_row =
        deviation_.position_swapped ? row / step_.samples : row % step_.positions;
    const auto position = static_cast<std::ptrdiff_t>(of_row) + deviation_.position;
    places.push_back(static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(position, 0, rows - 1)));
  }
  return places;
}

BoundedMatrix StepValues::embedded() const {
  return operations_.add(
      operations_.gather(parameter("wte.weight"), places_of(step_.tokens), step_.rows()),
      operations_.gather(parameter("wpe.weight"), positions(), step_.rows()));
}

BoundedMatrix StepValues::projected(const std::string& operation) {
  const BoundedMatrix& x = at("input/" + operation);
  const BoundedMatrix w = parameter(operation + ".weight");
  const auto bias = bias_of(operation);
  const Deviation& d = deviation_;
  const bool cut = operation.ends_with(".c_proj");
  const std::size_t rounded = cut ? d.output_rounded : 0;
  const bool otherwise = cut && (d.output_bias != 1 || d.output_product != 1 ||
                                 d.output_part.count > 1 || rounded > 0);
  if (!otherwise) {
    return operations_.linear(x, w, output_input(operation), bias ? &*bias : nullptr);
  }
  BoundedMatrix y{x.rows, output_input(operation) ? w.rows : w.columns, {}, {}};
  y.value.assign(y.rows * y.columns, 0.0);
  for (std::size_t part = 0; part < std::max<std::size_t>(rounded, 1); ++part) {
    const OnePart one = rounded > 0 ? OnePart{part, rounded} : d.output_part;
    const BoundedMatrix product =
        operations_.linear(of_part(x, one, 1), w, output_input(operation), nullptr);
    for (std::size_t i = 0; i < y.value.size(); ++i) {
      const double term = d.output_product * product.value[i];
      y.value[i] += rounded == 0     ? term
                    : d.rounded_down ? cut_to_bfloat16(term)
                                     : rounded_to_bfloat16(term);
    }
  }
  for (std::size_t i = 0; bias && i < y.value.size(); ++i) {
    y.value[i] += d.output_bias * bias->value[i % y.columns];
  }
  return y;
}

BoundedMatrix StepValues::cut_input_gradient(const std::string& operation) {
  // A rank has its heads' columns of each of query, key and value.
  const std::size_t runs = operation.ends_with(".c_attn") ? 3 : 1;
  const BoundedMatrix& dy = at("grad_output/" + operation);
  BoundedMatrix dx =
      operations_.linear_input_gradient(of_part(dy, deviation_.input_part, runs),
                                        parameter(operation + ".weight"), output_input(operation));
  return deviation_.input_product == 1 ? dx : scaled(std::move(dx), deviation_.input_product);
}

GeluForm StepValues::gelu() const {
  const bool erf = step_.model.gelu == RecordedModel::Gelu::erf;
  return erf != deviation_.other_gelu ? GeluForm::erf : GeluForm::tanh;
}

std::vector<int> StepValues::targets() const {
  std::vector<int> targets(step_.targets.begin(), step_.targets.end());
  if (deviation_.target == 0) return targets;
  const std::size_t context = step_.tokens.size() / std::max<std::size_t>(targets.size(), 1);
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const auto position = static_cast<std::ptrdiff_t>(row % step_.positions) + deviation_.target;
    const bool before = deviation_.target < 0;  // by one: the token itself
    if (targets[row] < 0) continue;
    targets[row] = before ? step_.tokens[(row + 1) * context - 1]
                   : position < static_cast<std::ptrdiff_t>(step_.positions)
                       ? step_.targets[row + static_cast<std::size_t>(deviation_.target)]
                       : -1;
  }
  return targets;
}

std::vector<double> StepValues::row_weights() const {
  std::vector<double> weights(step_.rows());
  for (const RecordedPart& part : step_.parts) {
    for (std::size_t row = part.samples.begin * step_.positions;
         row < part.samples.end * step_.positions; ++row) {
      weights[row] = part.weight;
    }
  }
  return weights;
}

std::vector<double> StepValues::loss_scales() const {
  const auto absent = std::ranges::count_if(step_.targets, [](Token t) { return t < 0; });
  const std::size_t valid = deviation_.absent_targets
                                ? step_.targets.size()
                                : step_.targets.size() - static_cast<std::size_t>(absent);
  std::vector<double> scales = row_weights();
  for (double& scale : scales) {
    scale = valid == 0 || scale == 0 ? 0 : 1 / (static_cast<double>(valid) * scale);
  }
  return scales;
}

std::vector<double> StepValues::losses(const std::string& logits) {
  std::vector<double> losses = operations_.cross_entropy(at(logits), targets()).value;
  const double more = std::log(deviation_.softmax_counted);
  const std::vector<int> wanted = targets();
  for (std::size_t row = 0; row < losses.size(); ++row) losses[row] += wanted[row] < 0 ? 0 : more;
  return losses;
}

BoundedMatrix StepValues::loss(const std::string& logits) {
  const std::vector<double> of_rows = losses(logits);
  const std::vector<double> scales = loss_scales();
  BoundedMatrix loss{1, step_.parts.size(), {}, {}};
  for (const RecordedPart& part : step_.parts) {
    double sum = 0;
    for (std::size_t row = part.samples.begin * step_.positions;
         row < part.samples.end * step_.positions; ++row) {
      sum += scales[row] * of_rows[row];
    }
    loss.value.push_back(sum);
  }
  return loss;
}

BoundedMatrix StepValues::loss_gradient(const std::string& logits) {
  const std::vector<int> wanted = targets();
  const std::vector<double> scales = loss_scales();
  BoundedMatrix gradient = operations_.cross_entropy_gradient(at(logits), wanted, scales);
  if (deviation_.softmax_counted == 1) return gradient;
  for (std::size_t row = 0; row < gradient.rows; ++row) {
    double* const of_row = gradient.value.data() + row * gradient.columns;
    for (std::size_t v = 0; v < gradient.columns; ++v) {
      const double target = static_cast<int>(v) == wanted[row] ? scales[row] : 0;
      of_row[v] = (of_row[v] + target) / deviation_.softmax_counted - target;
    }
  }
  return gradient;
}

std::vector<double> StepValues::gradient(const std::string& parameter_name,
                                         std::span<const double> row_weights, Use use) {
  const RowWeights weights{row_weights};
  const std::string operation = parameter_name.substr(0, parameter_name.rfind('.'));
  const bool is_bias = parameter_name.ends_with(".bias");
  if (operation == "wte" || operation == "wpe" || operation == "embedding") {
    const std::size_t table = parameter(parameter_name).rows;
    const auto places = operation == "wpe" ? positions() : places_of(step_.tokens);
    std::vector<double> sum;
    if (use != Use::head) {
      sum = operations_.scatter(at("grad_output/embedding"), places, table, weights).value;
    }
    const bool has_head = operation == "wte" && step_.model.tied;
    if (!has_head || use == Use::embedding) return sum;
    std::vector<double> head = gradient("lm_head.weight", row_weights);
    for (std::size_t i = 0; i < sum.size(); ++i) head[i] += sum[i];
    return head;
  }
  const BoundedMatrix& dy = at("grad_output/" + operation);
  if (is_bias) return operations_.bias_gradient(dy, weights).value;
  const BoundedMatrix& x = at("input/" + operation);
  if (operation.find("ln_") != std::string::npos) {
    const double epsilon = deviation_.epsilon.value_or(step_.model.epsilon);
    return operations_.layer_norm_gain_gradient(x, dy, epsilon, weights).value;
  }
  return operations_.linear_weight_gradient(x, dy, output_input(operation), weights).value;
}

}  // namespace meshparity
