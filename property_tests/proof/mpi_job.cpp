#include "property_tests/proof/mpi_job.h"

#include <algorithm>
#include <chrono>
#include <sstream>

#include "golden/files/file_io.h"
#include "golden/jobs/mpirun.h"
#include "golden/jobs/temporary_folder.h"

namespace meshparity {

std::optional<MpiFailure> failure_in(const ChildResult& job, std::size_t cases) {
  std::vector<std::string> verdicts(cases);
  std::istringstream lines(job.output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    std::size_t number = 0;
    if (!(words >> word >> number) || word != "case" || number >= cases) continue;
    std::string verdict;
    std::getline(words >> std::ws, verdict);
    // Of several ranks' words the one that is not "equal" counts.
    std::string& known = verdicts[number];
    if (known.empty() || known == "equal") known = verdict;
  }
  const std::string end =
      job.timed_out ? "hung" : "ended with status " + std::to_string(job.status);
  for (std::size_t i = 0; i < cases; ++i) {
    if (verdicts[i].empty()) return MpiFailure{i, "the job " + end + ": " + job.errors};
    if (verdicts[i] != "equal") return MpiFailure{i, verdicts[i]};
  }
  if (job.timed_out || job.status != 0) {
    return MpiFailure{cases - 1, "every case is equal, but the job " + end + ": " + job.errors};
  }
  return std::nullopt;
}

std::optional<MpiFailure> failure_under_mpi(const std::vector<ParityCase>& cases) {
  const TemporaryFolder folder;
  const std::string input = folder.file("cases.jsonl");
  std::size_t ranks = 1;
  std::string text;
  for (const ParityCase& c : cases) {
    text += to_line(c) + "\n";
    ranks = std::max(ranks, c.how.mesh.size());
  }
  write_file(input, text);
  const auto deadline = std::chrono::seconds(30) + std::chrono::seconds(2) * cases.size();
  const ChildResult job = run_child(
      mpirun_command(ranks, {program_folder() + "/meshparity-parity-job", input}), deadline);
  return failure_in(job, cases.size());
}

}  // namespace meshparity
