#include "property_tests/mpi_job.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "golden/child_process.h"
#include "golden/mpirun.h"
#include "model/error.h"

namespace meshparity {
namespace {

/// Runs cases [first, end) in one job and notes the verdicts that it printed. Returns the first
/// case without one, which ended the job, or `end`.
std::size_t run_job(const std::vector<ParityCase>& cases, std::size_t first,
                    std::vector<std::optional<std::string>>& differences) {
  const std::filesystem::path input = std::filesystem::temp_directory_path() /
                                      ("meshparity-cases-" + std::to_string(::getpid()) + ".jsonl");
  std::size_t ranks = 1;
  {
    std::ofstream file(input);
    for (std::size_t i = first; i < cases.size(); ++i) {
      file << to_line(cases[i]) << "\n";
      ranks = std::max(ranks, cases[i].how.mesh.size());
    }
    if (!file.flush()) throw EnvironmentError("cannot write " + input.string());
  }

  const auto deadline = std::chrono::seconds(30) + std::chrono::seconds(2) * (cases.size() - first);
  const ChildResult job = run_child(
      mpirun_command(ranks, {program_folder() + "/meshparity-parity-job", input.string()}),
      deadline);
  std::filesystem::remove(input);

  // A verdict is a line "case <number> equal" or "case <number> <what went wrong>".
  std::vector<bool> judged(cases.size() - first, false);
  std::istringstream lines(job.output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    std::size_t number = 0;
    if (!(words >> word >> number) || word != "case" || number >= judged.size()) continue;
    std::string verdict;
    std::getline(words >> std::ws, verdict);
    judged[number] = true;
    auto& difference = differences[first + number];
    if (verdict != "equal" && !difference) difference = verdict;
  }
  const auto silent = std::find(judged.begin(), judged.end(), false);
  const std::size_t ended = first + static_cast<std::size_t>(silent - judged.begin());
  if (ended < cases.size()) {
    differences[ended] =
        (job.timed_out ? "the job hung: "
                       : "the job ended with status " + std::to_string(job.status) + ": ") +
        job.errors;
  }
  return ended;
}

}  // namespace

std::vector<std::optional<std::string>> differences_under_mpi(
    const std::vector<ParityCase>& cases) {
  std::vector<std::optional<std::string>> differences(cases.size());
  std::size_t next = 0;
  while (next < cases.size()) next = run_job(cases, next, differences) + 1;
  return differences;
}

}  // namespace meshparity
