#include "golden/programs/train_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "golden/files/file_io.h"
#include "golden/files/llmc_checkpoint.h"
#include "golden/files/model_file.h"
#include "golden/jobs/on_all_ranks.h"
#include "golden/jobs/training_job.h"
#include "golden/programs/launch.h"
#include "golden/programs/program.h"
#include "golden/programs/progress.h"
#include "golden/programs/same_work.h"
#include "golden/programs/stop_signals.h"
#include "golden/programs/tensor_recorder.h"
#include "golden/programs/train_inputs.h"
#include "golden/programs/train_options.h"
#include "model/error.h"
#include "model/generator.h"
#include "model/numerics/floating_point.h"
#include "model/numerics/premises.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostSimulatedRanks = 1024;  // each has a stack

bool runs_on_mpi(const TrainOptions& options, const Launch& launch) {
  return launch.world() != nullptr && options.transport != Transport::sim;
}

/// Decides from the command line alone whether the mesh fits. Throws UsageError.
void require_fitting_world(const TrainOptions& options, const Launch& launch) {
  const std::size_t ranks = options.how.mesh.size();
  if (runs_on_mpi(options, launch)) {
    require_world_size(options.how.mesh, launch.size());
  } else if (launch.size() > 1) {
    throw UsageError(fmt::format("--transport sim runs all ranks in one process, but mpirun "
                                 "started {}",
                                 launch.size()),
                     "leave out mpirun, or --transport sim");
  } else if (ranks > kMostSimulatedRanks) {
    throw UsageError(fmt::format("mesh {} needs {} simulated ranks, the limit is {}",
                                 to_string(options.how.mesh), ranks, kMostSimulatedRanks),
                     "use a smaller mesh, or mpirun");
  }
}

/// Turns a UsageError into the environment's: outputs were checked before training, so what fails
/// now is the machine, and on rank 0 alone. (Ranks take a UsageError for one that all of them
/// have.)
template <typename Write>
void writing(Write write) {
  try {
    write();
  } catch (const UsageError& e) {
    throw EnvironmentError(e.what());
  }
}

/// Steps that are taken: a run may stop before its recipe's end.
std::size_t steps_of(const TrainOptions& options, const Recipe& recipe) {
  return std::min(recipe.steps, options.stop_after.value_or(recipe.steps));
}

/// What rank 0 writes down while a training run goes on.
class Results {
 public:
  Results(const TrainOptions& options, const TrainInputs& inputs, bool is_root)
      : options_(options), inputs_(inputs) {
    const bool wants_model = !options.save_path.empty() || options.uses_model();
    sinks_.statistics = !options.trace_path.empty();
    if (!options.tensors_path.empty()) {
      if (is_root) {
        recorder_ = std::make_unique<TensorRecorder>(options.tensors_path, inputs.recipe,
                                                     *inputs.corpus, options.how);
      }
      sinks_.tensors = [this](const StepTensors& t) { writing([&] { recorder_->record(t); }); };
      sinks_.boundaries = options.boundaries;
      sinks_.last_state = [this](const StateTensors& s) { writing([&] { recorder_->finish(s); }); };
    }
    if (!options.checkpoints.folder.empty()) {
      saver_ = std::make_unique<CheckpointSaver>(
          options.checkpoints,
          checkpoint_header(inputs.recipe, *inputs.corpus, inputs.corpus_sha256));
      sinks_.saver = saver_.get();
      sinks_.stop_requested = StopSignals::requested;
    }
    if (wants_model) {
      sinks_.parameters = [this](std::vector<std::vector<float>> p) { parameters_ = std::move(p); };
    }
    if (!is_root) return;
    if (sinks_.statistics) begin_trace();
    if (!options.quiet) progress_ = make_progress();
    sinks_.step = [this](const TraceStep& step) { on_step(step); };
    sinks_.end = [this](const TraceEnd& end) { on_end(end); };
  }

  const TrainingSinks& sinks() const { return sinks_; }

  /// Rank 0, after training: everything appears under its name.
  void finish() {
    progress_.reset();
    if (!options_.save_path.empty()) {
      save_model(options_.save_path, inputs_.recipe, *inputs_.corpus, inputs_.corpus_sha256,
                 parameters_of(inputs_.recipe, *inputs_.corpus), parameters_);
    }
    if (trace_) trace_->commit();
  }

  /// The trained parameters, for `Generator`.
  const std::vector<std::vector<float>>& parameters() const { return parameters_; }

 private:
  void begin_trace() {
    trace_ = std::make_unique<AtomicFile>(options_.trace_path);
    TraceHeader header = header_of(inputs_.recipe, inputs_.corpus_sha256);
    header.native = options_.how.reduction == Reduction::native;
    header.loaded = inputs_.model.has_value();
    if (inputs_.checkpoint) {
      const CheckpointHeader& from = inputs_.checkpoint->header();
      header.continues = {from.step, from.digest};
    }
    trace_->write(line_of(header));
  }

  void on_step(const TraceStep& step) {
    if (trace_) trace_->write(line_of(step));
    if (progress_) progress_->step(step.step, step.loss);
  }

  std::unique_ptr<Progress> make_progress() const {
    const std::size_t first = inputs_.checkpoint ? inputs_.checkpoint->header().step : 0;
    return std::make_unique<Progress>(first, steps_of(options_, inputs_.recipe));
  }

  void on_end(const TraceEnd& end) {
    if (trace_) trace_->write(line_of(end));
    progress_.reset();
    if (end.steps == steps_of(options_, inputs_.recipe)) return;
    fmt::print(stderr, "stopped by a signal after {} of {} steps; --resume goes on\n", end.steps,
               inputs_.recipe.steps);
  }

