#include "property_tests/proof/mpi_job.h"

#include <algorithm>
#include <sstream>

#include "golden/files/file_io.h"
#include "golden/jobs/child_process.h"
#include "golden/jobs/mpirun.h"
#include "golden/jobs/temporary_folder.h"

namespace meshparity {

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

  // A verdict is a line "case <number> equal" or "case <number> <what went wrong>".
  std::vector<std::optional<std::string>> verdicts(cases.size());
  std::istringstream lines(job.output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    std::size_t number = 0;
    if (!(words >> word >> number) || word != "case" || number >= cases.size()) continue;
    std::string verdict;
    std::getline(words >> std::ws, verdict);
    if (!verdicts[number] || *verdicts[number] == "equal") verdicts[number] = verdict;
  }
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (!verdicts[i]) {
      const std::string end =
          job.timed_out ? "hung" : "ended with status " + std::to_string(job.status);
      return MpiFailure{i, "the job " + end + ": " + job.errors};
    }
    if (*verdicts[i] != "equal") return MpiFailure{i, *verdicts[i]};
  }
  return std::nullopt;
}

}  // namespace meshparity
