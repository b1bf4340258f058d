#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "golden/jobs/child_process.h"
#include "golden/jobs/temporary_folder.h"

/// Programs that are run while something goes wrong, and what became of it.
namespace meshparity::faults {

/// A command that reads files of `in`, and may write some of `out`, which is empty but for them.
struct Workload {
  std::string program;                              ///< beside this one
  std::vector<std::string> arguments;               ///< "IN/..." and "OUT/..." name files
  std::map<std::string, std::string> outputs = {};  ///< file name -> what stands there before
  std::size_t ranks = 1;                            ///< under mpirun, if more than one
};

/// How a program may end when something goes wrong.
enum class End {
  as_ever,      ///< with the undisturbed result: nothing is lost that could not be tried again
  told,         ///< or with status 3 and an error
  by_signal,    ///< or by the signal
  by_sigkill,   ///< likewise; its temporary files may stay
  unsuccessful  ///< with any other status than success
};

struct Fault {
  std::string text;  ///< MESHPARITY_FAULT, see preloaded.cpp
  End end = End::told;
  std::string rank = "";  ///< MESHPARITY_FAULT_RANK; empty: all
};

/// What became of some trials.
struct Tally {
  std::size_t tried = 0;
  std::size_t clean = 0;
  std::size_t wrong = 0;         ///< success with another result, or failure for a wrong reason
  std::size_t crashed = 0;       ///< ended by a signal that nobody sent
  std::size_t hung = 0;          ///< did not end in time
  std::size_t half_written = 0;  ///< a file has neither its old nor its new bytes
  std::size_t leftovers = 0;     ///< files that nobody asked for
  /// For a person: what was not clean in which trial, the first of each kind.
  std::map<std::string, std::string> examples;
};

/// Calls that a program makes from the beginning of main on, by the names of preloaded.cpp.
using Calls = std::map<std::string, std::uint64_t>;

/// A workload and its undisturbed result.
class Trials {
 public:
  /// Throws EnvironmentError if the undisturbed program fails.
  Trials(Workload workload, const std::filesystem::path& in);

  const Calls& calls() const { return calls_; }
  std::chrono::milliseconds duration() const { return duration_; }
  /// Bytes of all outputs.
  std::size_t output_bytes() const;
  /// The workload once more, with a fault; `out` may be given, an empty folder.
  void run(const Fault& fault, Tally& tally) const;
  void run_in(const std::filesystem::path& out, const Fault& fault, Tally& tally) const;

 private:
  ChildResult child(const std::filesystem::path& out, const std::vector<std::string>& settings,
                    std::chrono::milliseconds deadline) const;
  void prepare(const std::filesystem::path& out) const;
  /// What is wrong with the end; empty: nothing.
  std::string verdict(const ChildResult& result, const Fault& fault, bool all_new,
                      Tally& tally) const;

  Workload workload_;
  std::filesystem::path in_;
  ChildResult expected_;
  std::map<std::string, std::string> results_;
  Calls calls_;
  std::chrono::milliseconds duration_{0};
};

/// The files that the workloads read, and the workloads by name.
std::map<std::string, Workload> make_workloads(const std::filesystem::path& in);

}  // namespace meshparity::faults