  const TrainOptions& options_;
  const TrainInputs& inputs_;
  TrainingSinks sinks_;
  std::unique_ptr<CheckpointSaver> saver_;
  std::unique_ptr<AtomicFile> trace_;
  std::unique_ptr<TensorRecorder> recorder_;
  std::unique_ptr<Progress> progress_;
  std::vector<std::vector<float>> parameters_;
};

void train(const TrainOptions& options, const TrainInputs& inputs, const ParameterSource& initial,
           const Launch& launch, const TrainingSinks& sinks) {
  const TrainingJob job{.recipe = inputs.recipe,
                        .corpus = *inputs.corpus,
                        .initial = initial,
                        .how = options.how,
                        .strategy = options.strategy,
                        .stop_after = steps_of(options, inputs.recipe),
                        .from = inputs.checkpoint ? &*inputs.checkpoint : nullptr};
  const bool plain = options.fits_train_single() && !options.strategy;
  if (runs_on_mpi(options, launch)) {
    train_on(job, sinks, *launch.world());
  } else if (options.alone || plain) {
    train_alone(job, sinks);
  } else {
    train_simulated(job, sinks, options.sim_seed);
  }
}

/// Rank 0: exports, validates and samples from the trained or loaded model.
void use_model(const TrainOptions& options, const TrainInputs& inputs,
               const ParameterSource& parameters) {
  if (!options.export_path.empty()) {
    save_llmc_checkpoint(options.export_path, inputs.recipe,
                         parameters_of(inputs.recipe, *inputs.corpus), parameters);
  }
  if (!options.samples_or_validates()) return;
  const Model model = model_of(inputs.recipe, inputs.corpus->vocabulary());
  Generator generator(inputs.recipe, model, *inputs.corpus, parameters);
  if (options.validates_all) {
    const Generator::Validation all = generator.validate_all();
    fmt::print("validation loss {:.4f} ({} targets)\n", all.loss, all.targets);
  } else if (options.validation_batches > 0) {
    fmt::print("validation loss {:.4f} ({} batches)\n",
               generator.validate(options.validation_batches), options.validation_batches);
  }
  Sampling how{.prompt = inputs.prompt, .temperature = options.temperature, .top_k = options.top_k};
  const bool documents = inputs.corpus->has_boundary();
  if (!documents) how.most = options.samples;
  const std::uint64_t texts = documents || options.samples == 0 ? options.samples : 1;
  for (std::uint64_t i = 0; i < texts; ++i) fmt::print("{}\n", generator.sample(i, how));
  if (std::fflush(stdout) != 0) throw EnvironmentError("standard output cannot be written");
}

/// Returns the exit status.
int train_and_use(const TrainOptions& options, const TrainInputs& inputs, const Launch& launch) {
  const bool is_root = launch.rank() == 0;
  const InitialParameters random(inputs.recipe.seed);
  const ParameterSource& initial =
      inputs.model ? static_cast<const ParameterSource&>(*inputs.model) : random;
  if (!inputs.trains) {
    if (is_root) writing([&] { use_model(options, inputs, initial); });
    return kSuccess;
  }
  Results results(options, inputs, is_root);
  std::optional<StopSignals> signals;
  if (!options.checkpoints.folder.empty()) signals.emplace();
  train(options, inputs, initial, launch, results.sinks());
  signals.reset();  // from here on there is nothing to finish
  // Before anything appears under its name.
  if (const auto bent = launch.together(check_floating_point_environment)) return *bent;
  if (!is_root) return kSuccess;
  writing([&] {
    results.finish();
    const std::vector<ParameterSpec> specs = parameters_of(inputs.recipe, *inputs.corpus);
    use_model(options, inputs, TrainedParameters(specs, results.parameters()));
  });
  return kSuccess;
}

int run_command(const std::vector<std::string>& arguments, Launch& launch) {
  TrainOptions options;
  const auto unusable = launch.together([&] {
    require_premises();
    options = parse_train_options(arguments);
    if (options.transport == Transport::mpi) launch.require_mpi();
    require_fitting_world(options, launch);
  });
  if (unusable) return *unusable;
  launch.set_deadline(options.deadline);

  // Files may differ between ranks on different machines.
  TrainInputs inputs;
  const auto unread = launch.together([&] {
    inputs = read_train_inputs(options);
    if (launch.rank() == 0) require_outputs(options, inputs.recipe);
  });
  if (unread) return *unread;
  const auto different = launch.together([&] {
    if (launch.size() > 1) require_same_work(work_of(options, inputs), *launch.world());
  });
  if (different) return *different;

  // What every rank sees alike: training diverged, or a checkpoint could not be saved.
  const auto ended_by = [&](const std::exception_ptr& error) {
    return launch.together([&] { std::rethrow_exception(error); }).value_or(kSuccess);
  };
  int status = kSuccess;
  try {
    status = train_and_use(options, inputs, launch);
  } catch (const UsageError&) {
    return ended_by(std::current_exception());
  } catch (const SharedFailure&) {
    return ended_by(std::current_exception());
  }
  check_floating_point_environment();
  if (launch.rank() != 0) launch.wait_for_root();
  return status;
}

}  // namespace

int train_command(const std::vector<std::string>& arguments) {
  Launch launch;
  try {
    return run_command(arguments, launch);
  } catch (...) {
    launch.abort(std::current_exception());  // the other ranks may be waiting for this one
  }
}

}  // namespace meshparity
