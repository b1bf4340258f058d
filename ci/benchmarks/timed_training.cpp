#include "ci/benchmarks/timed_training.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>
#include <random>
#include <stdexcept>

#include "ci/benchmarks/paired.h"
#include "golden/files/corpus_file.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kWarmSteps = 3;

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double process_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// As many of the tokens below `vocabulary`; each of them occurs if there are enough.
std::vector<std::size_t> random_tokens(std::size_t vocabulary, std::size_t count) {
  std::mt19937 bits(42);
  std::vector<std::size_t> tokens;
  for (std::size_t i = 0; i < count; ++i) {
    tokens.push_back(i < vocabulary && vocabulary < count ? i : bits() % vocabulary);
  }
  return tokens;
}

}  // namespace

Workload::Workload(std::string workload_name, Recipe workload_recipe)
    : name(std::move(workload_name)),
      recipe(std::move(workload_recipe)),
      corpus(read_corpus(recipe).first),
      initial(recipe.seed) {}

Workload::Workload(std::string workload_name, Recipe workload_recipe, Corpus workload_corpus)
    : name(std::move(workload_name)),
      recipe(std::move(workload_recipe)),
      corpus(std::move(workload_corpus)),
      initial(recipe.seed) {}

Workload default_workload(const std::string& corpus_path, std::size_t steps) {
  Recipe recipe;
  recipe.data = corpus_path;
  recipe.steps = steps;
  return {"default model", recipe};
}

Workload wide_workload(const std::string& corpus_path, std::size_t steps) {
  Recipe recipe;
  recipe.data = corpus_path;
  recipe.embedding = 64;
  recipe.hidden = 1024;
  recipe.batch = 256;
  recipe.steps = steps;
  recipe.batch_grain = 64;
  recipe.feature_grain = 64;
  return {"wide model", recipe};
}

Workload large_mlp_workload(const std::string& corpus_path, std::size_t steps) {
  Recipe recipe;
  recipe.data = corpus_path;
  recipe.embedding = 64;
  recipe.hidden = 8192;
  recipe.layers = 2;
  recipe.steps = steps;
  return {"MLP of 75.7 M parameters", recipe};
}

Workload small_gpt2_workload(std::size_t steps) {
  constexpr std::size_t kCharacters = 65;  // of Shakespeare's plays
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.layers = 4;
  recipe.heads = 4;
  recipe.channels = 128;
  recipe.positions = 64;
  recipe.batch = 12;
  recipe.beta2 = 0.99;
  recipe.weight_decay = 0.1;
  recipe.clip = 1;
  recipe.steps = steps;
  std::string text;
  for (const std::size_t token : random_tokens(kCharacters, 20'000)) {
    text.push_back(static_cast<char>('0' + token));
  }
  return {"GPT-2 small, 12 x 64", recipe, Corpus::stream(text, positions_of(recipe), false)};
}

Workload full_gpt2_workload(std::size_t steps) {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.form = DataForm::tokens;
  recipe.layers = 12;
  recipe.heads = 12;
  recipe.channels = 768;
  recipe.positions = 1024;
  recipe.sequence = 64;
  recipe.batch = 4;
  recipe.lr = 1e-4;
  recipe.weight_decay = 0.1;
  recipe.steps = steps;
  std::vector<std::uint16_t> tokens;
  for (const std::size_t token : random_tokens(recipe.vocabulary, 20'000)) {
    tokens.push_back(static_cast<std::uint16_t>(token));
  }
  const std::array<std::size_t, 1> files{tokens.size()};
  return {
      "GPT-2 124M, 4 x 64", recipe,
      Corpus::token_files(std::move(tokens), files, {}, recipe.vocabulary, positions_of(recipe))};
}

void TimedTraining::require_same_bits(const TimedTraining& other) const {
  if (same_bits(losses, other.losses) &&
      std::equal(parameters.begin(), parameters.end(), other.parameters.begin(),
                 other.parameters.end(), same_bits)) {
    return;
  }
  throw std::runtime_error("two runs of one recipe give different bits: no time means anything");
}

double step_processor_seconds(const Train& train, std::size_t steps) {
  const std::size_t warm = std::max(kWarmSteps, steps / 10);
  if (steps < warm + 2) throw std::logic_error("too few steps to time");
  double begin = 0;
  double end = 0;
  TrainingSinks sinks;
  sinks.step = [&](const TraceStep& step) {
    if (step.step == warm) begin = process_seconds();
    if (step.step == steps - 1) end = process_seconds();
  };
  train(sinks);
  return (end - begin) / static_cast<double>(steps - 1 - warm);
}

TimedTraining train_on_the_clock(const Train& train) {
  TimedTraining result;
  std::vector<double> durations;
  double last = 0;
  double wall = 0;
  double processor = 0;
  TrainingSinks sinks;
  sinks.step = [&](const TraceStep& step) {
    const double now = wall_seconds();
    if (step.step == kWarmSteps) {
      wall = -now;
      processor = -process_seconds();
    }
    if (step.step > kWarmSteps) durations.push_back(now - last);
    last = now;
    result.losses.push_back(step.loss);
  };
  sinks.end = [&](const TraceEnd&) {
    result.core_share = (processor + process_seconds()) / (wall + wall_seconds());
  };
  sinks.parameters = [&](std::vector<std::vector<float>> parameters) {
    result.parameters = std::move(parameters);
  };
  train(sinks);
  if (!durations.empty()) result.step_seconds = quantile(std::move(durations), 0.1);
  return result;
}

TimedTraining train_alone_on_the_clock(const Workload& workload) {
  return train_on_the_clock(
      [&](const TrainingSinks& sinks) { train_alone(workload.job(), sinks); });
}

}  // namespace meshparity::bench
