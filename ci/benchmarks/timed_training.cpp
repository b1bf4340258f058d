#include "ci/benchmarks/timed_training.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
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

}  // namespace

Workload::Workload(std::string workload_name, Recipe workload_recipe)
    : name(std::move(workload_name)),
      recipe(std::move(workload_recipe)),
      corpus(read_corpus(recipe).first),
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
