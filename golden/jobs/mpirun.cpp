#include "golden/jobs/mpirun.h"

#include <unistd.h>

#include <cstdlib>

namespace meshparity {

std::vector<std::string> mpirun_command(std::size_t ranks,
                                        const std::vector<std::string>& program) {
  std::vector<std::string> command = {"mpirun", "--oversubscribe"};
  if (::geteuid() == 0) command.emplace_back("--allow-run-as-root");
  // Ranks of one machine need no network, which Open MPI would look for, for a fifth of a second.
  if (std::getenv("OMPI_MCA_pml") == nullptr) {
    command.insert(command.end(), {"--mca", "pml", "ob1"});
  }
  command.insert(command.end(), {"-n", std::to_string(ranks)});
  command.insert(command.end(), program.begin(), program.end());
  return command;
}

}  // namespace meshparity
