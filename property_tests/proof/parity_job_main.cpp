// One rank of an mpirun job that answers many parity cases (see mpi_job.h).
//
//   mpirun -n N meshparity-parity-job CASES
//
// prints "case <number> equal" or "case <number> <what went wrong>" for each line of the file.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/jobs/exit_status.h"
#include "golden/jobs/program_start.h"
#include "model/numerics/floating_point.h"
#include "model/numerics/premises.h"
#include "parallel/transport/comm_mpi.h"
#include "property_tests/proof/parity_check.h"

namespace meshparity {
namespace {

constexpr std::chrono::seconds kDeadline{15};
std::atomic<std::size_t> current_case{0};

void print(std::size_t number, std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  std::printf("case %zu %s\n", number, text.c_str());
  std::fflush(stdout);
}

/// The earliest and most telling difference is printed, by the lowest rank that saw it; equality by
/// rank 0 once all agree.
void answer(std::size_t number, const ParityCase& c, Comm& group) {
  const Question question(c);
  const auto difference = difference_on(group, c, question);
  const auto first = first_to_differ(group, difference);
  if (!first) {
    if (group.rank() == 0) print(number, "equal");
    return;
  }
  const std::string boundary = first_boundary_on(group, c, question);
  if (*first == group.rank()) {
    print(number, difference->text + ", first boundary that differs: " + boundary);
  }
}

int run(const std::string& path) {
  MpiWorld mpi(kDeadline, [](const std::string& report) {
    print(current_case, "hung: " + report);
    std::_Exit(kEnvironmentFailed);
  });
  try {
    require_premises();
    std::istringstream lines(read_file(path, "file of cases"));
    lines.exceptions(std::ios::badbit);  // or a failed allocation would look like the end
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line); ++number) {
      current_case = number;
      const ParityCase c = parse_case(line);
      Comm& world = mpi.comm();
      // The first ranks work, the others wait for them.
      const bool works = world.rank() < c.how.mesh.size();
      const auto group = world.split("world", works ? 0 : 1, world.rank());
      if (works) answer(number, c, *group);
      check_floating_point_environment();
      world.barrier();
    }
  } catch (const std::exception& error) {
    print(current_case,
          "failed on rank " + std::to_string(mpi.comm().rank()) + ": " + error.what());
    mpi.abort(1);
  }
  return 0;
}

}  // namespace
}  // namespace meshparity

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: mpirun -n N %s CASES\n", argv[0]);
    return 2;
  }
  meshparity::start_program();
  return meshparity::run(argv[1]);
}
