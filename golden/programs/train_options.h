#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
  std::vector<std::pair<std::string, std::string>> overrides;  ///< recipe fields: key, value
  std::string trace_path;
  std::string tensors_path;
  std::string save_path;
  std::string load_path;
  std::string export_path;
  std::uint64_t samples = 0;
  std::uint64_t validation_batches = 0;
  std::uint64_t sim_seed = 0;
  bool quiet = false;

  bool overrides_field(const std::string& key) const;
  /// True if train_single trains this: one rank, the batch in one piece, no transport.
  bool fits_train_single() const;
};

/// Throws UsageError for arguments that make no sense, PrintAndExit for --help and --version.
TrainOptions parse_train_options(const std::vector<std::string>& arguments);

}  // namespace meshparity
