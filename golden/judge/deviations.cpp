#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "golden/judge/suspects.h"

/// Operations that are computed otherwise.
namespace meshparity {
namespace {

struct Suspect {
  Deviation deviation;
  Mistake mistake;
  /// What it may touch, where all operations are recorded: parts of tensors' names.
  std::vector<std::string> places;
};

const std::vector<std::string> kAttention = {"attn.c_proj", "attn.c_attn"};

std::vector<Suspect> of_functions(const RecordedModel& model, std::size_t channels,
                                  std::size_t positions) {
  std::vector<Suspect> suspects;
  for (const double epsilon : {1e-3, 1e-5, 1e-6, 1e-8, 1e-12, 0.0}) {
    if (epsilon == model.epsilon) continue;
    Suspect& s = suspects.emplace_back();
    s.deviation.epsilon = epsilon;
    s.mistake = {"eps-other", fmt::format("what layer norms with eps = {:g} give", epsilon),
                 fmt::format("eps is {:g} instead of {:g}", epsilon, model.epsilon), ""};
    s.places = {"ln_"};
  }
  Suspect& gelu = suspects.emplace_back();
  gelu.deviation.other_gelu = true;
  const bool erf = model.gelu == RecordedModel::Gelu::erf;
  gelu.mistake = {"gelu-other", fmt::format("what GELU by {} gives", erf ? "tanh" : "erf"),
                  fmt::format("GELU is computed by {}", erf ? "tanh" : "erf"), ""};
  gelu.places = {"mlp.c_proj", "mlp.c_fc"};
  for (const auto& [future, what] :
       {std::pair(positions, "what attention without its mask gives"),
        std::pair(std::size_t{1}, "what attention that sees one position more gives")}) {
    Suspect& mask = suspects.emplace_back();
    mask.deviation.future = future;
    mask.mistake = {"mask-missing", what, "positions see those after them", "C08, I10"};
    mask.places = kAttention;
  }
  const double heads = static_cast<double>(std::max<std::size_t>(model.heads, 1));
  const double root = std::sqrt(static_cast<double>(channels) / heads);
  for (const auto& [factor, what] :
       {std::pair(root, "scores are not divided by the root of a head's size"),
        std::pair(1 / root, "scores are divided by a head's size, not by its root"),
        std::pair(1 / std::sqrt(heads), "scores are divided by the root of all channels")}) {
    Suspect& s = suspects.emplace_back();
    s.deviation.score_factor = factor;
    s.mistake = {"scale-missing",
                 fmt::format("what attention with scores {:.6f} x as large gives", factor), what,
                 "B15"};
    s.places = kAttention;
  }
  return suspects;
}

std::vector<Suspect> of_positions_and_targets() {
  std::vector<Suspect> suspects;
  const auto add = [&](const Deviation& deviation, Mistake mistake,
                       std::vector<std::string> places) {
    suspects.push_back({deviation, std::move(mistake), std::move(places)});
  };
  const std::vector<std::string> embedding = {"embedding", "wpe", "h.0.ln_1"};
  const std::vector<std::string> loss = {"loss", "lm_head", "output/output"};
  add({.position = 1},
      {"position-shifted", "what positions counted from 1 give", "positions begin at 1",
       "B14, C07"},
      embedding);
  add({.position_swapped = true},
      {"position-shifted", "what rows taken for (positions, samples) give",
       "samples and positions are swapped", "B14"},
      embedding);
  add({.target = -1},
      {"targets-not-shifted", "what each token as its own target gives", "targets are not shifted",
       ""},
      loss);
  add({.target = 1},
      {"targets-shifted-twice", "what targets one position later give", "targets are shifted twice",
       ""},
      loss);
  add({.absent_targets = true},
      {"absent-targets-counted", "the mean over all rows",
       "rows without a target count in the mean", "A09, A11"},
      loss);
  return suspects;
}

/// What tensor parallelism over `size` ranks may do to sums over them.
std::vector<Suspect> of_sums(std::size_t size, const std::string& name) {
  std::vector<Suspect> suspects;
  const std::vector<std::string> rows_cut = {"c_proj", "residual", "ln_2", "h.", "ln_f"};
  const std::vector<std::string> columns_cut = {"c_attn", "c_fc", "lm_head", "ln_", "residual"};
  const auto k = static_cast<double>(size);
  const auto add = [&](const Deviation& deviation, Mistake mistake,
                       const std::vector<std::string>& places) {
    suspects.push_back({deviation, std::move(mistake), places});
  };
  add({.output_bias = k},
      {"bias-counted-again", fmt::format("the sum with the bias counted {} times", size),
       "added on every rank before the sum over " + name, "B01"},
      rows_cut);
  add({.output_bias = 1 / k},
      {"bias-divided", fmt::format("the sum with 1/{} of the bias", size),
       "the bias is shared out over " + name + ", and not added up", "B02"},
      rows_cut);
  add({.output_product = 1 / k},
      {"divided-twice", fmt::format("1/{} of the product, and the bias", size),
       "partial sums are averaged over " + name + " instead of added", "H01"},
      rows_cut);
  add({.output_product = k},
      {"summed-over-axis-again", fmt::format("{} x the product, and the bias", size),
       "what is whole is added up again over " + name, "A14"},
      rows_cut);
  for (const bool cut : {false, true}) {
    add({.output_rounded = size, .rounded_down = cut},
        {"rounded-to-bf16",
         fmt::format("{} partial sums, each {} to bfloat16", size, cut ? "cut off" : "rounded"),
         "partial sums over " + name + " are sent in bfloat16", "B10"},
        rows_cut);
  }
  add({.input_product = 1 / k},
      {"divided-twice", fmt::format("what 1/{} of an input gradient gives", size),
       "partial input gradients are averaged over " + name + " instead of added", "H01"},
      columns_cut);
  add({.input_product = k},
      {"summed-over-axis-again", fmt::format("what {} x an input gradient gives", size),
       "an input gradient that is whole is added up again over " + name, "A14, A15"},
      columns_cut);
  for (std::size_t i = 0; i < size; ++i) {
    const std::string part = fmt::format("part {} of {}", i + 1, size);
    add({.output_part = {i, size}},
        {"partial-sum", "the product over " + part + " of the features, and the bias",
         "partial sums are not added up over " + name, "B03"},
        rows_cut);
    add({.input_part = {i, size}},
        {"partial-sum", "the input gradient of " + part + " of the features alone",
         "partial input gradients are not added up over " + name, "A15, B03, B08"},
        columns_cut);
  }
  add({.softmax_counted = k},
      {"softmax-counted-again", fmt::format("what {} x the softmax's denominator gives", size),
       "logits that are whole are added up again over " + name, "A12, A13"},
      {"loss", "lm_head"});
  return suspects;
}

std::vector<Suspect> suspects_of(const RecordedStep& step, const std::vector<NamedSize>& sizes) {
  std::vector<Suspect> suspects;
  if (step.model.kind == RecordedModel::Kind::gpt2) {
    const RecordedTensor* const wte = step.find("param/wte.weight");
    suspects = of_functions(step.model, wte == nullptr ? step.model.heads : wte->columns(),
                            step.positions);
    std::vector<std::size_t> groups = {step.model.heads};
    for (const NamedSize& size : sizes) {
      if (!size.of_targets) groups.push_back(static_cast<std::size_t>(size.size));
    }
    for (const std::size_t number : groups) {
      if (number < 2 || step.model.heads % number != 0) continue;
      Suspect& joined = suspects.emplace_back();
      joined.deviation.head_groups = number;
      joined.mistake = {
          "permuted-columns",
          fmt::format("what attention with columns cut into {} equal parts gives", number),
          "query, key and value columns are taken in another order", "B04"};
      joined.places = kAttention;
    }
  }
  for (Suspect& s : of_positions_and_targets()) suspects.push_back(std::move(s));
  constexpr double kMostRanks = 8;
  for (const NamedSize& size : sizes) {
    if (size.of_targets || size.size > kMostRanks) continue;
    const auto of_size = of_sums(static_cast<std::size_t>(size.size), size.name);
    suspects.insert(suspects.end(), of_size.begin(), of_size.end());
  }
  return suspects;
}

}  // namespace

void try_deviations(const RecordedStep& step, const std::string& tensor,
                    const std::vector<NamedSize>& sizes, Hypotheses& hypotheses) {
  const bool is_gradient = tensor.starts_with("grad/");
  const std::string parameter = is_gradient ? tensor.substr(tensor.find('/') + 1) : "";
  const auto values_of = [&](const Deviation& deviation) {
    StepValues values(step, deviation);
    return is_gradient ? values.gradient(parameter, values.row_weights())
                       : values.computed(tensor).value;
  };
  if (!is_gradient && !StepValues(step).knows(tensor)) return;
  const bool all_recorded = step.find("input/h.0.mlp.c_proj") != nullptr;
  const std::vector<double> right = values_of({});
  for (const Suspect& suspect : suspects_of(step, sizes)) {
    const bool may_touch =
        !all_recorded || std::ranges::any_of(suspect.places, [&](const std::string& place) {
          return tensor.find(place) != std::string::npos;
        });
    if (!may_touch) continue;
    const std::vector<double> values = values_of(suspect.deviation);
    if (values != right) hypotheses.try_values(suspect.mistake, values);
  }
}

void try_stale_parameters(const RecordedStep& step, const std::string& tensor,
                          const RecordedStep& before, Hypotheses& hypotheses) {
  RecordedStep stale = step;
  for (auto& [name, values] : stale.tensors) {
    const RecordedTensor* const earlier = before.find(name);
    if (name.starts_with("param/") && earlier != nullptr) values = *earlier;
  }
  StepValues values(stale);
  if (!values.knows(tensor)) return;
  const Mistake mistake{"stale-parameter", "what the parameters of the step before give",
                        "an update does not reach the copies that are computed with",
                        "E05, E22, D14"};
  const std::vector<double> computed = values.computed(tensor).value;
  hypotheses.try_values(mistake, computed);
  hypotheses.try_values_in_pieces(mistake, computed);
  Mistake some = mistake;
  some.what += ", in some elements";
  hypotheses.try_values_by_element(some, computed);
}

void try_addends(const RecordedStep& step, const std::string& tensor, Hypotheses& hypotheses) {
  StepValues values(step);
  if (!tensor.starts_with("output/") || !values.knows(tensor)) return;
  const std::size_t at = tensor.find(".residual_");
  const bool is_stream = at != std::string::npos;
  const std::string branch = tensor.ends_with("_1") ? ".attn.c_proj" : ".mlp.c_proj";
  const std::string operation = is_stream ? tensor.substr(7, at - 7) + branch : tensor.substr(7);
  const auto bias = values.bias_of(operation);
  const bool linear = step.find("param/" + operation + ".weight") != nullptr &&
                      operation.find("ln_") == std::string::npos && operation != "embedding" &&
                      operation != "lm_head";
  if (!linear || !bias) return;
  const BoundedMatrix product = values.operations().linear(values.at("input/" + operation),
                                                           values.parameter(operation + ".weight"),
                                                           values.output_input(operation), nullptr);
  std::vector<Term> terms = {{"the product", product.value}, {"the bias", {}}};
  for (std::size_t i = 0; i < product.value.size(); ++i) {
    terms[1].values.push_back(bias->value[i % product.columns]);
  }
  if (is_stream) {
    std::vector<double> stream = values.computed(tensor).value;
    for (std::size_t i = 0; i < stream.size(); ++i) {
      stream[i] -= terms[0].values[i] + terms[1].values[i];
    }
    terms.push_back({"the residual stream", std::move(stream)});
  }
  hypotheses.try_sum(
      {{"addend-missing", "", "other addends are missing", "B01"},
       {"addend-missing", "", "an addend is missing", ""},
       {"addend-counted-again", "", "an addend is there another number of times", "B01, H01"},
       {"addends-weighted", "", "addends have other weights", ""}},
      terms, {});
}

}  // namespace meshparity
