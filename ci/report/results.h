#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace meshparity::report {

/// Random cases on one transport.
struct Sampled {
  std::size_t cases = 0;
  std::size_t bit_equal = 0;
  std::size_t meshes = 0;  // different ones; 0 if not counted
  std::size_t ranks_min = 0;
  std::size_t ranks_max = 0;
};

/// Random cases of one strategy (`train_tp`), or of one product (`dp x tp`) of train_mesh.
struct ParityRow {
  std::string name;
  Sampled simulated;
  Sampled mpi;
  // Cases with the transport's own float sums, those of them within the derived bound, and the
  // largest error / bound.
  std::size_t native_cases = 0;
  std::size_t native_within = 0;
  double native_worst_ratio = 0;

  /// A case had other bits, or was outside its bound.
  bool differs() const;
};

/// Runs that stopped and went on on other meshes, and what was wrong with the state in controls.
struct Resumed {
  struct Flaw {
    std::string what;
    std::size_t tried = 0;
    std::size_t seen = 0;
  };

  std::size_t cases = 0;
  std::size_t bit_equal = 0;
  std::size_t checkpoints = 0;
  std::size_t most_pieces = 0;  // of a sharded one
  std::vector<Flaw> flaws;      // the first is none, which must never be seen

  /// True if a run was not equal, or something wrong was tried and never seen.
  bool differs() const;
};

struct Parity {
  std::vector<ParityRow> strategies;
  std::vector<ParityRow> products;
  std::string seed;
  double seconds = 0;
  double simulated_per_minute = 0;  // 0 if not measured
  std::vector<std::pair<std::string, std::size_t>> distribution;
  Resumed resumed;

  /// Over the strategies: the products are the same cases again.
  std::size_t simulated_cases() const;
  std::size_t mpi_cases() const;
};

/// One rank against the float64 oracle over one recipe's steps.
struct OracleRow {
  std::string recipe;
  std::size_t steps = 0;
  std::size_t whole_steps = 0;  ///< of those, judged end to end
  double worst_ratio = 0;
  std::string worst_tensor;
  std::size_t worst_step = 0;
  double worst_local_ratio = 0;  ///< of blocks judged alone
  std::string worst_local_what;
  double bluntest_ratio = 0;  ///< the least of the worst ratios of all that was judged
  double worst_update_ratio = 0;

  /// A ratio that is not a number differs, too.
  bool differs() const {
    return !(worst_ratio <= 1.0 && worst_local_ratio <= 1.0 && worst_update_ratio <= 1.0);
  }
};

struct GoldenRow {
  std::string recipe;
  std::size_t runs = 0;
  std::size_t same_bits = 0;
  std::vector<std::string> meshes;
  std::vector<std::string> transports;
  std::vector<std::array<double, 2>> curve;  // step, loss

  bool differs() const { return same_bits != runs; }
  /// On both transports.
  bool ran() const;
};

struct MutantRow {
  std::string id;
  std::string title;
  std::string property;
  bool killed = false;
  std::string killer;
  std::string smallest_mesh;
  double seconds = 0;
};

struct Coverage {
  double lines = 0;  // of model, parallel and oracle; percent, as are all six
  double branches = 0;
  double golden_lines = 0;
  double floor_lines = 0;
  double floor_branches = 0;
  double floor_golden = 0;
  std::map<std::string, double> files;  // lines by file

  bool proven() const {
    return lines >= floor_lines && branches >= floor_branches && golden_lines >= floor_golden;
  }
};

/// A ratio that ci/bench measured.
struct BenchRow {
  std::string part;  // "products", ...
  std::string name;
  double ratio = 0;
  double bar = 0;       // 0: for information
  bool above = true;    // the good side of the bar; of ratios without one, too
  double baseline = 0;  // the saved ratio; 0: none
  std::string note;

  bool met() const { return bar == 0 || (above ? ratio >= bar : ratio <= bar); }
  /// How much better than the baseline, as a fraction; 0 without one.
  double gain() const;
  bool regressed() const { return gain() < -0.1; }
};

/// What one environment compared: a recipe, a kernel or a function.
struct PortabilityCheck {
  std::string name;
  std::size_t compared = 0;
  std::size_t same = 0;
  std::string difference;
  std::string sha256;  // of all results
};

/// A compiler, its options, an instruction set and a processor.
struct EnvironmentRow {
  std::string name;
  std::string compiler;
  double seconds = 0;
  std::vector<PortabilityCheck> goldens;
  std::vector<PortabilityCheck> kernels;
  std::vector<PortabilityCheck> functions;

  /// How its bits differ from what is recorded or defined, or from those of `first`; empty if they
  /// do not.
  std::string difference_from(const EnvironmentRow& first) const;
};

/// What one results file holds, or why it holds nothing.
template <class Value>
struct Part {
  enum class State { missing, unreadable, outdated, read };

  State state = State::missing;
  std::string problem;  // of an unreadable file
  Value value;

  bool present() const { return state == State::read; }
};

struct Results {
  Part<Parity> parity;
  Part<std::vector<OracleRow>> oracle;
  Part<std::vector<GoldenRow>> golden;
  Part<std::vector<MutantRow>> mutants;
  Part<Coverage> coverage;
  Part<std::vector<EnvironmentRow>> portability;
  Part<std::vector<BenchRow>> bench;
};

/// Reads parity.json, oracle.json, golden.json, mutants.json, coverage.json, portability.json and
/// bench.json from `folder`. A file that is absent, damaged or measured on other sources is a state
/// of its part, not an error: where a file names its sources and `sources` is not empty, the two
/// must agree.
Results read_results(const std::filesystem::path& folder, const std::string& sources);

/// The axes longer than 1 of a mesh: "dp=2,tp=1,pp=3" -> "dp x pp"; "one rank" if there are none.
std::string axes_of(const std::string& mesh);

}  // namespace meshparity::report
