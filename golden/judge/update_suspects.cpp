#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "golden/judge/suspects.h"

/// Updates with other numbers.
namespace meshparity {
namespace {

using Values = std::vector<double>;

/// How an update may be made otherwise.
struct OtherUpdate {
  std::optional<double> update{};  ///< its number; 0: no bias correction
  std::optional<bool> decays{};
  double clip = 1;  ///< of the clip factor
  bool epsilon_in_root = false;
};

/// What an update works with.
class Update {
 public:
  Update(const RecordedStep& step, const std::string& parameter)
      : step_(step),
        parameter_(parameter),
        optimizer_(*step.optimizer),
        values_(of("param/")),
        gradient_(of("grad/")) {
    if (step.clip) clip_ = clip_of(norm_of_gradients([](const std::string&) { return 1.0; }));
    const auto& decayed = optimizer_.decayed;
    decays_ = !decayed || std::ranges::find(*decayed, parameter) != decayed->end();
  }

  Values of(const std::string& group) const {
    const RecordedTensor* const found = step_.find(group + parameter_);
    return found == nullptr ? Values{} : Values(found->values.begin(), found->values.end());
  }

  /// The norm of all gradients, the squares of each parameter's counted `count(name)` times.
  template <typename Count>
  double norm_of_gradients(Count count) const {
    double squares = 0;
    for (const auto& [name, tensor] : step_.tensors) {
      if (!name.starts_with("grad/")) continue;
      double own = 0;
      for (const float g : tensor.values) own += static_cast<double>(g) * static_cast<double>(g);
      squares += count(name.substr(name.find('/') + 1)) * own;
    }
    return std::sqrt(squares);
  }
  double clip_of(double norm) const {
    if (!step_.clip) return 1;
    return norm == 0 ? 1 : std::min(1.0, step_.clip->max_norm / (norm + step_.clip->added()));
  }

  /// (1 - beta1) x the clipped gradient, or (1 - beta2) x its square.
  Values gradient_term(bool second) const {
    Values term = gradient_;
    for (double& g : term) {
      const double clipped = clip_ * g;
      g = second ? (1 - optimizer_.beta2) * clipped * clipped : (1 - optimizer_.beta1) * clipped;
    }
    return term;
  }
  static Values added(Values x, const Values& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    return x;
  }
  Values scaled(const Values& values, double factor) const {
    Values result = values;
    for (double& x : result) x *= factor;
    return result;
  }

  /// What the update takes from the parameter, without decay.
  Values direction(const OtherUpdate& other) const {
    Values result(values_.size());
    const double clip = clip_ * other.clip;
    if (optimizer_.kind == RecordedOptimizer::Kind::sgd) {
      return scaled(gradient_, optimizer_.lr * clip);
    }
    const double t = other.update.value_or(static_cast<double>(optimizer_.update));
    const double correction1 = t > 0 ? 1 - std::pow(optimizer_.beta1, t) : 1;
    const double correction2 = t > 0 ? 1 - std::pow(optimizer_.beta2, t) : 1;
    const Values first = moment(false, clip);
    const Values second = moment(true, clip);
    for (std::size_t i = 0; i < result.size(); ++i) {
      const double v = second[i] / correction2;
      const double root = other.epsilon_in_root ? std::sqrt(v + optimizer_.epsilon)
                                                : std::sqrt(v) + optimizer_.epsilon;
      result[i] = optimizer_.lr * first[i] / correction1 / root;
    }
    return result;
  }
  Values decay() const { return scaled(values_, optimizer_.lr * optimizer_.weight_decay); }

  Values after(const OtherUpdate& other) const {
    Values result = values_;
    const Values step = direction(other);
    const Values less = decay();
    const bool decays = other.decays.value_or(decays_);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] -= step[i] + (decays ? less[i] : 0);
    }
    return result;
  }

  const RecordedStep& step() const { return step_; }
  const std::string& parameter() const { return parameter_; }
  const RecordedOptimizer& optimizer() const { return optimizer_; }
  const Values& values() const { return values_; }
  double clip() const { return clip_; }
  bool decays() const { return decays_; }

