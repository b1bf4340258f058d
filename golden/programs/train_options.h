#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "golden/files/recipe_file.h"
#include "golden/jobs/checkpoint_saver.h"
#include "parallel/strategy.h"

namespace meshparity {

enum class Transport { mpi, sim };

/// What the command line of meshparity-train says; no file has been looked at. Paths and names that
/// were not given are empty, counts 0.
struct TrainOptions {
  Parallelism how;
  std::optional<Transport> transport;
  std::optional<Strategy> strategy;  ///< none: the one of the mesh, or train_single
  bool alone = false;                ///< train_single was asked for
  std::string recipe_path;
  std::vector<SaidField> overrides;  ///< recipe fields: those of --size, then of other flags
  std::string trace_path;
  std::string tensors_path;
  bool boundaries = false;  ///< are recorded with the tensors
  std::string save_path;
  std::string load_path;
  std::string export_path;
  std::uint64_t samples = 0;              ///< of a text without documents: tokens of one
  std::optional<std::string> prompt;      ///< what samples begin with
  float temperature = 1;                  ///< > 0
  std::size_t top_k = 0;                  ///< 0: any token
  std::uint64_t validation_batches = 0;   ///< of random samples
  bool validates_all = false;             ///< the whole validation part
  std::optional<std::size_t> stop_after;  ///< steps, if the recipe has more
  std::chrono::seconds deadline{};        ///< of operations under Open MPI
  CheckpointPlan checkpoints;             ///< none without a folder
  bool resume = false;                    ///< go on from the newest of them
  std::uint64_t sim_seed = 0;
  bool quiet = false;

  bool validates() const { return validates_all || validation_batches > 0; }
  bool samples_or_validates() const { return validates() || samples > 0; }
  bool uses_model() const { return samples_or_validates() || !export_path.empty(); }
  bool overrides_field(std::string_view key) const { return override_of(key) != nullptr; }
  /// What a flag says about a field; null if none does.
  const SaidField* override_of(std::string_view key) const;
  /// True if train_single trains this: one rank, the batch in one piece, no transport.
  bool fits_train_single() const;
};

/// Throws UsageError for arguments that make no sense, PrintAndExit for --help and --version.
TrainOptions parse_train_options(const std::vector<std::string>& arguments);

}  // namespace meshparity
