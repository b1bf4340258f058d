#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace meshparity {

/// The command line that runs `program` as `ranks` ranks on this machine, however many cores it
/// has, also as root. Unless OMPI_MCA_pml says otherwise, messages go through Open MPI's ob1.
std::vector<std::string> mpirun_command(std::size_t ranks, const std::vector<std::string>& program);

}  // namespace meshparity
