// Updates that a trainer makes otherwise than its recording says: the judge must name the mistake.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "golden/files/recording_header.h"
#include "golden/judge/diagnosis.h"
#include "property_tests/golden/judge/small_recording.h"

namespace meshparity {
namespace {

/// What a trainer updates one parameter with.
struct Numbers {
  RecordedOptimizer o;
  double t = 1;  ///< the update of its bias correction; 0: none
  double decay = 0;
  double step = 1;  ///< a multiple of what is taken without decay
  double clip = 1;
  double square_clip = 1;  ///< what is left of it where the gradient is squared
  double beta1 = 0.9;
  double beta2 = 0.999;
  double kept = 1;   ///< a multiple of the moments before
  double added = 1;  ///< and of what is added to them
  bool epsilon_in_root = false;
  bool coupled = false;
};

/// Plants a mistake in the numbers of a parameter.
using Plant = std::function<void(const std::string& parameter, Numbers& numbers)>;
/// How often the squares of a parameter's gradient count.
using Count = std::function<double(const std::string& parameter)>;

double once(const std::string& /*parameter*/) { return 1; }

double clip_of(const RecordedStep& step, const Count& count = once) {
  double squares = 0;
  for (const std::string& name : parameter_names(step.model)) {
    for (const float g : step.tensors.at("grad/" + name).values) {
      squares += count(name) * static_cast<double>(g) * static_cast<double>(g);
    }
  }
  const double clip = step.clip->max_norm / (std::sqrt(squares) + step.clip->added());
  return std::min(1.0, clip);
}

Numbers right_numbers(const RecordedStep& step, const std::string& parameter) {
  Numbers n;
  n.o = *step.optimizer;
  n.beta1 = n.o.beta1;
  n.beta2 = n.o.beta2;
  n.t = static_cast<double>(n.o.update);
  n.clip = step.clip ? clip_of(step) : 1;
  const auto& decayed = n.o.decayed;
  const bool decays = !decayed || std::ranges::find(*decayed, parameter) != decayed->end();
  n.decay = decays ? n.o.weight_decay : 0;
  return n;
}

/// Updates one parameter as a trainer does, in double, and records what it made of it.
void update(RecordedStep& step, const std::string& parameter, const Numbers& n) {
  const bool adam = n.o.kind == RecordedOptimizer::Kind::adamw;
  const RecordedTensor before = step.tensors.at("param/" + parameter);
  const auto moment = [&](const std::string& name) {
    const RecordedTensor* const found = step.find("state/" + name + "/" + parameter);
    return found == nullptr ? std::vector<float>(before.values.size()) : found->values;
  };
  std::vector<float> first = moment("exp_avg");
  std::vector<float> second = moment("exp_avg_sq");
  std::vector<float> after = before.values;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const auto p = static_cast<double>(before.values[i]);
    const auto gradient = static_cast<double>(step.tensors.at("grad/" + parameter).values[i]);
    const double g = n.clip * gradient + (n.coupled ? n.decay * p : 0);
    const double squared = std::pow(n.square_clip * g, 2);
    double direction = g;
    if (adam) {
      const double m =
          n.kept * n.beta1 * static_cast<double>(first[i]) + n.added * (1 - n.beta1) * g;
      const double v =
          n.kept * n.beta2 * static_cast<double>(second[i]) + n.added * (1 - n.beta2) * squared;
      first[i] = static_cast<float>(m);
      second[i] = static_cast<float>(v);
      const double mean = n.t == 0 ? m : m / (1 - std::pow(n.beta1, n.t));
      const double square = n.t == 0 ? v : v / (1 - std::pow(n.beta2, n.t));
      direction = mean / (n.epsilon_in_root ? std::sqrt(square + n.o.epsilon)
                                            : std::sqrt(square) + n.o.epsilon);
    }
    const double decay = n.coupled ? 0 : n.o.lr * n.decay * p;
    after[i] = static_cast<float>(p - n.step * n.o.lr * direction - decay);
  }
  step.tensors["param_after/" + parameter] = {before.shape, after};
  if (!adam) return;
  step.tensors["state_after/exp_avg/" + parameter] = {before.shape, first};
  step.tensors["state_after/exp_avg_sq/" + parameter] = {before.shape, second};
}

RecordedStep updated(RecordedStep step, const Plant& plant = {}) {
  for (const std::string& name : parameter_names(step.model)) {
    Numbers numbers = right_numbers(step, name);
    if (plant) plant(name, numbers);
    update(step, name, numbers);
  }
  return step;
}

void erase_group(RecordedStep& step, const std::string& group) {
  std::erase_if(step.tensors, [&](const auto& entry) { return entry.first.starts_with(group); });
}

RecordedStep without_moments_after(RecordedStep step) {
  erase_group(step, "state_after/");
  return step;
}

RecordedStep of_sgd(const SmallOptions& options = {}) {
  RecordedStep step = small_step(options);
  step.optimizer->kind = RecordedOptimizer::Kind::sgd;
  step.optimizer->lr = 0.1;
  erase_group(step, "state");
  return step;
}

/// "grad/x: id: why" of the first difference; "verified" if there is none.
std::string named(const RecordedStep& step) {
  std::vector<StepVerdict> verdicts = {judge_recorded_step(step)};
  EXPECT_EQ(verdicts[0].missing, std::vector<std::string>{});
  if (!verdicts[0].different()) return verdicts[0].unverified() ? "unverified" : "verified";
  diagnose_first(step, verdicts);
  const Diagnosis& diagnosis = verdicts[0].diagnosis.value();
  if (diagnosis.fitting.empty()) return diagnosis.text;
  const Mistake& mistake = diagnosis.fitting[0].mistake;
  return diagnosis.tensor + ": " + mistake.id + ": " + mistake.why;
}

TEST(UpdateSuspects, RightUpdatesNameNothing) {
  for (const double max_norm : {0.0, 0.05}) {
    EXPECT_EQ(named(updated(small_step({.max_norm = max_norm}))), "verified");
    EXPECT_EQ(named(without_moments_after(updated(small_step({.max_norm = max_norm})))),
              "verified");
    EXPECT_EQ(named(updated(of_sgd({.max_norm = max_norm}))), "verified");
  }
  RecordedStep exact = small_step({.max_norm = 0.05});
  exact.clip->formula = RecordedClip::Formula::exact;
  EXPECT_EQ(named(updated(exact)), "verified");
  RecordedStep first = small_step();
  first.optimizer->update = 1;
  erase_group(first, "state/");
  EXPECT_EQ(named(updated(first)), "verified") << "moments before the first update are zeros";
}

TEST(UpdateSuspects, UpdatesOfSgdHaveNoMoments) {
  RecordedStep step = updated(of_sgd());
  const std::vector<std::string> parameters = parameter_names(step.model);
  StepVerdict verdict = judge_recorded_step(step);
  EXPECT_EQ(std::ranges::count(verdict.lines, "SGD: parameter", &VerdictLine::kind),
            std::ssize(parameters));
  EXPECT_EQ(verdict.not_recorded, std::vector<std::string>{});
  step.tensors.erase("param_after/ln_f.bias");
  verdict = judge_recorded_step(step);
  EXPECT_EQ(verdict.missing, std::vector<std::string>{"param_after/ln_f.bias"});
  EXPECT_FALSE(verdict.different());
}

TEST(UpdateSuspects, MomentsBeforeALaterUpdateAreNoZeros) {
  RecordedStep step = small_step();
  erase_group(step, "state/");
  const StepVerdict verdict = judge_recorded_step(updated(step));
  EXPECT_EQ(std::ranges::count(verdict.missing, "state/exp_avg/wte.weight"), 1);
  EXPECT_TRUE(verdict.unverified());
}

struct Planted {
  Plant plant;
  std::string name;  ///< of what it is to be called
};

TEST(UpdateSuspects, ParametersThatAreUpdatedOtherwise) {
  const auto all = [](double Numbers::*number, double value) {
    return [=](const std::string& /*parameter*/, Numbers& n) { n.*number = value; };
  };
  const std::string wte = "param_after/wte.weight: ";
  const std::vector<Planted> planted = {
      {all(&Numbers::t, 0), wte + "other-step-number: moments are not corrected"},
      {all(&Numbers::t, 1), wte + "other-step-number: the step number is 1 instead of 3"},
      {all(&Numbers::t, 2), wte + "other-step-number: the step number is 2 instead of 3"},
      {all(&Numbers::t, 4), wte + "other-step-number: the step number is 4 instead of 3"},
      {[](const std::string&, Numbers& n) { n.epsilon_in_root = true; },
       wte + "eps-in-root: eps is added before the root"},
  };
  for (const Planted& mistake : planted) {
    RecordedStep step = small_step();
    step.optimizer->epsilon = 1e-4;  // enough to be seen
    EXPECT_EQ(named(updated(step, mistake.plant)), mistake.name);
    EXPECT_EQ(named(without_moments_after(updated(step, mistake.plant))), mistake.name);
  }
}

TEST(UpdateSuspects, LearningRatesAndDecayOfAnyOptimizer) {
  const auto of = [](const std::string& parameter, double step, double decay) {
    return [=](const std::string& name, Numbers& n) {
      if (name != parameter) return;
      n.step = step;
      n.decay = decay * n.o.weight_decay;
    };
  };
  const std::string wte = "param_after/wte.weight: ";  // which decays
  const std::string wpe = "param_after/wpe.weight: ";  // which does not
  const std::vector<Planted> planted = {
      {of("wte.weight", 0, 0), wte + "no-update: it was not updated"},
      {of("wte.weight", 1, 0), wte + "decay-missing: this parameter should decay"},
      {of("wte.weight", 2, 2), wte + "update-factor: another learning rate, or other decay"},
      {of("wte.weight", 1, 2), wte + "update-factor: another learning rate, or other decay"},
      {of("wte.weight", 2, 0), wte + "update-part-missing: a part of the update is missing"},
      {of("wte.weight", 0, 1), wte + "update-part-missing: a part of the update is missing"},
      {of("wte.weight", 2, 3), wte + "update-weighted: another learning rate, and other decay"},
      {of("wpe.weight", 1, 1),
       wpe + "decay-everywhere: this parameter should not decay (biases, norms)"},
      {of("wpe.weight", 1.3, 0), wpe + "update-factor: another learning rate, or other decay"},
  };
  for (const Planted& mistake : planted) {
    EXPECT_EQ(named(updated(small_step(), mistake.plant)), mistake.name);
    EXPECT_EQ(named(updated(of_sgd(), mistake.plant)), mistake.name);
  }
}

TEST(UpdateSuspects, MomentsThatAreKeptOtherwise) {
  const std::string first = "state_after/exp_avg/wte.weight: ";
  const std::string second = "state_after/exp_avg_sq/wte.weight: ";
  const std::string rates = "moment-weighted: other decay rates, or another gradient";
  const std::string lost = "moment-lost: a part of the moment is missing";
  const std::vector<Planted> planted = {
      {[](const std::string&, Numbers& n) { n.beta1 = 0.95; }, first + rates},
      {[](const std::string&, Numbers& n) { n.beta2 = 0.99; }, second + rates},
      {[](const std::string&, Numbers& n) { std::swap(n.beta1, n.beta2); }, first + rates},
      {[](const std::string&, Numbers& n) { n.kept = 0; }, first + lost},
      {[](const std::string&, Numbers& n) { n.added = 0; }, first + lost},
      {[](const std::string&, Numbers& n) { n.coupled = true; },
       first + "decay-coupled: decay is added to the gradient (L2), not to the update"},
  };
  for (const Planted& mistake : planted) {
    EXPECT_EQ(named(updated(small_step(), mistake.plant)), mistake.name);
  }
}

TEST(UpdateSuspects, AreSaidInASentence) {
  const RecordedStep step =
      updated(small_step(), [](const std::string&, Numbers& n) { n.coupled = true; });
  const StepVerdict verdict = judge_recorded_step(step);
  const std::string text = diagnose(step, verdict.first.value()).text;
  EXPECT_TRUE(
      text.starts_with("state_after/exp_avg/wte.weight equals the sum with the decay "
                       "counted 1.000000 times in all 88 elements: decay is added to the "
                       "gradient (L2), not to the update [decay-coupled; "))
      << text;
}

/// Of tensor parallelism; the vocabulary may be cut, too.
bool is_shared_out(const std::string& parameter) {
  for (const char* const part : {"c_attn.", "c_fc.", "c_proj.weight"}) {
    if (parameter.find(part) != std::string::npos) return true;
  }
  return false;
}
bool is_shared_out_with_words(const std::string& parameter) {
  return parameter == "wte.weight" || is_shared_out(parameter);
}

TEST(UpdateSuspects, GradientsClippedByOtherNorms) {
  struct Norm {
    double shared;
    double whole;
    std::string why;
  };
  const std::vector<Norm> norms = {
      {1, 0, "the norm leaves out the parameters that every rank has whole"},
      {0, 1, "the norm leaves out the parameters that ranks share out"},
      {1, 3, "the norm counts what every rank has whole once for each of tp = 3"},
      {3, 3, "the norm counts all gradients once for each of tp = 3"},
      {1.0 / 3, 1.0 / 3, "the norm is that of one of tp = 3"},
      {1.0 / 3, 1, "the norm counts the share of one of tp = 3"},
  };
  for (const auto& is_shared : {is_shared_out, is_shared_out_with_words}) {
    for (const Norm& norm : norms) {
      for (RecordedStep step : {small_step({.max_norm = 0.05}), of_sgd({.max_norm = 0.05})}) {
        step.axes = {{"tp", 3}};
        const double clip = clip_of(step, [&](const std::string& name) {
          return is_shared(name) ? norm.shared : norm.whole;
        });
        const RecordedStep wrong =
            updated(step, [=](const std::string&, Numbers& n) { n.clip = clip; });
        const std::string name = "wte.weight: clipped-by-part-norm: " + norm.why;
        const bool is_sgd = step.optimizer->kind == RecordedOptimizer::Kind::sgd;
        EXPECT_EQ(named(wrong), (is_sgd ? "param_after/" : "state_after/exp_avg/") + name);
        EXPECT_EQ(named(without_moments_after(wrong)), "param_after/" + name);
      }
    }
  }
}

TEST(UpdateSuspects, GradientsThatAreNotClippedOrByAnotherNumber) {
  const RecordedStep step = small_step({.max_norm = 0.05});
  const auto clip_of_own = [&](const std::string& parameter) {
    return clip_of(step, [&](const std::string& name) { return name == parameter ? 1 : 0; });
  };
  const std::vector<Planted> planted = {
      {[](const std::string&, Numbers& n) { n.clip = 1; },
       "not-clipped: the gradient is not clipped"},
      {[](const std::string&, Numbers& n) { n.clip *= n.clip; },
       "clipped-twice: the gradient is clipped twice"},
      {[&](const std::string& parameter, Numbers& n) { n.clip = clip_of_own(parameter); },
       "clipped-per-tensor: the gradient is clipped by the norm of this tensor alone"},
  };
  for (const Planted& mistake : planted) {
    const RecordedStep wrong = updated(step, mistake.plant);
    EXPECT_EQ(named(wrong), "state_after/exp_avg/wte.weight: " + mistake.name);
    EXPECT_EQ(named(without_moments_after(wrong)), "param_after/wte.weight: " + mistake.name);
  }
  EXPECT_EQ(named(updated(step, [](const std::string&, Numbers& n) { n.clip *= 1.234; })),
            "state_after/exp_avg/wte.weight: clipped-by-part-norm: the gradient is multiplied with "
            "another number: clipped by another norm");
  EXPECT_EQ(
      named(updated(step, [](const std::string&, Numbers& n) { n.square_clip = 1 / n.clip; })),
      "state_after/exp_avg_sq/wte.weight: not-clipped: the gradient is not clipped");
}

/// The first rows of what a step makes of a parameter as in one step, the others as in another.
RecordedStep halves(const RecordedStep& one, RecordedStep other, const std::string& parameter) {
  for (const char* const group :
       {"state_after/exp_avg/", "state_after/exp_avg_sq/", "param_after/"}) {
    const std::vector<float>& first = one.tensors.at(group + parameter).values;
    std::copy_n(first.begin(), first.size() / 2,
                other.tensors.at(group + parameter).values.begin());
  }
  return other;
}

TEST(UpdateSuspects, GradientsThatRanksClipOtherwise) {
  const std::string parameter = "h.0.attn.c_attn.weight";
  const RecordedStep step = small_step({.max_norm = 0.05});
  const auto clipped = [&](double factor) {
    return updated(step, [=](const std::string& name, Numbers& n) {
      if (name == parameter) n.clip *= factor;
    });
  };
  const std::string moment = "state_after/exp_avg/" + parameter + ": ";
  const RecordedStep one_alone = halves(step, clipped(1 / clip_of(step)), parameter);
  EXPECT_EQ(named(one_alone),
            moment + "not-clipped: the gradient is not clipped, on some ranks alone");
  EXPECT_EQ(named(without_moments_after(one_alone)),
            "param_after/" + parameter +
                ": not-clipped: the gradient is not clipped, on some ranks alone");
  EXPECT_EQ(named(halves(clipped(1.3), clipped(1.7), parameter)),
            moment + "clipped-by-part-norm: ranks clip by norms of their own");
}

}  // namespace
}  // namespace meshparity
