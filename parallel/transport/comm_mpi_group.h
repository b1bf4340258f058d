#pragma once

#include <memory>
#include <string>

#include "parallel/transport/comm_mpi_process.h"

namespace meshparity {

/// A group of MPI processes, which owns `communicator` (except the world's). Collective over it.
/// `process` must outlive it.
std::unique_ptr<Comm> mpi_group(std::string name, MPI_Comm communicator, MpiProcess& process);

}  // namespace meshparity