 private:
  /// After the update: as recorded, unless it is asked for with another clip factor.
  Values moment(bool second, double clip) const {
    const std::string name = second ? "exp_avg_sq/" : "exp_avg/";
    Values after = of("state_after/" + name);
    if (!after.empty() && clip == clip_) return after;
    const double beta = second ? optimizer_.beta2 : optimizer_.beta1;
    after = of("state/" + name);
    after.resize(gradient_.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
      const double g = clip * gradient_[i];
      after[i] = beta * after[i] + (1 - beta) * (second ? g * g : g);
    }
    return after;
  }

  const RecordedStep& step_;
  std::string parameter_;
  const RecordedOptimizer& optimizer_;
  Values values_;
  Values gradient_;
  double clip_ = 1;
  bool decays_ = true;
};

/// Tensor parallelism cuts these; all ranks have the others whole. Some cut the vocabulary, too.
bool is_cut(const std::string& parameter, bool vocabulary) {
  const auto has = [&](const char* part) { return parameter.find(part) != std::string::npos; };
  return has("c_attn.") || has("c_fc.") || has("c_proj.weight") ||
         (vocabulary && (has("wte.") || has("lm_head.")));
}

struct OtherClip {
  double factor;  ///< of the right clip factor
  Mistake mistake;
};

std::vector<OtherClip> other_clips(const Update& update, const std::vector<NamedSize>& sizes) {
  std::vector<OtherClip> clips;
  if (!update.step().clip) return clips;
  const auto add = [&](double clip, const std::string& id, const std::string& what,
                       const std::string& catalogue) {
    if (std::abs(clip / update.clip() - 1) < 1e-6) return;
    clips.push_back(
        {clip / update.clip(),
         {id,
          fmt::format("the update with clip factor {:.6g} instead of {:.6g}", clip, update.clip()),
          what, catalogue}});
  };
  const auto norm = [&](auto count) { return update.norm_of_gradients(count); };
  add(1, "not-clipped", "the gradient is not clipped", "E09");
  add(update.clip() * update.clip(), "clipped-twice", "the gradient is clipped twice", "");
  add(update.clip_of(
          norm([&](const std::string& p) { return p == update.parameter() ? 1.0 : 0.0; })),
      "clipped-per-tensor", "the gradient is clipped by the norm of this tensor alone", "");
  const std::string other = "clipped-by-part-norm";
  // Squares of what ranks share out, and of what each has whole, counted otherwise than once.
  const auto add_counted = [&](double shared, double whole, const std::string& what,
                               const std::string& catalogue) {
    for (const bool vocabulary : {false, true}) {
      add(update.clip_of(
              norm([&](const std::string& p) { return is_cut(p, vocabulary) ? shared : whole; })),
          other, what, catalogue);
    }
  };
  add_counted(1, 0, "the norm leaves out the parameters that every rank has whole", "I01, I02");
  add_counted(0, 1, "the norm leaves out the parameters that ranks share out", "B06");
  for (const NamedSize& size : sizes) {
    const double k = size.size;
    if (size.of_targets) continue;
    add_counted(1, k, "the norm counts what every rank has whole once for each of " + size.name,
                "B05, I11");
    add_counted(k, k, "the norm counts all gradients once for each of " + size.name, "B07, E18");
    add_counted(1 / k, 1 / k, "the norm is that of one of " + size.name, "B06");
    add_counted(1 / k, 1, "the norm counts the share of one of " + size.name, "B06, I01");
  }
  return clips;
}

void try_moment(const Update& update, const std::vector<OtherClip>& clips, bool second,
                Hypotheses& hypotheses) {
  const RecordedOptimizer& optimizer = update.optimizer();
  const double beta = second ? optimizer.beta2 : optimizer.beta1;
  Values before = update.of(second ? "state/exp_avg_sq/" : "state/exp_avg/");
  before.resize(update.values().size());
  const Values gradient = update.gradient_term(second);
  const Values kept = update.scaled(before, beta);
  std::vector<SumPattern> patterns;
  for (const OtherClip& clip : clips) {
    const double multiple = second ? clip.factor * clip.factor : clip.factor;
    patterns.push_back({clip.mistake, {multiple}});
    Values values = kept;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += multiple * gradient[i];
    hypotheses.try_values_in_pieces(clip.mistake, values);
  }
  const Mistake another{"clipped-by-part-norm", "",
                        "the gradient is multiplied with another number: clipped by another norm",
                        "B05, B06, B07, E09, E18, I01, I02"};
  hypotheses.try_sum({another, another, another, another}, {{"the gradient", gradient}}, patterns,
                     kept);
  Mistake of_ranks = another;
  of_ranks.what = "the gradient";
  of_ranks.why = "ranks clip by norms of their own";
  hypotheses.try_multiples_in_pieces(of_ranks, gradient, kept);
  const Mistake lost{"moment-lost", "", "a part of the moment is missing", "G03"};
  const Mistake weighted{"moment-weighted", "", "other decay rates, or another gradient", ""};
  if (std::ranges::any_of(kept, [](double m) { return m != 0; })) {
    hypotheses.try_sum({lost, lost, weighted, weighted},
                       {{"the gradient", gradient}, {"the moment before", kept}}, {});
  }
  if (second || optimizer.weight_decay == 0) return;
  const Mistake coupled{"decay-coupled", "",
                        "decay is added to the gradient (L2), not to the update", ""};
  hypotheses.try_sum(
      {coupled, coupled, coupled, coupled},
      {{"the decay", update.scaled(update.values(), (1 - beta) * optimizer.weight_decay), 0}}, {},
      update.added(kept, gradient));
}

void try_values_after(const Update& update, const std::vector<OtherClip>& clips,
                      Hypotheses& hypotheses) {
  const RecordedOptimizer& optimizer = update.optimizer();
  const auto number = static_cast<double>(optimizer.update);
  hypotheses.try_values({"no-update", "the parameter before the step", "it was not updated", "E05"},
                        update.values());
  const auto test = [&](const OtherUpdate& other, const Mistake& mistake) {
    hypotheses.try_values(mistake, update.after(other));
  };
  if (optimizer.kind == RecordedOptimizer::Kind::adamw) {
    for (const double t : {number - 1, number + 1, 1.0}) {
      if (t < 1 || t == number) continue;
      test({.update = t},
           {"other-step-number", fmt::format("update {:.0f}'s bias correction", t),
            fmt::format("the step number is {:.0f} instead of {:.0f}", t, number), "E15, G09"});
    }
    test({.update = 0.0}, {"other-step-number", "the update without bias correction",
                           "moments are not corrected", "G09"});
    test({.epsilon_in_root = true},
         {"eps-in-root", "the update with eps below the root", "eps is added before the root", ""});
  }
  if (optimizer.weight_decay != 0) {
    test({.decays = !update.decays()},
         update.decays() ? Mistake{"decay-missing", "the update without decay",
                                   "this parameter should decay", "G04"}
                         : Mistake{"decay-everywhere", "the update with decay",
                                   "this parameter should not decay (biases, norms)", "G04"});
  }
  for (const OtherClip& clip : clips) {
    test({.clip = clip.factor}, clip.mistake);
    hypotheses.try_values_in_pieces(clip.mistake, update.after({.clip = clip.factor}));
  }
  std::vector<Term> terms = {{"the step", update.scaled(update.direction({}), -1)}};
  if (optimizer.weight_decay != 0) {
    terms.push_back({"the decay", update.scaled(update.decay(), -1), update.decays() ? 1.0 : 0.0});
  }
  const Mistake missing{"update-part-missing", "", "a part of the update is missing", ""};
  hypotheses.try_sum({missing,
                      missing,
                      {"update-factor", "", "another learning rate, or other decay", "G04"},
                      {"update-weighted", "", "another learning rate, and other decay", ""}},
                     terms, {}, update.values());
}

}  // namespace

void try_update(const RecordedStep& step, const std::string& tensor,
                const std::vector<NamedSize>& sizes, Hypotheses& hypotheses) {
  const bool moment = tensor.starts_with("state_after/");
  const std::size_t at = moment ? tensor.find('/', tensor.find('/') + 1) : tensor.find('/');
  const std::string parameter = tensor.substr(at + 1);
  if (!step.optimizer || step.find("grad/" + parameter) == nullptr ||
      step.find("param/" + parameter) == nullptr) {
    return;
  }
  const Update update(step, parameter);
  const std::vector<OtherClip> clips = other_clips(update, sizes);
  if (moment) {
    try_moment(update, clips, tensor.find("exp_avg_sq") != std::string::npos, hypotheses);
  } else {
    try_values_after(update, clips, hypotheses);
  }
}

}  // namespace meshparity
